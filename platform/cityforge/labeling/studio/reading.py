"""What one pull reads from the server: all of a project, or what changed since the last time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cityforge.errors import DataError, ServiceError
from cityforge.labeling.stored import STUDIO
from cityforge.labeling.studio import export
from cityforge.labeling.studio.annotation_rows import Row
from cityforge.labeling.studio.client import Studio
from cityforge.labeling.studio.merge import PullState, read_columns, read_states
from cityforge.labeling.studio.spill import Spill

# A change becomes visible a little after the moment it bears: SQLite lets a writer wait for 5 s.
OVERLAP = timedelta(seconds=6)
IN_ONE_EXPORT = 50_000  # annotations; a larger project is read task by task, as its server is small
TRIES = 3  # of a full export that does not hold what the server counts
MANY = 1000  # tasks that a pull had better not list again

Progress = Callable[[int, int], None]


class Reading:
    """What one pull reads from the server, before the table is touched."""

    def __init__(
        self, studio: Studio, project_id: int, path: Path, spill: Spill, progress: Progress | None
    ) -> None:
        self.path, self.spill = path, spill
        self.source = f"{STUDIO}{project_id}"
        self.states = read_states(path)
        self.state = self.states.get(self.source)
        self.full_because = ""
        self.tasks: set[int] = set()  # read now, with all their annotations
        self._studio, self._project, self._progress = studio, project_id, progress
        self._known = Counter(read_columns(path, ["task_id"], self.source)["task_id"].to_pylist())
        self._standing = export.read_standing(studio, project_id)
        self._people = export.read_people(studio)
        self._clock = export.server_clock(studio)
        self._newest = export.newest_change(studio, project_id) or export.EVER
        self._later: dict[int, datetime] = {}  # change of what was read, after newest - OVERLAP
        self._passed = 0  # tasks changed since the last pull

    def everything(self, because: str) -> None:
        """Read every annotation of the project."""
        self.full_because = because
        for tried in range(TRIES):
            self._read_all()
            if not self._is_settled():
                self._look_again()
            least = min(self._standing.annotations, self._count_now())
            if self.spill.count() >= least:
                return
            if tried == TRIES - 1:
                raise ServiceError(
                    f"an export of {least} annotations",
                    found=f"{self.spill.count()}",
                    where=f"project {self._project} of {self._studio.url}",
                    do="nothing was changed; look into the server's log",
                )

    def what_changed(self, state: PullState) -> None:
        """Read the tasks that changed since the last pull, or all where that does not suffice."""
        self._refuse_another(state)
        changes = self._changes(datetime.fromisoformat(state.safe))
        stale = [
            each
            for each in changes
            if self._concerns(each)
            and state.later.get(str(each.task_id)) != each.updated_at.isoformat()
        ]
        self._passed = len(changes) - len(state.later)
        self._remember(changes)
        self._read_tasks([each.task_id for each in stale])
        if len(self._later) > MANY and not self._is_settled():
            self._look_again()
        here = self._known.total() - sum(self._known[each] for each in self.tasks)
        here += self.spill.count()
        there = sorted((self._standing.annotations, self._count_now()))
        if not there[0] <= here <= there[1]:
            self.everything(f"{here} annotations are here and {there[1]} on the server")

    def has_moved(self) -> bool:
        """The state is to be written, even where no annotation changed."""
        other = self.state is None or self.state.made != self._standing.made
        return other or self._passed > MANY

    def next_state(self) -> PullState:
        """What the table will say of this pull."""
        safe = self._newest if self._is_settled() else self._newest - OVERLAP
        later = {task: at for task, at in sorted(self._later.items()) if at > safe}
        return PullState(
            url=self._studio.url,
            made=self._standing.made,
            safe=safe.isoformat(),
            later={str(task): at.isoformat() for task, at in later.items()},
            pulled_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def was_read(self, task_id: int) -> bool:
        """All annotations of this task were read now."""
        return bool(self.full_because) or task_id in self.tasks

    def versions(self) -> dict[int, str]:
        """Model versions that the export itself did not state."""
        return export.read_versions(self._studio, self._project, self.spill.parents())

    def _refuse_another(self, state: PullState) -> None:
        if state.made != self._standing.made:
            raise DataError(
                f"project {self._project} made at {state.made}",
                found=f"another one, made at {self._standing.made}",
                where=f"{self._studio.url}, pulled into {self.path}",
                do="cityforge label pull --full puts its annotations in the place of the former "
                "ones, which stay in labels/history",
            )

    def _is_settled(self) -> bool:
        """No change up to the newest one can still be hidden when the reading begins."""
        return self._clock - self._newest >= OVERLAP

    def _look_again(self) -> None:
        """Read again what was changed while it was read; what was hidden is visible by now."""
        self._clock = export.server_clock(self._studio)
        changes = self._changes(self._newest - OVERLAP)
        before = self._later
        self._remember(changes)
        self._read_tasks(
            [
                each.task_id
                for each in changes
                if before.get(each.task_id) != each.updated_at
                and (each.annotations or each.task_id in before)
            ]
        )

    def _remember(self, changes: list[export.TaskChange]) -> None:
        since = self._newest - OVERLAP
        late = [each for each in changes if each.updated_at > since and self._concerns(each)]
        self._later = {each.task_id: each.updated_at for each in late}

    def _count_now(self) -> int:
        return export.read_standing(self._studio, self._project).annotations

    def _changes(self, since: datetime) -> list[export.TaskChange]:
        return list(export.changed_since(self._studio, self._project, since))

    def _concerns(self, change: export.TaskChange) -> bool:
        return change.annotations > 0 or change.task_id in self._known

    def _read_all(self) -> None:
        self.spill.clear()
        self.tasks, self._later = set(), {}
        if self._standing.annotations > IN_ONE_EXPORT:
            listed = self._changes(export.EVER)
            self._read_tasks([each.task_id for each in listed if each.annotations])
            return

        def once() -> None:
            self.spill.clear()
            rows = export.read_annotations(self._studio, self._project, self._people)
            self.spill.add(self._told(rows))

        export.patiently(self._studio, once)

    def _read_tasks(self, tasks: list[int]) -> None:
        for some in export.batches(tasks):

            def once(some: Sequence[int] = some) -> None:
                self.spill.drop(some)
                rows = export.read_annotations(self._studio, self._project, self._people, some)
                self.spill.add(self._told(rows))

            export.patiently(self._studio, once)
        self.tasks.update(tasks)

    def _told(self, rows: Iterator[Row]) -> Iterator[Row]:
        since = self._newest - OVERLAP
        for done, row in enumerate(rows, self.spill.count() + 1):
            if row["task_changed_at"] > since:
                self._later.setdefault(row["task_id"], row["task_changed_at"])
            yield row
            if self._progress and done % 100 == 0:
                self._progress(done, max(done, self._standing.annotations))
