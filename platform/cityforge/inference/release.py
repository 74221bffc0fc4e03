"""A package held against its release: signed, registered and approved as it stands, to the byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cityforge.errors import PackageError
from cityforge.inference.package import EVIDENCE_FILE, Package, open_package
from cityforge.trust.release import Release, open_release
from cityforge.trust.signature import SIGNATURE_FILE, refuse_unsigned

__all__ = ["Release", "checked_package", "open_release"]


def checked_package(folder: Path, release: Release) -> Package:
    """Open a package and refuse it unless it is the one that was registered and approved.

    Every file is read once; what is returned are the bytes that were checked.

    Args:
        folder: of the package, with `model.sig`.
        release: see `trust.release.open_release`.

    Raises:
        PackageError: unsigned, signed by another key, changed, or another package.
    """
    package = open_package(folder, expected_digest=release.package_digest)
    signed = refuse_unsigned(folder, release.signer.public, package.files)
    _refuse_other(signed, str(release.register.body["signature_digest"]), folder / SIGNATURE_FILE)
    evidence = hashlib.sha256(package.files[EVIDENCE_FILE]).hexdigest()
    _refuse_other(evidence, str(release.register.body["evidence_digest"]), folder / EVIDENCE_FILE)
    if package.about.algorithm != release.algorithm:
        found = f"one of '{package.about.algorithm}'"
        raise PackageError(f"a package of '{release.algorithm}'", found=found, where=str(folder))
    return package


def _refuse_other(found: str, registered: str, path: Path) -> None:
    if found != registered:
        raise PackageError(
            f"the file with digest {registered[:16]}…, as it was registered",
            found=f"{found[:16]}…", where=str(path), do="fetch the version again",
        )  # fmt: skip
