"""Reads what people did from a Label Studio server: what changed, and every annotation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from cityforge.labeling.studio.annotation_rows import Row, annotation_row, moment
from cityforge.labeling.studio.client import NotThere, Studio, _Passing

IN_ONE_ADDRESS = 200  # ids of tasks: the address stays below 4,000 characters
PAGE = 1000  # tasks of a listing
EVER = datetime(1970, 1, 1, tzinfo=UTC)
BROKEN_ANSWERS = 3  # after as many the server is given up
T = TypeVar("T")


class BrokenAnswer(_Passing):
    """The server answered something that is no answer to what was asked."""


@dataclass(frozen=True)
class Standing:
    """A project as it stands on the server."""

    made: str  # when it was made, as the server says it
    annotations: int  # skipped ones, too; no drafts


@dataclass(frozen=True)
class TaskChange:
    """A task, when it or an annotation of it was last changed, and how many it has."""

    task_id: int
    updated_at: datetime
    annotations: int


def read_standing(studio: Studio, project_id: int) -> Standing:
    """How many annotations a project has now.

    Raises:
        NotThere: there is no such project (any more).
    """
    try:
        found = studio_json(studio, "api/dm/project", project=project_id)
    except NotThere:
        raise NotThere(
            f"project {project_id} on Label Studio",
            found="none: it was deleted",
            where=studio.url,
            do="what was pulled before stays as it is; cityforge label push makes a new project",
        ) from None
    with understood(studio, "api/dm/project"):
        return Standing(str(found["created_at"]), int(found["annotation_count"]))


def newest_change(studio: Studio, project_id: int) -> datetime | None:
    """When a task of the project was last changed, by the server's clock; None without tasks."""
    query = {"ordering": ["-tasks:updated_at"]}
    found = _tasks(studio, project_id, query, "id,updated_at", size=1)
    return moment(found[0]["updated_at"]) if found else None


def server_clock(studio: Studio) -> datetime:
    """What the server's clock shows, to the second; the past where it does not say."""
    stated = studio._again("GET", "api/version").headers.get("date", "")
    try:
        return parsedate_to_datetime(stated).astimezone(UTC)
    except ValueError:
        return EVER


def changed_since(studio: Studio, project_id: int, since: datetime) -> Iterator[TaskChange]:
    """Every task that was changed later than `since`, by its id.

    Saving or deleting an annotation changes its task. The list goes from id to id, not from page
    to page: what others change meanwhile moves no task past it.
    """
    last = 0
    while True:
        items = [
            _filter("updated_at", "greater", "Datetime", since.strftime(_STATED)),
            _filter("id", "greater", "Number", last),
        ]
        query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
        found = _tasks(studio, project_id, query, _COUNTS)
        with understood(studio, "api/tasks"):
            for task in found:
                count = int(task["total_annotations"]) + int(task["cancelled_annotations"])
                yield TaskChange(int(task["id"]), moment(task["updated_at"]), count)
        if len(found) < PAGE:
            return
        last = int(found[-1]["id"])


def read_people(studio: Studio) -> dict[int, str]:
    """E-mail of each account, by its number."""
    found = studio_json(studio, "api/users")
    with understood(studio, "api/users"):
        return {int(each["id"]): str(each["email"]) for each in found if each["email"]}


def read_annotations(
    studio: Studio, project_id: int, people: dict[int, str], tasks: Sequence[int] = ()
) -> Iterator[Row]:
    """Rows of ANNOTATIONS, and two keys more.

    `parent` is the prediction whose model version is still to be found, `task_changed_at` the last
    change of the task as it stood in this very answer.

    One pass over one answer of the server, of which no more than a task is held at a time.

    Args:
        tasks: ids, at most IN_ONE_ADDRESS; none: all tasks that have annotations.

    Raises:
        BrokenAnswer: the answer ends too early, or is no JSON; what was given so far is void.
    """
    import ijson
    import ijson.common

    asked: dict[str, Any] = {"exportType": "JSON", "interpolate_key_frames": "false"}
    if tasks:
        asked |= {"ids[]": list(tasks), "download_all_tasks": "true"}
    path = f"api/projects/{project_id}/export"
    with understood(studio, path), studio.stream(path, **asked) as pieces:
        try:
            # Not as floats: yajl then refuses numbers of more than 64 bits, which data may hold.
            for task in ijson.items(_Pieces(pieces), "item"):
                for annotation in task["annotations"]:
                    yield annotation_row(annotation, task, people, f"label-studio:{project_id}")
        except ijson.common.JSONError as error:
            raise _broken(studio, path, " ".join(str(error).split())) from error


