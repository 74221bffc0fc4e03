"""Boxes that the champion fills in: over its threshold, and no frame is looked at twice."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from cityforge.errors import DataError
from cityforge.footage.shards import FrameStore, begin_shard
from cityforge.inference.package import open_package
from cityforge.labeling.studio.tasks import Prefill
from cityforge.registry.prefill import Champion, prefills
from cityforge.registry.versions import Version
from cityforge.tables import PREDICTIONS, read_table

MakePackage = Callable[..., Path]
IDS = ["0000000000000001-0", "0000000000000001-500", "0000000000000001-1000"]


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48)).save(stream, "JPEG")
    data = stream.getvalue()
    with begin_shard(tmp_path / "frames" / "s.tar") as shard:
        offsets = [shard.add(f"{each}.jpg", data) for each in IDS]
    table = pa.table({
        "frame_id": IDS, "shard": ["s.tar"] * 3, "offset": offsets, "bytes": [len(data)] * 3
    })  # fmt: skip
    return FrameStore(tmp_path / "frames", table)


def champion(folder: Path) -> Champion:
    version = Version("tiny", 3, datetime.now(UTC), "r", ("champion",), None, {})
    return Champion(version, open_package(folder))


def test_boxes_of_the_champion_in_pixels_of_the_frame(
    make_package: MakePackage, tmp_path: Path, store: FrameStore
) -> None:
    model = champion(make_package(tmp_path / "one" / "package", "tiny", None))
    found = prefills(model, store, IDS, tmp_path / "kept.parquet")
    score = pytest.approx(0.9)
    box = ("汽车", *map(pytest.approx, (8, 6, 40, 30)), score)
    assert found == dict.fromkeys(IDS, Prefill("tiny v3", score, (box,)))  # type: ignore[arg-type]


def test_finds_under_the_threshold_are_kept_but_not_shown(
    make_package: MakePackage, tmp_path: Path, store: FrameStore
) -> None:
    model = champion(make_package(tmp_path / "low" / "package", "tiny", None, 0.3))
    kept = tmp_path / "kept.parquet"
    assert prefills(model, store, IDS, kept) == {}
    assert read_table(PREDICTIONS, kept).num_rows == 3


def test_what_this_model_saw_is_not_looked_at_again_and_another_model_s_finds_go(
    make_package: MakePackage, tmp_path: Path, store: FrameStore
) -> None:
    one = champion(make_package(tmp_path / "one" / "package", "tiny", None))
    other = champion(make_package(tmp_path / "other" / "package", "tiny", None, 0.8))
    kept = tmp_path / "kept.parquet"
    told: list[tuple[int, int]] = []
    prefills(one, store, IDS[:2], kept, lambda *each: told.append(each))
    prefills(one, store, IDS, kept, lambda *each: told.append(each))
    assert told == [(2, 2), (1, 1)]
    nothing = FrameStore(tmp_path, pa.table({
        "frame_id": pa.array([], pa.string()), "shard": [], "offset": [], "bytes": []
    }))  # fmt: skip
    assert prefills(one, nothing, IDS, kept).keys() == set(IDS)
    with pytest.raises(DataError, match="a stored frame"):
        prefills(other, nothing, IDS, kept)
    prefills(other, store, IDS[:1], kept)
    table = read_table(PREDICTIONS, kept)
    assert set(table["model_digest"].to_pylist()) == {other.package.digest}
