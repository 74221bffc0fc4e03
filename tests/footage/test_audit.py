"""An audit samples stored frames, and tells what is in the open from what was covered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from cityforge.cards.dataset import OnnxDetector, Privacy
from cityforge.cli.footage_audit import audit as audit_command
from cityforge.cli.footage_audit import second_detectors
from cityforge.errors import CityforgeError, DataError, InputError
from cityforge.footage.audit import audit, covered_share, sample
from cityforge.footage.detectors import CascadeFinder, Find
from cityforge.footage.redact import Redactor
from cityforge.footage.shards import FrameStore, read_shard, write_shard
from cityforge.footage.stills import encode_jpeg
from cityforge.tables import FOOTAGE, FRAMES, from_rows, write_table

BOX = (20.0, 30.0, 60.0, 50.0)  # where `Bright` finds what is bright there
CARD = """\
name: streets
title: 街道 <b>& Streets
classes: [{name: 汽车, definition: A car.}]
cameras: [{name: 北门, site: North gate}]
privacy:
  grade: personal
  lawful_basis: made here
  redact: REDACT
  retention_days: 30
licence: Apache-2.0
sampling: {policy: every, seconds: 0.5}
checks: {min_frames: 1, min_boxes_per_class: 1, min_box_px: 2, max_rejected_share: 0.1}
"""


@dataclass(frozen=True)
class Bright:
    """Finds one face where a picture is bright."""

    kind: str = "face"

    def find(self, bgr: np.ndarray[Any, Any]) -> list[Find]:
        bright = bgr[40, 40].mean() > 128
        return [Find(self.kind, *BOX, 0.75, "detected")] if bright else []


def stored(folder: Path, jpegs: list[bytes], regions: dict[int, list[Find]]) -> pa.Table:
    """A shard and its table; `regions` are what redaction covered, by number of the frame."""
    names = [f"{number:016d}-0" for number in range(len(jpegs))]
    write_shard(folder / "a.tar", [(f"{n}.jpg", j) for n, j in zip(names, jpegs, strict=True)])
    rows = [
        {
            "frame_id": each.name.removesuffix(".jpg"), "footage_id": each.name[:16], "pts_s": 0.0,
            "shard": "a.tar", "offset": each.offset, "bytes": len(each.data), "width": 100,
            "height": 80, "phash": "0" * 16, "sharpness": 1.0, "brightness": 1.0, "contrast": 1.0,
            "lighting": "day", "faults": [],
            "redactions": [vars(find) for find in regions.get(number, [])],
        }
        for number, each in enumerate(read_shard(folder / "a.tar"))
    ]  # fmt: skip
    table = from_rows(rows, FRAMES)
    write_table(table, FRAMES, folder / "frames.parquet")
    return table


def grey(level: int) -> bytes:
    return encode_jpeg(np.full((80, 100, 3), level, np.uint8))


def test_an_audit_counts_what_is_found_and_what_of_it_is_in_the_open(tmp_path: Path) -> None:
    """Frames 1, 3 and 4 are bright; 3 was covered there, 4 elsewhere."""
    there = Find("face", 15.0, 30.0, 55.0, 60.0, 0.9, "detected")
    elsewhere = Find("face", 70.0, 0.0, 90.0, 20.0, 0.9, "detected")
    jpegs = [grey(level) for level in (20, 200, 20, 200, 200)]
    table = stored(tmp_path, jpegs, {2: [there], 3: [there], 4: [elsewhere]})
    told: list[tuple[int, int]] = []
    result = audit(
        table, FrameStore(tmp_path, table), [Bright(), Bright("plate")], 99, 0,
        lambda *done: told.append(done),
    )  # fmt: skip
    assert (result.frames, result.stored, result.frames_with_a_find) == (5, 5, 3)
    assert result.counts() == {"face": 3, "plate": 3}
    assert result.counts(in_the_open=True) == {"face": 2, "plate": 2}
    faces = [each for each in result.remainders if each.find.kind == "face"]
    assert [each.frame_id for each in faces] == [f"{n:016d}-0" for n in (1, 3, 4)]
    assert [each.covered for each in faces] == [0, 35 / 40, 0]
    assert faces[0].to_row() == {
        "frame_id": "0000000000000001-0", "kind": "face", "score": 0.75,
        "xyxy": [20, 30, 60, 50], "covered": 0,
    }  # fmt: skip
    assert told == [(done, 5) for done in range(1, 6)]


def test_kinds_of_which_nothing_is_found_are_counted_too(tmp_path: Path) -> None:
    table = stored(tmp_path, [grey(10)], {})
    assert audit(table, FrameStore(tmp_path, table), [Bright()], 1, 0).counts() == {"face": 0}


def test_a_sample_is_seeded_sorted_and_without_doubles() -> None:
    names = [f"{number:03d}" for number in range(500)]
    one = sample(names, 50, 0)
    assert one == sample(names, 50, 0) == sorted(set(one))
    assert len(one) == 50
    assert one != sample(names, 50, 1)
    assert sample(names[:7], 50, 0) == names[:7]
    counts = sum(np.isin(names, sample(names, 50, seed)) for seed in range(200))
    assert 2 <= counts.min() <= 20 <= counts.max() <= 45  # 200 draws with a chance of 1 in 10


def test_the_order_of_the_table_does_not_change_the_sample(tmp_path: Path) -> None:
    table = stored(tmp_path, [grey(200)] * 9, {})
    turned = table.take(list(range(9))[::-1])
    first, second = (
        audit(each, FrameStore(tmp_path, each), [Bright()], 4, 3) for each in (table, turned)
    )
    assert first == second
    assert first.frames == len(first.remainders) == 4


# xyxy of regions, and the share of (0, 0, 10, 10) that they hold together
SHARES = [
    ([], 0.0),
    ([(0, 0, 10, 10)], 1.0),
    ([(-5, -5, 5, 20)], 0.5),
    ([(20, 20, 30, 30)], 0.0),
    ([(0, 0, 5, 10), (0, 0, 5, 10)], 0.5),
    ([(0, 0, 5, 10), (5, 5, 10, 10)], 0.75),
    ([(-9, -9, -1, -1)], 0.0),
]


@pytest.mark.parametrize(("regions", "share"), SHARES)
def test_the_share_of_a_find_that_was_covered(
    regions: list[tuple[int, int, int, int]], share: float
) -> None:
    find = Find("face", 0.0, 0.0, 10.0, 10.0, 0.9, "detected")
    rows = [dict(zip(("x1", "y1", "x2", "y2"), each, strict=True)) for each in regions]
    assert covered_share(find, rows) == share


def test_no_frames_and_a_broken_frame_are_named(tmp_path: Path) -> None:
    table = stored(tmp_path, [b"no picture"], {})
    with pytest.raises(DataError, match="a stored JPEG, found 10 other bytes, in 0000000000000000"):
        audit(table, FrameStore(tmp_path, table), [Bright()], 5, 0)
    with pytest.raises(DataError, match="stored frames, found none"):
        audit(table.slice(0, 0), FrameStore(tmp_path, table), [Bright()], 5, 0)


def privacy(redact: list[str], **detectors: OnnxDetector) -> Privacy:
    given = {kind: each.model_dump() for kind, each in detectors.items()}
    redaction = {"method": "fill", "padding": 0.1, "hold_s": 0, "detectors": given}
    return Privacy.model_validate(
        {
            "grade": "personal", "lawful_basis": "a test", "redact": redact, "retention_days": 1,
            "redaction": redaction if redact else None,
        }
    )  # fmt: skip


def described(path: Path) -> OnnxDetector:
    return OnnxDetector(
        path=str(path), sha256=sha256(path.read_bytes()).hexdigest(), width=320, height=240,
        layout="scores_boxes", mean=127, divide_by=128, colour="rgb", score=0.5, tiles=1,
    )  # fmt: skip


def test_the_second_detector_is_another_one_than_the_first(tmp_path: Path) -> None:
    path = tmp_path / "first.onnx"
    path.write_text("a network")
    by_network = privacy(["face"], face=described(path))
    assert [type(each) for each in second_detectors(by_network, ["face"], None)] == [CascadeFinder]
    assert len(second_detectors(privacy([]), ["face", "plate"], None)) == 2
    with pytest.raises(InputError, match=r"cascades, which redacted every plate: --kind plate --"):
        second_detectors(privacy(["face", "plate"], face=described(path)), ["face", "plate"], None)
    with pytest.raises(InputError, match=r"found the one that redacted, in .*first.onnx"):
        second_detectors(by_network, ["face"], described(path))
    with pytest.raises(InputError, match="one kind with --detector, found face and plate"):
        second_detectors(by_network, ["face", "plate"], described(path))


@pytest.mark.real
def test_a_network_is_a_second_detector_to_the_cascades(real_data: Callable[[str], Path]) -> None:
    import cv2

    folder = real_data("face_detector")
    given = described(folder / "version-RFB-320.onnx")
    (finder,) = second_detectors(privacy(["face"]), ["face"], given)
    photo = cv2.imread(str(folder / "10.jpg"))
    assert len(finder.find(photo)) >= 15


@dataclass(frozen=True)
class Said:
    """What the command said."""

    out: str
    err: str
    error: BaseException | None


def catalogue(folder: Path, retain_until: dict[int, datetime]) -> None:
    """Two films, for the two frames that are stored; each kept for good unless it is said."""
    rows: list[dict[str, object]] = [
        {
            "footage_id": f"{number:016d}", "path": f"footage/{number}.mp4", "name": f"{number}",
            "camera": "北门", "duration_s": 1.0, "fps": 25.0, "width": 100, "height": 80,
            "codec": "h264", "frames": 25, "errors": 0, "lawful_basis": "made here",
            "retain_until": retain_until.get(number),
        }
        for number in range(2)
    ]  # fmt: skip
    write_table(from_rows(rows, FOOTAGE), FOOTAGE, folder / "footage" / "footage.parquet")


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Said]:
    """`cityforge footage audit streets` in a project with two stored frames, one with a plate."""
    app = typer.Typer()
    app.command()(audit_command)
    folder = tmp_path / "datasets" / "streets"
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    picture = plate_picture()
    hidden = Redactor(privacy(["plate"]), folder).redact(picture)
    stored(folder / "frames", [encode_jpeg(picture), hidden.jpeg], {1: hidden.finds})
    catalogue(folder, {})

    def run(*words: str, redact: str = "[]") -> Said:
        (folder / "dataset.yaml").write_text(CARD.replace("REDACT", redact), encoding="utf-8")
        done = CliRunner().invoke(app, ["streets", *words], obj=tmp_path)
        return Said(done.stdout, done.stderr, done.exception)

    return run


def plate_picture() -> np.ndarray[Any, Any]:
    import cv2

    picture = np.random.default_rng(0).normal(60, 8, (270, 480, 3)).clip(0, 255).astype(np.uint8)
    cv2.rectangle(picture, (160, 110), (320, 145), (245, 245, 245), -1)
    cv2.rectangle(picture, (160, 110), (320, 145), (10, 10, 10), 2)
    place, font = (172, 136), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, "A 123 BC 77", place, font, 0.75, (10, 10, 10), 2, cv2.LINE_AA)
    return picture


def test_the_command_says_what_is_left_and_draws_it(
    command: Callable[..., Said], tmp_path: Path
) -> None:
    said = command("--kind", "plate", "--sheet", str(tmp_path / "sheet.html"))
    assert said.error is None
    first, second = said.out.splitlines()
    assert first == (
        "2 of 2 stored frames looked at by OpenCV's cascades: plate 1 (1 in the open), in 1 of them"
    )
    assert second.endswith("keep it where the originals are")
    assert said.err == "audit: 2 of 2 frames\n"
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "街道 &lt;b&gt;&amp; Streets" in page
    assert page.count("data:image/jpeg;base64,") == 2  # the frame, and the plate cut out of it
    assert "http" not in page
    assert "0000000000000000-0" in page
    assert "0000000000000001-0" not in page


def test_the_command_answers_json(command: Callable[..., Said]) -> None:
    facts = json.loads(command("--kind", "plate", "--json").out)
    found = facts.pop("found")
    assert facts == {
        "frames": 2, "stored": 2, "seed": 0, "by": ["OpenCV's cascades"], "frames_with_a_find": 1,
        "finds": {"plate": 1}, "in_the_open": {"plate": 1},
    }  # fmt: skip
    x1, y1, x2, y2 = found[0]["xyxy"]
    assert x1 < 200 < 280 < x2
    assert y1 < 120 < 135 < y2


def test_the_command_looks_for_faces_where_the_card_redacts_nothing(
    command: Callable[..., Said],
) -> None:
    assert ": face 0 (0 in the open), in 0 of them" in command().out
    assert "1 of 2 stored frames" in command("--frames", "1").out


def test_the_command_looks_at_no_expired_footage(
    command: Callable[..., Said], tmp_path: Path
) -> None:
    ended = datetime.now(UTC) - timedelta(seconds=1)
    catalogue(tmp_path / "datasets" / "streets", {0: ended})
    said = command("--kind", "plate", "--json")
    facts = json.loads(said.out)
    assert (facts["frames"], facts["stored"], facts["finds"]) == (1, 1, {"plate": 0})
    assert said.err.splitlines()[0] == "1 frames of 1 withdrawn, expired or unknown files left out"


REFUSED = {
    "the card's own cascades": (["--kind", "plate"], "cascades, which redacted every plate"),
    "what the card redacts": ([], "cascades, which redacted every plate"),
    "no such file": (["--kind", "plate", "--detector", "gone.onnx"], "an ONNX file, found no file"),
    "no such score": (
        ["--kind", "face", "--detector", __file__, "--score", "7"], "options of --detector",
    ),
    "no network": (["--kind", "face", "--detector", __file__], "an ONNX model in one file"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_the_command_refuses(command: Callable[..., Said], name: str) -> None:
    words, expected = REFUSED[name]
    redact = "[plate]\n  redaction: {method: fill, padding: 0.1, hold_s: 0}"
    error = command(*words, redact=redact).error
    assert isinstance(error, CityforgeError)
    assert expected in str(error)
    assert len(str(error).splitlines()) == 1
