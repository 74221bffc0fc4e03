"""Clips of stored frames: exact in number, order, size and picture, also in a real browser."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from cityforge.errors import DataError, InputError
from cityforge.footage.shards import FrameStore, begin_shard
from cityforge.labeling.video_clip import Clip, clips_of, read_clip
from cityforge.tables import FRAMES, from_rows

BLOCK = 16  # pixels of a square that holds one bit of a frame's number
BITS = 8
COLOUR = (200, 60, 40)  # RGB under the squares


def picture_of(number: int, size: tuple[int, int]) -> bytes:
    """A JPEG that says its number: eight squares, white for a 1, the lowest bit on the left."""
    rgb = np.full((size[1], size[0], 3), COLOUR, np.uint8)
    for bit in range(BITS):
        rgb[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 if number >> bit & 1 else 0
    return cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def number_in(rgb: np.ndarray) -> int:
    """The number that a picture says."""
    middle = BLOCK // 2
    return sum(1 << bit for bit in range(BITS) if rgb[middle, bit * BLOCK + middle].mean() > 128)


def stored(
    folder: Path, sizes: list[tuple[int, int]], footage_ids: tuple[str, ...] = ("f00d",)
) -> tuple[pa.Table, FrameStore]:
    """Frame k says k and has size `sizes[k]`; the rows of the table are in another order."""
    rows: list[dict[str, object]] = []
    with begin_shard(folder / "a.tar") as shard:
        for number, size in enumerate(sizes):
            footage_id = footage_ids[number % len(footage_ids)]
            frame_id = f"{footage_id}-{number * 512}"
            jpeg = picture_of(number, size)
            row = dict.fromkeys(("sharpness", "brightness", "contrast"), 0.0)
            rows.append(row | {
                "frame_id": frame_id, "footage_id": footage_id, "pts_s": number * 0.512,
                "shard": "a.tar", "offset": shard.add(f"{frame_id}.jpg", jpeg),
                "bytes": len(jpeg), "width": size[0], "height": size[1], "phash": "0" * 16,
                "lighting": "day", "faults": [], "redactions": [],
            })  # fmt: skip
    table = from_rows(sorted(rows, key=lambda row: str(row["frame_id"])[::-1]), FRAMES)
    return table, FrameStore(folder, table)


def decoded(clip: Clip) -> list[tuple[np.ndarray, Fraction, bool]]:
    """Picture, moment and whether it is a key frame, of each frame of a clip."""
    with av.open(str(clip.path)) as film:
        return [
            (f.to_ndarray(format="rgb24"), f.pts * f.time_base, f.key_frame)
            for f in film.decode(video=0)
        ]


@pytest.mark.parametrize(
    ("size", "fps"),
    [
        ((160, 120), 10.0),
        ((161, 121), 25.0),  # odd sides: nothing is padded, nothing is cut
        ((128, 17), 29.97),
        ((160, 120), 1.0),  # the slowest that Label Studio takes for a rate
    ],
)
def test_frame_k_of_a_clip_is_the_kth_stored_frame(
    tmp_path: Path, size: tuple[int, int], fps: float
) -> None:
    table, store = stored(tmp_path, [size] * 12)
    (clip,) = clips_of(table, store, tmp_path / "clips", fps, longest=100)
    assert clip.frame_ids == tuple(f"f00d-{k * 512}" for k in range(12))
    assert (clip.width, clip.height, clip.fps, clip.footage_id) == (*size, fps, "f00d")
    pictures = decoded(clip)
    assert [number_in(rgb) for rgb, _, _ in pictures] == list(range(12))
    assert all(rgb.shape == (size[1], size[0], 3) for rgb, _, _ in pictures)
    assert all(is_key for _, _, is_key in pictures)
    assert all(abs(at - k / fps) <= 0.0006 for k, (_, at, _) in enumerate(pictures))


def test_pictures_stay_close_to_what_is_stored(tmp_path: Path) -> None:
    table, store = stored(tmp_path, [(160, 120)] * 3)
    (clip,) = clips_of(table, store, tmp_path / "clips", 10.0, longest=3)
    for number, (rgb, _, _) in enumerate(decoded(clip)):
        original = cv2.imdecode(np.frombuffer(picture_of(number, (160, 120)), np.uint8), 1)
        difference = np.abs(rgb.astype(int) - original[:, :, ::-1])
        assert difference.mean() < 3


def test_long_footage_and_changed_sizes_are_cut_into_clips(tmp_path: Path) -> None:
    table, store = stored(tmp_path, [(160, 120)] * 7 + [(144, 96)] * 2 + [(160, 120)])
    clips = clips_of(table, store, tmp_path / "clips", 10.0, longest=4)
    assert [len(clip.frame_ids) for clip in clips] == [4, 3, 2, 1]
    assert [clip.width for clip in clips] == [160, 160, 144, 160]
    assert [number_in(p[0]) for clip in clips for p in decoded(clip)] == list(range(10))


def test_the_same_frames_give_the_same_bytes_and_are_not_made_again(tmp_path: Path) -> None:
    table, store = stored(tmp_path, [(160, 120)] * 5)
    (first,) = clips_of(table, store, tmp_path / "one", 10.0, longest=9)
    (second,) = clips_of(table, store, tmp_path / "two", 10.0, longest=9)
    assert first.path.name == second.path.name
    assert first.path.read_bytes() == second.path.read_bytes()
    os.utime(first.path, (1, 1))
    assert clips_of(table, store, tmp_path / "one", 10.0, longest=9) == [first]
    assert first.path.stat().st_mtime == 1
    (faster,) = clips_of(table, store, tmp_path / "one", 20.0, longest=9)
    assert faster.path != first.path


def test_a_clip_says_which_frames_it_holds(tmp_path: Path) -> None:
    table, store = stored(tmp_path, [(160, 120)] * 5)
    (clip,) = clips_of(table, store, tmp_path / "clips", 12.5, longest=9)
    assert read_clip(clip.path) == clip
    assert sorted(p.suffix for p in clip.path.parent.iterdir()) == [".json", ".webm"]


def test_a_clip_that_is_not_whole_is_written_again(tmp_path: Path) -> None:
    table, store = stored(tmp_path, [(160, 120)] * 5)
    (clip,) = clips_of(table, store, tmp_path / "clips", 10.0, longest=9)
    whole = hashlib.sha256(clip.path.read_bytes()).digest()
    clip.path.with_suffix(".json").unlink()
    clip.path.write_bytes(b"half")
    assert clips_of(table, store, tmp_path / "clips", 10.0, longest=9) == [clip]
    assert hashlib.sha256(clip.path.read_bytes()).digest() == whole


def test_a_frame_that_cannot_be_read_leaves_no_clip(tmp_path: Path) -> None:
    table, store = stored(tmp_path, [(160, 120)] * 5)
    rows = table.to_pylist()
    rows[2]["width"] = 158
    for row in rows:
        row["width"] = 158  # what the table says and the pictures are not
    with pytest.raises(DataError, match=r"158×120.*160×120.*f00d-0"):
        clips_of(from_rows(rows, FRAMES), store, tmp_path / "clips", 10.0, longest=9)
    assert list((tmp_path / "clips").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "No such file"),
        ("{", "Expecting"),
        ("[]", "integer"),
        ('{"recipe": "other"}', "another"),
    ],
)
def test_a_broken_statement_beside_a_clip_is_named(
    tmp_path: Path, content: str | None, found: str
) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=found):
        read_clip(tmp_path / "a.webm")


@pytest.mark.parametrize(("fps", "longest"), [(0.5, 9), (101.0, 9), (float("nan"), 9), (10.0, 0)])
def test_rates_and_lengths_that_no_clip_can_have_are_refused(
    tmp_path: Path, fps: float, longest: int
) -> None:
    table, store = stored(tmp_path, [(160, 120)])
    with pytest.raises(InputError):
        clips_of(table, store, tmp_path / "clips", fps, longest)


def test_frames_of_two_files_make_no_clip(tmp_path: Path) -> None:
    table, store = stored(tmp_path, [(160, 120)] * 4, footage_ids=("aa", "bb"))
    with pytest.raises(DataError, match="aa, bb"):
        clips_of(table, store, tmp_path / "clips", 10.0, longest=9)
    assert clips_of(table.slice(0, 0), store, tmp_path / "clips", 10.0, longest=9) == []


class _Ranges(SimpleHTTPRequestHandler):
    """Serves a folder, parts of files too: a browser seeks by them."""

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        asked = self.headers.get("Range", "")
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first or 0), int(last or len(data) - 1) + 1
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", "text/html" if self.path == "/a.html" else "video/webm")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(data[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


# Seeks to every moment it is given; answers what a canvas then shows, read back.
LOOK = """async ([source, moments, bits, block]) => {
  const video = document.createElement('video');
  video.muted = true; video.src = source;
  await new Promise((done, failed) => {
    video.oncanplaythrough = done;
    video.onerror = () => failed(new Error(video.error.message));
  });
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const seen = [];
  for (const moment of moments) {
    const sought = new Promise(done => { video.onseeked = done; });
    // `seeked` may come before the frame is on the screen, which a person sees it on.
    const painted = new Promise(done => video.requestVideoFrameCallback(done));
    video.currentTime = moment;
    await sought;
    await Promise.race([painted, new Promise(done => setTimeout(done, 2000))]);
    context.drawImage(video, 0, 0);
    const pixel = (x, y) => Array.from(context.getImageData(x, y, 1, 1).data.slice(0, 3));
    const squares = Array.from({length: bits}, (_, bit) => pixel((bit + 0.5) * block, block / 2));
    seen.push({
      number: squares.reduce((sum, rgb, bit) => sum + (rgb[1] > 128) * 2 ** bit, 0),
      colour: pixel(canvas.width / 2, canvas.height - 4),
    });
  }
  return {width: canvas.width, height: canvas.height, duration: video.duration, seen};
}"""


@pytest.mark.parametrize(("size", "fps"), [((129, 33), 25.0), ((128, 720), 29.97)])
def test_a_browser_that_seeks_sees_the_frame(
    tmp_path: Path,
    served: tuple[Path, str],
    launch_chromium: Callable[[Any], Any],
    size: tuple[int, int],
    fps: float,
) -> None:
    from playwright.sync_api import sync_playwright

    folder, address = served
    table, store = stored(tmp_path, [size] * 40)
    (clip,) = clips_of(table, store, folder, fps, longest=99)
    (folder / "a.html").write_text("<link rel=icon href=data:,>")
    order = [int(k) for k in np.random.default_rng(4).permutation(40)]
    # As people seek, and as Label Studio does: to whole 2 ms, 2 ms behind the frame's start.
    studio = [round(k / fps / 0.002) * 0.002 + 0.002 for k in order]
    with sync_playwright() as play:
        browser = launch_chromium(play)
        page = browser.new_page()
        page.goto(f"{address}/a.html")
        moments = [(k + 0.5) / fps for k in order] + studio
        asked = [f"{address}/{clip.path.name}", moments, BITS, BLOCK]
        answer: dict[str, Any] = page.evaluate(LOOK, asked)
        browser.close()
    assert (answer["width"], answer["height"]) == size
    assert round(answer["duration"] * fps) == 40  # Label Studio's length of the clip
    assert [each["number"] for each in answer["seen"]] == order * 2
    assert max(abs(np.subtract(each["colour"], COLOUR)).max() for each in answer["seen"]) < 8
