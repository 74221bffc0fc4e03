"""Great Expectations over real tables: what is well passes, what is not is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cityforge.cards.dataset import Dataset
from cityforge.dataset.checks import Finding, check_tables, refuse
from cityforge.errors import CheckFailed
from cityforge.tables import FRAMES, LABELS, from_rows


def test_tables_that_meet_the_card_have_no_finding_and_data_docs(
    card: Dataset, scenes: Any, tmp_path: Path
) -> None:
    findings = check_tables(card, scenes.frames, scenes.labels, tmp_path / "checks")
    assert findings == []
    refuse(card, findings)
    record = json.loads((tmp_path / "checks" / "checks.json").read_text(encoding="utf-8"))
    assert record["frames"]["success"] is record["labels"]["success"] is True
    assert len(record["labels"]["results"]) == 9 + len(card.classes)
    assert "汽车" in json.dumps(record, ensure_ascii=False)
    index = next((tmp_path / "checks").rglob("index.html"))
    pages = list(index.parent.rglob("*.html"))
    assert len(pages) >= 5  # the index, two suites, two validations
    assert any("汽车" in page.read_text(encoding="utf-8") for page in pages)


def test_what_a_card_does_not_allow_is_found(
    make_card: Callable[..., Dataset], scenes: Any, tmp_path: Path
) -> None:
    checks = {
        "min_frames": 7, "min_boxes_per_class": 4, "min_box_px": 2, "max_rejected_share": 0.1,
    }  # fmt: skip
    rows = scenes.labels.to_pylist()
    rows[0]["class"] = "电车"
    rows[1]["x2"] = 161.0
    rows[2]["frame_id"] = "nowhere-0"
    card = make_card(checks=checks)
    findings = check_tables(card, scenes.frames, from_rows(rows, LABELS), tmp_path / "checks")
    found = {(each.check, each.found) for each in findings}
    assert ("frames.rows", "6") in found
    assert ("labels.class", "1 rows such as ['电车']") in found
    assert any(c == "labels.right_gap" and f == "1 rows such as [-1.0]" for c, f in found)
    few = [each for each in findings if each.check == "labels.rows"]
    assert [each.found for each in few] == ["3"]
    assert "bus" in few[0].expected
    assert len(findings) == 5  # these four, and the box without a frame
    with pytest.raises(CheckFailed, match=r"and 4 more.*cityforge dataset check tiny"):
        refuse(card, findings)


def test_frames_without_any_box_are_checked_too(
    make_card: Callable[..., Dataset], scenes: Any, tmp_path: Path
) -> None:
    rows = [
        {
            "label_id": "a", "frame_id": "f0-0", "task": "detection", "source": "x",
            "origin": "human",
        }
    ]  # fmt: skip
    doubled = from_rows(scenes.frames.to_pylist()[:1] * 2, FRAMES)
    findings = check_tables(make_card(), doubled, from_rows(rows, LABELS), tmp_path / "checks")
    assert {each.check for each in findings} == {"frames.frame_id", "labels.rows"}


def test_classes_of_frames_and_points_have_no_size(
    make_card: Callable[..., Dataset], scenes: Any, tmp_path: Path
) -> None:
    def row(number: int, task: str, **place: float) -> dict[str, Any]:
        return {
            "label_id": f"{task}{number}", "frame_id": f"f{number}-0", "task": task,
            "class": ("汽车", "bus")[number % 2], "source": "x", "origin": "human", **place,
        }  # fmt: skip

    rows = [row(number, "classification") for number in range(6)]
    rows += [row(number, "density", x1=9.0, y1=8.0, x2=9.0, y2=8.0) for number in range(6)]
    card = make_card()
    assert check_tables(card, scenes.frames, from_rows(rows, LABELS), tmp_path / "good") == []
    rows[0]["frame_id"] = "nowhere-0"
    rows[7] |= {"x1": 161.0, "x2": 161.0}
    findings = check_tables(card, scenes.frames, from_rows(rows, LABELS), tmp_path / "bad")
    assert [each.check for each in findings] == ["labels.right_gap"] * 2


def test_nothing_found_is_no_refusal(card: Dataset) -> None:
    refuse(card, [])
    with pytest.raises(CheckFailed, match=r"expected e, found f, in .*check c"):
        refuse(card, [Finding("c", "e", "f")])
