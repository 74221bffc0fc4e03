"""A pull brings what is on the server, no more and no less, and keeps what was there before."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from people import annotate, region, sign_up, studio_of
from pull_project import add_tasks, project_of, task_ids
from unreliable import between

from cityforge.errors import DataError, NameUnknown, ServiceError, TableError
from cityforge.labeling.history import read_state, states
from cityforge.labeling.stored import annotations_path
from cityforge.labeling.studio import reading
from cityforge.labeling.studio.client import NotThere, Studio
from cityforge.labeling.studio.merge import (
    PullState,
    Tally,
    merge,
    read_rows,
    read_states,
    write_rows,
)
from cityforge.labeling.studio.pull import Pulled, pull
from cityforge.tables import ANNOTATIONS, read_table

MOMENT = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
STATE = PullState("http://x", "made", MOMENT.isoformat(), {}, MOMENT.isoformat())


@pytest.fixture
def studio(label_studio: Any) -> Iterator[Studio]:
    with studio_of(label_studio.url, label_studio.token) as opened:
        yield opened


def stored(folder: Path) -> pa.Table:
    return read_table(ANNOTATIONS, annotations_path(folder))


def counts(pulled: Pulled) -> tuple[int, int, int, int]:
    return pulled.new, pulled.changed, pulled.removed, pulled.unchanged


def row(number: int, source: str = "label-studio:1", **about: Any) -> dict[str, Any]:
    return {
        "annotation_id": str(number), "task_id": number // 10, "frame_id": "f-0",
        "annotator": "a@b", "created_at": MOMENT, "updated_at": MOMENT, "lead_time_s": 1.0,
        "ground_truth": False, "skipped": False, "origin": "human", "model_version": None,
        "data": "{}", "result": "[]", "source": source, **about,
    }  # fmt: skip


OLD = [row(9), row(10), row(11), row(20)]


@pytest.mark.parametrize(
    ("now", "tasks", "numbers", "expected"),
    [
        (OLD, {0, 1, 2}, [9, 10, 11, 20], (0, 0, 0, 4)),
        ([], set(), [9, 10, 11, 20], (0, 0, 0, 4)),
        ([], {1}, [9, 20], (0, 0, 2, 2)),
        ([row(10, result="[1]"), row(12)], {1}, [9, 10, 12, 20], (1, 1, 1, 2)),
        ([row(3), row(100)], {0, 10}, [3, 10, 11, 20, 100], (2, 0, 1, 3)),
    ],
)
def test_rows_are_merged_by_number(
    now: list[dict[str, Any]], tasks: set[int], numbers: list[int], expected: tuple[int, ...]
) -> None:
    tally = Tally()
    others = [row(1, source="label-studio:0")], [row(2, source="label-studio:2")]
    before = [*others[0], *OLD, *others[1]]
    rows = list(merge(before, now, "label-studio:1", tasks.__contains__, tally))
    assert [rows[0], rows[-1]] == [*others[0], *others[1]]
    assert [int(each["annotation_id"]) for each in rows[1:-1]] == numbers
    assert (tally.new, tally.changed, tally.removed, tally.unchanged) == expected


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        ("a@b", None, "a@b"),
        ("a@b", "user 7", "a@b"),
        ("a@b", "c@d", "c@d"),
        (None, "user 7", "user 7"),
    ],
)
def test_who_made_an_annotation_stays_known(before: Any, now: Any, kept: str) -> None:
    old, new = row(9, annotator=before), row(9, annotator=now)
    (found,) = merge([old], [new], "label-studio:1", {0}.__contains__, Tally())
    assert found["annotator"] == kept


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b"PAR1 no"), "no Parquet"),
        (lambda path: write_rows([row(10), row(9)], {}, path), "annotation 9 behind 10"),
        (lambda path: write_rows([row(9), row(9)], {}, path), "annotation 9 behind 9"),
    ],
)
def test_a_table_that_pull_did_not_write_is_refused(
    tmp_path: Path, spoil: Callable[[Path], Any], said: str
) -> None:
    path = tmp_path / "annotations.parquet"
    spoil(path)
    with pytest.raises(TableError, match=said):
        list(read_rows(path))


def test_rows_and_state_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "annotations.parquet"
    rows = [row(9, result='["汽车"]', lead_time_s=None), row(10, frame_id=None, annotator=None)]
    write_rows(rows, {"label-studio:1": STATE}, path)
    assert list(read_rows(path)) == rows
    assert read_states(path) == {"label-studio:1": STATE}
    assert read_table(ANNOTATIONS, path).to_pylist() == rows


@pytest.mark.services
def test_what_changed_is_pulled_and_every_earlier_state_is_kept(
    label_studio: Any, studio: Studio, tmp_path: Path
) -> None:
    anna = sign_up(label_studio.url, label_studio.token, "anna")
    tables, digests = [], []
    with project_of(studio, 30) as project, studio_of(label_studio.url, anna.token) as annas:
        tasks = task_ids(studio, project)
        first = pull(studio, project, tmp_path)
        assert (first.annotations, first.full_because != "") == (0, True)
        made = [annotate(annas, each, [region(1, 2, 3, 4)])["id"] for each in tasks[:5]]
        steps: list[tuple[Callable[[], Any], tuple[int, int, int, int]]] = [
            (lambda: None, (5, 0, 0, 0)),
            (lambda: None, (0, 0, 0, 5)),
            (lambda: annotate(studio, tasks[1], [], was_cancelled=True), (1, 0, 0, 5)),
            (lambda: studio.change(f"api/annotations/{made[0]}/", {"result": []}), (0, 1, 0, 5)),
            (lambda: studio.remove(f"api/annotations/{made[1]}/"), (0, 0, 1, 5)),
            (lambda: annas.make(f"api/tasks/{tasks[9]}/drafts", {"result": []}), (0, 0, 0, 5)),
            (lambda: add_tasks(studio, project, range(30, 60)), (0, 0, 0, 5)),
        ]
        for act, expected in steps:
            act()
            before = annotations_path(tmp_path).read_bytes()
            pulled = pull(studio, project, tmp_path)
            assert (counts(pulled), pulled.full_because) == (expected, ""), len(tables)
            after = annotations_path(tmp_path).read_bytes()
            assert (after == before) == (sum(expected[:3]) == 0), len(tables)
            if after != before:
                tables.append(stored(tmp_path))
                digests.append(pulled.digest)
                assert pulled.kept == (digests[-2] if len(digests) > 1 else first.digest)
        assert (pulled.tasks, pulled.annotations, pulled.skipped, pulled.foreign) == (5, 5, 1, 0)
        assert set(stored(tmp_path)["annotator"].to_pylist()) == {anna.email, label_studio.user}
        whole = pull(studio, project, tmp_path, full=True)
        assert (counts(whole), annotations_path(tmp_path).read_bytes()) == ((0, 0, 0, 5), after)
    listed = [each.digest for each in states(tmp_path)]
    assert listed == [*reversed(digests), first.digest]
    for digest, table in zip(digests, tables, strict=True):
        assert read_state(tmp_path, "annotations", digest).equals(table)
        assert read_state(tmp_path, "annotations", digest[:9]).equals(table)
    with pytest.raises(NameUnknown):
        read_state(tmp_path, "annotations", "0" * 16)
    assert not [each for each in tmp_path.rglob(".*") if each.name != ".labels.lock"]


@pytest.mark.services
def test_a_history_file_that_was_changed_is_named(studio: Studio, tmp_path: Path) -> None:
    with project_of(studio, 1) as project:
        pull(studio, project, tmp_path)
        annotate(studio, task_ids(studio, project)[0], [])
        kept = pull(studio, project, tmp_path).kept
    path = tmp_path / "labels" / "history" / f"annotations-{kept}.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match="with the digest of its name"):
        states(tmp_path)


def act_on(studio: Studio, project: int, action: str, tasks: list[int], **more: Any) -> None:
    content = {"selectedItems": {"all": False, "included": tasks}, **more}
    studio.ask("api/dm/actions", content, id=action, project=project)


@pytest.mark.services
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("delete_tasks_annotations", (0, 0, 3, 7)),
        ("delete_tasks", (0, 0, 3, 7)),
        ("predictions_to_annotations", (3, 0, 0, 10)),
        ("propagate_annotations", (3, 0, 0, 10)),
        ("rename_labels", (0, 10, 0, 0)),
    ],
)
def test_what_is_done_to_many_tasks_at_once_is_pulled_too(
    studio: Studio, tmp_path: Path, action: str, expected: tuple[int, ...]
) -> None:
    annotated = {"annotations": [{"result": [region(1, 2, 3, 4)]}]}
    predicted = {"predictions": [{"model_version": "m@7", "result": [region(5, 6, 7, 8)]}]}
    with project_of(studio, 10, **annotated, **predicted) as project:
        tasks = task_ids(studio, project)
        pull(studio, project, tmp_path)
        more = {
            "source_annotation_id": stored(tmp_path)["annotation_id"][9].as_py(),
            "control_tag": "label", "old_label_name": "bus", "new_label_name": "汽车",
        }  # fmt: skip
        act_on(studio, project, action, tasks[:3], **more)
        pulled = pull(studio, project, tmp_path)
        assert counts(pulled) == expected
        there = {
            str(each["id"])
            for task in studio.get(f"api/projects/{project}/export", exportType="JSON")
            for each in task["annotations"]
        }
        rows = stored(tmp_path).to_pylist()
        assert {each["annotation_id"] for each in rows} == there and len(there) == len(rows)
        if action == "predictions_to_annotations":
            new = [each for each in rows if each["origin"] == "assisted"]
            assert [each["model_version"] for each in new] == ["m@7"] * 3
        if action == "delete_tasks":
            assert "10 annotations are here and 7 on the server" in pulled.full_because
        assert counts(pull(studio, project, tmp_path))[:3] == (0, 0, 0)


@pytest.mark.services
def test_a_deleted_account_stays_the_maker(
    label_studio: Any, studio: Studio, tmp_path: Path
) -> None:
    anna = sign_up(label_studio.url, label_studio.token, "anna")
    with project_of(studio, 1) as project:
        with studio_of(label_studio.url, anna.token) as annas:
            annotate(annas, task_ids(studio, project)[0], [])
        pull(studio, project, tmp_path)
        studio.remove(f"api/users/{anna.id}/")
        pulled = pull(studio, project, tmp_path, full=True)
        assert stored(tmp_path)["annotator"].to_pylist() == [anna.email]
        assert pulled.annotations == 1


@pytest.mark.services
def test_other_projects_keep_their_rows(studio: Studio, tmp_path: Path) -> None:
    annotated = [{"result": []}]
    with project_of(studio, 3, annotations=annotated) as one:
        pull(studio, one, tmp_path)
        rows = stored(tmp_path).to_pylist()
        with project_of(studio, 2, annotations=annotated) as two:
            assert counts(pull(studio, two, tmp_path)) == (2, 0, 0, 0)
            assert counts(pull(studio, one, tmp_path)) == (0, 0, 0, 3)
            of_one = [each for each in stored(tmp_path).to_pylist() if each in rows]
            assert of_one == rows and len(stored(tmp_path)) == 5
            assert set(read_states(annotations_path(tmp_path))) == {
                f"label-studio:{one}", f"label-studio:{two}",
            }  # fmt: skip


@pytest.mark.services
def test_a_project_that_took_anothers_number_is_refused_until_all_is_read(
    studio: Studio, tmp_path: Path
) -> None:
    with project_of(studio, 2, annotations=[{"result": []}]) as project:
        source, path = f"label-studio:{project}", annotations_path(tmp_path)
        pull(studio, project, tmp_path)
        state = replace(read_states(path)[source], made="2020-01-01T00:00:00Z")
        former = [row(10**6, source=source, task_id=10**6)]
        write_rows(former, {source: state}, path)
        before = path.read_bytes()
        with pytest.raises(DataError, match="another one, made at"):
            pull(studio, project, tmp_path)
        assert path.read_bytes() == before
        pulled = pull(studio, project, tmp_path, full=True)
        assert counts(pulled) == (2, 0, 1, 0)
        assert read_state(tmp_path, "annotations", pulled.kept).to_pylist() == former
        assert counts(pull(studio, project, tmp_path)) == (0, 0, 0, 2)


@pytest.mark.services
def test_a_deleted_project_leaves_the_table(studio: Studio, tmp_path: Path) -> None:
    with project_of(studio, 2, annotations=[{"result": []}]) as project:
        pull(studio, project, tmp_path)
    before = annotations_path(tmp_path).read_bytes()
    with pytest.raises(NotThere, match="it was deleted"):
        pull(studio, project, tmp_path)
    assert annotations_path(tmp_path).read_bytes() == before


@pytest.mark.services
@pytest.mark.parametrize(
    ("where", "what"),
    [("/export", b"[]"), ("/export", b"{}"), ("/api/tasks", b"{}"), ("/api/dm/project", b"<html>")],
)
def test_an_answer_that_hides_annotations_changes_nothing(
    label_studio: Any, studio: Studio, tmp_path: Path, where: str, what: bytes
) -> None:
    with (
        project_of(studio, 5, annotations=[{"result": []}]) as project,
        between(label_studio.url) as server,
        studio_of(server.url, label_studio.token) as weak,
    ):
        pull(studio, project, tmp_path)
        before = annotations_path(tmp_path).read_bytes()
        server.spoil = lambda path: what if where in path else None
        with pytest.raises(ServiceError) as caught:
            pull(weak, project, tmp_path, full=True)
        assert len(str(caught.value).splitlines()) == 1
        assert annotations_path(tmp_path).read_bytes() == before


@pytest.mark.services
def test_a_server_that_fails_in_the_middle_is_waited_for(
    label_studio: Any, studio: Studio, tmp_path: Path
) -> None:
    fails = iter(["500", "cut"] * 4)
    with (
        project_of(studio, 20, annotations=[{"result": []}]) as project,
        between(label_studio.url) as server,
        studio_of(server.url, label_studio.token) as weak,
    ):
        server.spoil = lambda path: next(fails, None) if len(server.asked) % 2 else None
        assert counts(pull(weak, project, tmp_path)) == (20, 0, 0, 0)
    assert next(fails, None) is None


@pytest.mark.services
def test_a_large_project_is_read_task_by_task(
    studio: Studio, tmp_path: Path, monkeypatch: Any
) -> None:
    with project_of(studio, 250, annotations=[{"result": [region(1, 2, 3, 4)]}]) as project:
        whole = pull(studio, project, tmp_path / "whole")
        monkeypatch.setattr(reading, "IN_ONE_EXPORT", 10)
        told: list[tuple[int, int]] = []
        parts = pull(studio, project, tmp_path / "parts", progress=lambda *at: told.append(at))
        assert counts(parts) == counts(whole) == (250, 0, 0, 0)
        assert stored(tmp_path / "parts").equals(stored(tmp_path / "whole"))
        assert told == [(100, 250), (200, 250)]


@pytest.mark.services
def test_two_pulls_at_once_are_one_after_the_other(
    label_studio: Any, studio: Studio, tmp_path: Path
) -> None:
    found: list[Pulled] = []

    def one() -> None:
        with studio_of(label_studio.url, label_studio.token) as own:
            found.append(pull(own, project, tmp_path))

    with project_of(studio, 50, annotations=[{"result": []}]) as project:
        threads = [threading.Thread(target=one) for _ in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert sorted(counts(each)[0] for each in found) == [0, 0, 50]
    assert {each.digest for each in found} == {found[0].digest}


@pytest.mark.services
def test_what_a_killed_pull_left_is_removed(studio: Studio, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    (labels / "history").mkdir(parents=True)
    left = [
        labels / ".annotations.parquet.123", labels / "history" / ".annotations-abc.parquet.9",
    ]  # fmt: skip
    for each in left:
        each.write_bytes(b"half")
    other = labels / ".labels.parquet.5"  # of a step that may be under way
    other.write_bytes(b"half")
    with project_of(studio, 1, annotations=[{"result": []}]) as project:
        pull(studio, project, tmp_path)
    assert [each.exists() for each in (*left, other)] == [False, False, True]


@pytest.mark.services
def test_names_that_hold_code_come_through_as_they_are(studio: Studio, tmp_path: Path) -> None:
    nasty = '<script>alert("1")</script>\n=1+1 ../../x 汽车\u0000'
    task = {"data": {"image": "/x", "frame_id": nasty, "camera": nasty}, "annotations": [
        {"result": [region(1, 2, 3, 4, name=nasty)]},
    ]}  # fmt: skip
    with project_of(studio) as project:
        studio.make(f"api/projects/{project}/import", [task])
        pull(studio, project, tmp_path)
    (found,) = stored(tmp_path).to_pylist()
    assert found["frame_id"] == json.loads(found["data"])["camera"] == nasty
    assert json.loads(found["result"])[0]["value"]["rectanglelabels"] == [nasty]
