"""Frames become tasks on a real Label Studio server: once each, whatever happens on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import SecretStr

from cityforge.errors import ServiceError
from cityforge.labeling.studio.client import NotThere, Studio
from cityforge.labeling.studio.fence import close_uploads, open_upload
from cityforge.labeling.studio.listing import Listing
from cityforge.labeling.studio.tasks import Prefill, TaskMaker, task_data

pytestmark = pytest.mark.services

Store = Callable[..., list[dict[str, Any]]]
NASTY = ["<script>alert(1)</script>", "\"q\" & 'a'", "../../etc/passwd", "=1+1", "{{7*7}}", "🚌\n"]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["frame_id"] for row in rows]


def found_in(rows: list[dict[str, Any]], *boxes: tuple[Any, ...]) -> dict[str, Prefill]:
    return {row["frame_id"]: Prefill("tiny v3", 0.75, boxes) for row in rows}


def test_a_frame_is_a_task_with_its_picture_and_the_model_s_boxes(
    desk: Any, store_frames: Store, label_studio: Any
) -> None:
    rows = store_frames(desk.folder, 3)
    boxes = (
        ("bus", 16.0, 12.0, 48.0, 36.0, 0.9), ("汽车", -8.0, 24.0, 32.0, 60.0, 0.6),
        ("tram", 1.0, 1.0, 9.0, 9.0, 0.8), ("bus", 70.0, 1.0, 80.0, 9.0, 0.8),
        ("bus", float("nan"), 1.0, 9.0, 9.0, 0.8),
    )  # fmt: skip
    result = desk.push(rows, prefills=lambda asked: found_in(rows[:2], *boxes))
    assert (result.new, result.prefilled, result.pictures_written, result.stopped) == (
        3,
        2,
        3,
        None,
    )
    assert result.boxes_left_out == {
        "a class that the card does not name: tram": 2, "of no size within its frame": 4,
    }  # fmt: skip
    first = desk.studio.get(f"api/tasks/{desk.tasks()[0]['id']}", resolve_uri="false")
    assert first["data"] == task_data(desk.card.name, rows[0], "why")
    assert first["data"].keys() == {
        "image", "frame_id", "dataset", "camera", "site", "footage", "footage_id", "pts_s",
        "width", "height", "reason",
    }  # fmt: skip
    (said,) = first["predictions"]
    assert (said["model_version"], said["score"]) == ("tiny v3", 0.75)
    values = [
        {key: each["value"][key] for key in ("x", "y", "width", "height")}
        for each in said["result"]
    ]
    assert values == [
        {"x": 25, "y": 25, "width": 50, "height": 50}, {"x": 0, "y": 50, "width": 50, "height": 50}
    ]  # fmt: skip
    answer = httpx.get(
        label_studio.url + first["data"]["image"],
        headers={"Authorization": f"Token {label_studio.token}"},
    )
    assert (answer.status_code, len(answer.content)) == (200, rows[0]["bytes"])


def test_a_region_keeps_its_id(
    make_card: Callable[..., Any], store_frames: Store, tmp_path: Any
) -> None:
    (row,) = store_frames(tmp_path, 1)
    twice = Prefill("m", 2.0, (("bus", 1.0, 1.0, 9.0, 9.0, 0.8),) * 2)
    one, other = (TaskMaker(make_card()).task(row, None, twice) for _ in range(2))
    assert one == other
    first, second = one["predictions"][0]["result"]
    assert first["id"] != second["id"]
    assert one["predictions"][0]["score"] == 1


def test_pushed_again_nothing_is_new(desk: Any, store_frames: Store) -> None:
    rows = store_frames(desk.folder, 7)
    assert desk.push(rows).new == 7
    again = desk.push(rows)
    assert (again.new, again.already, again.pictures_written) == (0, 7, 0)
    (desk.work / "tasks.json").unlink()  # on another machine
    assert desk.push(rows).new == 0
    (desk.work / "tasks.json").write_text("{broken")
    assert desk.push(rows).new == 0
    later = store_frames(desk.folder, 2, footage=2)
    assert desk.push(rows, later).new == 2
    assert desk.frame_ids() == ids(rows + later)


def test_a_limit_takes_the_first_in_the_order_that_have_no_task(
    desk: Any, store_frames: Store
) -> None:
    rows = store_frames(desk.folder, 6)
    order = dict.fromkeys(reversed(ids(rows)))
    first = desk.push(rows, order=order, limit=2)
    second = desk.push(rows, order=order, limit=3)
    assert [(each.new, each.already, each.waiting) for each in (first, second)] == [
        (2, 0, 4), (3, 2, 1)
    ]  # fmt: skip
    assert desk.frame_ids() == list(order)[:5]


def test_a_task_or_a_picture_that_someone_deleted_is_made_again(
    desk: Any, store_frames: Store
) -> None:
    rows = store_frames(desk.folder, 5)
    desk.push(rows)
    for at in (1, 4):  # the last one's id is given again
        desk.studio.remove(f"api/tasks/{desk.tasks()[at]['id']}")
        (desk.files / desk.card.name / "00" / f"{rows[at]['frame_id']}.jpg").unlink()
        result = desk.push(rows)
        assert (result.new, result.pictures_written) == (1, 1)
    assert sorted(desk.frame_ids()) == sorted(ids(rows))


def test_an_id_that_was_given_again_is_no_task_of_the_old_frame(
    desk: Any, store_frames: Store
) -> None:
    rows = store_frames(desk.folder, 3)
    desk.push(rows, order=dict.fromkeys(ids(rows[:2])))
    last = desk.tasks()[-1]
    desk.studio.remove(f"api/tasks/{last['id']}")
    desk.studio.make(f"api/projects/{desk.project.id}/import", [{"data": last["data"] | {
        "frame_id": rows[2]["frame_id"]}}])  # fmt: skip
    assert len(desk.tasks()) == 2
    assert desk.push(rows).new == 1
    assert sorted(desk.frame_ids()) == sorted(ids(rows))


def test_doubled_tasks_go_and_no_one_s_work_with_them(desk: Any, store_frames: Store) -> None:
    rows = store_frames(desk.folder, 4)
    desk.push(rows)
    before = desk.tasks()
    desk.studio.make(
        f"api/projects/{desk.project.id}/import", [{"data": each["data"]} for each in before]
    )
    after = desk.tasks()[4:]
    desk.annotate(after[1]["id"])
    desk.annotate(before[2]["id"], was_cancelled=True)
    desk.annotate(before[3]["id"])
    desk.annotate(after[3]["id"])
    result = desk.push(rows)
    assert (result.doubled, result.doubled_kept) == (3, [rows[3]["frame_id"]])
    kept = [before[0], after[1], before[2], before[3], after[3]]
    assert {task["id"] for task in desk.tasks()} == {task["id"] for task in kept}
    again = desk.push(rows)
    assert (again.doubled, again.doubled_kept) == (0, [rows[3]["frame_id"]])


def test_tasks_of_frames_that_may_no_longer_be_used_go_unless_someone_worked_on_them(
    desk: Any, store_frames: Store
) -> None:
    rows = store_frames(desk.folder, 5)
    desk.push(rows)
    tasks = desk.tasks()
    desk.annotate(tasks[0]["id"])
    desk.annotate(tasks[1]["id"], was_cancelled=True)
    desk.studio.make(f"api/tasks/{tasks[2]['id']}/drafts", {"result": [], "lead_time": 1})
    result = desk.push(rows[4:])
    assert (result.removed, result.barred_kept) == (1, ids(rows[:3]))
    assert result.pictures_removed == 4
    assert desk.frame_ids() == [*ids(rows[:3]), rows[4]["frame_id"]]
    left = [path.stem for path in (desk.files / desk.card.name).rglob("*.jpg")]
    assert left == ids(rows[4:])


def test_tasks_of_others_are_left_alone(desk: Any, store_frames: Store) -> None:
    rows = store_frames(desk.folder, 2)
    desk.studio.make(f"api/projects/{desk.project.id}/import", [{"data": {"image": "a"}}] * 2)
    assert desk.push(rows).new == 2
    assert desk.push(rows[1:]).removed == 1
    assert len(desk.tasks()) == 3


def test_names_come_back_as_they_are(desk: Any, store_frames: Store) -> None:
    rows = [
        row
        for number, name in enumerate(NASTY, start=1)
        for row in store_frames(desk.folder, 1, number, name=name, camera=name, site=name)
    ]
    assert desk.push(rows, order=dict(zip(ids(rows), NASTY, strict=True))).new == len(NASTY)
    seen = [task["data"] for task in desk.tasks()]
    for key in ("footage", "camera", "site", "reason"):
        assert [data[key] for data in seen] == NASTY


@pytest.mark.parametrize("pause", [0, 0.1, 0.3, 0.6])
def test_an_import_that_is_closed_ends_at_once_or_never(
    desk: Any, store_frames: Store, pause: float
) -> None:
    """What a killed push left with the server cannot make tasks behind the next one's back."""
    upload = open_upload(desk.studio, desk.project.id)
    tasks = [{"data": {"image": "a"}, "file_upload_id": upload}] * 500
    left = threading.Thread(target=_import, args=(desk, tasks))
    left.start()
    time.sleep(pause)  # how far its import is when the next push comes
    close_uploads(desk.studio, desk.project.id)
    settled = len(desk.tasks("id"))
    left.join()
    assert len(desk.tasks("id")) == settled
    assert settled in (0, 500)
    rows = store_frames(desk.folder, 2)
    assert desk.push(rows).new == 2
    assert len(desk.studio.get(f"api/projects/{desk.project.id}/file-uploads", all="true")) == 0


