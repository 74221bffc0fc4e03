"""Broken files: each gets a verdict, in bounded time and memory, whatever is wrong with it.

Worker processes of this very file read the damaged clips, so that a crash of a library in C is
seen as what it is, with the name of the file that caused it.
"""

from __future__ import annotations

import json
import os
import queue
import random
import re
import resource
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import pytest

CUTS = 20
# How many files of each clip get bytes flipped: the longer it takes to read, the fewer.
FLIPPED = {
    "decord_corrupted.mp4": 20, "decord_rot90.mov": 40, "intel_car-detection.mp4": 12,
    "intel_one-by-one-person.mp4": 5, "opossum_intro.webm": 12, "people_arcade.mp4": 12,
    "tc_av1.mkv": 40, "tc_h265.mp4": 34, "traffic_topdown.mp4": 15, "footage.mp4": 10,
}  # fmt: skip
NUMBERS_OF_FLIPS = (1, 4, 16, 64, 256, 1024)
SEED = 20260302
MOST_SECONDS = 60  # for one file; the longest whole clip takes 3
MOST_BYTES = 800 << 20  # resident, at the peak of reading one file
ADDRESS_SPACE = 8 << 30
READERS = 2


@dataclass(frozen=True)
class Damage:
    """What is done to a clip: cut to a share of its length, or `flips` bytes changed."""

    clip: str
    share: float = 1.0
    flips: int = 0
    within: tuple[float, float] = (0.0, 1.0)  # part of the file that the flips lie in
    seed: int = 0

    def apply(self, whole: bytes) -> bytes:
        if not self.flips:
            return whole[: int(len(whole) * self.share)]
        chance = random.Random(self.seed)
        broken = bytearray(whole)
        low, high = (int(len(whole) * share) for share in self.within)
        for _ in range(self.flips):
            broken[chance.randrange(low, high)] ^= chance.randrange(1, 256)
        return bytes(broken)


def cuts(clips: list[Path]) -> list[Damage]:
    """From almost nothing to all but the last bytes."""
    shares = [*((number + 0.5) / (CUTS - 1) for number in range(CUTS - 1)), 0.9995]
    return [Damage(str(clip), share=share) for clip in clips for share in shares]


def flips(clips: list[Path]) -> list[Damage]:
    """Anywhere; in the first part, which often holds the headers; in the last, the index."""
    chance = random.Random(SEED)
    parts = ((0.0, 1.0), (0.0, 1.0), (0.0, 0.01), (0.95, 1.0))
    return [
        Damage(
            str(clip),
            flips=chance.choice(NUMBERS_OF_FLIPS),
            within=chance.choice(parts),
            seed=chance.randrange(1 << 30),
        )
        for clip in clips
        for _ in range(FLIPPED[clip.name])
    ]


@pytest.fixture
def clips(real_data: Callable[[str], Path]) -> list[Path]:
    found = [*sorted(real_data("footage").iterdir()), real_data("drone_person") / "footage.mp4"]
    assert sorted(clip.name for clip in found) == sorted(FLIPPED)
    return found


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize(("damage", "files"), [(cuts, 200), (flips, 200)])
def test_every_damaged_file_gets_a_verdict(
    clips: list[Path], tmp_path: Path, damage: Callable[[list[Path]], list[Damage]], files: int
) -> None:
    damages = damage(clips)
    answers = read_all(damages, tmp_path)
    assert len(answers) == len(damages) == files
    pairs = zip(damages, answers, strict=True)
    bad = [f"{fault(answer)}: {each}: {answer}" for each, answer in pairs if fault(answer)]
    assert not bad, f"{len(bad)} of {files}:\n" + "\n".join(bad)
    kinds = Counter(str(answer["verdict"]) for answer in answers)
    assert kinds["usable"] >= 50, kinds
    assert kinds["refused"] >= 20, kinds


def fault(answer: dict[str, Any]) -> str:
    """What is wrong with how one file was read; nothing when all is well."""
    if answer["verdict"] not in ("usable", "refused") or answer["sampled"] == "failed":
        return "no verdict"
    if answer["peak_bytes"] > MOST_BYTES:
        return "too much memory"
    if answer["verdict"] == "refused":
        return "" if re.fullmatch(r"[^\n]+", answer["text"]) else "more than one line"
    if answer["frames"] < 1 or answer["errors"] < 0 or not 0 <= answer["duration_s"] < 1e9:
        return "figures that cannot be"
    least = 0 if answer["notes"] else 1  # a note says when every frame decodes in part only
    return "" if least <= answer["taken"] <= answer["frames"] else "frames lost or doubled"


