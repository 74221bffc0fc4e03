"""`cityforge footage record`: a live stream into a dataset, segment by segment."""

from __future__ import annotations

import json
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import DatasetName, dvc, open_project

if TYPE_CHECKING:
    from cityforge.cards.dataset import Dataset
    from cityforge.footage.segments import Totals
    from cityforge.footage.spool import Segment
    from cityforge.project import Project
    from cityforge.settings import Settings

KEPT = "kept"  # folder of segments that stay, within the spool


def record(
    context: typer.Context,
    dataset: DatasetName,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="rtsp://, http://, tcp:// or udp:// address.")
    ],
    camera: Annotated[str, typer.Option(help="The camera, as the card names it.")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="Length of a segment.")] = 600,
    stop_after: Annotated[
        float | None, typer.Option(min=0, help="Seconds to record; without it until Ctrl-C.")
    ] = None,
    give_up: Annotated[
        float | None, typer.Option(min=0, help="Seconds without a packet after which to end.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=600, help="Longest wait for the camera, seconds.")
    ] = 10,
    udp: Annotated[bool, typer.Option("--udp", help="RTSP over UDP in place of TCP.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Also keep the segments' files.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each segment.")
    ] = False,
) -> None:
    """Record a live stream into a dataset; a stream that breaks off is connected to again."""
    project, settings = open_project(context)
    from cityforge.footage import spool
    from cityforge.footage.live import check_address

    card = project.dataset(dataset)
    camera = _camera(card, camera)
    check_address(url)
    folder = project.work / "recordings" / dataset
    intake = Intake(project, settings, card, folder, keep, as_json)
    with spool.sole_recorder(folder, camera):
        left = spool.leftovers(folder, [each.name for each in card.cameras])
        work = Work(url, folder, camera, seconds, timeout, stop_after, give_up, udp)
        try:
            with _stopped_by_signals(work.stop):
                _record_and_add(work, intake, left)
        finally:
            intake.version()
    if not as_json:
        typer.echo(f"{_progress(work.totals)}; {intake.added} added to {dataset}")


def _camera(card: Dataset, camera: str) -> str:
    from cityforge.errors import InputError, NameUnknown

    known = [each.name for each in card.cameras]
    if not camera and len(known) == 1:
        return known[0]
    if not camera:
        raise InputError("a camera", found="none", do=f"name it with --camera ({', '.join(known)})")
    if camera not in known:
        raise NameUnknown(f"a camera of dataset '{card.name}'", camera, known, where="--camera")
    return camera


@dataclass
class Work:
    """What the recording thread is told, and what it tells."""

    url: str
    folder: Path
    camera: str
    seconds: float
    timeout: float
    stop_after: float | None
    give_up: float | None
    udp: bool
    stop: threading.Event = field(default_factory=threading.Event)
    finished: queue.SimpleQueue[Segment | None] = field(default_factory=queue.SimpleQueue)
    totals: Totals = field(init=False)

    def __post_init__(self) -> None:
        from cityforge.footage.segments import Totals

        self.totals = Totals()

    def run(self) -> None:
        """Record until a limit is met; None in `finished` says that no segment follows."""
        from cityforge.footage.record import record as record_stream

        try:
            record_stream(
                self.url,
                self.folder,
                self.camera,
                seconds=self.seconds,
                on_segment=self.finished.put,
                timeout=self.timeout,
                stop_after=self.stop_after,
                give_up=self.give_up,
                udp=self.udp,
                stop=self.stop,
                totals=self.totals,
                on_break=lambda why: typer.echo(why, err=True),
            )
        finally:
            self.finished.put(None)


