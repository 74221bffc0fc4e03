"""The regression suite of an algorithm: confirmed field failures, asked again of each version.

A failure is one JSON file in `algorithms/<name>/failures/`: a stored frame by its id, or a
picture beside the file, with what was right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from cityforge.errors import DataError
from cityforge.evaluation.proof import FailureResult
from cityforge.evaluation.record import Record
from cityforge.inference.runtime import Answer, Model
from cityforge.tasks.boxes import Boxes
from cityforge.tasks.detection.matching import match

FOLDER = "failures"
IOU = 0.5  # from which on a box is the one that was expected
AS_IT_SHOULD = "as it should be"
Corners = tuple[float, float, float, float]  # xyxy, pixels of the picture


class ExpectedBox(Record):
    """A box that must be found, at the package's threshold."""

    cls: Annotated[str, Field(alias="class")]
    xyxy: Corners


class Absent(Record):
    """What must not be reported: a class or (null) any, with its centre in a region or anywhere."""

    cls: Annotated[str | None, Field(alias="class")]
    xyxy: Corners | None


class ExpectedCount(Record):
    """How many objects there are; off by at most `tolerance`."""

    cls: Annotated[str, Field(alias="class")]
    count: Annotated[float, Field(ge=0)]
    tolerance: Annotated[float, Field(ge=0)]


class Expected(Record):
    """What was right. `classes`: of the whole picture; with one label the likeliest must be it."""

    boxes: list[ExpectedBox] = Field(default_factory=list)
    absent: list[Absent] = Field(default_factory=list)
    classes: list[str] = Field(default_factory=list)
    counts: list[ExpectedCount] = Field(default_factory=list)

    @model_validator(mode="after")
    def _says_something(self) -> Expected:
        if not (self.boxes or self.absent or self.classes or self.counts):
            raise ValueError("boxes, absent, classes or counts")
        for x1, y1, x2, y2 in self.regions:
            if not (x1 < x2 and y1 < y2):
                raise ValueError("corners x1, y1, x2, y2 with x1 < x2 and y1 < y2")
        return self

    @property
    def regions(self) -> list[Corners]:
        """All places it names."""
        return [e.xyxy for e in self.boxes] + [e.xyxy for e in self.absent if e.xyxy]

    @property
    def named(self) -> list[str]:
        """All classes it names."""
        rows: list[ExpectedBox | Absent | ExpectedCount] = [
            *self.boxes, *self.absent, *self.counts,
        ]  # fmt: skip
        return [*self.classes, *(row.cls for row in rows if row.cls is not None)]


class Failure(Record):
    """A confirmed field failure. It is of a stored frame (`frame_id`) or of a picture."""

    version: Literal[1] = 1
    failure_id: str
    frame_id: str | None
    picture: str | None  # file beside this one
    sha256: str | None  # of it
    footage_id: str | None  # of the file that the picture was taken from
    source: str  # its name, and the second of a clip
    expected: Expected
    reason: str
    by: str
    at: str  # ISO 8601, UTC


def read_failures(folder: Path) -> list[Failure]:
    """The failures in `folder`, by id; none where there is no folder.

    Raises:
        DataError: a file that says something else.
    """
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> Failure:
    try:
        return Failure.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(
            "a confirmed failure", found=f"{first['msg']} at '{key}'", where=str(path),
            do="see `cityforge model failure add --help`",
        ) from error  # fmt: skip


def repeat_failures(
    failures: Iterable[Failure],
    folder: Path,
    model: Model,
    read_frame: Callable[[str], bytes],
    barred: dict[str, str],
    say: Callable[[str], None],
) -> list[FailureResult]:
    """Ask a version all of them again, at the thresholds of its package.

    Those of withdrawn or expired footage are left out, and said.

    Args:
        folder: of the failures' pictures.
        read_frame: a stored JPEG by its frame id.
        barred: footage ids that may not be used, with the reason; see `footage.lawful.barred`.
    """
    results = []
    for failure in failures:
        of = failure.footage_id or (failure.frame_id or "").partition("-")[0]
        if of in barred:
            say(f"failure {failure.failure_id} is left out: its footage is {barred[of]}")
            continue
        results.append(_repeated(failure, folder, model, read_frame))
    return results


