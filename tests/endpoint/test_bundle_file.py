"""The file of a bundle: whatever is not exactly what was signed is refused, and quickly."""

from __future__ import annotations

import io
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cityforge.endpoint import bundle_list
from cityforge.endpoint.bundle_file import BLOCK, read_manifest, unpack, write_bundle
from cityforge.endpoint.bundle_list import Builder, Listed, Manifest, list_files
from cityforge.errors import CityforgeError
from cityforge.registry.bundle import signed_list
from cityforge.settings import Settings
from cityforge.trust.keys import new_key

LONG = "wheels/" + "a" * 95 + ".whl"  # longer than the name of a tar header


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of three files, well signed; who signed it is nobody's business here."""
    top = tmp_path_factory.mktemp("made")
    for name, size in (("README.txt", 700), (LONG, 3 * BLOCK), ("package/model.onnx", 0)):
        path = top / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(range(1, 251)) * 10 + b"z" * size)
    key = new_key(Settings(keys=str(top / "keys")), "李雷")
    manifest = Manifest(
        format="cityforge.bundle/1", algorithm="tiny", version=1, package_digest="0" * 64,
        approve="0" * 64, python="3.11", platform="linux-x86_64", wheels=False,
        builder=Builder(name=key.name, key_id=key.key_id, public=key.public),
        files=list_files(top / "files"),
    )  # fmt: skip
    path = top / "tiny.cityforge.tar"
    write_bundle(path, top / "files", manifest, signed_list(key, manifest.to_bytes()))
    return path


def test_what_is_packed_comes_out_again(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    manifest = unpack(bundle, tmp_path / "ours")
    with tarfile.open(bundle, "r:") as tar:
        tar.extractall(tmp_path / "theirs", filter="data")
    for each in (*manifest.files, Listed(name="manifest.json", size=0, sha256="0" * 64)):
        ours, theirs = (tmp_path / side / each.name for side in ("ours", "theirs"))
        assert ours.read_bytes() == theirs.read_bytes()
    assert LONG in {each.name for each in manifest.files}


def test_a_byte_behind_a_file_is_found(bundle: Path, tmp_path: Path) -> None:
    data = bytearray(bundle.read_bytes())
    with tarfile.open(bundle, "r:") as tar:
        each = next(each for each in tar if each.size % BLOCK)
    data[each.offset_data + each.size] ^= 1
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(CityforgeError, match="zeros behind a file"):
        unpack(tmp_path / "a.tar", tmp_path)


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.GNU_FORMAT)


HOSTILE = {
    "a parent's file": member("../bundle_start.py"),
    "an absolute name": member("/etc/cron.d/x"),
    "a link": member("README.txt", tarfile.SYMTYPE, link="/etc/passwd"),
    "a hard link": member("README.txt", tarfile.LNKTYPE, link="/etc/passwd"),
    "a device": member("README.txt", tarfile.BLKTYPE),
    "a pipe": member("README.txt", tarfile.FIFOTYPE),
    "a folder": member("README.txt", tarfile.DIRTYPE),
    "a sparse file of 10 GB": member("README.txt", tarfile.GNUTYPE_SPARSE, size=10 << 30),
    "a name of 10 GB": member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=10 << 30),
    "a header of 10 GB": member("x", tarfile.XHDTYPE, size=7 << 30),
    "a file that is not listed": member("sitecustomize.py", size=10),
    "no header": b"\x07" * BLOCK,
    "the end": bytes(BLOCK),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_entries_are_refused(bundle: Path, tmp_path: Path, what: str) -> None:
    with tarfile.open(bundle, "r:") as tar:
        at = next(each.offset for each in tar if each.name == "README.txt")
    data = bytearray(bundle.read_bytes())
    data[at : at + BLOCK] = HOSTILE[what]
    path = tmp_path / "hostile.tar"
    path.write_bytes(data)
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    with pytest.raises(CityforgeError, match=r"README\.txt"):
        unpack(path, inside)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]


def holes(path: Path, bundle: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(10 << 30)


def hole_behind(path: Path, bundle: Path) -> None:
    shutil.copyfile(bundle, path)
    with path.open("r+b") as stream:
        stream.truncate(10 << 30)


def long_name_in_a_hole(path: Path, bundle: Path) -> None:
    with path.open("wb") as stream:
        stream.write(HOSTILE["a name of 10 GB"])
        stream.truncate(11 << 30)


def cut_off(path: Path, bundle: Path) -> None:
    path.write_bytes(bundle.read_bytes()[:-20480])


def squeezed(path: Path, bundle: Path) -> None:
    import gzip

    path.write_bytes(gzip.compress(bundle.read_bytes(), 1))


def empty(path: Path, bundle: Path) -> None:
    path.write_bytes(b"")


def other_order(path: Path, bundle: Path) -> None:
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("README.txt"), io.BytesIO())


@pytest.mark.parametrize(
    "make", [holes, hole_behind, long_name_in_a_hole, cut_off, squeezed, empty, other_order]
)
@pytest.mark.alone
def test_bombs_and_what_is_no_bundle_are_refused_at_once(
    bundle: Path, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    path = tmp_path / "bomb.tar"
    make(path, bundle)
    begun = time.monotonic()
    with pytest.raises(CityforgeError, match=r"bomb\.tar"):
        unpack(path, tmp_path)
    assert time.monotonic() - begun < 2
    with pytest.raises(CityforgeError, match="No such file"):
        unpack(tmp_path / "none.tar", tmp_path)


@pytest.mark.parametrize(
    "name", ["../x", "a/../x", "/x", "a//x", "./x", "a/", "", "a\\x", "x" * 101, "名"]
)
def test_a_list_names_plain_files_below_a_folder_alone(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|string"):
        Listed(name=name, size=0, sha256="0" * 64)


def test_a_list_is_limited(bundle: Path) -> None:
    content = read_manifest(bundle).model_dump()
    large = [{"name": f"f{each}", "size": 4 << 30, "sha256": "0" * 64} for each in range(5)]
    twice = [content["files"][0]] * 2
    itself = [{"name": bundle_list.MANIFEST, "size": 1, "sha256": "0" * 64}]
    for files, said in ((large, "GiB"), (twice, "once"), (itself, "once")):
        with pytest.raises(ValueError, match=said):
            Manifest.model_validate({**content, "files": files})
