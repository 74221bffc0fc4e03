"""Drawn frames of street cameras, their copies, and the tables that a split reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cityforge.cards.params import AlgorithmParams, SplitParams
from cityforge.cards.yaml_files import check, read_yaml
from cityforge.dataset.frozen import Frozen, rule_of
from cityforge.dataset.splits import Parted, split
from cityforge.footage.near import perceptual_hash
from cityforge.tables import FOOTAGE, FRAMES, from_rows

Picture = NDArray[np.uint8]
START = datetime(2026, 3, 1, 8, tzinfo=UTC)
WIDTH, HEIGHT = 320, 180


def split_params(**changes: Any) -> SplitParams:
    """The starter's values of `split`, some changed; `near` is changed key by key."""
    with as_file(files("cityforge.cards") / "starter_files" / "params.yaml") as path:
        found = read_yaml(path)
        near = found["split"]["near"] | changes.pop("near", {})
        found["split"] |= {"group": "footage", "near": near, **changes}
        return check(AlgorithmParams, found, path).split


def street(camera: int, light: float = 1.0) -> Picture:
    """What a camera shows when nothing drives: (180, 320) uint8."""
    dice = np.random.default_rng(1000 + camera)
    coarse = dice.uniform(40, 200, (6, 10)).astype(np.float32)
    wide = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(dice.uniform(-20, 20, (45, 80)).astype(np.float32), (WIDTH, HEIGHT))
    return np.asarray(np.clip((wide + fine) * light, 0, 255), np.uint8)


def moment(camera: int, seed: int, vehicles: int = 3, light: float = 1.0) -> Picture:
    """The camera's street with vehicles somewhere on it."""
    picture, dice = street(camera, light), np.random.default_rng(seed)
    for _ in range(vehicles):
        x, y = int(dice.integers(15, WIDTH - 60)), int(dice.integers(12, HEIGHT - 40))
        w, h = int(dice.integers(24, 44)), int(dice.integers(16, 26))
        under = picture[y : y + h, x : x + w]
        picture[y : y + h, x : x + w] = 20 * light if under.mean() > 110 * light else 220 * light
    return picture


def jpeg(picture: Picture, quality: int = 90) -> bytes:
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def grey_of(data: bytes) -> Picture:
    """The picture of a JPEG, in grey."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


def cropped(picture: Picture) -> Picture:
    """2 % less in width and height."""
    rows, columns = (max(1, round(side * 0.01)) for side in picture.shape[:2])
    return picture[rows:-rows, columns:-columns]


def brighter(picture: Picture) -> Picture:
    return np.clip(picture.astype(np.float32) * 1.08, 0, 255).astype(np.uint8)


def rescaled(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA))


COPIES: dict[str, Callable[[Picture], bytes]] = {
    "coded anew": lambda p: jpeg(p, 60),
    "cropped": lambda p: jpeg(cropped(p)),
    "brighter": lambda p: jpeg(brighter(p)),
    "rescaled": lambda p: jpeg(rescaled(p)),
    "all": lambda p: jpeg(rescaled(brighter(cropped(p))), 60),
}


@dataclass
class Town:
    """Films of street cameras, filled in by the tests."""

    films: list[dict[str, Any]] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)

    def film(self, name: str, camera: str, hours: float, pictures: list[bytes]) -> list[str]:
        """Add a film that starts so many hours in; returns its frame ids, a second apart."""
        start = START + timedelta(hours=hours)
        self.films.append(
            {
                "footage_id": name, "path": "p", "name": f"{name}.mp4", "camera": camera,
                "started_at": start, "duration_s": 1.0, "width": WIDTH, "height": HEIGHT,
                "codec": "x", "frames": len(pictures), "errors": 0, "lawful_basis": "drawn",
            }
        )  # fmt: skip
        ids = []
        for number, data in enumerate(pictures):
            grey = grey_of(data)
            ids.append(f"{name}-{number * 1000:06d}")
            self.stored[ids[-1]] = data
            self.frames.append(
                {
                    "frame_id": ids[-1], "footage_id": name, "pts_s": float(number),
                    "captured_at": start + timedelta(seconds=number), "shard": "s", "offset": 0,
                    "bytes": len(data), "width": grey.shape[1], "height": grey.shape[0],
                    "phash": perceptual_hash(grey), "sharpness": 0.0, "brightness": 0.0,
                    "contrast": 1.0, "lighting": "day", "faults": [], "redactions": [],
                }
            )  # fmt: skip
        return ids

    def tables(self) -> tuple[pa.Table, pa.Table]:
        return from_rows(self.frames, FRAMES), from_rows(self.films, FOOTAGE)

    def split(self, params: SplitParams, frozen: Frozen | None = None) -> Parted:
        frames, footage = self.tables()
        known = frozen or Frozen(rule_of(params))
        return split(params, frames, footage, self.stored.__getitem__, known)


def ordinary_town(films: int = 12, each: int = 3, cameras: int = 3) -> Town:
    """Films of a few cameras, each frame another moment; film n starts n hours in."""
    town = Town()
    for number in range(films):
        camera = number % cameras
        pictures = [jpeg(moment(camera, 100 * number + at)) for at in range(each)]
        town.film(f"f{number:02d}", f"北门{camera}", number, pictures)
    return town


def subset_of(parted: Parted) -> dict[str, str]:
    """Subset of each frame."""
    columns = parted.table.select(["frame_id", "subset"]).to_pydict()
    return dict(zip(columns["frame_id"], columns["subset"], strict=True))
