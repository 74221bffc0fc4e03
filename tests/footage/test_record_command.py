"""`cityforge footage record`: segments reach the catalogue once, also after a crash."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import live_server as cameras
import pytest
from live_server import FAST, numbers_in

from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.spool import segment_name

CARD = """\
name: streets
title: 街道 · Streets
classes:
  - {name: 汽车, definition: A car.}
cameras:
  - {name: 北门, site: North gate}
  - {name: harbour, site: Old harbour}
privacy: {grade: public, lawful_basis: made here, redact: [], retention_days: 30}
licence: Apache-2.0
sampling: {policy: every, seconds: 0.5}
checks: {min_frames: 1, min_boxes_per_class: 1, min_box_px: 2, max_rejected_share: 0.1}
"""
RUN = (sys.executable, "-m", "cityforge.cli.main", "footage", "record", "streets")


@dataclass(frozen=True)
class City:
    """A project with one dataset, and the command as a process of its own."""

    root: Path

    @property
    def spool(self) -> Path:
        return self.root / ".cityforge" / "recordings" / "streets"

    def left(self) -> list[str]:
        """Segments in the spool."""
        return sorted(path.name for path in self.spool.glob("*.mkv*"))

    def rows(self) -> list[dict[str, Any]]:
        """The catalogue, oldest recording first."""
        rows = read_catalogue(self.root / "datasets" / "streets").to_pylist()
        return sorted(rows, key=lambda row: row["started_at"])

    def numbers(self) -> list[int]:
        """The frames of all originals, oldest recording first."""
        folder = self.root / "datasets" / "streets"
        return [number for row in self.rows() for number in numbers_in(folder / row["path"])]

    def start(
        self, url: str, *words: str, camera: str = "北门", before: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        """Start a recorder, through the command `before`."""
        return subprocess.Popen(
            [*before, *RUN, url, "--camera", camera, "--timeout", "2", *words],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def record(self, url: str, *words: str, camera: str = "北门") -> tuple[int, str, str]:
        """Run a recorder to its end: exit code, stdout, stderr."""
        with self.start(url, *words, camera=camera) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture(scope="session")
def city_as_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "city"
    (root / "datasets" / "streets").mkdir(parents=True)
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    (root / "datasets" / "streets" / "dataset.yaml").write_text(CARD, encoding="utf-8")
    command = [sys.executable, "-m", "dvc", "init", "--quiet", "--no-scm"]
    subprocess.run(command, cwd=root, check=True)
    return root


@pytest.fixture
def city(city_as_made: Path, tmp_path: Path) -> City:
    return City(shutil.copytree(city_as_made, tmp_path / "city"))


@pytest.fixture
def camera() -> Iterator[Any]:
    """Sends numbered frames for 20 s."""
    with cameras.tcp_camera(cameras.make_film(range(500))) as server:
        yield server


def wait_until(server: Any, frames: int) -> None:
    """Wait until a camera has sent so many frames."""
    end = time.monotonic() + 20
    while len(server.sent) < frames:
        assert time.monotonic() < end
        time.sleep(0.02)  # between two looks at what another thread has sent


def test_segments_reach_the_catalogue(city: City, camera: Any) -> None:
    words = ("--stop-after", "2.4", "--seconds", "1", "--json")
    code, out, err = city.record(f"tcp://127.0.0.1:{camera.port}", *words)
    assert code == 0, err
    told = [json.loads(line) for line in out.splitlines()]
    rows = city.rows()
    assert [each["footage_id"] for each in told] == [row["footage_id"] for row in rows]
    assert [each["packets"] for each in told] == [row["frames"] for row in rows]
    assert [(each["packets"], each["seconds"]) for each in told[:2]] == [(25, 1.0), (25, 1.0)]
    assert {each["camera"] for each in told} == {row["camera"] for row in rows} == {"北门"}
    assert city.numbers() == list(range(len(city.numbers())))
    assert rows[0]["started_at"].timestamp() == pytest.approx(camera.first_sent, abs=0.5)
    assert [row["errors"] for row in rows] == [0, 0, 0]
    assert city.left() == []
    pointer = (city.root / "datasets" / "streets" / "footage.dvc").read_text()
    assert "nfiles: 4" in pointer  # three films and the catalogue


def test_killed_recorder_loses_a_second_and_the_rest_is_picked_up(city: City) -> None:
    film = cameras.make_film(range(500), gop=500)  # no keyframe makes the muxer write early
    with cameras.tcp_camera(film) as camera, city.start(f"tcp://127.0.0.1:{camera.port}") as run:
        wait_until(camera, 75)
        run.send_signal(signal.SIGKILL)
        run.wait()
    sent = len(camera.sent)
    (part,) = city.left()
    assert part.endswith(".mkv.part")
    numbers = numbers_in(city.spool / part)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= sent - 1.6 * cameras.RATE
    with cameras.tcp_camera(cameras.make_film(range(1000, 1020)), FAST) as other:
        words = ("--stop-after", "0.5", "--give-up", "0.1")
        code, _, err = city.record(f"tcp://127.0.0.1:{other.port}", *words)
    assert f"left by an earlier run: {part}" in err
    assert city.numbers() == [*numbers, *range(1000, 1020)], (code, err)
    assert city.rows()[0]["started_at"].timestamp() == pytest.approx(camera.first_sent, abs=0.5)
    assert city.rows()[0]["camera"] == "北门"
    assert city.left() == []


def test_full_disk_is_one_line_and_what_was_written_is_picked_up(city: City, camera: Any) -> None:
    url, small_files = f"tcp://127.0.0.1:{camera.port}", 'ulimit -f 4; exec "$@"'  # KiB
    with city.start(url, before=("bash", "-c", small_files, "-")) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, len(err.splitlines())) == (1, "", 1), err
    assert "expected room for a segment, found File too large" in err
    numbers = numbers_in(city.spool / city.left()[0])
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 20
    code, _, err = city.record(url, "--stop-after", "0.2")
    assert code == 0, err
    assert city.numbers()[: len(numbers)] == numbers
    assert city.left() == []


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_signal_finishes_the_segment_and_adds_it(city: City, camera: Any, kind: int) -> None:
    with city.start(f"tcp://127.0.0.1:{camera.port}") as process:
        wait_until(camera, 40)
        process.send_signal(kind)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "1 added to streets" in out
    assert city.numbers() == list(range(len(city.numbers())))
    assert len(city.numbers()) >= 38
    assert city.left() == []


def test_other_camera_s_leftovers_wait_for_its_recorder(city: City, camera: Any) -> None:
    with city.start(f"tcp://127.0.0.1:{camera.port}") as process:
        wait_until(camera, 30)
        with cameras.tcp_camera(cameras.make_film(range(1000, 1010)), FAST) as other:
            url = f"tcp://127.0.0.1:{other.port}"
            code, _, err = city.record(url, "--stop-after", "0.3", camera="harbour")
            assert (code, "left by" in err) == (0, False), err
            assert (city.record(url)[0], len(city.left())) == (1, 1)  # one recorder a camera
        process.send_signal(signal.SIGKILL)
        process.wait()
    with cameras.tcp_camera(cameras.make_film(range(1500, 1510)), FAST) as other:
        url = f"tcp://127.0.0.1:{other.port}"
        _, _, err = city.record(url, "--stop-after", "0.3", camera="harbour")
    assert "left by an earlier run: 北门-" in err
    assert [row["camera"] for row in city.rows()] == ["北门", "harbour", "harbour"]
    assert city.left() == []


def test_leftover_that_cannot_be_read_is_set_aside(city: City) -> None:
    city.spool.mkdir(parents=True)
    name = segment_name("北门", datetime(2026, 11, 22, tzinfo=UTC))
    (city.spool / f"{name}.part").write_bytes(b"\x1a\x45\xdf\xa3 cut off")
    with cameras.tcp_camera(cameras.make_film(range(10)), FAST) as server:
        url = f"tcp://127.0.0.1:{server.port}"
        code, _, err = city.record(url, "--stop-after", "0.3", "--keep")
    assert code == 0, err
    assert city.left() == [f"{name}.refused"]
    assert city.numbers() == list(range(10))
    (kept,) = (city.spool / "kept").iterdir()
    assert numbers_in(kept) == list(range(10))


@pytest.mark.parametrize(
    ("camera_name", "said"),
    [("北们", "known: harbour, 北门"), ("habour", "did you mean 'harbour'?")],
)
def test_unknown_camera_is_said_before_anything_connects(
    city: City, camera: Any, camera_name: str, said: str
) -> None:
    url = f"tcp://127.0.0.1:{camera.port}"
    code, out, err = city.record(url, camera=camera_name)
    assert (code, out) == (1, "")
    assert said in err
    assert camera.connections == []


@pytest.mark.parametrize(
    "url",
    ["rtsp://admin:s3cret@127.0.0.1:{}/x", "concat://admin:s3cret@x:{}/y", "tcp://a:s3cret@x"],
)
def test_failure_is_one_line_without_the_password(city: City, url: str) -> None:
    code, out, err = city.record(url.format(cameras.free_port()))
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("expected ")
    assert "s3cret" not in err
    assert ":***@" in err
