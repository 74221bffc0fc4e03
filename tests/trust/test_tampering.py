"""A package and its release, as an endpoint opens them: one bit anywhere, and it is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from signing_people import ALGORITHM, APPROVER, TRAINER, Place

from cityforge.errors import CityforgeError, PackageError, TrustError
from cityforge.inference.package import open_package
from cityforge.inference.release import checked_package
from cityforge.trust.keys import new_key
from cityforge.trust.release import RELEASE_FILE, open_release, write_release
from cityforge.trust.signature import SIGNATURE_FILE, refuse_unsigned, sign_package

PLACES = 200
FILES = ("model.onnx", "evidence.json", "package.json", SIGNATURE_FILE)


@pytest.fixture
def served(place: Place, make_package: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with package/ and release.json, as it is served."""
    folder = make_package(tmp_path / "served" / "package", ALGORITHM, None)
    (folder.parent / "report.html").unlink()
    release(place, folder, 1)
    return folder.parent


def release(place: Place, package: Path, version: int, signer: str = TRAINER) -> None:
    signed = sign_package(package, place.signer(signer), place.settings)
    opened = open_package(package)
    register, approve = place.version(
        version, package_digest=opened.digest, evidence_digest=opened.about.evidence_digest,
        signature_digest=signed,
    )  # fmt: skip
    write_release(package.parent, register, approve, place.journal.entries())


def opens(folder: Path, place: Place | None = None) -> None:
    keys = place.journal.chain().keys if place else None
    checked_package(folder / "package", open_release(folder, keys))


def test_what_was_not_touched_opens(served: Path, place: Place) -> None:
    opens(served)
    opens(served, place)
    package = checked_package(served / "package", open_release(served))
    assert set(package.files) == set(FILES)
    assert package.model == (served / "package" / "model.onnx").read_bytes()


@pytest.mark.parametrize("name", [*(f"package/{each}" for each in FILES), RELEASE_FILE])
def test_one_bit_anywhere_is_refused(served: Path, name: str) -> None:
    path = served / name
    whole = path.read_bytes()
    bits = len(whole) * 8
    places = sorted({number * bits // PLACES for number in range(PLACES)})
    missed = []
    for bit in places:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            opens(served)
        except (PackageError, TrustError) as error:
            assert error.found and len(str(error).splitlines()) == 1
        else:
            missed.append(bit)
    assert len(places) == PLACES
    assert missed == []


def test_a_byte_more_or_less_is_refused(served: Path) -> None:
    checked = 0
    for path in sorted(served.rglob("*.*")):
        whole = path.read_bytes()
        for data in (whole[:-2], whole + b"}", b"", whole * 2):
            path.write_bytes(data)
            with pytest.raises((PackageError, TrustError)):
                opens(served)
            checked += 1
        path.write_bytes(whole)
    opens(served)
    assert checked == 20


def test_a_file_that_is_missing_or_added_is_refused(served: Path) -> None:
    for name in FILES:
        path = served / "package" / name
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(PackageError):
            opens(served)
        path.write_bytes(whole)
        (served / "package" / f"{name}.more").write_bytes(b"x")
        with pytest.raises(PackageError, match="the files of a package"):
            opens(served)
        (served / "package" / f"{name}.more").unlink()
    opens(served)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_release_is_refused(
    served: Path, place: Place, make_package: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    other = make_package(tmp_path / "other" / "package", ALGORITHM, None, score=0.4)
    release(place, other, 2)
    shutil.copy(other / name, served / "package" / name)
    with pytest.raises(PackageError):
        opens(served)


def test_a_package_signed_by_another_key_is_refused(served: Path, place: Place) -> None:
    """Also by one that the site trusts: the registration names the signature and the key."""
    for name in (APPROVER, "eve"):
        signer = place.signer(name) if name == APPROVER else new_key(place.settings, name)
        sign_package(served / "package", signer, place.settings)
        with pytest.raises(PackageError, match="not of the key that must have signed"):
            opens(served)
    # The right key, signing again: a signature that was not registered.
    sign_package(served / "package", place.signer(TRAINER), place.settings)
    with pytest.raises(PackageError, match="as it was registered"):
        opens(served)


def test_an_approval_of_another_version_is_refused(
    served: Path, place: Place, make_package: Callable[..., Path], tmp_path: Path
) -> None:
    other = make_package(tmp_path / "other" / "package", ALGORITHM, None, score=0.4)
    release(place, other, 2)
    register, approve = place.journal.entries(about=ALGORITHM)[0], place.journal.entries()[-1]
    write_release(served, register, approve, place.journal.entries())
    with pytest.raises(TrustError, match="an approval of this very version"):
        opens(served)
    # The whole release of the other version beside this package.
    shutil.copy(other.parent / RELEASE_FILE, served / RELEASE_FILE)
    with pytest.raises(PackageError, match="the package with digest"):
        opens(served)


def test_an_unsigned_package_is_refused(served: Path) -> None:
    (served / "package" / SIGNATURE_FILE).unlink()
    with pytest.raises(PackageError, match=f"no {SIGNATURE_FILE}"):
        opens(served)


def test_the_bytes_in_memory_are_what_is_checked(served: Path, place: Place) -> None:
    """Somebody exchanges a file after it was read: what runs is what was read."""
    package = open_package(served / "package")
    public = place.signer(TRAINER).public
    (served / "package" / "model.onnx").write_bytes(b"another")
    assert refuse_unsigned(served / "package", public, package.files)
    changed = {**package.files, "model.onnx": package.model + b"\0"}
    with pytest.raises(PackageError, match=r"'model.onnx' is not the file that was signed"):
        refuse_unsigned(served / "package", public, changed)


def test_the_library_agrees(served: Path, place: Place, tmp_path: Path) -> None:
    """What is checked here is what OpenSSF's own program checks."""
    from model_signing import hashing, verifying

    folder = served / "package"
    key = tmp_path / "key.pem"
    key.write_text(place.signer(TRAINER).public)

    def library() -> None:
        config = hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE_FILE])
        verifying.Config().use_elliptic_key_verifier(public_key=key).set_hashing_config(
            config
        ).verify(folder, folder / SIGNATURE_FILE)

    library()
    (folder / "package.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match="mismatch"):
        library()


def test_a_hard_link_cannot_change_what_was_read(served: Path, tmp_path: Path) -> None:
    path = served / "package" / "model.onnx"
    (tmp_path / "outside").hardlink_to(path)
    opens(served)
    (tmp_path / "outside").write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(CityforgeError):
        opens(served)