@dataclass
class Intake:
    """Puts segments into the dataset; a file leaves the spool once the catalogue has it."""

    project: Project
    settings: Settings
    card: Dataset
    folder: Path
    keep: bool
    as_json: bool
    added: int = 0
    is_unversioned: bool = False

    def add(self, segment: Segment) -> None:
        """Add one segment, say so, and take it out of the spool."""
        from cityforge.cli.footage import add_to_dataset
        from cityforge.footage.spool import REFUSED, sole_adder

        size = segment.path.stat().st_size
        with sole_adder(self.folder):
            result = add_to_dataset(
                self.project,
                self.settings,
                self.card.name,
                [segment.path],
                None,
                camera=segment.camera,
                started_at=segment.started_at.isoformat(),
                versioned=False,
            )
        for refusal in result.refused:
            segment.path.rename(segment.path.with_name(segment.path.name + REFUSED))
            typer.echo(f"{refusal} (kept as {segment.path.name}{REFUSED})", err=True)
        if result.refused:
            return
        self.is_unversioned = True  # also where it is known: a killed run may not have got there
        self.added += len(result.added)
        self._clear(segment.path)
        self._tell(segment, size, result.added[0] if result.added else {})

    def add_left(self, segment: Segment) -> None:
        """Add what a run that was killed left behind, unless its recorder is still at work."""
        from dataclasses import replace

        from cityforge.footage.spool import PART, finish

        typer.echo(f"left by an earlier run: {segment.path.name}", err=True)
        path = finish(segment.path) if segment.path.name.endswith(PART) else segment.path
        self.add(replace(segment, path=path))

    def version(self) -> None:
        """Bring DVC's pointer to the footage up to date, once for all segments."""
        if self.is_unversioned:
            self.is_unversioned = False
            dvc(self.project, "add", f"datasets/{self.card.name}/footage", quietly=True)

    def _clear(self, path: Path) -> None:
        if not self.keep:
            path.unlink()
            return
        (self.folder / KEPT).mkdir(exist_ok=True)
        path.rename(self.folder / KEPT / path.name)

    def _tell(self, segment: Segment, size: int, row: dict[str, Any]) -> None:
        about = {
            "file": segment.path.name,
            "footage_id": row.get("footage_id"),  # null: known already
            "camera": segment.camera,
            "started_at": segment.started_at.isoformat(timespec="milliseconds"),
            "seconds": segment.seconds if segment.seconds is not None else row.get("duration_s"),
            "packets": segment.packets if segment.packets is not None else row.get("frames"),
            "bytes": size,
        }
        if self.as_json:
            typer.echo(json.dumps(about, ensure_ascii=False))
        else:
            length = f"{about['seconds'] or 0:.1f} s, {about['packets'] or 0:,} packets"
            typer.echo(f"{segment.path.name}: {length}, {size / 1e6:.1f} MB")


def _record_and_add(work: Work, intake: Intake, left: list[Segment]) -> None:
    """Record in a thread of its own, since adding takes long, and add what is complete."""
    with ThreadPoolExecutor(1, "recorder") as pool:
        recording = pool.submit(work.run)
        try:
            _add_leftovers(work, intake, left)
            for segment in _finished(work):
                intake.add(segment)
        finally:
            work.stop.set()
        recording.result()


def _add_leftovers(work: Work, intake: Intake, left: list[Segment]) -> None:
    from cityforge.footage.spool import abandoned

    for segment in left:
        if segment.camera == work.camera:
            intake.add_left(segment)
            continue
        with abandoned(work.folder, segment.camera) as is_abandoned:
            if is_abandoned and segment.path.exists():
                intake.add_left(segment)


def _finished(work: Work) -> Iterator[Segment]:
    while (segment := _next(work)) is not None:
        yield segment


def _next(work: Work) -> Segment | None:
    with _progress_line(work.totals) as show:
        while True:
            try:
                return work.finished.get(timeout=1)
            except queue.Empty:
                show()


@contextmanager
def _progress_line(totals: Totals) -> Iterator[Callable[[], None]]:
    """A line on a terminal that tells how far recording is; elsewhere each segment says so."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console

    with Console(stderr=True).status(_progress(totals)) as status:
        yield lambda: status.update(_progress(totals))


def _progress(totals: Totals) -> str:
    length = time.strftime("%H:%M:%S", time.gmtime(totals.seconds))
    return (
        f"{length} recorded, {totals.packets:,} packets, {totals.reconnects} reconnects, "
        f"{totals.bytes / 1e6:.1f} MB"
    )


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM finishes the segment; the second ends at once."""

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        typer.echo("stopping: the segment is finished and added first", err=True)

    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, handle) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
