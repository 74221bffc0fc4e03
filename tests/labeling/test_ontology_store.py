"""Stored labels come into the card's terms; none is lost, and what is open waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.errors import CardError
from cityforge.labeling import ontology_store
from cityforge.labeling.ontology_store import (
    Brought,
    Moved,
    bring_up,
    read_undecided,
    undecided_path,
)
from cityforge.labeling.stored import labels_path, read_labels
from cityforge.tables import LABELS, from_rows, read_table, write_table

MakeCard = Callable[..., Dataset]
CAMERAS = {"f": "北门", "g": "harbour"}
SPLIT = {
    "kind": "split", "on": "2026-03-01", "old": ["vehicle"], "new": ["汽车", "bus"],
    "rules": [{"to": "bus", "cameras": ["harbour"]}],
}  # fmt: skip
RENAME = {"kind": "rename", "on": "2026-03-01", "old": ["auto"], "new": ["汽车"]}


def label(key: str, name: str, frame: str, source: str = "a.json") -> dict[str, Any]:
    return {
        "label_id": key, "frame_id": frame, "task": "detection", "class": name,
        "x1": 1.0, "y1": 2.0, "x2": 21.0, "y2": 12.0, "source": source, "origin": "imported",
    }  # fmt: skip


ROWS = [
    label("1", "auto", "f-0"),
    label("2", "vehicle", "f-0"),
    label("3", "vehicle", "g-0"),
    label("4", "auto", "f-1"),
]


def lay(folder: Path, rows: list[dict[str, Any]]) -> pa.Table:
    write_table(from_rows(rows, LABELS), LABELS, labels_path(folder))
    return read_labels(folder)


def classes(table: pa.Table) -> dict[str, str]:
    columns = table.select(["label_id", "class"]).to_pydict()
    return dict(zip(columns["label_id"], columns["class"], strict=True))


def history(folder: Path) -> list[pa.Table]:
    return [read_table(LABELS, path) for path in (folder / "labels/history").glob("*.parquet")]


@pytest.fixture
def card(make_card: MakeCard) -> Dataset:
    return make_card(ontology_changes=[SPLIT, RENAME])


def test_labels_are_brought_up_and_what_is_open_waits(card: Dataset, tmp_path: Path) -> None:
    before = lay(tmp_path, ROWS)
    found = bring_up(card, tmp_path, CAMERAS)
    assert found == Brought(
        [Moved("auto", "汽车", 2), Moved("vehicle", None, 1), Moved("vehicle", "bus", 1)],
        undecided_labels=2,
        undecided_frames=["f-0"],
    )
    assert classes(read_labels(tmp_path)) == {"3": "bus", "4": "汽车"}
    assert classes(read_undecided(tmp_path)) == {"1": "汽车", "2": "vehicle"}
    assert history(tmp_path) == [before]


def test_a_dry_run_stores_nothing(card: Dataset, tmp_path: Path) -> None:
    before = lay(tmp_path, ROWS)
    dry = bring_up(card, tmp_path, CAMERAS, store=False)
    assert read_labels(tmp_path) == before
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["labels.parquet"]
    assert dry == bring_up(card, tmp_path, CAMERAS)


def test_brought_up_twice_is_brought_up_once(card: Dataset, tmp_path: Path) -> None:
    lay(tmp_path, ROWS)
    bring_up(card, tmp_path, CAMERAS)
    files = {p: p.read_bytes() for p in (tmp_path / "labels").rglob("*") if p.is_file()}
    again = bring_up(card, tmp_path, CAMERAS)
    assert again.moved == [Moved("vehicle", None, 1)]
    assert again.undecided_frames == ["f-0"]
    assert {p: p.read_bytes() for p in (tmp_path / "labels").rglob("*") if p.is_file()} == files


def test_a_rule_that_comes_later_takes_up_what_waited(
    make_card: MakeCard, card: Dataset, tmp_path: Path
) -> None:
    lay(tmp_path, ROWS)
    bring_up(card, tmp_path, CAMERAS)
    wiser = {**SPLIT, "rules": [*SPLIT["rules"], {"to": "汽车", "min_aspect": 1.0}]}
    found = bring_up(make_card(ontology_changes=[wiser, RENAME]), tmp_path, CAMERAS)
    assert found == Brought([Moved("vehicle", "汽车", 1)], 0, [])
    assert classes(read_labels(tmp_path)) == {"1": "汽车", "2": "汽车", "3": "bus", "4": "汽车"}
    assert read_undecided(tmp_path).num_rows == 0


def test_people_are_not_asked_again_about_what_they_answered(card: Dataset, tmp_path: Path) -> None:
    lay(tmp_path, ROWS)
    bring_up(card, tmp_path, CAMERAS)
    lay(tmp_path, [*read_labels(tmp_path).to_pylist(), label("9", "bus", "f-0", "label-studio:1")])
    assert bring_up(card, tmp_path, CAMERAS).undecided_frames == []
    assert classes(read_labels(tmp_path)) == {"3": "bus", "4": "汽车", "9": "bus"}


@pytest.mark.parametrize("step", ["write_table", "replace_labels"])
@pytest.mark.parametrize("number", [1, 2])
def test_killed_at_any_step_the_next_run_ends_the_same(
    card: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        lay(folder, ROWS)
        old = label("8", "bus", "f-7")  # decided since, taken back on the way
        write_table(from_rows([old], LABELS), LABELS, undecided_path(folder))
    bring_up(card, whole, CAMERAS)
    real, calls = getattr(ontology_store, step), [0]

    def killed(*words: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            raise KeyboardInterrupt
        return real(*words)

    with monkeypatch.context() as patch:
        patch.setattr(ontology_store, step, killed)
        try:
            bring_up(card, cut, CAMERAS)
        except KeyboardInterrupt:
            kept = {**classes(read_labels(cut)), **classes(read_undecided(cut))}
            assert set(kept) == {"1", "2", "3", "4", "8"}
    bring_up(card, cut, CAMERAS)
    assert read_labels(cut) == read_labels(whole)
    assert read_undecided(cut) == read_undecided(whole)


def test_changes_that_cannot_be_meant_leave_the_labels(make_card: MakeCard, tmp_path: Path) -> None:
    before = lay(tmp_path, ROWS)
    wrong = make_card(ontology_changes=[{**RENAME, "new": ["tram"]}])
    with pytest.raises(CardError, match="found 'tram'"):
        bring_up(wrong, tmp_path, CAMERAS)
    assert read_labels(tmp_path) == before