def _import(desk: Any, tasks: list[dict[str, Any]]) -> None:
    try:
        desk.studio.make(f"api/projects/{desk.project.id}/import", tasks)
    except ServiceError:
        return  # the door was closed


def test_two_pushes_at_once_are_as_one(desk: Any, store_frames: Store) -> None:
    """One waits on this machine; one from another machine cannot double what it does not see."""
    rows = store_frames(desk.folder, 300)
    elsewhere = type(desk)(**{**vars(desk), "work": desk.work.with_name("elsewhere")})
    pushes = [
        threading.Thread(target=each.push, args=(rows,), kwargs={"largest": 20})
        for each in (desk, desk, elsewhere)
    ]
    for each in pushes:
        each.start()
    for each in pushes:
        each.join()
    desk.push(rows)
    assert sorted(desk.frame_ids()) == sorted(ids(rows))


class Faulty(BaseHTTPRequestHandler):
    """Passes requests on to the server, and fails imports as it is told."""

    upstream = ""
    faults: ClassVar[list[str]] = []

    late: ClassVar[list[threading.Timer]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_import = self.command == "POST" and "return_task_ids" in self.path
        fault = self.faults.pop(0) if is_import and self.faults else ""
        if fault == "500 before":
            return self._answer(500, b"{}")
        if fault == "late":  # the server begins with it when nobody waits any more
            self.late.append(threading.Timer(2, self._pass_on, [body]))
            self.late[-1].start()
            return self.connection.close()
        answer = self._pass_on(body)
        if fault == "500 after":
            return self._answer(500, b"{}")
        if fault == "break after":
            return self.connection.close()
        return self._answer(answer.status_code, answer.content)

    def _pass_on(self, body: bytes) -> httpx.Response:
        names = ("Authorization", "Content-Type")
        kept = {key: self.headers[key] for key in names if key in self.headers}
        url = self.upstream + self.path
        return httpx.request(self.command, url, content=body, headers=kept, timeout=60)

    do_POST = do_DELETE = do_PATCH = do_GET  # noqa: N815

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def faulty(desk: Any, label_studio: Any) -> Iterator[Any]:
    """A way to the server on which the named faults happen to the first imports, one each."""
    handler = type("Told", (Faulty,), {"upstream": label_studio.url, "faults": [], "late": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever).start()
    studio = Studio(
        f"http://127.0.0.1:{server.server_port}", SecretStr(label_studio.token), patience_s=1
    )

    def told(*faults: str) -> Studio:
        handler.faults[:] = faults
        return studio

    told.late = handler.late
    with studio:
        yield told
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("fault", ["500 before", "500 after", "break after", "late"])
def test_a_failure_in_the_middle_is_overcome(
    desk: Any, store_frames: Store, faulty: Any, fault: str
) -> None:
    rows = store_frames(desk.folder, 50)
    result = desk.push(rows, studio=faulty("", fault, "", fault), largest=10)
    assert (result.new, result.stopped, result.doubled) == (50, None, 0)
    for each in faulty.late:
        each.join()
    assert sorted(desk.frame_ids()) == sorted(ids(rows))


def test_a_server_that_keeps_failing_ends_a_push_that_the_next_goes_on_with(
    desk: Any, store_frames: Store, faulty: Any, label_studio: Any
) -> None:
    rows = store_frames(desk.folder, 80)
    result = desk.push(rows, studio=faulty("", "", *["500 after"] * 3), largest=10)
    assert result.new == len(desk.frame_ids()) == 80 - result.waiting
    assert result.waiting == 30
    assert result.stopped is not None
    assert "found 500" in result.stopped and label_studio.token not in result.stopped
    later = desk.push(rows)
    assert (later.new, later.already) == (result.waiting, result.new)
    assert sorted(desk.frame_ids()) == sorted(ids(rows))


def test_a_folder_of_pictures_that_cannot_be_written_is_one_line(
    desk: Any, store_frames: Store
) -> None:
    rows = store_frames(desk.folder, 3)
    place = desk.files / desk.card.name
    place.rmdir()
    place.write_text("no folder")
    result = desk.push(rows)
    assert (result.new, result.waiting) == (0, 3)
    assert result.stopped is not None and str(place) in result.stopped
    place.unlink()
    assert desk.push(rows).new == 3


def test_a_wrong_token_is_said_but_not_shown(desk: Any, store_frames: Store) -> None:
    rows = store_frames(desk.folder, 1)
    secret = "feedfacefeedfacefeedfacefeedfacefeedface"
    with (
        Studio(desk.studio.url, SecretStr(secret), patience_s=1) as studio,
        pytest.raises(ServiceError, match="a token that Label Studio accepts") as caught,
    ):
        desk.push(rows, studio=studio)
    assert secret not in str(caught.value)


def test_a_project_that_is_gone_is_said(desk: Any, store_frames: Store) -> None:
    rows = store_frames(desk.folder, 1)
    desk.studio.remove(f"api/projects/{desk.project.id}")
    with pytest.raises(NotThere):
        desk.push(rows)


def test_a_listing_asks_only_for_what_is_new(desk: Any, store_frames: Store) -> None:
    rows = store_frames(desk.folder, 30)
    desk.push(rows)
    kept = Listing.load(desk.studio, desk.project.id, desk.work / "tasks.json")
    assert kept.by_frame().keys() == set(ids(rows))
    other = Listing.load(desk.studio, desk.project.id + 1, desk.work / "tasks.json")
    assert not other.tasks
    desk.push(rows[:20])
    kept.refresh()
    assert kept.by_frame().keys() == set(ids(rows[:20]))
