"""The package: an ONNX model with all that is needed to answer, and to know where it is from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cityforge.errors import PackageError

MODEL_FILE = "model.onnx"
ABOUT_FILE = "package.json"
EVIDENCE_FILE = "evidence.json"


class About(BaseModel):
    """`package.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Annotated[str, Field(pattern=r"^cityforge\.package/1$")]
    algorithm: str
    title: str
    space: str
    task: str
    classes: list[str]
    input_width: int
    input_height: int
    score_threshold: float
    score_floor: float
    overlap: float
    max_boxes: int
    envelope: dict[str, Any]
    model_digest: str  # sha256 of model.onnx
    evidence_digest: str
    snapshot_digest: str
    git_commit: str
    git_dirty: bool
    lock_digest: str
    params_digest: str
    parity: dict[str, float]


@dataclass(frozen=True)
class Package:
    """An opened package; `model` are the very bytes that were hashed."""

    about: About
    model: bytes
    digest: str  # over model, about and evidence


def package_digest(folder: Path) -> str:
    """sha256 over the names and contents of the package's files."""
    digest = hashlib.sha256()
    for name in (ABOUT_FILE, EVIDENCE_FILE, MODEL_FILE):
        digest.update(name.encode())
        digest.update(hashlib.sha256(_read(folder / name)).digest())
    return digest.hexdigest()


def open_package(folder: Path, expected_digest: str | None = None) -> Package:
    """Open a package and hold its files against its own digests.

    Raises:
        PackageError: a file is missing or was changed, or another package was expected.
    """
    model = _read(folder / MODEL_FILE)
    try:
        about = About.model_validate_json(_read(folder / ABOUT_FILE))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise PackageError(
            "a package description", found=f"{key}: {first['msg']}", where=str(folder / ABOUT_FILE)
        ) from error
    found = hashlib.sha256(model).hexdigest()
    if found != about.model_digest:
        raise PackageError(
            f"a model with digest {about.model_digest[:16]}…",
            found=f"{found[:16]}…",
            where=str(folder / MODEL_FILE),
            do="the file was changed; fetch the version again",
        )
    digest = package_digest(folder)
    if expected_digest and digest != expected_digest:
        raise PackageError(
            f"the package with digest {expected_digest[:16]}…",
            found=f"{digest[:16]}…",
            where=str(folder),
            do="build the Bento again from an approved version",
        )
    return Package(about, model, digest)


def write_about(folder: Path, about: About) -> None:
    """Write `package.json`."""
    text = json.dumps(about.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
    (folder / ABOUT_FILE).write_text(text + "\n", encoding="utf-8")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PackageError("a package's file", found="no file", where=str(path)) from error
