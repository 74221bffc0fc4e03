"""What is read from a real server: every annotation whole, with who made it and how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from people import annotate, region, sign_up, studio_of
from pull_project import add_tasks, project_of, task_ids
from unreliable import Between, between

from cityforge.errors import ServiceError
from cityforge.labeling.studio import export
from cityforge.labeling.studio.annotation_rows import annotation_row, canonical
from cityforge.labeling.studio.client import NotThere, Studio

MANUAL, KEPT, MOVED = (region(1, 2, 3, 4, origin=each) for each in (
    "manual", "prediction", "prediction-changed"
))  # fmt: skip


@pytest.fixture
def studio(label_studio: Any) -> Iterator[Studio]:
    with studio_of(label_studio.url, label_studio.token) as opened:
        yield opened


def rows_of(studio: Studio, project: int, *tasks: int) -> dict[str, dict[str, Any]]:
    people = export.read_people(studio)
    rows = export.read_annotations(studio, project, people, tasks)
    return {row["annotation_id"]: row for row in rows}


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({}, {"origin": "human", "model_version": None, "parent": None}),
        # a prediction that was only shown says nothing
        ({"prediction": {"id": 3, "model_version": "m@3"}}, {"origin": "human"}),
        (
            {"result": [MANUAL, MOVED], "prediction": {"id": 3, "model_version": "m@3"}},
            {"origin": "assisted", "model_version": "m@3", "parent": None},
        ),
        (
            {"parent_prediction": 3, "prediction": {"id": 3, "model_version": "m@3"}},
            {"origin": "assisted", "model_version": "m@3", "parent": None},
        ),
        # made from another prediction than the one that the project showed
        (
            {"parent_prediction": 2, "prediction": {"id": 3, "model_version": "m@3"}},
            {"origin": "assisted", "model_version": None, "parent": 2},
        ),
        ({"result": [KEPT]}, {"origin": "assisted", "model_version": None, "parent": None}),
        ({"completed_by": 8}, {"annotator": "user 8"}),
        ({"completed_by": None}, {"annotator": None}),
        ({"completed_by": {"id": 7}}, {"annotator": "a@b"}),
        ({"was_cancelled": True, "ground_truth": True}, {"skipped": True, "ground_truth": True}),
        ({"lead_time": Decimal("1.5")}, {"lead_time_s": 1.5}),
        ({"lead_time": None}, {"lead_time_s": None}),
        ({"result": None}, {"result": "null", "origin": "human"}),
    ],
)
def test_an_annotation_becomes_a_row(about: dict[str, Any], expected: dict[str, Any]) -> None:
    moment = "2026-01-02T03:04:05.000006Z"
    annotation = {
        "id": 5, "completed_by": 7, "result": [MANUAL], "created_at": moment,
        "updated_at": moment, "parent_prediction": None, "prediction": {}, **about,
    }  # fmt: skip
    task = {"id": 9, "data": {"frame_id": "f-0"}, "updated_at": moment}
    row = annotation_row(annotation, task, {7: "a@b"}, "label-studio:1")
    whole = {"annotation_id": "5", "task_id": 9, "frame_id": "f-0", **expected}
    assert {key: row[key] for key in whole} == whole
    assert row["updated_at"] == "2026-01-02T03:04:05.000006+00:00"


@pytest.mark.parametrize("data", [{}, {"frame_id": 7}, {"frame_ids": ["a"]}, ["frame_id"], None])
def test_a_task_that_names_no_frame_has_none(data: Any) -> None:
    moment = "2026-01-02T03:04:05Z"
    annotation = {"id": 5, "result": [], "created_at": moment, "updated_at": moment}
    row = annotation_row(annotation, {"id": 9, "data": data, "updated_at": moment}, {}, "s")
    assert row["frame_id"] is None and json.loads(row["data"]) == data


def test_canonical_json_keeps_every_number() -> None:
    value = {"b": Decimal("60.636352235224194"), "a": 10**30, "c": Decimal("1e400"), "d": 0.1}
    assert canonical(value) == (
        '{"a":1000000000000000000000000000000,"b":60.636352235224194,"c":"1E+400","d":0.1}'
    )


@pytest.mark.services
def test_every_annotation_comes_whole_and_drafts_do_not(label_studio: Any, studio: Studio) -> None:
    drawn = [region(60.636352235224194, 33.6457264664676, 5.178335005859267, 0.1)]
    predicted = {"model_version": "模型@3", "score": 0.5, "result": drawn}
    anna = sign_up(label_studio.url, label_studio.token, "anna")
    with project_of(studio, 4, predictions=[predicted]) as project:
        foreign = {"data": {"image": "/x.jpg", "number": 10**25}, "annotations": [{"result": []}]}
        studio.make(f"api/projects/{project}/import", [foreign])
        first, second, third, fourth, other = task_ids(studio, project)
        parent = studio.get("api/predictions", task=first)[0]["id"]
        with studio_of(label_studio.url, anna.token) as annas:
            mine = annotate(annas, first, drawn)
            made_from = annotate(annas, second, drawn, parent_prediction=parent)
            skipped = annotate(annas, third, [], was_cancelled=True, ground_truth=True)
            annas.make(f"api/tasks/{fourth}/drafts", {"result": drawn, "lead_time": 1})
        rows = rows_of(studio, project)
        assert set(rows) >= {str(each["id"]) for each in (mine, made_from, skipped)}
        assert {row["task_id"] for row in rows.values()} == {first, second, third, other}
        row = rows[str(mine["id"])]
        assert row["result"] == canonical(drawn)
        assert (row["annotator"], row["lead_time_s"], row["origin"]) == (anna.email, 4.25, "human")
        assert row["frame_id"] == "0000000000000000-0" and not row["skipped"]
        assert rows[str(made_from["id"])]["parent"] == parent
        assert (rows[str(skipped["id"])]["skipped"], rows[str(skipped["id"])]["ground_truth"]) == (
            True, True,
        )  # fmt: skip
        assert [row["frame_id"] for row in rows.values() if row["task_id"] == other] == [None]
        assert set(rows_of(studio, project, second, fourth)) == {str(made_from["id"])}


@pytest.mark.services
def test_model_versions_are_found_while_their_predictions_are_there(studio: Studio) -> None:
    with project_of(studio, 3, predictions=[{"model_version": "m@1", "result": []}]) as project:
        tasks = task_ids(studio, project)
        first, second, gone = (studio.get("api/predictions", task=each)[0]["id"] for each in tasks)
        # two versions on one task: only the prediction itself can say
        studio.make("api/predictions", {"task": tasks[1], "model_version": "m@2", "result": []})
        studio.remove(f"api/predictions/{gone}")
        parents = dict(zip((first, second, gone), tasks, strict=True))
        assert export.read_versions(studio, project, parents) == {first: "m@1", second: "m@1"}


@pytest.mark.services
def test_changes_are_listed_from_id_to_id(studio: Studio, monkeypatch: Any) -> None:
    monkeypatch.setattr(export, "PAGE", 3)
    with project_of(studio, 7) as project:
        tasks = task_ids(studio, project)
        before = export.newest_change(studio, project)
        assert before is not None and abs(before - datetime.now(UTC)).total_seconds() < 60
        every = list(export.changed_since(studio, project, export.EVER))
        assert [each.task_id for each in every] == tasks
        assert list(export.changed_since(studio, project, before)) == []
        annotate(studio, tasks[4], [])
        made = annotate(studio, tasks[1], [], was_cancelled=True)
        changed = list(export.changed_since(studio, project, before))
        assert [(each.task_id, each.annotations) for each in changed] == [
            (tasks[1], 1), (tasks[4], 1),
        ]  # fmt: skip
        newest = export.newest_change(studio, project)
        studio.remove(f"api/annotations/{made['id']}")
        (change,) = export.changed_since(studio, project, newest)
        assert (change.task_id, change.annotations) == (tasks[1], 0)
        assert export.read_standing(studio, project).annotations == 1
    with pytest.raises(NotThere, match="it was deleted"):
        export.read_standing(studio, project)


@pytest.fixture
def spoilt(label_studio: Any) -> Iterator[Between]:
    with between(label_studio.url) as server:
        yield server


def times(count: int, how: str | bytes, where: str = "/export") -> Any:
    """Spoil the first `count` answers of a path."""
    seen = [0]

    def spoil(path: str) -> str | bytes | None:
        if where not in path:
            return None
        seen[0] += 1
        return how if seen[0] <= count else None

    return spoil


@pytest.mark.services
@pytest.mark.parametrize("how", ["500", "cut", b"<html>wait</html>", b'[{"id": 1, "ann', b""])
def test_an_answer_that_fails_twice_is_asked_for_again(
    label_studio: Any, studio: Studio, spoilt: Between, how: str | bytes
) -> None:
    annotated = [{"result": [region(1, 2, 3, 4)]}]
    with project_of(studio, 3, annotations=annotated) as project:
        spoilt.spoil = times(2, how)
        with studio_of(spoilt.url, label_studio.token) as weak:
            rows = export.patiently(weak, lambda: rows_of(weak, project))
        assert len(rows) == 3
        assert sum("/export" in each for each in spoilt.asked) == 3


@pytest.mark.services
@pytest.mark.parametrize(
    ("how", "where", "said"),
    [
        (b"<html>log in</html>", "/export", "an answer to api/projects/"),
        (b"[{}]", "/export", "KeyError: 'annotations'"),
        (b"[1]", "/export", "TypeError"),
        (b"<html>", "/api/users", "JSON from Label Studio, found <html>"),
        (b'[{"id": 1}]', "/api/users", "KeyError: 'email'"),
    ],
)
def test_a_broken_answer_is_given_up_after_three(
    label_studio: Any, studio: Studio, spoilt: Between, how: bytes, where: str, said: str
) -> None:
    with project_of(studio, 1, annotations=[{"result": []}]) as project:
        spoilt.spoil = times(9, how, where)
        with (
            studio_of(spoilt.url, label_studio.token) as weak,
            pytest.raises(ServiceError, match=said) as caught,
        ):
            people = export.read_people(weak)
            export.patiently(weak, lambda: list(export.read_annotations(weak, project, people)))
        assert str(caught.value).count("\n") == 0
        assert sum(where in each for each in spoilt.asked) <= 3


@pytest.mark.services
def test_a_wrong_token_is_said_at_once_and_never_printed(label_studio: Any) -> None:
    wrong = "f" * 40
    with studio_of(label_studio.url, wrong) as stranger, pytest.raises(ServiceError) as caught:
        export.patiently(stranger, lambda: export.read_people(stranger))
    assert "a token that Label Studio accepts" in str(caught.value)
    assert wrong not in str(caught.value)


@pytest.mark.services
def test_tasks_of_any_number_are_read_in_short_addresses(studio: Studio, spoilt: Between) -> None:
    with project_of(studio) as project:
        add_tasks(studio, project, range(450), annotations=[{"result": []}])
        tasks = task_ids(studio, project)
        some = list(export.batches(tasks))
        assert [len(each) for each in some] == [200, 200, 50]
        assert sum(len(rows_of(studio, project, *each)) for each in some) == 450