def _repeated(
    failure: Failure, folder: Path, model: Model, read_frame: Callable[[str], bytes]
) -> FailureResult:
    unknown = sorted(set(failure.expected.named) - set(model.about.classes))
    if unknown:
        faults = [f"does not know {', '.join(unknown)}"]
    else:
        answer = model.answer([_picture(failure, folder, read_frame)])[0]
        faults = faults_of(failure.expected, answer, model)
    return FailureResult(
        failure_id=failure.failure_id,
        said=failure.reason,
        passed=not faults,
        found="; ".join(faults) or AS_IT_SHOULD,
    )


def _picture(failure: Failure, folder: Path, read_frame: Callable[[str], bytes]) -> bytes:
    if failure.frame_id is not None:
        return read_frame(failure.frame_id)
    path = folder / str(failure.picture)
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError("the picture of a failure", found="no file", where=str(path)) from error
    if hashlib.sha256(content).hexdigest() != failure.sha256:
        raise DataError(
            "the picture that was confirmed", found="another one", where=str(path),
            do=f"bring it back, or remove failure {failure.failure_id} and add it again",
        )  # fmt: skip
    return content


def faults_of(expected: Expected, answer: Answer, model: Model) -> list[str]:
    """What is wrong with an answer; empty when it is as it should be."""
    classes = model.about.classes
    if model.about.task == "density":
        return _miscounted(expected.counts, answer, classes)
    names = [classes[k] for k in answer.cls]
    if model.about.task == "classification":
        reported = names if model.about.several_labels else names[:1]
        lacking = [f"no {name}" for name in expected.classes if name not in reported]
        wrong = [e.cls for e in expected.absent]
        return [f"{each}, found {', '.join(reported) or 'nothing'}" for each in lacking] + [
            f"reported {name}" for name in reported if name in wrong or None in wrong
        ]
    return _missed(expected.boxes, answer, classes) + _false(expected.absent, answer, names)


def _missed(expected: Sequence[ExpectedBox], answer: Answer, classes: Sequence[str]) -> list[str]:
    truth = Boxes(
        np.zeros(len(expected), np.int64),
        np.array([classes.index(each.cls) for each in expected], np.int64),
        np.array([each.xyxy for each in expected], np.float64).reshape(-1, 4),
        np.ones(len(expected), np.float32),
    )
    count = len(answer.score)
    found = Boxes(np.zeros(count, np.int64), answer.cls, answer.xyxy, answer.score)
    lacking = np.flatnonzero(match(truth, found, IOU).found_of < 0)
    return [f"no {expected[k].cls} at {_place(expected[k].xyxy)}" for k in lacking]


def _false(absent: Sequence[Absent], answer: Answer, names: Sequence[str]) -> list[str]:
    rows = []
    for row, name in enumerate(names):
        xyxy = answer.xyxy[row].tolist()
        if any(each.cls in (None, name) and _within(xyxy, each.xyxy) for each in absent):
            rows.append(f"reported {name} {answer.score[row]:.2f} at {_place(xyxy)}")
    return rows


def _miscounted(
    expected: Sequence[ExpectedCount], answer: Answer, classes: Sequence[str]
) -> list[str]:
    counts = np.zeros(len(classes)) if answer.counts is None else answer.counts
    rows = [(each, float(counts[classes.index(each.cls)])) for each in expected]
    return [
        f"counted {found:.1f} {each.cls}, not {each.count:g} ± {each.tolerance:g}"
        for each, found in rows
        if not abs(found - each.count) <= each.tolerance
    ]


def _within(xyxy: Sequence[float], region: Corners | None) -> bool:
    if region is None:
        return True
    x, y = (xyxy[0] + xyxy[2]) / 2, (xyxy[1] + xyxy[3]) / 2
    return region[0] <= x <= region[2] and region[1] <= y <= region[3]


def _place(xyxy: Sequence[float]) -> str:
    return " ".join(f"{each:.0f}" for each in xyxy)
