"""Builds the bundle of an approved version: all that a site without a network needs, signed."""

from __future__ import annotations

import hashlib
import shutil
import string
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cityforge.endpoint import bundled
from cityforge.endpoint.bundle_file import write_bundle
from cityforge.endpoint.bundle_list import Builder, Manifest, list_files
from cityforge.endpoint.conformance import FOLDER, write_conformance
from cityforge.endpoint.pins import read_pins
from cityforge.errors import NotApproved, TrustError
from cityforge.inference.package import INT8_FILE, MODEL_FILE, Package, open_package
from cityforge.inference.runtime import Model
from cityforge.inference.served import PACKAGE
from cityforge.registry.approval import approved_version
from cityforge.registry.bento import SERVICE_FILES
from cityforge.registry.beside import folder_beside
from cityforge.registry.bundle_parts import (
    chosen_pictures,
    fetch_report,
    write_bento_files,
)
from cityforge.registry.published import release_folder
from cityforge.registry.registering import REPORT
from cityforge.registry.sbom import Content, bill_of
from cityforge.registry.site import Site, acting
from cityforge.registry.standing import State
from cityforge.registry.versions import Version
from cityforge.registry.wheels import locked_wheels
from cityforge.trust.chain import KEY_ACTS
from cityforge.trust.entries import Entry
from cityforge.trust.journal import signer_of
from cityforge.trust.keys import Signer
from cityforge.trust.release import write_release

START, README, BILL = "bundle_start.py", "README.txt", "sbom.cdx.json"
README_SOURCE = "bundle_readme.txt"
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Wanted:
    """What goes into a bundle; see `cityforge bundle build`."""

    out: Path | None  # none: below .cityforge
    wheels: bool
    pictures: int
    by: str  # who signs; empty: who acts here


@dataclass(frozen=True)
class Built:
    """A bundle that was written."""

    path: Path
    sha256: str
    size: int  # bytes
    manifest: Manifest
    pictures: int
    why_drawn: str  # empty: the pictures are frames of the test split


def build_bundle(
    site: Site, algorithm: str, version: int | None, wanted: Wanted, advance: Advance
) -> Built:
    """Write the bundle of the champion; the same inputs give the same bytes.

    Args:
        version: see `approval.approved_version`.
        advance: told (done, all) while wheels are fetched.

    Raises:
        NotApproved, PackageError, TrustError: it may not be served; see `release_folder`.
        TrustError: who signs has no key that the site trusts.
        ServiceError: a wheel cannot be fetched, or the Bento not be built.
    """
    found = approved_version(site, algorithm, version)
    if found.state is None or found.state.approval is None:
        raise NotApproved("an approved version on record", found="none", where=site.journal.where)
    signer = _builder(site, wanted.by)
    digest = str(found.state.register.body["package_digest"])
    name = f"{algorithm}-v{found.version}-{digest[:12]}{bundled.SUFFIX}"
    path = wanted.out or site.project.work / "bundles" / name
    with folder_beside(path) as scratch:
        folder = scratch / "bundle"
        folder.mkdir()
        drawn = _fill(site, found, found.state, found.state.approval, wanted, folder, advance)
        manifest = _manifest(site, found.state, found.state.approval, wanted, signer, folder)
        write_bundle(path, folder, manifest, signed_list(signer, manifest.to_bytes()))
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    count = sum(each.name.startswith(f"{FOLDER}/") for each in manifest.files) - 1
    return Built(path, sha256, path.stat().st_size, manifest, count, drawn)


