"""A bundle: one tar file of plain files, and in front of them a signed list of what they are.

    manifest.json    who built it, of which version; name, size and sha256 of every other file
    manifest.sig     ECDSA with SHA-256 over the bytes of manifest.json (DER), by the builder's key
    …                the files, in the order of the list

The archive is uncompressed USTAR without times and owners, so the same files give the same bytes,
any tar program opens it, and it unpacks to no more than its own size. It is read here block by
block and not by `tarfile`, which follows links, sparse maps and long headers: every byte of a
bundle follows from its list.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from cityforge.endpoint.bundle_list import (
    BLOCK,
    DO,
    MANIFEST,
    MOST_NAME,
    MOST_PREFIX,
    SIGNATURE,
    Listed,
    Manifest,
    not_as_signed,
    split_name,
)
from cityforge.errors import PackageError, ServiceError, TrustError
from cityforge.trust.keys import is_signed_by, key_id_of

MOST_MANIFEST, MOST_SIGNATURE = 4 << 20, 1 << 10  # bytes
PIECE = 1 << 20


def write_bundle(path: Path, folder: Path, manifest: Manifest, signature: bytes) -> None:
    """Write the archive of a folder's files, whole or not at all.

    Args:
        signature: over `manifest.to_bytes()`; see `Manifest`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("xb") as out:
            _add(out, MANIFEST, io.BytesIO(manifest.to_bytes()), len(manifest.to_bytes()))
            _add(out, SIGNATURE, io.BytesIO(signature), len(signature))
            for each in manifest.files:
                with (folder / each.name).open("rb") as stream:
                    _add(out, each.name, stream, each.size)
            out.write(bytes(manifest.archive_bytes(len(signature)) - out.tell()))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_manifest(path: Path) -> Manifest:
    """What a bundle says it holds; signed, and nothing of it unpacked.

    Raises:
        PackageError: no bundle.
        TrustError: not as it was signed.
    """
    with _opened(path) as stream:
        return _front(stream, path)


def unpack(
    path: Path, folder: Path, advance: Callable[[int, int], None] = lambda done, all_: None
) -> Manifest:
    """Unpack a bundle into an empty folder; every file is held against the signed list.

    Args:
        advance: told (done, all) in bytes.

    Raises:
        PackageError: no bundle, or a file is missing, added, changed or no plain file.
        TrustError: not as it was signed.
        ServiceError: the disk is too small.
    """
    with _opened(path) as stream:
        manifest = _front(stream, path)
        whole = sum(each.size for each in manifest.files)
        _refuse_small_disk(folder, whole)
        done = 0
        for each in manifest.files:
            _unpack_one(stream, each, folder / each.name, path)
            done += each.size
            advance(done, whole)
        _refuse_more(stream, path)
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    return manifest


def _unpack_one(stream: IO[bytes], listed: Listed, to: Path, path: Path) -> None:
    _refuse_other(stream.read(BLOCK), listed.name, listed.size, path)
    to.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with to.open("xb") as out:
        for piece in _pieces(stream, listed.size, path):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != listed.sha256:
        raise not_as_signed(
            f"'{listed.name}' with digest {listed.sha256[:16]}…",
            f"{digest.hexdigest()[:16]}…", path,
        )  # fmt: skip


def _front(stream: IO[bytes], path: Path) -> Manifest:
    """The list that a bundle begins with, its signature checked by the key that it names.

    Whether anybody trusts that key is another question; see `bundled`.
    """
    data = _small(stream, MANIFEST, MOST_MANIFEST, path)
    signature = _small(stream, SIGNATURE, MOST_SIGNATURE, path)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise not_as_signed("a bundle's list", error.errors()[0]["msg"], path) from error
    builder = manifest.builder
    signed = is_signed_by(builder.public, data, base64.b64encode(signature).decode())
    if not signed or key_id_of(builder.public) != builder.key_id or manifest.to_bytes() != data:
        raise TrustError(
            f"a list signed by key {builder.key_id} of '{builder.name}'",
            found="another signature", where=f"{path}: {MANIFEST}", do=DO,
        )  # fmt: skip
    size, wanted = path.stat().st_size, manifest.archive_bytes(len(signature))
    if size != wanted:
        raise not_as_signed(f"{wanted:,} bytes, as its list says", f"{size:,}", path)
    return manifest


def _small(stream: IO[bytes], name: str, most: int, path: Path) -> bytes:
    block = stream.read(BLOCK)
    info = _read_header(block)
    if info is None or info.name != name or not 0 <= info.size <= most:
        raise not_as_signed(f"a bundle, which begins with {name}", _said(block), path)
    _refuse_other(block, name, info.size, path)
    return b"".join(_pieces(stream, info.size, path))


def _refuse_other(block: bytes, name: str, size: int, path: Path) -> None:
    if block != _header(name, size):
        raise not_as_signed(f"the plain file '{name}' of {size:,} bytes", _said(block), path)


def _refuse_more(stream: IO[bytes], path: Path) -> None:
    while block := stream.read(BLOCK):
        if block != bytes(BLOCK):
            raise not_as_signed("the end of the bundle", "more behind it", path)


def _said(block: bytes) -> str:
    """What a header is of, in words."""
    info = _read_header(block)
    if info is None:
        return "its end" if block == bytes(BLOCK) else "no entry of a tar file"
    kinds = {
        tarfile.REGTYPE: f"one of {info.size:,} bytes", tarfile.LNKTYPE: "a hard link",
        tarfile.SYMTYPE: "a link", tarfile.DIRTYPE: "a folder", tarfile.CHRTYPE: "a device",
        tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe",
        tarfile.GNUTYPE_SPARSE: "a sparse file",
    }  # fmt: skip
    return f"'{info.name}', {kinds.get(info.type, 'another kind of entry')}"


def _read_header(block: bytes) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
    except tarfile.HeaderError:
        return None


def _pieces(stream: IO[bytes], size: int, path: Path) -> Iterator[bytes]:
    """The bytes of a file, then over what fills its last block."""
    left = size
    while left:
        piece = stream.read(min(PIECE, left))
        if not piece:
            raise not_as_signed("a whole bundle", "one that was cut off", path)
        left -= len(piece)
        yield piece
    if any(stream.read(-size % BLOCK)):
        raise not_as_signed("zeros behind a file", "something else", path)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise PackageError("a bundle", found=error.strerror or "none", where=str(path)) from error
    with stream:
        yield stream


def _refuse_small_disk(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + (size >> 4):
        raise ServiceError(
            f"{size >> 20} MiB of free disk", found=f"{free >> 20} MiB", where=str(folder)
        )


def _add(out: IO[bytes], name: str, stream: IO[bytes], size: int) -> None:
    out.write(_header(name, size))
    shutil.copyfileobj(stream, out, PIECE)
    out.write(bytes(-size % BLOCK))


def _header(name: str, size: int) -> bytes:
    """The header of a plain file: USTAR (POSIX.1-1988), no time, no owner."""
    prefix, last = split_name(name)
    fields = (
        last.encode().ljust(MOST_NAME, b"\0"), b"0000644\0", b"0000000\0" * 2, b"%011o\0" % size,
        b"%011o\0" % 0, b" " * 8, tarfile.REGTYPE, bytes(100), b"ustar\x0000", bytes(64),
        b"0000000\0" * 2, prefix.encode().ljust(MOST_PREFIX, b"\0"), bytes(12),
    )  # fmt: skip
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
