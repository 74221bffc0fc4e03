"""Parts of a film, each read for itself, give the very frames that reading it through gives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scheduling import kept_scheduling

from cityforge.cards.dataset import Dataset, Sampling
from cityforge.errors import DataError
from cityforge.footage import index, sample
from cityforge.footage.build import read_side, side_path
from cityforge.footage.catalogue import add_footage, read_catalogue
from cityforge.footage.index import read_index
from cityforge.footage.ingest import Ingested, ingest
from cityforge.footage.listing import list_files
from cityforge.footage.plan import stretches_of
from cityforge.footage.recordings import Recording
from cityforge.footage.slots import Quota, Stretch

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
SIZE = (128, 96)
Told = list[tuple[int, bytes]]


def write(path: Path, encoder: str, options: dict[str, str], rate: Fraction, count: int) -> Path:
    """A film of a patterned ground on which a block walks, so that no two frames are alike."""
    import av

    ground = np.random.default_rng(3).integers(30, 220, (12, 16, 3), dtype=np.uint8)
    with kept_scheduling(), av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(count):
            pixels = ground.repeat(8, 0).repeat(8, 1)
            left = 3 * number % 100
            pixels[30:60, left : left + 20] = number % 200 + 30
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def told(path: Path, sampling: Sampling, *edges: float, hold_s: float = 0.0) -> Told:
    """What the stretches between `edges` give together."""
    return [
        (each.milliseconds, each.bgr.tobytes())
        for begin, end in pairwise(edges)
        for each in sample.sample_film(path, sampling, Stretch(begin, end), hold_s)
    ]


def through(path: Path, sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> Told:
    """What reading every frame in order gives, as for a film that cannot be divided."""
    with monkeypatch.context() as patch:
        patch.setattr(sample, "read_index", lambda _: None)
        return told(path, sampling, 0, float("inf"))


FILMS = {
    "av1": ("a.mkv", "libsvtav1", {"preset": "12", "g": "50", "svtav1-params": "lp=1"}),
    "intra refresh": (
        "a.mp4",
        "libx264",
        {"g": "30", "x264-params": "intra-refresh=1:keyint=30:bframes=0:log-level=none"},
    ),
    "closed": ("b.mp4", "libx264", {"g": "50", "bf": "3"}),
    "open": ("c.ts", "libx264", {"x264-params": "keyint=50:open-gop=1:bframes=3:log-level=none"}),
    "vp9": ("d.webm", "libvpx-vp9", {"g": "40", "deadline": "realtime", "cpu-used": "8"}),
}


@pytest.mark.parametrize("name", FILMS)
@pytest.mark.parametrize(("seconds", "offset_s"), [(1.0, None), (1.0, 0.52), (1 / 3, None)])
def test_stretches_give_what_reading_through_gives(
    tmp_path: Path, name: str, seconds: float, offset_s: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file, encoder, options = FILMS[name]
    path = write(tmp_path / file, encoder, options, Fraction(25), 300)
    monkeypatch.setattr(index, "SEEK_PACKETS", 10)  # seek even where it is near
    sampling = Sampling(policy="every", seconds=seconds, offset_s=offset_s)
    whole = through(path, sampling, monkeypatch)
    assert len(whole) >= 11
    assert told(path, sampling, 0, float("inf")) == whole
    assert told(path, sampling, 0, 2, 7, 10, float("inf"), hold_s=0.2) == whole


def test_a_film_that_is_refreshed_bit_by_bit_is_not_divided(tmp_path: Path) -> None:
    file, encoder, options = FILMS["intra refresh"]
    assert read_index(write(tmp_path / file, encoder, options, Fraction(25), 120)) is None
    file, encoder, options = FILMS["open"]
    assert read_index(write(tmp_path / file, encoder, options, Fraction(25), 120)) is not None


@pytest.mark.parametrize("rate", [1, 2, 5, 25])
def test_motion_is_seen_in_slow_films_too(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "slow.mp4", "libx264", {"g": "5"}, Fraction(rate), 8 * rate)
    sampling = Sampling(policy="motion", seconds=1.0, threshold=0.005)
    assert len(told(path, sampling, 0, float("inf"))) >= 7


@pytest.mark.parametrize("policy", ["scene", "motion"])
@pytest.mark.parametrize("rate", [Fraction(1, 2), Fraction(1), Fraction(30000, 1001)])
def test_looking_does_not_know_where_a_stretch_begins(
    tmp_path: Path, policy: str, rate: Fraction
) -> None:
    count = round(24 * rate) if rate > 2 else 24
    path = write(tmp_path / "a.mp4", "libx264", {"g": "10"}, rate, count)
    sampling = Sampling(policy=policy, seconds=1.0, threshold=0.002)  # type: ignore[arg-type]
    length = float(count / rate)
    edges = [0.0, *(round(length * part / 4) for part in (1, 2, 3)), float("inf")]
    whole = told(path, sampling, 0, float("inf"))
    assert told(path, sampling, *edges) == whole
    assert len(whole) >= 4 or policy == "scene"


@pytest.mark.parametrize("late_s", [0.0, 0.21, 0.5, 0.9994, 1.3])
def test_a_slot_of_the_hour_has_one_frame_at_any_rate(tmp_path: Path, late_s: float) -> None:
    path = write(tmp_path / "a.mp4", "libx264", {"g": "30"}, Fraction(30000, 1001), 300)
    sampling = Sampling(policy="every", seconds=0)
    quota = Quota(1800, datetime.fromtimestamp(START.timestamp() + late_s, UTC))
    taken = [
        each.milliseconds / 1000
        for begin, end in ((0, 3), (3, 4), (4, 7.7), (7.7, float("inf")))
        for each in sample.sample_film(path, sampling, Stretch(begin, end), quota=quota)
    ]
    slots = [quota.slot(each) for each in taken]
    assert len(slots) == len(set(slots)) >= 5


def test_a_quota_takes_the_same_with_and_without_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.mp4", "libx264", {"g": "50"}, Fraction(25), 600)
    sampling, quota = Sampling(policy="every", seconds=4), Quota(600, START)

    def moments() -> list[int]:
        return [e.milliseconds for e in sample.sample_film(path, sampling, quota=quota)]

    quick = moments()
    monkeypatch.setattr(sample, "read_index", lambda _: None)
    assert moments() == quick
    assert len(quick) >= 3


def test_holes_in_a_film_make_no_stretches() -> None:
    every = Sampling(policy="every", seconds=1.0)
    assert len(stretches_of(20 * 3600 * 50, 50, every)) <= 5
    assert len(stretches_of(20 * 3600, 25 * 600, every)) <= 480


def test_a_neighbour_is_found_for_a_frame_in_place_of_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first frame of a slot does not decode, the next one is held, too."""
    path = write(tmp_path / "a.mp4", "libx264", {"g": "25", "bf": "0"}, Fraction(25), 100)
    found = read_index(path)
    assert found is not None
    broken = int(found.pts[50])
    plain = sample.decode_chosen

    def without(where: Path, index: object, chosen: np.ndarray, damaged: bool) -> object:
        return (each for each in plain(where, index, chosen, damaged) if each[0] != broken)

    monkeypatch.setattr(sample, "decode_chosen", without)
    taken = list(sample.sample_film(path, Sampling(policy="every", seconds=1.0), hold_s=0.2))
    assert [each.milliseconds for each in taken] == [0, 1000, 2040, 3000]
    assert all(each.before is not None and each.after is not None for each in taken[1:])