def read_all(damages: list[Damage], folder: Path) -> list[dict[str, Any]]:
    """The answer for each file, by `READERS` processes at a time."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(damages)):
        waiting.put(number)
    answers: list[dict[str, Any]] = [{} for _ in damages]
    threads = [
        threading.Thread(target=work_off, args=(damages, waiting, answers, folder / str(number)))
        for number in range(READERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def work_off(
    damages: list[Damage],
    waiting: queue.SimpleQueue[int],
    answers: list[dict[str, Any]],
    folder: Path,
) -> None:
    folder.mkdir()
    reader = start_reader(folder)
    for number in drain(waiting):
        answers[number] = ask(reader, damages[number])
        if reader.poll() is not None:
            reader = start_reader(folder)
    reader.communicate()


def drain(waiting: queue.SimpleQueue[int]) -> Iterator[int]:
    while True:
        try:
            yield waiting.get_nowait()
        except queue.Empty:
            return


def start_reader(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def ask(reader: subprocess.Popen[str], damage: Damage) -> dict[str, Any]:
    """The reader's answer; how it ended when it gives none."""
    assert reader.stdin and reader.stdout
    late = threading.Timer(MOST_SECONDS, reader.kill)
    late.start()
    try:
        reader.stdin.write(json.dumps(asdict(damage)) + "\n")
        reader.stdin.flush()
        line = reader.stdout.readline()
    except BrokenPipeError:
        line = ""
    finally:
        late.cancel()
    if line:
        return dict(json.loads(line))
    status = reader.wait()
    how = "hung" if status == -9 else f"crashed, status {status}"
    return {"verdict": how, "sampled": "failed", "peak_bytes": 0}


def read_on(folder: Path, tasks: TextIO, answers: TextIO) -> None:
    """What a reader does: damage, probe and sample one file after the other."""
    import av.logging

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    av.logging.set_level(av.logging.PANIC)
    for number, line in enumerate(tasks):
        damage = Damage(**json.loads(line))
        source = Path(damage.clip)
        path = folder / f"{os.getpid()}-{number}{source.suffix}"
        path.write_bytes(damage.apply(source.read_bytes()))
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
        answer = {**verdict_of(path), **sampled(path)}
        answers.write(json.dumps({**answer, "peak_bytes": peak_bytes()}) + "\n")
        answers.flush()
        path.unlink()


def verdict_of(path: Path) -> dict[str, Any]:
    from cityforge.errors import FootageError
    from cityforge.footage.probe import probe

    try:
        found = probe(path)
    except FootageError as refusal:
        return {"verdict": "refused", "text": str(refusal)}
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
        return {"verdict": f"{type(error).__name__}: {error}"}
    return {
        "verdict": "usable", "frames": found.frames, "errors": found.errors,
        "duration_s": found.duration_s, "notes": found.notes,
    }  # fmt: skip


def sampled(path: Path) -> dict[str, Any]:
    """How many frames were taken, one a second; each must be one that can be stored."""
    import cv2

    from cityforge.cards.dataset import Sampling
    from cityforge.errors import FootageError
    from cityforge.footage.sample import sample_film

    moments: list[int] = []
    try:
        for sample in sample_film(path, Sampling(policy="every", seconds=1)):
            stored, _ = cv2.imencode(".jpg", sample.bgr)
            if not stored:
                return {"sampled": "failed", "why": f"frame {sample.bgr.shape}"}
            moments.append(sample.milliseconds)
    except FootageError:
        return {"sampled": "refused", "taken": len(moments)}
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
        return {"sampled": "failed", "why": f"{type(error).__name__}: {error}"}
    if moments != sorted(set(moments)):
        return {"sampled": "failed", "why": f"moments {moments}"}
    return {"sampled": "whole", "taken": len(moments)}


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


if __name__ == "__main__":
    read_on(Path(sys.argv[1]), sys.stdin, sys.stdout)
