"""Which frames each policy takes, in one go, in stretches, and within the camera's hour."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cityforge.cards.dataset import Dataset, Sampling
from cityforge.footage.catalogue import add_footage, read_catalogue
from cityforge.footage.index import read_index
from cityforge.footage.ingest import Ingested, ingest
from cityforge.footage.listing import list_files
from cityforge.footage.near import NearDuplicates, perceptual_hash
from cityforge.footage.plan import stretches_of
from cityforge.footage.recordings import Recording
from cityforge.footage.sample import Sample, sample_film
from cityforge.footage.slots import Quota, Stretch

START = datetime(2026, 3, 2, 9, 59, 30, tzinfo=UTC)
SIZE = (96, 64)
RATE = 10


def picture(number: int, scene: int, moving: bool) -> np.ndarray:
    """A textured scene; in a moving one a bright block walks across it."""
    noise = np.random.default_rng(scene).integers(40, 200, (8, 12, 3), dtype=np.uint8)
    pixels = noise.repeat(8, 0).repeat(8, 1)
    if moving:
        left = 4 * number % 80
        pixels[20:40, left : left + 16] = 255
    return pixels


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """12 s: a still scene, from 4 s on one in which something walks, from 8 s on a still one."""
    import av

    path = tmp_path / "街.mp4"
    with av.open(str(path), "w") as container:
        options = {"g": "15", "bf": "3", "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(12 * RATE):
            scene = number // (4 * RATE)
            pixels = picture(number, scene, scene == 1)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def taken(film: Path, **sampling: object) -> list[int]:
    asked = Sampling.model_validate({"seconds": 1.0, **sampling})
    return [each.milliseconds for each in sample_film(film, asked)]


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"policy": "every", "seconds": 3}, [0, 3000, 6000, 9000]),
        ({"policy": "every", "seconds": 3, "offset_s": 1.45}, [1500, 4500, 7500, 10500]),
        ({"policy": "keyframes", "seconds": 0}, [*range(0, 12000, 1500)]),
        ({"policy": "keyframes", "seconds": 4}, [0, 4500, 9000]),  # at most one in each 4 s
        ({"policy": "scene", "threshold": 0.05}, [0, 4000, 8000]),
        ({"policy": "motion", "threshold": 0.01, "seconds": 1}, [4000, 5000, 6000, 7000, 8000]),
    ],
)
def test_a_policy_takes_what_it_looks_for(
    film: Path, sampling: dict[str, object], expected: list[int]
) -> None:
    assert taken(film, **sampling) == expected


@pytest.mark.parametrize("policy", ["every", "keyframes", "scene", "motion"])
@pytest.mark.parametrize("hold_s", [0.0, 0.2])
def test_stretches_together_take_what_the_whole_film_gives(
    film: Path, policy: str, hold_s: float
) -> None:
    asked = Sampling.model_validate({"policy": policy, "seconds": 1.0, "threshold": 0.01})

    def told(found: list[Sample]) -> list[tuple[int, bytes, bool, bool]]:
        return [
            (e.milliseconds, e.bgr.tobytes(), e.before is not None, e.after is not None)
            for e in found
        ]

    whole = told(list(sample_film(film, asked, hold_s=hold_s)))
    parts = [
        told(list(sample_film(film, asked, Stretch(begin, begin + 3), hold_s)))
        for begin in (0.0, 3.0, 6.0, 9.0)
    ]
    assert [each for part in parts for each in part] == whole
    assert len(whole) >= 3


def test_neighbours_are_the_frames_asked_for(film: Path) -> None:
    asked = Sampling(policy="every", seconds=1.0, offset_s=0.5)
    plain = {e.milliseconds: e.bgr for e in sample_film(film, Sampling(policy="every", seconds=0))}
    checked = 0
    for each in sample_film(film, asked, hold_s=0.3):
        assert each.before is not None
        assert np.array_equal(each.before, plain[each.milliseconds - 300])
        assert each.after is not None
        assert np.array_equal(each.after, plain[each.milliseconds + 300])
        checked += 1
    assert checked == 12
    first = next(sample_film(film, Sampling(policy="every", seconds=1.0), hold_s=0.3))
    assert first.before is None


def test_only_what_is_needed_is_decoded(film: Path) -> None:
    index = read_index(film)
    assert index is not None
    assert (len(index.pts), int(index.key.sum())) == (120, 8)
    assert index.moments.min() == 0


@pytest.mark.parametrize(
    ("seconds", "duration", "length"),
    [
        (1, 600, 150),
        (0.5, 600, 75),
        (0, 100, 20),
        (30, 7200, 600),
        (7, 7200, 602),
        (3600, 7300, 3600),
    ],
)
def test_stretches_cover_a_film(seconds: float, duration: float, length: float) -> None:
    found = stretches_of(duration, 10**6, Sampling(policy="every", seconds=seconds))
    assert found[0].begin == 0
    assert found[-1].end == float("inf")
    assert [each.end for each in found[:-1]] == [each.begin for each in found[1:]]
    assert found[0].end == pytest.approx(length)
    assert found[-1].begin < duration


@pytest.mark.parametrize("per_hour", [3600, 1800, 1200, 720])
def test_no_slot_of_the_hour_is_taken_twice(film: Path, per_hour: int) -> None:
    asked = Sampling(policy="every", seconds=0.5)
    quota = Quota(per_hour, START)
    whole = [e.milliseconds for e in sample_film(film, asked, quota=quota)]
    parts = [
        e.milliseconds
        for begin, end in ((0.0, 3.5), (3.5, 7.0), (7.0, float("inf")))
        for e in sample_film(film, asked, Stretch(begin, end), quota=quota)
    ]
    assert parts == whole
    slots = [quota.slot(each / 1000) for each in whole]
    assert len(slots) == len(set(slots)) == -(-12 * per_hour // 3600)


def card_of(make_card: Callable[..., Dataset], **sampling: object) -> Dataset:
    return make_card(sampling={"policy": "every", "seconds": 0.5, **sampling})


def brought_in(card: Dataset, folder: Path) -> Ingested:
    return ingest(card, folder, read_catalogue(folder), folder / "frames", 1, now=START)


def test_films_of_a_camera_share_its_hour(
    tmp_path: Path, make_card: Callable[..., Dataset], make_film: Callable[..., Path]
) -> None:
    """Two films of the same minute: what the first fills is not taken from the second."""
    card, folder = card_of(make_card, per_hour=1800), tmp_path / "dataset"
    folder.mkdir()
    for number, late in enumerate((0.0, 1.0, 10.0)):
        path = make_film(tmp_path / f"{number}.mp4", range(20 + number, 220, 5), rate=10)
        common = Recording("北门", START + timedelta(seconds=late))
        add_footage(card, folder, list_files([path]), {}, common)
    frames = brought_in(card, folder).frames
    moments = sorted(row["captured_at"] for row in frames.to_pylist())
    slots = [int(each.timestamp() // 2) for each in moments]
    assert len(slots) == len(set(slots))
    assert 4 <= len(slots) <= 6


def test_near_duplicates_are_dropped_and_counted(
    tmp_path: Path, make_card: Callable[..., Dataset], film: Path
) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    add_footage(card_of(make_card), folder, list_files([film]), {}, Recording("北门", START))
    plain = brought_in(card_of(make_card), folder)
    few = brought_in(card_of(make_card, near_duplicates=6), folder)
    assert plain.frames.num_rows == 24
    assert few.frames.num_rows + few.duplicates == 24
    hashes = [int(each, 16) for each in few.frames["phash"].to_pylist()]
    assert 2 <= len(hashes) < 12
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > 6


def test_the_hash_is_that_of_imagehash() -> None:
    import cv2
    import imagehash
    from PIL import Image

    for seed in range(20):
        noise = np.random.default_rng(seed).integers(0, 255, (9, 16, 3), dtype=np.uint8)
        grey = cv2.resize(noise[..., 0], (320, 180), interpolation=cv2.INTER_CUBIC)
        small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
        assert perceptual_hash(grey) == str(imagehash.phash(Image.fromarray(small)))


def test_many_hashes_are_remembered() -> None:
    values = np.random.default_rng(0).integers(0, 2**63, 1000)
    near = NearDuplicates(3)
    kept = [f"{value:016x}" for value in values.tolist() if near.is_new(f"{value:016x}")]
    assert len(kept) > 990
    assert not any(near.is_new(each) for each in kept)
    assert not near.is_new(f"{int(kept[0], 16) ^ 0b111:016x}")


def test_a_catalogue_of_before_is_still_read(tmp_path: Path) -> None:
    """Version 1 had no column for what a file's container is, and none for withdrawal."""
    import pyarrow.parquet as pq

    from cityforge.tables import FOOTAGE, VERSION_KEY, read_table

    new = ("other_names", "added_at", "container", "pixel_format", "rotation", "variable_rate",
           "divisible", "error_times", "notes", "withdrawn_at", "withdrawn_reason")  # fmt: skip
    old = pa.schema([f for f in FOOTAGE if f.name not in new], {VERSION_KEY: b"footage/1"})
    row = {"footage_id": "a" * 16, "path": "p", "name": "n", "camera": "c", "duration_s": 1.0,
           "width": 1, "height": 1, "codec": "h264", "frames": 1, "errors": 0,
           "lawful_basis": "x"}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row], schema=old), tmp_path / "footage.parquet")
    table = read_table(FOOTAGE, tmp_path / "footage.parquet")
    assert table.schema == FOOTAGE
    assert table["withdrawn_at"].to_pylist() == [None]
    assert table["name"].to_pylist() == ["n"]


def test_a_frozen_picture_is_told_though_its_frames_are_near_duplicates(
    tmp_path: Path, make_card: Callable[..., Dataset]
) -> None:
    import av

    path, folder = tmp_path / "frozen.mp4", tmp_path / "dataset"
    folder.mkdir()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        frame = av.VideoFrame.from_ndarray(picture(0, 5, False), format="rgb24")
        for number in range(40):
            frame.pts, frame.time_base = number, Fraction(1, 1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    card = card_of(make_card, near_duplicates=2, seconds=1)
    add_footage(card, folder, list_files([path]), {}, Recording("北门", START))
    done = brought_in(card, folder)
    assert done.frames["faults"].to_pylist() == [[], ["frozen"]]
    assert done.duplicates == 38
