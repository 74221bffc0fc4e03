"""A dataset's project on a real server: made once, mended, and no label ever loses its class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from cityforge.cards.dataset import Dataset
from cityforge.errors import CardError, ServiceError
from cityforge.labeling.studio import project
from cityforge.labeling.studio.client import NotThere, Studio
from cityforge.labeling.studio.interface import CONTROLS, instructions, interface
from cityforge.labeling.studio.project import (
    StudioProject,
    count_uses,
    find_project,
    marker,
    sync_project,
)

pytestmark = pytest.mark.services

MakeCard = Callable[..., Dataset]
CAR_AND_BUS = [
    {"name": "汽车", "definition": "A car."},
    {"name": "bus", "definition": "A bus."},
]
NASTY = ['a "q"', "<script>alert(1)</script>", "=1+1", "a & b", "it's", "true", "../x", "🚌"]


@pytest.fixture
def studio(label_studio: Any) -> Iterator[Studio]:
    with Studio(label_studio.url, SecretStr(label_studio.token), patience_s=10) as open_studio:
        yield open_studio


@pytest.fixture
def card(make_card: MakeCard, studio: Studio) -> Iterator[Callable[..., Dataset]]:
    """Cards of one dataset that no other test has; its projects are removed at the end."""
    name = f"t{uuid4().hex[:12]}"
    yield lambda **changes: make_card(name=name, **changes)
    for row in projects(studio, name):
        studio.remove(f"api/projects/{row['id']}")


def projects(studio: Studio, name: str) -> list[dict[str, Any]]:
    rows = studio.get("api/projects", page_size=1000)["results"]
    return [row for row in rows if marker(name) in (row["description"] or "")]


def boxes(*names: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"r{at}", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
            "original_width": 64, "original_height": 48, "image_rotation": 0,
            "value": {
                "x": 10.0 * at, "y": 10, "width": 10, "height": 10, "rotation": 0,
                "rectanglelabels": [name],
            },
        }
        for at, name in enumerate(names)
    ]  # fmt: skip


def annotate(studio: Studio, made: StudioProject, *names: str, draft: bool = False) -> int:
    """A task with one annotation (or draft) that names the classes; its id."""
    task = studio.make("api/tasks", {"project": made.id, "data": {"image": "/x.jpg"}})["id"]
    path = f"api/tasks/{task}/{'drafts' if draft else 'annotations/'}"
    return int(studio.make(path, {"result": boxes(*names), "lead_time": 1.0})["id"])


def about(studio: Studio, made: StudioProject) -> dict[str, Any]:
    found: dict[str, Any] = studio.get(f"api/projects/{made.id}")
    return found


def test_project_is_made_as_the_card_says(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    made = sync_project(studio, one := card(labeling={"annotators": 3}), label_studio.files)
    row = about(studio, made)
    assert row["title"] == "小 · Tiny"
    assert row["label_config"] == interface(one)
    assert row["expert_instruction"] == instructions(one)
    assert row["maximum_annotations"] == 3
    assert made.changed[0] == f"project {made.id} made"
    assert made.url == f"{studio.url}/projects/{made.id}/data"
    assert find_project(studio, one) == made


def test_an_unchanged_card_changes_nothing(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    one = card(classes=[{"name": name, "definition": f"{name}\n\x00x"} for name in NASTY])
    first = sync_project(studio, one, label_studio.files)
    before = about(studio, first)
    again = sync_project(studio, one, label_studio.files)
    assert again == first
    assert again.changed == ()
    assert about(studio, again) == before
    assert len(studio.get("api/storages/localfiles", project=first.id)) == 1


@pytest.mark.parametrize("kind", list(CONTROLS))
def test_the_server_takes_every_kind_with_nasty_names(
    card: MakeCard, studio: Studio, label_studio: Any, kind: str
) -> None:
    one = card(
        classes=[{"name": name, "definition": name} for name in NASTY], labeling={"kind": kind}
    )
    answer = httpx.post(
        f"{studio.url}/api/projects/validate", json={"label_config": interface(one)}
    )
    assert answer.status_code == 204, answer.text
    made = sync_project(studio, one, label_studio.files)
    parsed = about(studio, made)["parsed_label_config"]
    assert parsed[CONTROLS[one.labeling.kind].name]["labels"] == NASTY
    assert sync_project(studio, one, label_studio.files).changed == ()


@pytest.mark.parametrize(
    ("title", "stored"),
    [("x" * 80, "x" * 50), (" a ", "a · {name}"), ("名", "名 · {name}")],
)
def test_titles_are_fitted(
    card: MakeCard, studio: Studio, label_studio: Any, title: str, stored: str
) -> None:
    one = card(title=title)
    made = sync_project(studio, one, label_studio.files)
    assert about(studio, made)["title"] == stored.format(name=one.name)
    assert sync_project(studio, one, label_studio.files).changed == ()


def test_what_was_killed_on_the_way_is_mended(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    """Killed after the project was made: nothing but title and marker is there."""
    one = card()
    half = studio.make("api/projects", {"title": "half", "description": marker(one.name)})
    made = sync_project(studio, one, label_studio.files)
    assert made.id == half["id"]
    assert about(studio, made)["label_config"] == interface(one)
    assert len(projects(studio, one.name)) == 1
    assert len(studio.get("api/storages/localfiles", project=made.id)) == 1


def test_what_someone_changed_by_hand_is_said_and_put_back(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    one = card()
    made = sync_project(studio, one, label_studio.files)
    page = interface(card(classes=[{"name": "tram", "definition": "x"}, CAR_AND_BUS[0]]))
    described = f"mine\n{marker(one.name)}"
    by_hand = {"label_config": page, "maximum_annotations": 9, "description": described}
    studio.change(f"api/projects/{made.id}", by_hand)
    mended = sync_project(studio, one, label_studio.files)
    assert mended.changed == (
        "labelling page: classes added 'bus'; classes taken out 'tram'",
        "maximum_annotations: 9 is now 1",
    )
    row = about(studio, made)
    assert row["label_config"] == interface(one)
    assert row["description"] == described  # people's words stay


def test_a_class_in_use_cannot_go(card: MakeCard, studio: Studio, label_studio: Any) -> None:
    three = card(classes=[*CAR_AND_BUS, {"name": "<b>", "definition": "x"}])
    made = sync_project(studio, three, label_studio.files)
    annotate(studio, made, "汽车", "bus", "bus", "<b>")
    annotate(studio, made, "bus", draft=True)
    before = about(studio, made)["label_config"]
    with pytest.raises(CardError) as caught:
        sync_project(studio, card(classes=CAR_AND_BUS[:1]), label_studio.files)
    assert len(caught.value.faults) == 2
    assert "expected class '<b>', which 1 regions" in caught.value.faults[0]
    assert "expected class 'bus', which 3 regions" in caught.value.faults[1]
    assert about(studio, made)["label_config"] == before


def test_a_class_that_only_a_draft_uses_cannot_go(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    made = sync_project(studio, card(), label_studio.files)
    annotate(studio, made, "bus", draft=True)
    with pytest.raises(CardError, match="class 'bus', which 1 regions"):
        sync_project(studio, card(classes=CAR_AND_BUS[:1]), label_studio.files)


def test_a_class_that_nobody_used_goes(card: MakeCard, studio: Studio, label_studio: Any) -> None:
    made = sync_project(studio, card(), label_studio.files)
    annotate(studio, made, "汽车")
    changed = sync_project(studio, card(classes=CAR_AND_BUS[:1]), label_studio.files).changed
    assert changed == ("labelling page: classes taken out 'bus'", "instructions")


def test_regions_are_counted_where_label_studio_miscounts(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    made = sync_project(studio, card(), label_studio.files)
    first = annotate(studio, made, "bus", "汽车", "bus")
    studio.change(f"api/annotations/{first}/", {"result": boxes("汽车", "汽车", "bus")})
    studio.ask(
        f"api/projects/{made.id}/import",
        [{"data": {"image": "/y.jpg"}, "annotations": [{"result": boxes("bus", "bus")}]}],
    )
    counts = count_uses(studio, made.id)
    assert counts == {("label", "汽车"): 2, ("label", "bus"): 3}
    theirs = studio.get(f"api/projects/{made.id}/summary/")["created_labels"]
    assert theirs != {"label": {"汽车": 2, "bus": 3}}  # else their counts would do


def test_old_classes_of_a_change_stay_until_nobody_uses_them(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    made = sync_project(studio, card(), label_studio.files)
    annotation = annotate(studio, made, "bus")
    renamed = card(
        classes=[CAR_AND_BUS[0], {"name": "coach", "definition": "x"}],
        ontology_changes=[
            {"kind": "rename", "on": date(2026, 1, 1), "old": ["bus"], "new": ["coach"]}
        ],
    )
    sync_project(studio, renamed, label_studio.files)
    assert about(studio, made)["label_config"] == interface(renamed, ["bus"])
    assert sync_project(studio, renamed, label_studio.files).changed == ()
    studio.change(f"api/annotations/{annotation}/", {"result": boxes("coach")})
    sync_project(studio, renamed, label_studio.files)
    assert about(studio, made)["label_config"] == interface(renamed)


@pytest.mark.parametrize("how", ["annotated", "imported"])
def test_in_a_large_project_a_class_in_use_is_kept_and_goes_at_the_end(
    card: MakeCard, studio: Studio, label_studio: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(project, "EXACT_UP_TO", 0)
    made = sync_project(studio, card(), label_studio.files)
    if how == "annotated":
        annotate(studio, made, "bus")
    else:  # the server's own count does not name it
        task = {"data": {"image": "/y.jpg"}, "annotations": [{"result": boxes("bus")}]}
        studio.ask(f"api/projects/{made.id}/import", [task])
    merged = card(
        classes=CAR_AND_BUS[:1],
        ontology_changes=[
            {"kind": "merge", "on": date(2026, 1, 1), "old": ["bus"], "new": ["汽车"]}
        ],
    )
    for _ in range(2):
        sync_project(studio, merged, label_studio.files)
        assert about(studio, made)["label_config"] == interface(merged, ["bus"])
    (task,) = studio.get("api/tasks", project=made.id, fields="all")["tasks"]
    path = f"api/annotations/{task['annotations'][0]['id']}/"
    studio.change(path, {"result": boxes("汽车")})
    sync_project(studio, merged, label_studio.files)
    assert about(studio, made)["label_config"] == interface(merged)


def test_another_kind_is_refused_while_annotations_are_there(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    made = sync_project(studio, card(), label_studio.files)
    annotation = annotate(studio, made, "bus", "bus")
    points = card(labeling={"kind": "points"})
    with pytest.raises(CardError, match=r"control 'label', which 2 regions .*kind 'points'"):
        sync_project(studio, points, label_studio.files)
    studio.remove(f"api/annotations/{annotation}/")
    sync_project(studio, points, label_studio.files)
    assert about(studio, made)["label_config"] == interface(points)


def test_two_projects_of_one_dataset_are_named(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    one = card()
    ids = [
        studio.make("api/projects", {"title": "two", "description": f"{marker(one.name)}\nx"})["id"]
        for _ in range(2)
    ]
    with pytest.raises(ServiceError, match=rf"found projects {ids[1]}, {ids[0]}, in http"):
        sync_project(studio, one, label_studio.files)


def test_a_dataset_whose_name_begins_alike_is_another(
    card: MakeCard, make_card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    longer = make_card(name=f"{card().name}_two")
    made = sync_project(studio, longer, label_studio.files)
    assert find_project(studio, card()) is None
    studio.remove(f"api/projects/{made.id}")


def test_a_deleted_project_is_made_anew_only_if_nothing_was_pulled(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    one = card()
    first = sync_project(studio, one, label_studio.files)
    studio.remove(f"api/projects/{first.id}")
    with pytest.raises(NotThere, match=rf"project {first.id}, from which annotations"):
        sync_project(studio, one, label_studio.files, known=first)
    assert projects(studio, one.name) == []
    assert sync_project(studio, one, label_studio.files).id != first.id
    with pytest.raises(NotThere, match="says it is the dataset's"):
        sync_project(studio, one, label_studio.files, known=first)


def test_a_known_project_is_found_when_its_description_is_gone(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    one = card()
    first = sync_project(studio, one, label_studio.files)
    studio.change(f"api/projects/{first.id}", {"description": ""})
    again = sync_project(studio, one, label_studio.files, known=first)
    assert again.id == first.id
    assert find_project(studio, one) == first


def test_pictures_are_served_to_accounts_and_to_nobody_else(
    card: MakeCard, studio: Studio, label_studio: Any, make_picture: Callable[..., Path]
) -> None:
    one, files = card(), Path(label_studio.files)
    made = sync_project(studio, one, files)
    picture = make_picture(files / one.name / "ab" / "abc.jpg")
    beside = make_picture(files / f"{one.name}_private" / "ab" / "abc.jpg")

    def fetch(path: Path, token: str = label_studio.token) -> httpx.Response:
        return httpx.get(
            f"{studio.url}/data/local-files/", params={"d": str(path.relative_to(files))},
            headers={"Authorization": f"Token {token}"} if token else {},
        )  # fmt: skip

    served = fetch(picture)
    assert (served.status_code, served.headers["content-type"]) == (200, "image/jpeg")
    assert served.content == picture.read_bytes()
    assert fetch(picture, token="").status_code == 401
    assert fetch(beside).status_code == 404
    assert fetch(files / one.name / ".." / f"{one.name}_private/ab/abc.jpg").status_code == 404
    (storage,) = studio.get("api/storages/localfiles", project=made.id)
    (files / one.name / "task.json").write_text('{"image": "/x.jpg"}', encoding="utf-8")
    studio.ask(f"api/storages/localfiles/{storage['id']}/sync", {})
    assert about(studio, made)["task_number"] == 0  # "Sync" by hand makes no tasks


def test_a_storage_follows_the_folder_of_the_server(
    card: MakeCard, studio: Studio, label_studio: Any
) -> None:
    one, files = card(), Path(label_studio.files)
    made = sync_project(studio, one, files)
    (storage,) = studio.get("api/storages/localfiles", project=made.id)
    elsewhere = files / f"{one.name}_elsewhere"
    elsewhere.mkdir()
    path = f"api/storages/localfiles/{storage['id']}"
    studio.change(path, {"path": str(elsewhere), "project": made.id})
    changed = sync_project(studio, one, files).changed
    assert changed == (f"storage {elsewhere} is now {files / one.name}",)
    assert studio.get(path)["path"] == str(files / one.name)
