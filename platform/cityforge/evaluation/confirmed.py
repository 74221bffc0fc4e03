"""Takes a confirmed field failure into an algorithm's regression suite, or out of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.dataset import Dataset, Sampling
from cityforge.dataset.digests import digest_of
from cityforge.dataset.snapshot import write_json
from cityforge.errors import FootageError, InputError, NameUnknown
from cityforge.evaluation.failures import Expected, Failure, read_failures

ID_LENGTH = 12
KEYS_OF_TASK = {
    "detection": ("boxes", "absent"),
    "classification": ("classes", "absent"),
    "density": ("counts",),
}


@dataclass(frozen=True)
class Taken:
    """The picture of a failure.

    Attributes:
        jpeg: as it may be stored, redacted where the dataset's card asks for it.
        frame_id: of a stored frame; such a picture is not stored again.
        footage_id: of the file it was taken from.
        source: what people call it.
    """

    jpeg: bytes
    frame_id: str | None
    footage_id: str | None
    source: str


def expected_of(content: Mapping[str, Any], card: Algorithm, several_labels: bool) -> Expected:
    """Read what was right, held against the algorithm's task and classes.

    Raises:
        InputError: it says nothing, something else, or what its task does not answer.
        NameUnknown: a class that the algorithm does not have.
    """
    try:
        expected = Expected.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError("what was right", found=first["msg"], where=key or "--expect") from error
    keys = KEYS_OF_TASK[card.task]
    wrong = [key for key in Expected.model_fields if getattr(expected, key) and key not in keys]
    if wrong:
        raise InputError(f"{' or '.join(keys)} (task {card.task})", found=wrong[0])
    for name in expected.named:
        if name not in card.classes:
            raise NameUnknown(f"a class of '{card.name}'", name, card.classes)
    one = card.task == "classification" and not several_labels
    if one and (len(expected.classes) > 1 or any(each.cls is None for each in expected.absent)):
        raise InputError("one class of the picture", found="none or several")
    return expected


def add_failure(
    folder: Path, taken: Taken, expected: Expected, reason: str, who: str, now: datetime
) -> Failure:
    """Write a failure into `folder`; its picture first, beside it.

    Raises:
        InputError: no reason, a place outside the picture, or a failure that is there already.
    """
    if not reason.strip():
        raise InputError("a reason", found="none", do="say with --reason why it was a failure")
    _refuse_outside(expected, taken.jpeg)
    sha256 = hashlib.sha256(taken.jpeg).hexdigest()
    content = expected.model_dump(mode="json", by_alias=True)
    of = taken.frame_id or sha256
    failure_id = digest_of({"of": of, "expected": content})[:ID_LENGTH]
    path = folder / f"{failure_id}.json"
    if path.exists():
        raise InputError("a failure that is not recorded yet", found=failure_id, where=str(path))
    picture = None if taken.frame_id else f"{failure_id}.jpg"
    failure = Failure(
        failure_id=failure_id,
        frame_id=taken.frame_id,
        picture=picture,
        sha256=sha256 if picture else None,
        footage_id=taken.footage_id,
        source=taken.source,
        expected=expected,
        reason=reason,
        by=who,
        at=now.astimezone(UTC).isoformat(timespec="seconds"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    if picture:
        _write_beside(folder / picture, taken.jpeg)
    write_json(path, failure.model_dump(mode="json", by_alias=True))
    return failure


def remove_failure(folder: Path, failure_id: str) -> Failure:
    """Take a failure and its picture out of `folder`.

    Raises:
        NameUnknown: no such failure.
    """
    known = {each.failure_id: each for each in read_failures(folder)}
    if failure_id not in known:
        raise NameUnknown("a confirmed failure", failure_id, known, where=str(folder))
    found = known[failure_id]
    (folder / f"{failure_id}.json").unlink()
    if found.picture:
        (folder / found.picture).unlink(missing_ok=True)
    return found


def taken_frame(card: Dataset, folder: Path, frame_id: str, now: datetime) -> Taken:
    """A stored frame of the dataset in `folder`.

    Raises:
        NameUnknown: no frame of that id is stored, or it may not be used.
    """
    from cityforge.footage.shards import FrameStore
    from cityforge.footage.stored import lawful_frames

    stored = lawful_frames(card, folder, now)
    known = stored.frames["frame_id"].to_pylist()
    if frame_id not in known:
        barred = frame_id in stored.barred["frame_id"].to_pylist()
        what = "a stored frame that may be used" if barred else "a stored frame or a picture file"
        raise NameUnknown(what, frame_id, known, where=f"dataset '{card.name}'")
    jpeg = FrameStore(folder / "frames", stored.frames).read(frame_id)
    return Taken(jpeg, frame_id, frame_id.partition("-")[0], frame_id)


def taken_picture(card: Dataset, folder: Path, path: Path) -> Taken:
    """A picture file, made private as the dataset's card asks.

    Raises:
        FootageError: no picture, or one that cannot be made private.
    """
    from cityforge.footage.probe import content_id, probe
    from cityforge.footage.stills import still_bgr, still_jpeg

    if probe(path).duration_s:
        raise FootageError(
            "a picture", found="a film", where=str(path), do="say --clip FILE --at SECONDS"
        )
    whole = _redacted(card, folder, still_bgr(path)) if card.privacy.redact else still_jpeg(path)
    return Taken(whole, None, content_id(path), path.name)


def taken_moment(card: Dataset, folder: Path, path: Path, at_s: float) -> Taken:
    """The first frame of a film at or behind a second, made private alike.

    Raises:
        FootageError: no film, it ends before, or its frame cannot be made private.
    """
    from cityforge.footage.probe import content_id
    from cityforge.footage.sample import sample_film
    from cityforge.footage.slots import Stretch
    from cityforge.footage.stills import encode_jpeg

    redaction = card.privacy.redaction if card.privacy.redact else None
    every = Sampling(policy="every", seconds=0)
    hold_s = redaction.hold_s if redaction else 0.0
    found = next(sample_film(path, every, Stretch(at_s), hold_s), None)
    if found is None:
        raise FootageError(f"a frame at {at_s:g} s", found="none: it ends before", where=str(path))
    around = found.before, found.after
    jpeg = _redacted(card, folder, found.bgr, *around) if redaction else encode_jpeg(found.bgr)
    source = f"{path.name} at {found.milliseconds / 1000:g} s"
    return Taken(jpeg, None, content_id(path), source)


def _redacted(
    card: Dataset, folder: Path, bgr: Any, before: Any = None, after: Any = None
) -> bytes:
    from cityforge.footage.redact import Redactor

    return Redactor(card.privacy, folder).redact(bgr, before, after).jpeg


def _refuse_outside(expected: Expected, jpeg: bytes) -> None:
    from cityforge.tasks.picture import picture_size

    width, height = picture_size(jpeg)
    for x1, y1, x2, y2 in expected.regions:
        if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
            raise InputError(
                f"a place within the picture ({width}×{height})",
                found=f"{x1:g},{y1:g},{x2:g},{y2:g}",
            )


def _write_beside(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)