def read_versions(studio: Studio, project_id: int, parents: dict[int, int]) -> dict[int, str]:
    """Model version of predictions, as far as they are still there.

    Args:
        parents: the task of each prediction.
    """
    versions: dict[int, str] = {}
    of_task: dict[int, list[int]] = {}
    for prediction, task in parents.items():
        of_task.setdefault(task, []).append(prediction)
    for some in batches(sorted(of_task)):
        query = {"selectedItems": {"all": False, "included": some}}
        for found in _tasks(studio, project_id, query, "id,predictions_model_versions"):
            named = str(found["predictions_model_versions"] or "")
            for prediction in of_task[int(found["id"])]:
                alone = named and "," not in named
                version = named if alone else _version(studio, prediction)
                if version:
                    versions[prediction] = version
    return versions


def batches(tasks: Sequence[int]) -> Iterator[Sequence[int]]:
    """Ids of tasks, as many at a time as one address takes."""
    for start in range(0, len(tasks), IN_ONE_ADDRESS):
        yield tasks[start : start + IN_ONE_ADDRESS]


def patiently(studio: Studio, act: Callable[[], T]) -> T:
    """Do again what reads a stream while the server is away; a broken answer only some times."""
    from tenacity import (
        RetryCallState,
        Retrying,
        retry_if_exception,
        stop_after_delay,
        wait_random_exponential,
    )  # fmt: skip

    too_long = stop_after_delay(studio._patience_s)
    broken = 0

    def enough(state: RetryCallState) -> bool:
        nonlocal broken
        error = state.outcome.exception() if state.outcome else None
        broken += isinstance(error, BrokenAnswer)
        return broken >= BROKEN_ANSWERS or too_long(state)

    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, _Passing)),
        stop=enough,
        wait=wait_random_exponential(multiplier=0.3, max=5),
        reraise=True,
    )(act)


def studio_json(studio: Studio, path: str, **params: Any) -> Any:
    """Read JSON; what is none is a BrokenAnswer."""

    def read() -> Any:
        with understood(studio, path):
            return studio.get(path, **params)

    return patiently(studio, read)


@contextmanager
def understood(studio: Studio, path: str) -> Iterator[None]:
    """Translate what happens when an answer does not hold what it must."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise _broken(studio, path, f"{type(error).__name__}: {error}") from error


def _version(studio: Studio, prediction: int) -> str | None:
    try:
        return str(studio_json(studio, f"api/predictions/{prediction}/")["model_version"])
    except NotThere:
        return None


_STATED = "%Y-%m-%dT%H:%M:%S.%fZ"  # Label Studio's DATETIME_FORMAT, data_manager/managers.py
_COUNTS = "id,updated_at,total_annotations,cancelled_annotations"


def _filter(column: str, operator: str, kind: str, value: object) -> Row:
    return {
        "filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value,
    }  # fmt: skip


def _tasks(
    studio: Studio, project_id: int, query: Row, include: str, size: int = PAGE
) -> list[Row]:
    """A page of the data manager's list of tasks."""
    found = studio_json(
        studio, "api/tasks", project=project_id, page=1, page_size=size, include=include,
        query=json.dumps(query),
    )  # fmt: skip
    with understood(studio, "api/tasks"):
        return list(found["tasks"])


def _broken(studio: Studio, path: str, found: str) -> BrokenAnswer:
    return BrokenAnswer(
        f"an answer to {path} as Label Studio gives it",
        found=found[:300],
        where=studio.url,
        do="look into its log, and at what stands between; run the command again",
    )


class _Pieces:
    """What arrives in pieces, as the file that ijson reads."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def read(self, size: int) -> bytes:
        """The next piece, of any size; nothing at the end, and when nothing is asked for."""
        return next(self._pieces, b"") if size else b""
