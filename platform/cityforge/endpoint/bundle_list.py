"""The list of a bundle's files, which is what its builder signs."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cityforge.errors import PackageError

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
MOST_FILES, MOST_BYTES = 5000, 16 << 30
MOST_NAME, MOST_PREFIX = 100, 155  # bytes of a USTAR header
BLOCK, RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
DO = "do not use it; fetch the bundle again"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Listed(BaseModel):
    """One file of a bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+.!-]+(/[A-Za-z0-9_+.!-]+)*$")]
    size: Annotated[int, Field(ge=0, le=4 << 30)]  # bytes
    sha256: Digest

    @model_validator(mode="after")
    def _stays_within(self) -> Listed:
        prefix, name = split_name(self.name)
        fits = len(name) <= MOST_NAME and len(prefix) <= MOST_PREFIX
        if not fits or {".", "..", ""} & {*self.name.split("/")}:
            raise ValueError(f"the name of no file below a folder: '{self.name}'")
        return self


class Builder(BaseModel):
    """Who built a bundle, and by which key it is signed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    key_id: str
    public: str  # PEM


class Manifest(BaseModel):
    """`manifest.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["cityforge.bundle/1"]
    algorithm: str
    version: int
    package_digest: Digest
    approve: Digest  # of the entry that approved the version
    python: str = Field(pattern=r"^3\.\d+$")  # that the wheels are for
    platform: str  # as `sysconfig.get_platform` says it
    wheels: bool  # every locked wheel is in it, not that of cityforge alone
    builder: Builder
    files: Annotated[list[Listed], Field(max_length=MOST_FILES)]

    @model_validator(mode="after")
    def _lists_each_once(self) -> Manifest:
        names = [each.name for each in self.files]
        if names != sorted({*names}) or {MANIFEST, SIGNATURE} & {*names}:
            raise ValueError("the files are not listed once each, in order")
        if sum(each.size for each in self.files) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 30} GiB")
        return self

    def to_bytes(self) -> bytes:
        """Canonical JSON: what is signed."""
        from cityforge.trust.entries import canonical

        return canonical(self.model_dump(mode="json"))

    def archive_bytes(self, signature: int) -> int:
        """Size of the archive, given that of the signature."""
        sizes = [len(self.to_bytes()), signature, *(each.size for each in self.files)]
        blocks = sum(BLOCK + -(-each // BLOCK) * BLOCK for each in sizes) + 2 * BLOCK
        return -(-blocks // RECORD) * RECORD


def list_files(folder: Path) -> list[Listed]:
    """Every file below a folder, by name."""
    found = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        name = path.relative_to(folder).as_posix()
        found.append(Listed(name=name, size=path.stat().st_size, sha256=digest))
    return sorted(found, key=lambda each: each.name)


def refuse_changed(folder: Path, manifest: Mapping[str, Listed]) -> None:
    """Hold an unpacked bundle against its list.

    Raises:
        PackageError: with the first file that is missing, added or changed.
    """
    found = {each.name: each for each in list_files(folder) if each.name != MANIFEST}
    apart = sorted({*found.items()} ^ {*manifest.items()}, key=lambda each: each[0])
    if apart:
        name = apart[0][0]
        what = "one that was added" if name not in manifest else "none"
        raise not_as_signed(
            f"'{name}' as the bundle has it",
            "a changed one" if name in manifest and name in found else what,
            folder,
            do=f"remove {folder}; it is unpacked again",
        )


def split_name(name: str) -> tuple[str, str]:
    """The prefix and the name that a header says: a long name is parted at its last slash."""
    prefix, _, last = name.rpartition("/") if len(name) > MOST_NAME else ("", "", name)
    return prefix, last


def not_as_signed(expected: str, found: str, path: Path, do: str = DO) -> PackageError:
    """What is refused, and where."""
    return PackageError(expected, found=found, where=str(path), do=do)
