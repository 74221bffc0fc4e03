"""A dataset as ingest and label import leave it: two films, and three stills in one shard."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from private_scenes import FINDER
from pyarrow.parquet import read_table

from cityforge.footage.build import side_path
from cityforge.footage.shards import read_shard, write_shard
from cityforge.project import Project
from cityforge.tables import FOOTAGE, FRAMES, LABELS, from_rows, write_table

SIZE = (64, 48)
ADDED = datetime(2026, 1, 5, tzinfo=UTC)
FILMS = {"路口 早.mp4": 3, "harbour.mp4": 2}  # frames of each
STILLS = ("a.jpg", "b.jpg", "deep/c.jpg")
CARD = """\
name: streets
title: 街道 · Streets
classes:
  - {name: 汽车, definition: A car.}
  - {name: bus, definition: A bus.}
cameras:
  - {name: 北门, site: North gate}
privacy: {grade: public, lawful_basis: made here, redact: [], retention_days: 30}
licence: Apache-2.0
sampling: {policy: every, seconds: 0.5}
checks: {min_frames: 1, min_boxes_per_class: 1, min_box_px: 2, max_rejected_share: 0.1}
"""


@dataclass(frozen=True)
class Streets:
    """The dataset, and the footage id of each file by its name."""

    project: Project
    folder: Path
    ids: dict[str, str]

    def left_of(self, name: str) -> list[str]:
        """Files outside seals that are named after a file, or hold its frames or labels."""
        found = []
        for path in sorted(self.folder.glob("f*/*")) + sorted(self.folder.glob("l*/**/*")):
            if path.is_file() and any(each.startswith(self.ids[name]) for each in frames_in(path)):
                found.append(path.relative_to(self.folder).as_posix())
        return found


def frames_in(path: Path) -> list[str]:
    """Names of the frames in a shard or a table; of another file its own name."""
    if path.suffix == ".tar":
        return [each.name for each in read_shard(path)]
    if path.suffix == ".parquet" and path.name != "footage.parquet":
        found: list[str] = read_table(path).column("frame_id").to_pylist()
        return found
    return [path.name]


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def frame_row(frame_id: str, shard: str, **changes: object) -> dict[str, Any]:
    footage_id, _, milliseconds = frame_id.rpartition("-")
    return {
        "frame_id": frame_id, "footage_id": footage_id, "pts_s": int(milliseconds) / 1000,
        "shard": shard, "offset": 0, "bytes": 0, "width": SIZE[0], "height": SIZE[1],
        "phash": "0" * 16, "sharpness": 1.0, "brightness": 120.0, "contrast": 20.0,
        "lighting": "day", "faults": [], "redactions": [],
    } | changes  # fmt: skip


def label_row(frame_id: str, cls: str | None) -> dict[str, Any]:
    box = {"x1": 4.0, "y1": 4.0, "x2": 20.0, "y2": 20.0} if cls else {}
    return {
        "label_id": sha256(f"{frame_id}{cls}".encode()).hexdigest()[:16], "frame_id": frame_id,
        "task": "detection", "class": cls, "source": "drawn", "origin": "human",
    } | box  # fmt: skip


def footage_row(footage_id: str, name: str, frames: int) -> dict[str, Any]:
    return {
        "footage_id": footage_id, "path": f"footage/{footage_id}{Path(name).suffix}",
        "name": name, "added_at": ADDED, "camera": "北门", "site": "North gate",
        "duration_s": frames - 1.0, "fps": 1.0 if frames > 1 else None, "width": SIZE[0],
        "height": SIZE[1], "codec": "h264" if frames > 1 else "jpeg", "frames": frames,
        "errors": 0, "lawful_basis": "made here", "retain_until": ADDED + timedelta(days=3650),
    }  # fmt: skip


def write_streets(root: Path) -> Streets:
    """Write the dataset into an empty project; every frame is labelled."""
    folder = root / "datasets" / "streets"
    (folder / "footage").mkdir(parents=True)
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: [streets]\n", encoding="utf-8")
    (folder / "dataset.yaml").write_text(CARD, encoding="utf-8")
    ids, catalogue, frames = {}, [], []
    for name, count in (FILMS | dict.fromkeys(STILLS, 1)).items():
        content = f"original of {name}".encode()
        ids[name] = sha256(content).hexdigest()[:16]
        catalogue.append(footage_row(ids[name], name, count))
        (folder / catalogue[-1]["path"]).write_bytes(content)
    for name, count in FILMS.items():
        members = [(f"{ids[name]}-{n * 500}.jpg", jpeg(len(name) + n)) for n in range(count)]
        frames += write_frames(folder / "frames" / f"{ids[name]}-every0.5s.tar", members)
    stills = sorted((f"{ids[name]}-0.jpg", jpeg(50 + n)) for n, name in enumerate(STILLS))
    frames += write_frames(folder / "frames" / "stills-0123456789abcdef.tar", stills)
    ordered = sorted(frames, key=lambda row: str(row["frame_id"]))
    write_table(from_rows(ordered, FRAMES), FRAMES, folder / "frames" / "frames.parquet")
    labels = [label_row(row["frame_id"], cls) for row in ordered for cls in ("汽车", "bus")]
    labels.sort(key=lambda row: str(row["label_id"]))
    table = from_rows(labels, LABELS)
    write_table(table, LABELS, folder / "labels" / "labels.parquet")
    write_table(table.slice(0, 9), LABELS, folder / "labels" / "history" / "0123.parquet")
    catalogue.sort(key=lambda row: str(row["footage_id"]))
    write_table(from_rows(catalogue, FOOTAGE), FOOTAGE, folder / "footage" / "footage.parquet")
    return Streets(Project(root), folder, ids)


def write_frames(shard: Path, members: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """A shard with the side table of its frames; the rows."""
    write_shard(shard, members)
    rows = [
        frame_row(
            each.name.removesuffix(".jpg"), shard.name, offset=each.offset, bytes=len(each.data)
        )
        for each in read_shard(shard)
    ]
    write_table(from_rows(rows, FRAMES), FRAMES, side_path(shard))
    return rows


@pytest.fixture(scope="session")
def streets_as_made(tmp_path_factory: pytest.TempPathFactory) -> Streets:
    return write_streets(tmp_path_factory.mktemp("city"))


@pytest.fixture
def streets(streets_as_made: Streets, tmp_path: Path) -> Streets:
    """A copy of the dataset that a test may change."""
    root = tmp_path / "project"
    shutil.copytree(streets_as_made.project.root, root)
    return Streets(Project(root), root / "datasets" / "streets", streets_as_made.ids)


@pytest.fixture
def contents() -> Callable[[Path], dict[str, object]]:
    """Every file under a folder by its name: bytes, or a table's rows."""
    return contents_of


def contents_of(folder: Path) -> dict[str, object]:
    return {
        path.relative_to(folder).as_posix(): (
            read_table(path).to_pylist()
            if path.suffix == ".parquet"
            else json.loads(path.read_bytes())
            if path.suffix == ".json"
            else path.read_bytes()
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def photos(real_data: Callable[[str], Path]) -> list[np.ndarray[Any, Any]]:
    folder = real_data("face_detector")
    return [cv2.imread(str(folder / f"{name}.jpg")) for name in (1, 10, 22)]


@pytest.fixture
def finder(real_data: Callable[[str], Path]) -> Path:
    return real_data("face_detector") / FINDER


@pytest.fixture(scope="module")
def snapshot_stage() -> Any:
    """`main` of pipelines/snapshot.py."""
    spec = importlib.util.spec_from_file_location(
        "stage_snapshot", Path(__file__).parents[2] / "pipelines/snapshot.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main
