"""`cityforge label status`: every number worked out by hand, every name inert."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.progress import Progress, progress
from cityforge.labeling.settle import settle
from cityforge.labeling.status_sheet import render_status
from cityforge.labeling.stored import annotations_path
from cityforge.tables import ANNOTATIONS, FOOTAGE, FRAMES, from_rows, write_table

EVIL = "<script>alert(1)</script>\x1b[31m[bold]王"
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def drawn(cls: str, left: float) -> dict[str, Any]:
    """A box of 10 × 10 px on a frame of 100×100."""
    value = {"x": left, "y": 0, "width": 10, "height": 10, "rectanglelabels": [cls]}
    return {"type": "rectanglelabels", "value": value}


def frames(count: int) -> Any:
    return from_rows(
        [
            {
                "frame_id": f"f{number}-0", "footage_id": f"f{number}", "pts_s": 0.0, "shard": "s",
                "offset": 0, "bytes": 1, "width": 100, "height": 100, "phash": "0",
                "sharpness": 0.0, "brightness": 0.0, "contrast": 1.0, "lighting": "day",
                "faults": [], "redactions": [],
            }
            for number in range(count)
        ],
        FRAMES,
    )  # fmt: skip


def annotations(*said: tuple[str, str, list[Any], float | None, dict[str, Any]]) -> Any:
    return from_rows(
        [
            {
                "annotation_id": str(number), "task_id": number, "frame_id": frame_id,
                "annotator": who, "updated_at": NOW + timedelta(minutes=number),
                "lead_time_s": lead, "ground_truth": False, "skipped": False, "origin": "human",
                "data": "{}", "result": json.dumps(result), "source": "label-studio:1", **more,
            }
            for number, (frame_id, who, result, lead, more) in enumerate(said, start=1)
        ],
        ANNOTATIONS,
    )  # fmt: skip


SAID = annotations(
    ("f0-0", EVIL, [drawn("bus", 0), drawn("bus", 50)], 10.0, {}),
    ("f0-0", "li", [drawn("bus", 0), drawn("汽车", 50)], 30.0, {"origin": "assisted"}),
    ("f1-0", EVIL, [], 20.0, {}),
    ("f1-0", EVIL, [], 40.0, {}),  # made anew
    ("f2-0", "li", [], None, {"skipped": True}),
    ("f3-0", "li", [drawn("tram", 0), drawn("bus", 0)], 50.0, {"ground_truth": True}),
    ("f3-0", EVIL, [drawn("bus", 0)], None, {}),
)


@pytest.fixture
def found(tmp_path: Path, make_card: Callable[..., Any]) -> Progress:
    """Six frames, of which two people labelled some."""
    card = make_card(labeling={"annotators": 2})
    write_table(SAID, ANNOTATIONS, annotations_path(tmp_path))
    settle(card, tmp_path, FOOTAGE.empty_table(), frames(6))
    return progress(card, tmp_path, FOOTAGE.empty_table(), frames(6))


def test_frames_are_counted_once_each(found: Progress) -> None:
    assert vars(found.frames) == {
        "stored": 6, "pushed": None,
        "complete": 2,  # f0 by two people, f3 by a reviewer
        "started": 1,  # f1
        "skipped": 1, "imported": 0, "open": 2, "empty": 1, "disputed": 0,
    }  # fmt: skip
    assert (found.annotations, found.superseded) == (7, 1)


def test_speed_is_of_lead_time(found: Progress) -> None:
    evil, li = found.annotators
    assert (evil.annotator, evil.annotations, evil.skipped, evil.assisted) == (EVIL, 4, 0, 0)
    assert evil.median_lead_time_s == 20
    assert evil.per_hour == pytest.approx(3600 * 3 / 70)
    assert evil.hours == pytest.approx(70 / 3600)
    assert (li.annotations, li.skipped, li.assisted, li.median_lead_time_s) == (3, 1, 1, 40)
    # f1 lacks one annotation, f4 and f5 two each; median of 10, 30, 40, 50 (20 was superseded)
    assert found.hours_left == pytest.approx(5 * 35 / 3600)


def test_agreement_and_scores(found: Progress) -> None:
    (pair,) = found.agreement.pairs
    # f0: 2 and 2 boxes, one matched with its class; f3: 1 and 1, one matched
    assert (pair.one, pair.other, pair.frames) == (EVIL, "li", 2)
    assert pair.f1 == pytest.approx(2 * 2 / 6)
    assert [vars(each) for each in found.agreement.confusions] == [
        {"one": "汽车", "other": "bus", "count": 1}
    ]
    assert [(each.annotator, each.frames, each.f1) for each in found.gold] == [(EVIL, 1, 1.0)]


def test_labels_and_reasons_are_counted(found: Progress) -> None:
    # f0: both boxes matched; the second is a 汽车, as the newest says
    assert found.boxes == {"汽车": 1, "bus": 2}
    assert found.rejected == {
        "a class that the card does not name": 1,
        "superseded by the same person's later one": 1,
    }


def test_frames_with_imported_labels_are_not_left_to_do(
    tmp_path: Path, make_card: Callable[..., Any]
) -> None:
    from cityforge.labeling.formats.rows import LabelFile, LabelledImage
    from cityforge.labeling.intake import take_in

    card = make_card()
    write_table(SAID.slice(0, 1), ANNOTATIONS, annotations_path(tmp_path))
    labels = LabelFile(source="x", images=[LabelledImage(name=f"f{n}-0.jpg") for n in (0, 1)])
    take_in(card, tmp_path, labels, FOOTAGE.empty_table(), frames(4))
    got = progress(card, tmp_path, FOOTAGE.empty_table(), frames(4)).frames
    assert (got.complete, got.imported, got.open) == (1, 1, 2)
    got = progress(card, tmp_path, FOOTAGE.empty_table(), frames(4), pushed=2).frames
    assert (got.pushed, got.complete, got.open) == (2, 1, 1)


def test_a_reviewed_frame_needs_nobody_else(tmp_path: Path, make_card: Callable[..., Any]) -> None:
    card = make_card(labeling={"annotators": 3})
    said = annotations(("f0-0", "boss", [drawn("bus", 0)], 60.0, {"ground_truth": True}))
    write_table(said, ANNOTATIONS, annotations_path(tmp_path))
    got = progress(card, tmp_path, FOOTAGE.empty_table(), frames(2))
    assert got.hours_left == pytest.approx(3 * 60 / 3600)  # f1 alone


def test_the_time_of_a_film_is_shared_by_its_frames(
    tmp_path: Path, make_card: Callable[..., Any]
) -> None:
    card = make_card(labeling={"kind": "video"})
    data = json.dumps({"fps": 2, "frame_ids": ["f0-0", "f1-0"]})
    said = annotations((None, "li", [], 60.0, {"data": data}))
    write_table(said, ANNOTATIONS, annotations_path(tmp_path))
    got = progress(card, tmp_path, FOOTAGE.empty_table(), frames(5))
    assert (got.frames.complete, got.frames.empty, got.frames.open) == (2, 2, 3)
    assert got.hours_left == pytest.approx(3 * 30 / 3600)


def test_names_do_nothing_in_the_page(found: Progress) -> None:
    page = render_status(found, NOW)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3
    assert "汽车" in page and "小 · Tiny" in page
    assert "0.667" in page  # F1 of the pair


def test_nothing_pulled_says_what_to_do(tmp_path: Path, make_card: Callable[..., Any]) -> None:
    with pytest.raises(LabelError, match="cityforge label pull tiny"):
        progress(make_card(), tmp_path, FOOTAGE.empty_table(), frames(1))


def labelled_project(root: Path) -> None:
    """Frames of unknown footage are barred, so the catalogue names them."""
    name = "demo_crossing"
    folder = root / "datasets" / name
    rows = [
        {
            "footage_id": f"f{number}", "path": "p", "name": f"{number}.jpg", "camera": "c",
            "duration_s": 0.0, "width": 100, "height": 100, "codec": "x", "frames": 1,
            "errors": 0, "lawful_basis": "x",
        }
        for number in range(6)
    ]  # fmt: skip
    write_table(from_rows(rows, FOOTAGE), FOOTAGE, folder / "footage" / "footage.parquet")
    write_table(frames(6), FRAMES, folder / "frames" / "frames.parquet")
    write_table(SAID, ANNOTATIONS, annotations_path(folder))


def test_the_command_says_it_in_words_json_and_as_a_page(
    root: Path, cityforge: Callable[..., Any]
) -> None:
    labelled_project(root)
    said = cityforge("label", "status", "demo_crossing", FORCE_COLOR="1", TERM="xterm-256color")
    assert said.code == 0, said.err
    assert "6 frames stored" in said.out
    assert "\x1b[31m" not in said.out and "\\x1b[31m[bold]王" in said.out
    page = root / "status.html"
    told = cityforge("label", "status", "demo_crossing", "--json", "--html", str(page))
    assert told.code == 0, told.err
    assert json.loads(told.out)["frames"]["stored"] == 6
    assert "<script" not in page.read_text(encoding="utf-8")
    shutil.rmtree(root / "datasets" / "demo_crossing" / "labels")
    missing = cityforge("label", "status", "demo_crossing").one_line()
    assert "cityforge label pull demo_crossing" in missing