def _fill(
    site: Site, version: Version, state: State, approval: Entry, wanted: Wanted, folder: Path,
    advance: Advance,
) -> str:  # fmt: skip
    """Put every file in its place; why the pictures are drawn ones."""
    root = site.project.root
    release = release_folder(site, state)
    shutil.copytree(release / PACKAGE, folder / PACKAGE)
    write_release(folder, state.register, approval, site.journal.entries(acts=KEY_ACTS))
    package = open_package(folder / PACKAGE)
    _copy_service(root, folder)
    wheel = write_bento_files(
        root, release, version, approval.at, folder / bundled.BENTO, folder.parent
    )
    wheels = folder / bundled.WHEELS
    if wanted.wheels:
        shutil.copytree(locked_wheels(root, site.project.work / "wheels", advance), wheels)
    wheels.mkdir(exist_ok=True)
    shutil.copyfile(wheel, wheels / wheel.name)
    fetch_report(site, version, folder / REPORT)
    chosen = chosen_pictures(site, state, package.about, wanted.pictures)
    write_conformance(folder / FOLDER, Model(package), chosen.pictures)
    bill = bill_of(read_pins(root / "serving" / "requirements.txt"),
                   _content(state, approval, package, wheels, wheel.name))  # fmt: skip
    (folder / BILL).write_text(bill, encoding="utf-8")
    _write_readme(root, state, approval, wanted, folder)
    return chosen.why_drawn


def _copy_service(root: Path, folder: Path) -> None:
    service = folder / bundled.SERVICE
    service.mkdir()
    for name in SERVICE_FILES:
        shutil.copyfile(root / "serving" / name, service / name)
    shutil.copyfile(root / "serving" / START, folder / START)


def _content(
    state: State, approval: Entry, package: Package, wheels: Path, own: str
) -> Content:  # fmt: skip
    files = {MODEL_FILE: package.about.model_digest}
    if package.about.int8_digest:
        files[INT8_FILE] = package.about.int8_digest
    return Content(
        algorithm=state.register.about,
        version=state.version,
        title=package.about.title,
        package_digest=package.digest,
        model=files,
        at=datetime.fromisoformat(approval.at),
        wheels={each.name: each.sha256 for each in list_files(wheels)},
        cityforge=own,
    )


def _manifest(
    site: Site, state: State, approval: Entry, wanted: Wanted, signer: Signer, folder: Path
) -> Manifest:
    key = site.journal.chain().keys[signer.key_id]
    return Manifest(
        format="cityforge.bundle/1",
        algorithm=state.register.about,
        version=state.version,
        package_digest=str(state.register.body["package_digest"]),
        approve=approval.digest(),
        python=_python(),
        platform=sysconfig.get_platform(),
        wheels=wanted.wheels,
        builder=Builder(name=key.name, key_id=key.key_id, public=key.public),
        files=list_files(folder),
    )


def _builder(site: Site, by: str) -> Signer:
    """The key of who builds; any key that the site trusts.

    Raises:
        TrustError: there is none here, or it is not trusted.
    """
    signer = signer_of(site.journal, site.settings, by or acting(site))
    key = site.journal.chain().keys.get(signer.key_id)
    if key is None or key.revoked is not None:
        raise TrustError(
            "a builder whose key this site trusts",
            found=f"key {signer.key_id} of '{signer.name}', "
            + ("revoked" if key else "which nobody trusts"),
            where=site.journal.where, do="name who has one with --by",
        )  # fmt: skip
    return signer


def signed_list(signer: Signer, data: bytes) -> bytes:
    """ECDSA with SHA-256 as RFC 6979 draws its number, so that a build can be repeated; DER."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    made: bytes = signer.private.sign(data, ECDSA(SHA256(), deterministic_signing=True))
    return made


def _write_readme(
    root: Path, state: State, approval: Entry, wanted: Wanted, folder: Path
) -> None:  # fmt: skip
    text = (root / "serving" / README_SOURCE).read_text(encoding="utf-8")
    digest = str(state.register.body["package_digest"])
    needs = "nothing else: every wheel is in it" if wanted.wheels else (
        "a package registry, or cityforge installed already: the wheels were left out"
    )  # fmt: skip
    said = string.Template(text).substitute(
        algorithm=state.register.about, version=state.version, digest=digest,
        approver=approval.by, at=approval.at[:10], python=_python(),
        platform=sysconfig.get_platform(), needs=needs,
        file=f"{state.register.about}-v{state.version}-{digest[:12]}{bundled.SUFFIX}",
    )  # fmt: skip
    (folder / README).write_text(said, encoding="utf-8")


def _python() -> str:
    return ".".join(map(str, sys.version_info[:2]))
