"""What makes a bundle believed: its files, who signed it, who approved, its answers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.endpoint.bundle_file import read_manifest, unpack
from cityforge.endpoint.bundle_list import Manifest
from cityforge.endpoint.conformance import FOLDER as CONFORMANCE
from cityforge.endpoint.conformance import refuse_other_answers
from cityforge.errors import InputError, PackageError, TrustError
from cityforge.inference.package import Package
from cityforge.inference.release import Release, checked_package, open_release
from cityforge.inference.runtime import Model
from cityforge.inference.served import PACKAGE
from cityforge.trust.chain import TrustedKey


@dataclass(frozen=True)
class Verified:
    """A bundle whose every byte, signature and answer was held against what it says."""

    manifest: Manifest
    release: Release
    pictures: int  # that were answered as they should be
    pinned: bool  # its keys were held against one that the reader named

    @property
    def root(self) -> TrustedKey:
        """The first key of the site that built it, by which all others are trusted."""
        return min(self.release.keys.values(), key=lambda each: each.since)

    def told(self) -> dict[str, Any]:
        """What a person asks of a bundle."""
        release, manifest = self.release, self.manifest
        entry = release.approve
        return {
            "algorithm": release.algorithm, "version": release.version,
            "package_digest": release.package_digest, "approved_by": entry.by,
            "approved_at": entry.at, "reason": entry.body.get("reason", ""),
            "override": bool(entry.body.get("override")),
            "one_person": bool(entry.body.get("one_person")),
            "trained_by": release.register.by, "built_by": manifest.builder.name,
            "keys": [
                {"key_id": each.key_id, "name": each.name, "roles": list(each.roles),
                 "revoked": each.revoked is not None, "first": each == self.root}
                for each in release.keys.values()
            ],
            "pinned": self.pinned, "pictures": self.pictures, "files": len(manifest.files),
            "wheels": manifest.wheels, "python": manifest.python, "platform": manifest.platform,
        }  # fmt: skip


def lines_of(verified: Verified) -> list[str]:
    """What `told` says, for a person."""
    told = verified.told()
    under = [name for name, on in (("over a failed gate", told["override"]),
                                   ("by its own trainer", told["one_person"])) if on]  # fmt: skip
    keys = [
        f"  {each['key_id']}  {each['name']}: {', '.join(each['roles'])}"
        + (" (the site's first key)" if each["first"] else "")
        + (" (revoked)" if each["revoked"] else "")
        for each in told["keys"]
    ]
    root = verified.root
    trust = "one of them is the key that you named" if verified.pinned else (
        f"nobody compared them: ask the site whether {root.key_id} is its first key, "
        "or name a key with --key"
    )  # fmt: skip
    return [
        f"{told['algorithm']} version {told['version']}, package {told['package_digest'][:16]}",
        f"approved by {told['approved_by']} on {told['approved_at'][:10]}"
        + (f", {' and '.join(under)}" if under else "")
        + (f": {told['reason']}" if told["reason"] else ""),
        f"trained by {told['trained_by']}, bundle built by {told['built_by']}",
        f"{told['files']} files as they were signed; {told['pictures']} pictures answered as there",
        "keys it trusts:", *keys, trust,
    ]  # fmt: skip


def verify(archive: Path, key: str = "") -> Verified:
    """Unpack a bundle aside, check all of it, answer its pictures, and throw that away.

    Args:
        key: id or file (PEM) of a key that is known from elsewhere: the site's first one, or that
            of the approver or the builder; empty: the keys are believed as they come.

    Raises:
        PackageError, TrustError: what is not as it was signed, approved or answered.
    """
    read_manifest(archive)
    with tempfile.TemporaryDirectory(prefix="cityforge-bundle-") as scratch:
        return check_folder(Path(scratch), unpack(archive, Path(scratch)), key)


def check_folder(folder: Path, manifest: Manifest, key: str = "") -> Verified:
    """Check who approved what was unpacked, and answer its pictures.

    Raises:
        PackageError, TrustError: see `verify`.
    """
    release = open_release(folder)
    package = checked_package(folder / PACKAGE, release)
    _refuse_other_builder(manifest, release, folder)
    pinned = _refuse_unpinned(manifest, release, key, folder) if key else False
    _refuse_other_release(manifest, release, package, folder)
    pictures = refuse_other_answers(folder / CONFORMANCE, Model(package))
    return Verified(manifest, release, pictures, pinned)


def _refuse_other_builder(manifest: Manifest, release: Release, folder: Path) -> None:
    builder = manifest.builder
    key = release.keys.get(builder.key_id)
    if key is None or key.revoked is not None or key.public != builder.public:
        raise TrustError(
            "a bundle signed by a key of the site that approved it",
            found=f"key {builder.key_id} of '{builder.name}', "
            + ("revoked" if key and key.revoked is not None else "which that site does not trust"),
            where=str(folder), do="build it again with a trusted key",
        )  # fmt: skip


def _refuse_other_release(
    manifest: Manifest, release: Release, package: Package, folder: Path
) -> None:
    said = (manifest.algorithm, manifest.version, manifest.package_digest, manifest.approve)
    found = (release.algorithm, release.version, package.digest, release.approve.digest())
    if said != found:
        raise PackageError(
            f"{said[0]} version {said[1]} as the bundle's list says", where=str(folder),
            found=f"{found[0]} version {found[1]}, or another approval of it",
        )  # fmt: skip


def _refuse_unpinned(manifest: Manifest, release: Release, key: str, folder: Path) -> bool:
    """Refuse a bundle that does not rest on a key; only these three have signed what counts."""
    root = min(release.keys.values(), key=lambda each: each.since)
    known = (root.key_id, release.approver.key_id, manifest.builder.key_id)
    if _key_id(key) not in known:
        raise TrustError(
            f"a bundle of the site, the approver or the builder with key {_key_id(key)}",
            found=f"keys {', '.join(dict.fromkeys(known))}", where=str(folder),
            do="ask who gave you the bundle, or the key",
        )  # fmt: skip
    return True


def _key_id(key: str) -> str:
    from cityforge.trust.keys import key_id_of
    from cityforge.trust.plain_file import read_plain

    if len(key) == 16 and all(each in "0123456789abcdef" for each in key):
        return key
    try:
        return key_id_of(read_plain(Path(key), 1 << 16).decode("ascii", "replace"))
    except ValueError as error:
        raise InputError("a key's id (16 signs) or its file (NAME.pub.pem)", found=str(error),
                         where=key) from error  # fmt: skip