def dataset(tmp_path: Path, card: Dataset, *films: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    add_footage(card, folder, list_files(list(films)), {}, Recording("北门", START))
    return folder


def brought_in(card: Dataset, folder: Path) -> Ingested:
    return ingest(card, folder, read_catalogue(folder), folder / "frames", 1, now=START)


@pytest.mark.parametrize("left", [b"", b"PAR1 and no more", None])
def test_a_side_table_that_cannot_be_read_is_made_anew(
    tmp_path: Path, make_card: Callable[..., Dataset], make_film: Callable[..., Path],
    left: bytes | None,
) -> None:  # fmt: skip
    card = make_card()
    folder = dataset(tmp_path, card, make_film(tmp_path / "a.mp4"))
    frames = brought_in(card, folder).frames
    (shard,) = (folder / "frames").glob("*.tar")
    before = side_path(shard).read_bytes()
    if left is None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"x": [1]}), side_path(shard))
    else:
        side_path(shard).write_bytes(left)
    with pytest.raises(DataError):
        read_side(shard)
    assert brought_in(card, folder).frames.equals(frames)
    assert side_path(shard).read_bytes() == before


def test_nothing_of_the_original_stays_beside_a_private_frame(
    tmp_path: Path, make_card: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The background is made from what is stored, not from what the camera saw."""
    privacy = {
        "grade": "personal", "lawful_basis": "x", "redact": ["face"], "retention_days": 3650,
        "redaction": {"method": "fill", "padding": 0.1, "hold_s": 0.0},
    }  # fmt: skip
    path = write(tmp_path / "a.mp4", "libx264", {"g": "25"}, Fraction(25), 500)
    plain, asking = make_card(), make_card(privacy=privacy)
    folder = dataset(tmp_path, plain, path)
    brought_in(plain, folder)
    (shard,) = (folder / "frames").glob("*.tar")
    assert read_side(shard).background is not None
    seen: list[bytes] = []
    from cityforge.footage import build

    class Covering(build.Redactor):
        def redact(self, bgr, before=None, after=None):  # type: ignore[no-untyped-def]
            covered = np.full_like(bgr, 128)
            covered[::4] = 90
            seen.append(b"")
            return build.Redacted(build.encode_jpeg(covered), [])

    monkeypatch.setattr(build, "_redactor", lambda privacy, where: Covering(asking.privacy, where))
    brought_in(asking, folder)
    (shard,) = (folder / "frames").glob("*.tar")
    background = read_side(shard).background
    assert seen
    values = np.frombuffer(bytes.fromhex(background or ""), np.uint8)
    assert values.size in (0, 64 * 36)
    assert values.size == 0 or values.std() < 12  # grey stripes only; the street has 40
