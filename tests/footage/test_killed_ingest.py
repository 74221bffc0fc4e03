"""Killed at any moment, the next run ends where an undisturbed one ends.

Processes of this very file add or ingest the dataset and are killed with SIGKILL.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.footage.catalogue import add_footage, read_catalogue
from cityforge.footage.ingest import ingest
from cityforge.footage.listing import list_files
from cityforge.footage.recordings import Recording

Make = Callable[..., Path]
KILLS = 20
SEED = 20260302
WORKERS = 2
LATEST_END_S = 15  # of a worker whose parent was killed
START = Recording(started_at=datetime(2026, 3, 2, 9, tzinfo=UTC))
# Not of the content: when a person added it.
WHEN_ADDED = "added_at"


@pytest.fixture
def card(make_card: Callable[..., Dataset]) -> Dataset:
    privacy = {
        "grade": "public", "lawful_basis": "made here", "redact": [], "retention_days": 36500,
    }  # fmt: skip
    return make_card(sampling={"policy": "every", "seconds": 0.1}, privacy=privacy)


@pytest.fixture
def originals(tmp_path: Path, make_film: Make, make_picture: Make) -> Path:
    """Four films, one of them long enough for several shards, and stills of two cameras."""
    folder = tmp_path / "in"
    make_film(folder / "北门" / "long.mp4", [20 + (7 * n) % 200 for n in range(500)])
    for number in range(3):
        greys = range(30 + number, 200, 5)
        make_film(folder / "harbour" / f"film {number}.mkv", greys)
    for number in range(12):
        camera = ("北门", "harbour")[number % 2]
        make_picture(folder / camera / f"{number}.png", number, (320, 240), "PNG")
    return folder


def contents(folder: Path) -> dict[str, Any]:
    """Every file by its name, hidden ones too: the rows of a table, the bytes of all else."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            found[path.name] = table.drop_columns(
                [name for name in (WHEN_ADDED,) if name in table.column_names]
            )
        elif path.is_file():
            found[path.name] = path.read_bytes()
    return found


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert sorted(found) == sorted(wanted)
    assert not [name for name in found if name.startswith(".")]
    different = [name for name in wanted if found[name] != wanted[name]]
    assert not different


def start(*words: str | Path) -> subprocess.Popen[str]:
    """A process of this file that says when its work begins, and when it ends."""
    process = subprocess.Popen(
        [sys.executable, __file__, *map(str, words)],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert line_of(process) == "begun"
    return process


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def seconds_of(*words: str | Path) -> float:
    """How long the work takes when nobody disturbs it."""
    with start(*words) as process:
        begun = time.monotonic()
        assert line_of(process) == "done"
        return time.monotonic() - begun


def killed_after(seconds: float, *words: str | Path) -> bool:
    """Whether the work was cut short; its workers must end with it, and close its output."""
    process = start(*words)
    time.sleep(seconds)  # the moment of the kill is what is drawn here
    process.kill()
    try:
        return process.communicate(timeout=LATEST_END_S)[0] == ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail(f"killed after {seconds:.2f} s, its workers live on")


def moments(seconds: float, count: int) -> list[float]:
    """Random moments, one in each of `count` equal parts of the time."""
    chance = random.Random(SEED)
    return [(number + chance.random()) * seconds / count for number in range(count)]


@pytest.mark.slow
def test_a_killed_ingest_is_finished_by_the_next(
    card: Dataset, tmp_path: Path, originals: Path
) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "card.json").write_text(card.model_dump_json(), encoding="utf-8")
    assert len(add_footage(card, folder, list_files([originals]), {}, START).added) == 16
    whole = seconds_of("ingest", folder, tmp_path / "undisturbed")
    wanted = contents(tmp_path / "undisturbed")
    shards = len([name for name in wanted if name.endswith(".tar")])
    assert shards == 8  # three of the long film, one of each other, stills of two cameras
    cut_short, begun = 0, 0
    for number, moment in enumerate(moments(whole, KILLS)):
        out = tmp_path / f"out{number}"
        cut_short += killed_after(moment, "ingest", folder, out)
        begun += 0 < len(list(out.glob("*.tar"))) < shards
        ingest(card, folder, read_catalogue(folder), out, workers=1)
        assert_same(contents(out), wanted)
    # The first run may have been the slower one, on a busy machine.
    assert cut_short >= KILLS // 2
    assert begun >= 1  # killed between two shards


@pytest.mark.slow
def test_a_killed_adding_is_finished_by_the_next(
    card: Dataset, tmp_path: Path, originals: Path
) -> None:
    def dataset(name: str) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text(card.model_dump_json(), encoding="utf-8")
        return tmp_path / name

    undisturbed = dataset("undisturbed")
    whole = seconds_of("add", undisturbed, originals)
    wanted = contents(undisturbed)
    assert wanted["footage.parquet"].num_rows == 16
    cut_short = 0
    for number, moment in enumerate(moments(whole, KILLS // 2)):
        folder = dataset(f"dataset{number}")
        cut_short += killed_after(moment, "add", folder, originals)
        assert len(read_catalogue(folder)) <= 16
        add_footage(card, folder, list_files([originals]), {}, START)
        assert_same(contents(folder), wanted)
    assert cut_short >= KILLS // 4


LEFT_OVER = (".footage.parquet.4194305", ".0123456789abcdef.mp4.4194305")


@pytest.mark.parametrize("name", LEFT_OVER)
def test_what_a_killed_adding_left_half_written_is_removed(
    card: Dataset, tmp_path: Path, make_film: Make, name: str
) -> None:
    (tmp_path / "dataset" / "footage").mkdir(parents=True)
    (tmp_path / "dataset" / "footage" / name).write_bytes(b"half")
    film = make_film(tmp_path / "in" / "harbour" / "a.mp4")
    add_footage(card, tmp_path / "dataset", list_files([film.parents[1]]), {}, START)
    assert len(contents(tmp_path / "dataset")) == 2
    assert not list((tmp_path / "dataset").rglob(".*"))


@pytest.mark.parametrize("name", [".frames.parquet.4194305", ".0123-0000-45.tar.4194305", "0.tar"])
def test_what_a_killed_ingest_left_half_written_is_removed(
    card: Dataset, tmp_path: Path, make_film: Make, name: str
) -> None:
    film = make_film(tmp_path / "in" / "harbour" / "a.mp4")
    (tmp_path / "dataset").mkdir()
    add_footage(card, tmp_path / "dataset", list_files([film.parents[1]]), {}, START)
    for out in (tmp_path / "clean", tmp_path / "left"):
        out.mkdir()
        if out.name == "left":
            (out / name).write_bytes(b"half")
        ingest(card, tmp_path / "dataset", read_catalogue(tmp_path / "dataset"), out, workers=1)
    assert_same(contents(tmp_path / "left"), contents(tmp_path / "clean"))


def main(what: str, folder: Path, other: Path) -> None:
    """Add the files in `other` to the dataset in `folder`, or ingest it to `other`."""
    card = Dataset.model_validate_json((folder / "card.json").read_text(encoding="utf-8"))
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    if what == "add":
        add_footage(card, folder, list_files([other]), {}, START, workers=WORKERS)
    else:
        ingest(card, folder, read_catalogue(folder), other, WORKERS)
    sys.stdout.write("done\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
