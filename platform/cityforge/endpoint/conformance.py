"""Pictures with the answers they got where a bundle was built, to be got again where it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cityforge.endpoint.shown import shown_picture
from cityforge.errors import PackageError
from cityforge.inference.runtime import Model, answer_of
from cityforge.tasks.picture import decode_and_fit

FOLDER, EXPECTED = "conformance", "expected.json"
# Another processor adds in another order: what may differ, and by how much.
MOST_SCORE, MOST_PX, MOST_COUNT, MOST_RAW = 1e-4, 0.05, 0.01, 1e-3
SEEN = ("min", "mean", "max")  # of each output of the network


class Expected(BaseModel):
    """What one picture was answered.

    `answer`: as an endpoint shows it, without marks. `raw`: least, mean and largest value of each
    output of the network, which tell two models apart where neither finds anything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Annotated[str, Field(pattern=r"^[a-z0-9_.]+$")]
    frame_id: str | None  # of the test split; none: drawn
    answer: dict[str, Any]
    raw: list[tuple[float, float, float]]


class Conformance(BaseModel):
    """`conformance/expected.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["cityforge.conformance/1"]
    runtime: str = Field(examples=["onnxruntime 1.31.1"])
    threshold: float  # of the package: what lies at it may be answered or not
    pictures: list[Expected] = Field(min_length=1)


def write_conformance(
    folder: Path, model: Model, pictures: Sequence[tuple[str, str | None, bytes]]
) -> Conformance:
    """Answer pictures, and write them with their answers into a folder.

    Args:
        pictures: file name, id of the stored frame where it is one, content.
    """
    import onnxruntime

    expected = []
    folder.mkdir(parents=True)
    for name, frame_id, data in pictures:
        (folder / name).write_bytes(data)
        answer, raw = _answered(model, name, data)
        expected.append(Expected(file=name, frame_id=frame_id, answer=answer, raw=raw))
    found = Conformance(
        format="cityforge.conformance/1",
        runtime=f"onnxruntime {onnxruntime.__version__}",
        threshold=model.about.score_threshold,
        pictures=expected,
    )
    text = json.dumps(found.model_dump(mode="json"), ensure_ascii=False, indent=1)
    (folder / EXPECTED).write_text(text + "\n", encoding="utf-8")
    return found


def read_conformance(folder: Path) -> Conformance:
    """Read what `write_conformance` wrote.

    Raises:
        PackageError: it is not there, or something else.
    """
    path = folder / EXPECTED
    try:
        return Conformance.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        found = str(error).splitlines()[0]
        raise PackageError("pictures with expected answers", found=found, where=str(path)) from None


def refuse_other_answers(folder: Path, model: Model) -> int:
    """Answer the pictures again; how many there were.

    Raises:
        PackageError: the first answer that is another one.
    """
    wanted = read_conformance(folder)
    for each in wanted.pictures:
        answer, raw = _answered(model, each.file, (folder / each.file).read_bytes())
        why = difference(each.answer, answer, wanted.threshold) or _apart(each.raw, raw)
        if why:
            raise PackageError(
                "the answer that was given where the bundle was built", found=why,
                where=str(folder / each.file),
                do="do not use it here: this machine computes otherwise, or the bundle is damaged",
            )  # fmt: skip
    return len(wanted.pictures)


def difference(expected: Mapping[str, Any], found: Mapping[str, Any], threshold: float) -> str:
    """How two answers to one picture differ, in words; empty when they are equal.

    Classes are equal, scores within 0.0001, edges within 0.05 pixel, counts within 0.01. What
    lies within 0.0001 of the threshold may be missing in either.
    """
    for name in ("width", "height"):
        if expected[name] != found[name]:
            return f"{name} {found[name]}, not {expected[name]}"
    if "counts" in expected:
        return _other_counts(expected["counts"], found.get("counts", []))
    kind = "boxes" if "boxes" in expected else "classes"
    left = list(found.get(kind, []))
    for each in expected[kind]:
        near = next((other for other in left if _same(each, other)), None)
        if near is not None:
            left.remove(near)
        elif each["score"] > threshold + MOST_SCORE:
            return f"no {_named(each)}"
    extra = [each for each in left if each["score"] > threshold + MOST_SCORE]
    return f"also {_named(extra[0])}" if extra else ""


def _other_counts(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> str:
    if [each["name"] for each in expected] != [each["name"] for each in found]:
        return "counts of other classes"
    for each, other in zip(expected, found, strict=True):
        if abs(each["count"] - other["count"]) > MOST_COUNT:
            return f"{other['count']} of {each['name']}, not {each['count']}"
    return ""


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if _class_of(one) != _class_of(other) or abs(one["score"] - other["score"]) > MOST_SCORE:
        return False
    edges = ("x1", "y1", "x2", "y2") if "x1" in one else ()
    return all(abs(one[each] - other[each]) <= MOST_PX for each in edges)


def _class_of(shown: Mapping[str, Any]) -> str:
    return str(shown.get("class_name", shown.get("name")))


def _named(shown: Mapping[str, Any]) -> str:
    where = ", ".join(str(shown[each]) for each in ("x1", "y1", "x2", "y2") if each in shown)
    return f"{_class_of(shown)} {shown['score']}" + (f" at ({where})" if where else "")


def _apart(expected: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> str:
    """How the network's outputs differ, by 0.001 of their value or of 1."""
    if np.shape(expected) != np.shape(found):
        return "a network with other outputs"
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        for name, before, now in zip(SEEN, one, other, strict=True):
            if not abs(before - now) <= MOST_RAW * max(1.0, abs(before)):
                return f"{name} {now:.5g} of the network's output {number}, not {before:.5g}"
    return ""


def _answered(
    model: Model, name: str, data: bytes
) -> tuple[dict[str, Any], list[tuple[float, float, float]]]:
    """The answer to a picture as an endpoint shows it, and what the network gave."""
    about = model.about
    fitted = decode_and_fit(data, about.input_width, about.input_height)
    raw = [output[0] for output in model.raw([fitted])]
    shown = shown_picture(about, name, answer_of(about, raw, fitted, None), [], False)
    answer = {key: value for key, value in shown.items() if key not in ("name", "outside")}
    seen = [tuple(round(float(getattr(each, by)()), 6) for by in SEEN) for each in raw]
    return answer, [(least, mean, most) for least, mean, most in seen]
