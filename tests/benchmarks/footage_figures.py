"""Prints the figures that footage promises, against ffmpeg, on this machine.

    make bench-footage                       everything; needs ffmpeg and 4 GB of disk
    make bench-footage ARGS="speed memory"   some of it

Each pair is run in turn, five times; the medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from figures import watched

Row = tuple[str, str, str]
RATE = 25
# The frame that ffmpeg's fps=1 takes of each second of a film of 25 frames a second: it rounds
# to the nearest, so the last one before the half.
FFMPEG_TAKES_S = 0.48
INGEST = """
import json, sys
from pathlib import Path
from cityforge.cards.dataset import Dataset
from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.ingest import ingest
if __name__ == "__main__":
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    card = Dataset.model_validate_json((folder / "card.json").read_text())
    done = ingest(card, folder, read_catalogue(folder), folder / "frames", workers)
    print(done.frames.num_rows)
"""


def make_film(path: Path, seconds: int, *options: str, size: str = "1920x1080") -> Path:
    """Moving content, 25 frames a second, with noise; H.264."""
    if path.exists():
        return path
    source = f"testsrc2=size={size}:rate={RATE}:duration={seconds}"
    say(f"making {path.name}")
    ffmpeg("-f", "lavfi", "-i", source, "-vf", "noise=alls=6:allf=t", "-c:v", "libx264",
           "-preset", "veryfast", "-crf", "26", "-pix_fmt", "yuv420p", *options,
           str(path))  # fmt: skip
    return path


def ffmpeg(*words: str) -> float:
    """Run ffmpeg; its seconds."""
    begun = time.perf_counter()
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True)
    return time.perf_counter() - begun


def dataset(folder: Path, film: Path, **sampling: object) -> Path:
    """A dataset of one film that is catalogued, with no frames yet."""
    from cityforge.cards.dataset import Dataset
    from cityforge.footage.catalogue import add_footage
    from cityforge.footage.listing import list_files
    from cityforge.footage.recordings import Recording

    card = Dataset.model_validate(
        {
            "name": "bench", "title": "Bench", "licence": "none",
            "classes": [{"name": "car", "definition": "A car."}],
            "cameras": [{"name": "gate", "site": "gate"}],
            "privacy": {"grade": "public", "lawful_basis": "made here", "redact": [],
                        "retention_days": 30},
            "sampling": {"policy": "every", "seconds": 1.0, **sampling},
            "checks": {"min_frames": 1, "min_boxes_per_class": 0, "min_box_px": 0,
                       "max_rejected_share": 1},
        }
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(card.model_dump_json())
    add_footage(card, folder, list_files([film]), {}, Recording("gate"))
    return folder


def ingest_command(scratch: Path, folder: Path, workers: int) -> list[str]:
    """The command of one ingest in a process of its own."""
    script = scratch / "ingest.py"
    script.write_text(INGEST)
    return [sys.executable, str(script), str(folder), str(workers)]


def ingested(scratch: Path, folder: Path) -> float:
    """Seconds of a whole ingest from nothing, the start of Python included."""
    shutil.rmtree(folder / "frames", ignore_errors=True)
    workers = len(os.sched_getaffinity(0))
    begun = time.perf_counter()
    subprocess.run(ingest_command(scratch, folder, workers), check=True, capture_output=True)
    return time.perf_counter() - begun


def in_turn(first: Callable[[], float], second: Callable[[], float], times: int) -> str:
    """Medians of both, run in turn, and the ratio of the first to the second."""
    pairs = [(first(), second()) for _ in range(times)]
    ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
    return f"{ours:.1f} s : {theirs:.1f} s = {ours / theirs:.2f}"


def speed(scratch: Path, times: int) -> list[Row]:
    """Ten minutes of 1080p, one frame a second to JPEG."""
    rows = []
    kinds: dict[str, tuple[str, ...]] = {
        "B frames": (),
        "as cameras code: no B frames, keyframe each 2 s": ("-bf", "0", "-g", "50"),
    }
    for number, (kind, options) in enumerate(kinds.items()):
        film = make_film(scratch / f"speed{number}.mp4", 600, *options)
        folder = dataset(scratch / f"speed{number}", film, offset_s=FFMPEG_TAKES_S)
        pictures = scratch / "pictures"
        pictures.mkdir(exist_ok=True)

        def theirs(film: Path = film, pictures: Path = pictures) -> float:
            return ffmpeg("-i", str(film), "-vf", "fps=1", "-q:v", "2",
                          str(pictures / "%04d.jpg"))  # fmt: skip

        def ours(folder: Path = folder) -> float:
            return ingested(scratch, folder)

        compared = in_turn(ours, theirs, times)
        rows.append((f"speed, {kind}", compared, "0.8 of ffmpeg's time"))
        rows.append(
            (f"frames, {kind}", same_frames(film, folder, pictures), "the same as ffmpeg's")
        )
    return rows


def same_frames(film: Path, folder: Path, pictures: Path) -> str:
    """How many of ffmpeg's pictures show the frames whose moments our table states.

    The first 20 are looked at: a picture shows the frame of the film, among those within a
    second of it, whose luma it is nearest to. Noise differs from frame to frame.
    """
    from PIL import Image

    from cityforge.footage.ingest import FRAMES_TABLE
    from cityforge.tables import FRAMES, read_table

    frames = read_table(FRAMES, folder / "frames" / FRAMES_TABLE).sort_by("pts_s")
    ours = frames["pts_s"].to_pylist()
    paths = sorted(pictures.glob("*.jpg"))
    theirs = [np.asarray(Image.open(path).convert("L"), np.float32) for path in paths[:20]]
    nearest = [(float("inf"), -1.0)] * len(theirs)
    for moment, luma in lumas(film, len(theirs) + 1.0):
        for number, picture in enumerate(theirs):
            if abs(moment - number) < 1:
                difference = float(np.abs(luma - picture).mean())
                nearest[number] = min(nearest[number], (difference, moment))
    half = 0.5 / RATE
    same = sum(abs(at - our) <= half for (_, at), our in zip(nearest, ours, strict=False))
    return f"{len(ours)} and {len(paths)}; {same} of the first {len(theirs)} the same"


def lumas(film: Path, until: float) -> Iterator[tuple[float, np.ndarray]]:
    """Moment and luma (H, W), full range, of each frame of a film up to `until`, s."""
    import av

    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            if frame.time > until:
                return
            yield frame.time, frame.to_ndarray(format="gray").astype(np.float32)


def keyframes(scratch: Path, times: int) -> list[Row]:
    """Keyframes only, of the same film."""
    film = make_film(scratch / "speed0.mp4", 600)
    folder = dataset(scratch / "keyframes", film, policy="keyframes", seconds=0)
    pictures = scratch / "keys"
    pictures.mkdir(exist_ok=True)

    def theirs() -> float:
        return ffmpeg("-skip_frame", "nokey", "-i", str(film), "-vsync", "0", "-q:v", "2",
                      str(pictures / "%04d.jpg"))  # fmt: skip

    compared = in_turn(lambda: ingested(scratch, folder), theirs, times)
    return [("keyframes", compared, "no slower than -skip_frame nokey")]


def memory(scratch: Path, times: int) -> list[Row]:
    """A film of two hours against one of two minutes.

    640×360: what grows with the film's length shows more beside small pictures.
    """
    short = make_film(scratch / "short.mp4", 120, size="640x360")
    long = scratch / "long.mp4"
    if not long.exists():
        ffmpeg("-stream_loop", "59", "-i", str(short), "-c", "copy", str(long))
    rows = []
    for workers in (1, len(os.sched_getaffinity(0))):
        peaks = []
        for film in (long, short):
            folder = dataset(scratch / f"{film.stem}-{workers}", film)
            _, peak, _ = watched(ingest_command(scratch, folder, workers), scratch)
            peaks.append(peak)
        figure = f"{peaks[0]:.2f} GB : {peaks[1]:.2f} GB = {peaks[0] / peaks[1]:.2f}"
        rows.append((f"memory, {workers} workers", figure, "1.2 times"))
    return rows


def reads(scratch: Path, times: int) -> list[Row]:
    """Ten thousand frames out of shards at random, decoding left out."""
    from cityforge.footage.shards import FrameStore, write_shard
    from cityforge.tables import FRAMES

    frames = []
    for shard in range(20):
        sizes = [random.Random(shard * 1000 + i).randrange(60_000, 140_000) for i in range(500)]
        names = [f"{shard:016x}-{i}" for i in range(500)]
        members = [(f"{n}.jpg", os.urandom(s)) for n, s in zip(names, sizes, strict=True)]
        write_shard(scratch / f"{shard}.tar", members)
        at = 0
        for name, size in zip(names, sizes, strict=True):
            frames.append({"frame_id": name, "shard": f"{shard}.tar", "offset": at + 512,
                           "bytes": size})  # fmt: skip
            at += 512 + -(-size // 512) * 512
    import pyarrow as pa

    columns = pa.Table.from_pylist(frames)
    assert set(columns.column_names) <= set(FRAMES.names)
    store = FrameStore(scratch, columns)
    order = [each["frame_id"] for each in frames]
    random.Random(0).shuffle(order)
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        for frame_id in order:
            store.read(frame_id)
        found.append(len(order) / (time.perf_counter() - begun))
    return [("random reads", f"{statistics.median(found):,.0f} a second", "20,000 a second")]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


MEASURES: dict[str, Callable[[Path, int], list[Row]]] = {
    "reads": reads,
    "speed": speed,
    "keyframes": keyframes,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=list(MEASURES), metavar="WHAT")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--scratch", type=Path, help="keep the films made here, for another run")
    chosen = parser.parse_args()
    unknown = [each for each in chosen.what if each not in MEASURES]
    if unknown:
        raise SystemExit(f"expected some of {', '.join(MEASURES)}, found {unknown[0]}")
    if not shutil.which("ffmpeg"):
        raise SystemExit("expected ffmpeg, found none: install it (Debian's package will do)")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="cityforge-bench-") as scratch:
        for each in chosen.what:
            rows += MEASURES[each](chosen.scratch or Path(scratch), chosen.times)
            say(f"measured {each}: " + json.dumps(rows[-1], ensure_ascii=False))
    for row in [("what", "measured", "promised"), *rows]:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, (58, 40, 0), strict=True)))


if __name__ == "__main__":
    main()
