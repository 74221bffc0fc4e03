"""What commands share: the open project, tables on the screen, progress, DVC."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cityforge.project import Project
    from cityforge.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]

MANY = 200  # rows; above it a table is plain lines

# DVC's hints on what else one could do; they say nothing about the work.
HINTS = (
    "To track the changes with git",
    "git add",
    "To enable auto staging",
    "Use `dvc push`",
    "dvc config core.autostage",
    "Updating lock file",
    "Generating lock file",
)


def open_project(context: typer.Context) -> tuple[Project, Settings]:
    """The project of this command, with every library kept quiet."""
    from cityforge.project import find_project
    from cityforge.settings import load_settings, stay_offline

    project = find_project(context.find_root().obj)
    settings = load_settings(project.root)
    stay_offline(settings, os.environ)
    return project, settings


def show(rows: Sequence[Mapping[str, Any]], as_json: bool, empty: str = "nothing yet") -> None:
    """Print rows as JSON, or as a table with the keys of the first row as its head."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        typer.echo(empty)
        return
    if len(rows) > MANY:
        from cityforge.cli.plain_table import plain_lines

        head = [name.replace("_", " ") for name in rows[0]]
        cells = [[_cell(value) for value in row.values()] for row in rows]
        typer.echo("\n".join(plain_lines(head, cells)))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        numeric = isinstance(rows[0][name], int | float) and not isinstance(rows[0][name], bool)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False, markup=False).print(table)


def show_json(value: Any) -> None:
    """Print JSON: no colour, Chinese as it is."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


@contextmanager
def progress(task: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left, told (done, all); on a pipe one line at the end."""
    if not sys.stderr.isatty():
        last = [0, 0]

        def count(done: int, whole: int) -> None:
            last[:] = [done, whole]

        yield count
        typer.echo(f"{task}: {last[0]} of {last[1]} {unit}", err=True)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task(task, total=None)

        def advance(done: int, whole: int) -> None:
            bar.update(line, completed=done, total=whole)

        yield advance


def dvc_environment(quietly: bool = False) -> dict[str, str]:
    """The environment of DVC's stages: this very Python, this very cityforge, this terminal."""
    from cityforge.settings import TERMINAL

    environment = dict(os.environ)
    if sys.stdout.isatty() and not quietly:
        environment[TERMINAL] = os.ttyname(sys.stdout.fileno())
    here = str(Path(sys.executable).parent)
    environment["PATH"] = here + os.pathsep + environment.get("PATH", "")
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def dvc(project: Project, *words: str, quietly: bool = False) -> None:
    """Run DVC at the project's root, its output passed on without the hints.

    Raises:
        ServiceError: DVC itself failed; a failed stage has said why already and exits 1.
    """
    from cityforge.errors import ServiceError

    _ensure_dvc(project)
    free_dead_locks(project.root / ".dvc" / "tmp" / "rwlock")
    command = [sys.executable, "-m", "dvc", *words]
    said: list[str] = []
    with subprocess.Popen(
        command,
        cwd=project.root,
        env=dvc_environment(quietly),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        complaints = threading.Thread(target=_pass_on, args=(process.stderr, said, quietly, True))
        complaints.start()
        _pass_on(process.stdout, said, quietly, False)
        complaints.join()
    if process.returncode == 0:
        return
    failed = [line for line in said if line.startswith("ERROR:")]
    if any("failed to run" in line for line in failed):
        if quietly:
            typer.echo("\n".join(line for line in said if not line.startswith("ERROR:")), err=True)
        raise typer.Exit(1)
    found = failed[-1].removeprefix("ERROR:").strip() if failed else f"exit {process.returncode}"
    raise ServiceError(f"dvc {words[0]} to succeed", found=found, where=str(project.root))


def free_dead_locks(path: Path) -> None:
    """Take from DVC's lock file what killed processes left in it.

    DVC does so itself for processes that are gone, but not for those that were killed and
    that nobody has collected yet (zombies).
    """
    try:
        locks = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return
    kept: dict[str, dict[str, Any]] = {}
    for place, held in locks.items():
        writer = held.get("write")
        readers = [each for each in held.get("read") or [] if _is_alive(int(each["pid"]))]
        found = {"write": writer} if writer and _is_alive(int(writer["pid"])) else {}
        if readers:
            found["read"] = readers
        if found:
            kept[place] = found
    if kept != locks:
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(json.dumps(kept), encoding="utf-8")
        beside.replace(path)


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _pass_on(stream: IO[str] | None, said: list[str], quietly: bool, complaints: bool) -> None:
    """Print the lines of DVC or of a stage, less DVC's hints, where they were meant for."""
    for line in map(str.rstrip, stream or ()):
        said.append(line)
        noise = not line or line.strip().startswith((*HINTS, "ERROR:"))
        if not noise and not quietly:
            typer.echo(line, err=complaints)


def _ensure_dvc(project: Project) -> None:
    if (project.root / ".git").exists() and not (project.root / ".dvc").exists():
        subprocess.run(
            [sys.executable, "-m", "dvc", "init", "--quiet"], cwd=project.root, check=True
        )


def dataset_names(context: typer.Context) -> list[str]:
    """For shell completion."""
    return _names(context, "datasets", "dataset.yaml")


def algorithm_names(context: typer.Context) -> list[str]:
    """For shell completion."""
    return _names(context, "algorithms", "algorithm.yaml")


def _names(context: typer.Context, folder: str, card: str) -> list[str]:
    root = context.find_root().obj or Path.cwd()
    for each in (root, *Path(root).resolve().parents):
        found = sorted(path.parent.name for path in Path(each).glob(f"{folder}/*/{card}"))
        if found:
            return found
    return []


DatasetName = Annotated[
    str, typer.Argument(metavar="DATASET", help="Name of a dataset.", autocompletion=dataset_names)
]
AlgorithmName = Annotated[
    str,
    typer.Argument(
        metavar="ALGORITHM", help="Name of an algorithm.", autocompletion=algorithm_names
    ),
]
