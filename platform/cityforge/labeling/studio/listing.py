"""The tasks of a project: task id and frame id, known without asking for what is known already.

A full listing costs Label Studio half a millisecond a task. What was seen is kept in a file, so
that a second look asks for the newest task that is known, for those behind it, and for the
count of all. Ids of deleted tasks may be given again (SQLite), always from the highest on: the
moment at which the highest known task was made tells.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cityforge.labeling.studio.client import Studio

PAGE = 2000
IDS_AT_ONCE = 300  # in the address of one request
DELETED_AT_ONCE = 500
ATTEMPTS = 3  # of a listing while others add or delete

# Nobody has annotated, skipped or begun it.
UNTOUCHED = (
    ("total_annotations", "Number", "equal", 0),
    ("cancelled_annotations", "Number", "equal", 0),
    ("draft_exists", "Boolean", "equal", False),
)
TOUCHED = (
    ("total_annotations", "Number", "greater", 0),
    ("cancelled_annotations", "Number", "greater", 0),
    ("draft_exists", "Boolean", "equal", True),
)


@dataclass
class Listing:
    """The tasks of one project as they were seen last."""

    studio: Studio
    project_id: int
    path: Path  # where it is kept between two looks
    tasks: dict[int, str | None] = field(default_factory=dict)  # None: no task of a frame
    newest_made: str | None = None  # when the highest task was made; None: not known yet

    @classmethod
    def load(cls, studio: Studio, project_id: int, path: Path) -> Listing:
        """What was kept; empty where it is of another project, or is broken."""
        listing = cls(studio, project_id, path)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if (kept["server"], kept["project"]) == (studio.url, project_id):
                listing.tasks = {int(key): frame for key, frame in kept["tasks"].items()}
                listing.newest_made = kept["newest_made"]
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            listing.tasks = {}
        return listing

    def save(self) -> None:
        """Keep it for the next look."""
        kept = {
            "server": self.studio.url,
            "project": self.project_id,
            "newest_made": self.newest_made,
            "tasks": self.tasks,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps(kept), encoding="utf-8")
        beside.replace(self.path)

    def refresh(self) -> None:
        """Bring it to what the server has.

        Raises:
            NotThere: the project is gone.
        """
        for _ in range(ATTEMPTS):
            self._read_on()
            if self._ask()["total"] == len(self.tasks):
                break
            self._forget_all()
        self.save()

    def add(self, task_ids: Sequence[int], frame_ids: Sequence[str]) -> None:
        """Enter tasks that were made just now."""
        self.tasks.update(zip(task_ids, frame_ids, strict=True))
        self.newest_made = None

    def by_frame(self) -> dict[str, list[int]]:
        """The tasks of each frame, the oldest first."""
        found: dict[str, list[int]] = {}
        for task_id in sorted(self.tasks):
            frame_id = self.tasks[task_id]
            if frame_id is not None:
                found.setdefault(frame_id, []).append(task_id)
        return found

    def touched(self, task_ids: Iterable[int]) -> set[int]:
        """Those of these tasks on which people have worked, be it a draft."""
        found: set[int] = set()
        for part in _parts(sorted(task_ids), IDS_AT_ONCE):
            rows = self._ask({**_only(part), **_where("or", TOUCHED)}, len(part))["tasks"]
            found |= {int(row["id"]) for row in rows}
        return found

    def delete_untouched(self, task_ids: Iterable[int]) -> int:
        """Delete tasks; the server itself leaves those on which people have worked by then."""
        before = len(self.tasks)
        for part in _parts(sorted(task_ids), DELETED_AT_ONCE):
            self.studio.ask(
                "api/dm/actions",
                {**_only(part), **_where("and", UNTOUCHED)},
                id="delete_tasks",
                project=self.project_id,
            )
            left = self._still_there(part)
            for task_id in set(part) - left:
                self.tasks.pop(task_id, None)
            self.newest_made = None
            self.save()
        return before - len(self.tasks)

    def _still_there(self, task_ids: Sequence[int]) -> set[int]:
        found: set[int] = set()
        for part in _parts(task_ids, IDS_AT_ONCE):
            found |= {int(row["id"]) for row in self._ask(_only(part), len(part))["tasks"]}
        return found

    def _read_on(self) -> None:
        """Add the tasks behind the highest that is known; start again where that one is gone."""
        while True:
            known = max(self.tasks, default=None)
            behind = (("id", "Number", "greater_or_equal", known or 0),)
            page = self._ask(_where("and", behind), PAGE, fields="id,data,created_at")
            rows = page["tasks"]
            if known is not None:
                if not rows or not self._is_known(rows[0]):
                    self._forget_all()
                    continue
                self.newest_made = rows[0]["created_at"]
            fresh = rows if known is None else rows[1:]
            self.tasks.update({int(row["id"]): _frame_of(row) for row in fresh})
            if fresh:
                self.newest_made = fresh[-1]["created_at"]
            if not fresh or len(rows) >= page["total"]:
                return

    def _is_known(self, row: Mapping[str, Any]) -> bool:
        """Whether the highest task is the one that was seen, and no other under its id."""
        task_id = int(row["id"])
        same = task_id in self.tasks and self.tasks[task_id] == _frame_of(row)
        return same and self.newest_made in (None, row["created_at"])

    def _forget_all(self) -> None:
        self.tasks.clear()
        self.newest_made = None

    def _ask(
        self, query: Mapping[str, object] | None = None, size: int = 1, fields: str = "id"
    ) -> Any:
        stated = {"query": json.dumps({**query, "ordering": ["tasks:id"]})} if query else {}
        return self.studio.get(
            "api/tasks",
            project=self.project_id,
            page_size=size,
            include=fields,
            resolve_uri="false",
            **stated,
        )


def _frame_of(row: Mapping[str, Any]) -> str | None:
    data = row.get("data")
    frame_id = data.get("frame_id") if isinstance(data, dict) else None
    return frame_id if isinstance(frame_id, str) else None


def _only(task_ids: Sequence[int]) -> dict[str, object]:
    return {"selectedItems": {"all": False, "included": list(task_ids)}}


def _where(joined_by: str, conditions: Iterable[tuple[str, str, str, object]]) -> dict[str, object]:
    items = [
        {"filter": f"filter:tasks:{name}", "type": kind, "operator": operator, "value": value}
        for name, kind, operator, value in conditions
    ]
    return {"filters": {"conjunction": joined_by, "items": items}}


def _parts(items: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))
