"""What is held side by side: `cityforge serve`, a plain loop, LitServe; and what they are sent."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import psutil
from serving_family import Family

HERE = Path(__file__).resolve().parent
COMMAND = str(Path(sys.executable).parent / "cityforge")
WIDTH, HEIGHT = 1280, 720
PICTURES = 16
READY_S = 180.0


@dataclass(frozen=True)
class Side(Family):
    """A server that runs, and the token for it."""

    token: str = ""

    def rest(self) -> None:
        """Stop all its processes where they are: what is idle must not cost the others."""
        for each in self.family():
            each.suspend()

    def go_on(self) -> None:
        for each in self.family():
            each.resume()

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@contextmanager
def ours(root: Path, algorithm: str, log: Path) -> Iterator[Side]:
    """`cityforge serve` in a project, and a token for it that is taken back afterwards."""
    name, port = f"bench-{os.getpid()}", free_port()
    words = ["key", "token", "new", name, "--scope", "predict", "--scope", "admin"]
    made = run(root, *words, "--rate", "100000", "--burst", "100000", "--days", "1", "--json")
    token = json.loads(made)["token"]
    try:
        command = [COMMAND, "serve", algorithm, "--port", str(port)]
        with started(command, port, log, "/readyz", root, token=token) as side:
            yield side
    finally:
        run(root, "key", "token", "revoke", name)


@contextmanager
def litserve(package: Path, processes: int, log: Path) -> Iterator[Side | None]:
    """The peer, where CITYFORGE_LITSERVE_ENV names its environment; else None."""
    stated = os.environ.get("CITYFORGE_LITSERVE_ENV")
    if not stated:
        yield None
        return
    port = free_port()
    python = str(Path(stated) / "bin" / "python")
    command = [python, str(HERE / "serving_litserve.py"), str(package), str(port), str(processes)]
    source = str(HERE.parents[1] / "platform")
    with started(command, port, log, "/health", PYTHONPATH=source) as side:
        yield side


@contextmanager
def started(
    command: Sequence[str],
    port: int,
    log: Path,
    ready: str,
    root: Path | None = None,
    token: str = "",
    **environment: str,
) -> Iterator[Side]:
    """Run a server until it is not needed any more."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=root, stdout=said, stderr=said, env={**os.environ, **environment}
        )
    side = Side(f"http://127.0.0.1:{port}", process, token)
    try:
        _wait(side, ready, log)
        yield side
    finally:
        family = side.family() if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        for each in psutil.wait_procs(family, 5)[1]:
            each.kill()


def _wait(side: Side, path: str, log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and side.process.poll() is None:
        try:
            if httpx.get(side.address + path, headers=side.headers(), timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)  # nothing tells when a port is open: asked again
    raise SystemExit(f"{side.address} did not come up:\n{log.read_text()[-3000:]}")


def run(root: Path, *words: str) -> str:
    """Run `cityforge`, and give what it printed."""
    done = subprocess.run([COMMAND, *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Plain:
    """Processes that do nothing but decode, run the network and decode its boxes."""

    def __init__(self, package: Path, processes: int, pictures: Sequence[bytes]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for number in range(processes):
            here, there = context.Pipe()
            shifted = [*pictures[number:], *pictures[:number]]
            each = context.Process(target=_loop, args=(there, package, shifted), daemon=True)
            each.start()
            self._pipes.append(here)
            self._processes.append(each)
        for pipe in self._pipes:
            pipe.recv()

    def rate(self, processes: int, seconds: float) -> float:
        """Pictures a second by so many of them."""
        for pipe in self._pipes[:processes]:
            pipe.send(seconds)
        return float(sum(pipe.recv() for pipe in self._pipes[:processes]))

    def close(self) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(0.0)
            process.join(10)


def _loop(pipe: Connection, package: Path, pictures: Sequence[bytes]) -> None:
    import cv2

    from cityforge.inference.package import open_package
    from cityforge.inference.runtime import Model

    cv2.setNumThreads(1)
    model = Model(open_package(package), threads=1)
    model.answer([pictures[0]])
    pipe.send(None)
    while seconds := pipe.recv():
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            model.answer([pictures[count % len(pictures)]])
            count += 1
        pipe.send(count / (time.perf_counter() - begun))


def pictures_of(root: Path, dataset: str) -> list[bytes]:
    """Frames of a dataset over its whole length, as JPEGs of 1280×720."""
    import cv2
    import numpy as np

    shards = sorted((root / "datasets" / dataset / "frames").rglob("*.tar"))
    found: list[bytes] = []
    for shard in shards:
        with tarfile.open(shard) as tar:
            members = [each for each in tar.getmembers() if each.isfile()]
            for member in members[:: max(1, len(members) * len(shards) // (4 * PICTURES))]:
                stream = tar.extractfile(member)
                assert stream is not None
                found.append(stream.read())
    if not found:
        raise SystemExit(f"expected frames of {dataset}, found none: run the algorithm first")
    made = []
    for data in found[:: max(1, len(found) // PICTURES)][:PICTURES]:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        sized = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        made.append(cv2.imencode(".jpg", sized, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return made


def film_of(path: Path, pictures: Sequence[bytes], fps: int, seconds: int) -> Path:
    """A film of 1280×720 whose pictures move by a few pixels a frame (H.264)."""
    import av
    import cv2
    import numpy as np

    shown = [cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in pictures]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(fps * seconds):
            each = shown[number * len(shown) // (fps * seconds)]
            moved = np.roll(each, round(40 * number / fps) % WIDTH, axis=1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
