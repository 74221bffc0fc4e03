"""The package: an ONNX model with all that is needed to answer, and to know where it is from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cityforge.cards.events import EventRule
from cityforge.errors import PackageError
from cityforge.inference.onnx_safety import refuse_unsafe_onnx
from cityforge.inference.package_files import (
    ABOUT_FILE,
    EVIDENCE_FILE,
    INT8_FILE,
    MODEL_FILE,
    REQUIRED,
    read_files,
)

__all__ = [
    "ABOUT_FILE",
    "EVIDENCE_FILE",
    "INT8_FILE",
    "MODEL_FILE",
    "About",
    "Package",
    "open_package",
    "package_digest",
    "write_about",
]

NEEDED: dict[str, tuple[str, ...]] = {
    "detection": ("overlap", "max_boxes"),
    "classification": ("several_labels",),
    "density": (),
}


class About(BaseModel):
    """`package.json`; what other tasks need is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Annotated[str, Field(pattern=r"^cityforge\.package/1$")]
    algorithm: str
    title: str
    space: str
    task: Literal["detection", "classification", "density"]
    classes: list[str]
    input_width: int
    input_height: int
    score_threshold: float  # under it nothing is answered; density: objects a cell
    score_floor: float
    overlap: float | None = None  # detection, as in `evaluate` of its parameters
    max_boxes: int | None = None
    several_labels: bool | None = None  # classification
    class_thresholds: dict[str, float] | None = None  # several labels: instead of the one above
    envelope: dict[str, Any]
    model_digest: str  # sha256 of model.onnx
    evidence_digest: str
    snapshot_digest: str
    git_commit: str
    git_dirty: bool
    lock_digest: str
    params_digest: str
    parity: dict[str, float]
    events: list[EventRule] | None = None
    int8_digest: str | None = None  # sha256 of model.int8.onnx, where it is offered

    @model_validator(mode="after")
    def _says_what_its_task_needs(self) -> About:
        needed = NEEDED[self.task]
        lacking = [name for name in needed if getattr(self, name) is None]
        if lacking:
            raise ValueError(f"task {self.task} needs {', '.join(lacking)}")
        if self.class_thresholds is not None:
            if not self.several_labels:
                raise ValueError("class_thresholds needs several_labels")
            if set(self.class_thresholds) != set(self.classes):
                raise ValueError("class_thresholds needs one for each class")
        return self


@dataclass(frozen=True)
class Package:
    """An opened package; `model`, `int8` and `files` are the very bytes that were hashed."""

    about: About
    model: bytes
    digest: str  # over about, evidence, model and, where there is one, int8
    int8: bytes | None = None
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # model.sig among them


def package_digest(folder: Path) -> str:
    """sha256 over the names and contents of the package's files; the signature is none of them."""
    return _digest(read_files(folder))


def open_package(folder: Path, expected_digest: str | None = None) -> Package:
    """Open a package and hold its files against its own digests; each file is read once.

    Raises:
        PackageError: a file is missing, was changed, is no data or does not belong; or another
            package was expected.
    """
    files = read_files(folder)
    about = _about(files[ABOUT_FILE], folder)
    stated = {
        MODEL_FILE: about.model_digest,
        EVIDENCE_FILE: about.evidence_digest,
        **({INT8_FILE: about.int8_digest} if about.int8_digest else {}),
    }
    for name, digest in stated.items():
        _refuse_changed(files.get(name), digest, folder / name)
    if INT8_FILE in files and not about.int8_digest:
        raise PackageError("a package without a quantised model, as it says",
                           found=INT8_FILE, where=str(folder))  # fmt: skip
    digest = _digest(files)
    if expected_digest and digest != expected_digest:
        raise PackageError(
            f"the package with digest {expected_digest[:16]}…",
            found=f"{digest[:16]}…",
            where=str(folder),
            do="build the Bento again from an approved version",
        )
    for name in (MODEL_FILE, INT8_FILE):
        if name in files:
            refuse_unsafe_onnx(files[name], str(folder / name))
    return Package(about, files[MODEL_FILE], digest, files.get(INT8_FILE), files)


def write_about(folder: Path, about: About) -> None:
    """Write `package.json`."""
    content = about.model_dump(mode="json", exclude_none=True)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / ABOUT_FILE).write_text(text + "\n", encoding="utf-8")


def _about(data: bytes, folder: Path) -> About:
    try:
        return About.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        found = ": ".join([".".join(map(str, first["loc"])), first["msg"]][not first["loc"] :])
        raise PackageError(
            "a package description", found=found, where=str(folder / ABOUT_FILE)
        ) from error


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in (*REQUIRED, INT8_FILE):
        if name in files:
            digest.update(name.encode())
            digest.update(hashlib.sha256(files[name]).digest())
    return digest.hexdigest()


def _refuse_changed(data: bytes | None, digest: str, path: Path) -> None:
    found = "no file" if data is None else f"{hashlib.sha256(data).hexdigest()[:16]}…"
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        raise PackageError(
            f"a file with digest {digest[:16]}…",
            found=found,
            where=str(path),
            do="the file was changed; fetch the version again",
        )
