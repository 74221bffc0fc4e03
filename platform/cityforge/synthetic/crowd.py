"""Pictures of crowds on a square, each with the exact place of every head in it.

    write_crowds(Path("crowds"), CrowdPlan(seed=7, pictures=40))

writes `crowd_0000.jpg` … and `labels.json`, a Label Studio export with one point a person,
which `cityforge label import` takes as labels of the task density.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cityforge.synthetic.actors import Actor
from cityforge.synthetic.cameras import Camera, project
from cityforge.synthetic.conditions import Condition
from cityforge.synthetic.figures import pedestrian
from cityforge.synthetic.painting import fill
from cityforge.synthetic.plaza import Image, Plaza, draw_plaza, random_plaza, shown
from cityforge.synthetic.silhouettes import SHIFT, Silhouette, fixed, silhouettes

Floats = npt.NDArray[np.float64]

ANNOTATOR = "synthetic@cityforge"
PERSON = "person"
NEAREST_M = 5.0
APART_M = 0.48  # people do not stand in one another
TRIES = 40  # places tried for each person before the square counts as full
HEAD_M = 0.105  # radius of a head, as `figures` draws it
# Who shows less than this share of the head is not in the picture at all.
LEAST_SEEN = 0.3
JPEG_QUALITY = 90


@dataclass(frozen=True)
class CrowdPlan:
    """What to draw: so many pictures, each with a number of people drawn evenly from a range.

    A picture may show somewhat fewer people than drawn where they hide one another.
    """

    seed: int
    pictures: int
    fewest: int = 20
    most: int = 300
    width: int = 384
    height: int = 288
    lights: tuple[str, ...] = ("day", "dusk")

    def __post_init__(self) -> None:
        if not 0 <= self.fewest <= self.most:
            raise ValueError(
                f"Expected `fewest` from 0 to `most`, but got {self.fewest} and {self.most}."
            )
        for name in ("pictures", "width", "height"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Expected `{name}` above 0, but got {getattr(self, name)}.")


@dataclass(frozen=True)
class CrowdPicture:
    """`image` (H, W, 3) BGR; `heads` (M, 2) x, y of each head's middle in pixels; the light."""

    image: Image
    heads: Floats
    light: str


def crowd_picture(plan: CrowdPlan, number: int) -> CrowdPicture:
    """Picture `number` of a plan; the same on every call."""
    rng = np.random.default_rng([plan.seed, number])
    light = plan.lights[number % len(plan.lights)]
    plaza = random_plaza(light, rng, plan.width, plan.height)
    wanted = int(rng.integers(plan.fewest, plan.most + 1))
    people = silhouettes(tuple(_people(plaza, wanted, rng)), plaza.camera)
    people = with_heads_seen(people, plaza.camera)
    image = draw_plaza(plaza)
    _cast_shadows(image, people, plaza)
    for one in people:
        _paint(image, one, plaza.condition)
    heads = heads_of([one.actor for one in people], plaza.camera)[0]
    return CrowdPicture(_photographed(image, plaza.condition, rng), heads, light)


def write_crowds(folder: Path, plan: CrowdPlan) -> Path:
    """Write the pictures of a plan and their `labels.json`, whose path is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    tasks = []
    for number in range(plan.pictures):
        picture = crowd_picture(plan, number)
        name = f"crowd_{number:04d}.jpg"
        (folder / name).write_bytes(jpeg_of(picture.image))
        tasks.append(_task(number + 1, name, picture))
    path = folder / "labels.json"
    path.write_text(json.dumps(tasks, indent=1) + "\n", encoding="utf-8")
    return path


def jpeg_of(image: Image) -> bytes:
    """Encode (H, W, 3) BGR as it is stored."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"Expected a picture that JPEG can hold, but got {image.shape}.")
    return data.tobytes()


def _people(plaza: Plaza, wanted: int, rng: np.random.Generator) -> list[Actor]:
    """People in groups and alone, none in another, each with the head in the picture."""
    camera = plaza.camera
    places: Floats = np.zeros((0, 2))
    groups = [_place(plaza, rng) for _ in range(int(rng.integers(1, 7)))]
    grouped, wide = rng.uniform(0, 0.8), rng.uniform(1.0, 4.0)
    people: list[Actor] = []
    for _ in range(wanted * TRIES):
        if len(people) == wanted:
            break
        place = _place(plaza, rng)
        if rng.random() < grouped:
            place = groups[int(rng.integers(len(groups)))] + rng.normal(0, wide, 2)
        if not NEAREST_M < place[1] < plaza.far_m - 0.5:
            continue
        if len(places) and np.hypot(*(places - place).T).min() < APART_M:
            continue
        someone = someone_at(len(people), place, rng)
        pixels, _ = heads_of([someone], camera)
        if (pixels < 0).any() or (pixels >= (camera.width, camera.height)).any():
            continue
        people.append(someone)
        places = np.vstack([places, place])
    return people


def _place(plaza: Plaza, rng: np.random.Generator) -> Floats:
    """A place of the square, east and north in metres, all parts of the picture alike."""
    north = math.exp(rng.uniform(math.log(NEAREST_M), math.log(plaza.far_m)))
    middle = north * math.tan(math.radians(plaza.camera.bearing_deg))
    half = 0.62 * north * plaza.camera.width / plaza.camera.focal_px
    return np.array([middle + rng.uniform(-half, half), north])


def someone_at(number: int, place: Floats, rng: np.random.Generator) -> Actor:
    return Actor(
        track_id=f"person-{number:04d}",
        kind="pedestrian",
        look=int(rng.integers(1 << 16)),
        east_m=float(place[0]),
        north_m=float(place[1]),
        heading=float(rng.uniform(0, 2 * math.pi)),
        speed=float(rng.choice([0.0, 1.2])),
        stride=float(rng.uniform(0, 2 * math.pi)),
        braking=False,
    )


def heads_of(people: Sequence[Actor], camera: Camera) -> tuple[Floats, Floats]:
    """Middles of heads in pixels (M, 2), and their radii (M,)."""
    if not people:
        return np.zeros((0, 2)), np.zeros(0)
    middles = np.array([pedestrian(one).ends[-2:].reshape(-1, 3).mean(axis=0) for one in people])
    heading = np.array([one.heading for one in people])
    middles[:, 0], middles[:, 1] = (  # turned about the body's axis, then moved
        middles[:, 0] * np.cos(heading) + [one.east_m for one in people],
        middles[:, 0] * np.sin(heading) + [one.north_m for one in people],
    )
    pixels, depth = project(camera, middles)
    return pixels, HEAD_M * camera.focal_px / depth


def with_heads_seen(people: list[Silhouette], camera: Camera) -> list[Silhouette]:
    """Those whose head others leave in view; `people` is ordered farthest first."""
    numbers = np.zeros((camera.height, camera.width), np.uint16)
    for number, one in enumerate(people, start=1):
        for outline, width in zip(one.patches.outlines, one.patches.widths, strict=True):
            fill(numbers, outline, width, (float(number),), cv2.LINE_8)  # type: ignore[arg-type]
    heads, radii = heads_of([one.actor for one in people], camera)
    kept = []
    for number, (one, (x, y), radius) in enumerate(zip(people, heads, radii, strict=True), start=1):
        rows = slice(max(0, math.floor(y - radius)), math.ceil(y + radius))
        columns = slice(max(0, math.floor(x - radius)), math.ceil(x + radius))
        share = float((numbers[rows, columns] == number).mean())
        if share >= LEAST_SEEN:
            kept.append(one)
    return kept


def _cast_shadows(image: Image, people: Sequence[Silhouette], plaza: Plaza) -> None:
    """Darken the ground that people keep the sun from, or under a grey sky where they stand."""
    condition = plaza.condition
    sunny = max(condition.sunlight) > 0
    sun = np.array(condition.sun if sunny else (0.0, 0.0, 1.0))
    mask = np.zeros(image.shape[:2], np.uint8)
    for one in people:
        ground = one.solid - one.solid[:, 2:3] / sun[2] * sun
        pixels, depth = project(plaza.camera, ground)
        if depth.min() > 0.5:
            cv2.fillConvexPoly(mask, cv2.convexHull(fixed(pixels)), (255.0,), cv2.LINE_AA, SHIFT)
    ambient = np.array(condition.ambient)
    lit = ambient + np.array(condition.sunlight) * sun[2]
    left = ambient / lit if sunny else np.full(3, 0.72)
    share = cv2.blur(mask, (3, 3))[:, :, None] / 255.0
    image[:] = (image * (1 - share * (1 - left))).astype(np.uint8)


def _paint(image: Image, one: Silhouette, condition: Condition) -> None:
    patches = one.patches
    up = patches.normals[:, 2:3]
    facing = np.maximum(patches.normals @ np.array(condition.sun), 0.0)[:, None]
    light = np.array(condition.ambient) * (0.66 + 0.34 * up)
    light = patches.colours * (light + np.array(condition.sunlight) * facing)
    colours = shown(light, one.depth, condition).tolist()
    for outline, width, colour in zip(patches.outlines, patches.widths, colours, strict=True):
        fill(image, outline, width, tuple(colour), cv2.LINE_AA)


def _photographed(image: Image, condition: Condition, rng: np.random.Generator) -> Image:
    """Slightly soft, with the noise of the sensor and another exposure each time."""
    soft = cv2.GaussianBlur(image, (3, 3), 0.5).astype(np.float32) * rng.uniform(0.85, 1.15)
    grain = rng.standard_normal(image.shape, np.float32) * condition.noise * 1.5
    taken: Image = np.clip(soft + grain, 0, 255).astype(np.uint8)
    return taken


def _task(number: int, name: str, picture: CrowdPicture) -> dict[str, Any]:
    tall, wide = picture.image.shape[:2]
    points = [
        {
            "id": f"{number}-{row}",
            "type": "keypointlabels",
            "from_name": "point",
            "to_name": "image",
            "original_width": wide,
            "original_height": tall,
            "image_rotation": 0,
            "value": {
                "x": x * 100.0 / wide, "y": y * 100.0 / tall, "width": 0.5,
                "keypointlabels": [PERSON],
            },
        }
        for row, (x, y) in enumerate(picture.heads.tolist())
    ]  # fmt: skip
    annotation = {
        "id": number, "completed_by": {"email": ANNOTATOR}, "was_cancelled": False,
        "ground_truth": True, "result": points,
    }  # fmt: skip
    data = {"image": name, "light": picture.light}
    return {"id": number, "data": data, "annotations": [annotation], "predictions": []}
