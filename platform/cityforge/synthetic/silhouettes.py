"""Road users as flat patches in one camera's image, nearest last.

The same patches are painted, cast into visibility masks and bounded by boxes, so a
label cannot differ from the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityforge.synthetic.actors import Actor
from cityforge.synthetic.cameras import Camera, Floats, project, to_camera, to_pixels
from cityforge.synthetic.figures import Figure, pedestrian, two_wheeler
from cityforge.synthetic.mesh import MATT, Mesh
from cityforge.synthetic.vehicles import vehicle_mesh

NEAR_M = 0.6
SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates
TYRE_COLOUR = (0.07, 0.07, 0.07)
ROUND_NORMAL = (0.0, 0.0, 0.45)  # stands for a round limb, lit from all sides

Outline = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Patches:
    """The flat, convex pieces of one silhouette, in the order of painting.

    `outlines` are (K, 2) fixed-point pixels with `SHIFT` fractional bits; `widths` is 0
    for a filled piece, else the width of its line in pixels; `colours` (P, 3) albedo BGR
    in 0..1; `normals` (P, 3) in world axes; `glows` (P,) as in `mesh`.
    """

    outlines: list[Outline]
    widths: list[int]
    colours: Floats
    normals: Floats
    glows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Silhouette:
    """One road user as one camera sees it; `box` is xyxy pixels, not clipped to the image.

    `depth` is the distance in metres along the optical axis; `solid` (K, 3) are world
    points that span the body, for its shadow.
    """

    actor: Actor
    patches: Patches
    box: tuple[float, float, float, float]
    depth: float
    solid: Floats


def fixed(points: Floats, scale: float = 1.0) -> Outline:
    """Pixels (..., 2) as fixed-point integers; OpenCV's pixel centres lie at whole numbers."""
    placed = points * (scale * (1 << SHIFT)) - (1 << (SHIFT - 1))
    whole: Outline = np.rint(np.minimum(np.maximum(placed, -(1 << 19)), 1 << 19)).astype(np.int32)
    return whole


def _placed(actor: Actor, points: Floats) -> Floats:
    """Body points (N, 3) to world points (N, 3)."""
    c, s = math.cos(actor.heading), math.sin(actor.heading)
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    world: Floats = points @ turn + np.array([actor.east_m, actor.north_m, 0.0])
    return world


def _cut_near(seen: Floats) -> Floats:
    """The part of a polygon in camera coordinates (K, 3) that is beyond the near plane."""
    kept: list[Floats] = []
    for here, following in zip(seen, np.roll(seen, -1, axis=0), strict=True):
        if here[2] >= NEAR_M:
            kept.append(here)
        if (here[2] >= NEAR_M) != (following[2] >= NEAR_M):
            share = (NEAR_M - here[2]) / (following[2] - here[2])
            kept.append(here + share * (following - here))
    return np.array(kept).reshape(-1, 3)


def _part_order(mesh: Mesh, actor: Actor, camera: Camera) -> list[int]:
    """Parts from the farthest to the nearest; what stands on others comes after them."""
    middles = _placed(actor, mesh.part_middles) - camera.position
    away = (middles[:, :2] ** 2).sum(axis=1)
    return sorted(range(len(mesh.stack)), key=lambda p: (mesh.stack[p], -away[p]))


def _mesh_patches(mesh: Mesh, actor: Actor, camera: Camera) -> Patches | None:
    world = _placed(actor, mesh.vertices)
    seen = to_camera(camera, world)
    c, s = math.cos(actor.heading), math.sin(actor.heading)
    normals = mesh.normals @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    views = camera.position - _placed(actor, mesh.middles)
    facing = (normals * views).sum(axis=1) > 0.0
    order = [np.flatnonzero(facing & (mesh.parts == p)) for p in _part_order(mesh, actor, camera)]
    chosen = np.concatenate(order)
    if seen[:, 2].min() >= NEAR_M:
        pixels = fixed(to_pixels(camera, seen))
        outlines = [pixels[mesh.faces[index]] for index in chosen.tolist()]
    else:
        cut = [(index, _cut_near(seen[mesh.faces[index]])) for index in chosen.tolist()]
        kept = [(index, inside) for index, inside in cut if len(inside) >= 3]
        if not kept:
            return None
        chosen = np.array([index for index, _ in kept])
        outlines = [fixed(to_pixels(camera, inside)) for _, inside in kept]
    return Patches(
        outlines, [0] * len(outlines), mesh.colours[chosen], normals[chosen], mesh.glows[chosen]
    )


_ARC = np.linspace(-math.pi / 2, math.pi / 2, 5)


def _limb_outlines(pixels: Floats, radii: Floats) -> Floats:
    """Outlines (L, 10, 2) of limbs between pixels (L, 2, 2) with radii (L, 2) in pixels."""
    along = pixels[:, 1] - pixels[:, 0]
    angle = np.arctan2(along[:, 1], along[:, 0])[:, None]
    far = np.stack([np.cos(angle + _ARC), np.sin(angle + _ARC)], -1) * radii[:, 1, None, None]
    near = np.stack([np.cos(angle + math.pi + _ARC), np.sin(angle + math.pi + _ARC)], -1)
    near = near * radii[:, 0, None, None]
    return np.concatenate([pixels[:, 1:2] + far, pixels[:, 0:1] + near], axis=1)


_WHEEL = np.linspace(0.0, 2 * math.pi, 14, endpoint=False)


def _figure_patches(figure: Figure, ends: Floats, actor: Actor, camera: Camera) -> Patches | None:
    """Wheels first, then limbs from far to near; `ends` (2 L, 3) are the limbs in the world."""
    pixels, depths = project(camera, ends)
    if depths.min() < NEAR_M:
        return None
    wheels = len(figure.wheels)
    rings: list[Outline] = []
    width = max(1, round(0.05 * camera.focal_px / float(depths.mean())))
    if wheels:
        x, y, z, radius = (column[:, None] for column in figure.wheels.T)
        rim = np.stack(
            np.broadcast_arrays(x + radius * np.cos(_WHEEL), y, z + radius * np.sin(_WHEEL)), -1
        )
        ring, _ = project(camera, _placed(actor, rim.reshape(-1, 3)))
        rings = list(fixed(ring).reshape(wheels, len(_WHEEL), 2))
    distance = depths.reshape(-1, 2)
    outlines = fixed(
        _limb_outlines(pixels.reshape(-1, 2, 2), figure.radii * camera.focal_px / distance)
    )
    order = np.argsort(-distance.mean(axis=1), kind="stable")
    count = wheels + len(order)
    return Patches(
        rings + list(outlines[order]),
        [width] * wheels + [0] * len(order),
        np.concatenate([np.tile(TYRE_COLOUR, (wheels, 1)), figure.colours[order]]),
        np.tile(ROUND_NORMAL, (count, 1)),
        np.full(count, MATT),
    )


def _bounds(patches: Patches) -> tuple[float, float, float, float]:
    """The box xyxy around all outlines, in pixels, line widths included."""
    everything = np.concatenate(patches.outlines)
    edge = max(patches.widths) / 2
    x0, y0 = (everything.min(axis=0) / (1 << SHIFT) + 0.5 - edge).tolist()
    x1, y1 = (everything.max(axis=0) / (1 << SHIFT) + 0.5 + edge).tolist()
    return x0, y0, x1, y1


def silhouette(actor: Actor, camera: Camera) -> Silhouette | None:
    """The road user in this camera's image; None where it is wholly out of view."""
    middle = np.array([[actor.east_m, actor.north_m, 1.0]])
    seen = to_camera(camera, middle)[0]
    reach = 7.0 if actor.kind in ("bus", "truck") else 3.0
    if seen[2] < NEAR_M - reach:
        return None
    half_wide = camera.width / 2 / camera.focal_px * max(seen[2], 0.0) + reach * 1.4
    half_tall = camera.height / 2 / camera.focal_px * max(seen[2], 0.0) + reach * 1.4
    if abs(seen[0]) > half_wide or abs(seen[1]) > half_tall:
        return None
    if actor.kind in ("pedestrian", "two_wheeler"):
        figure = pedestrian(actor) if actor.kind == "pedestrian" else two_wheeler(actor)
        solid = _placed(actor, figure.ends.reshape(-1, 3))
        patches = _figure_patches(figure, solid, actor, camera)
    else:
        mesh = vehicle_mesh(actor.kind, actor.look)
        patches = _mesh_patches(mesh, actor, camera)
        solid = _placed(actor, mesh.vertices[mesh.hull])
    if patches is None:
        return None
    box = _bounds(patches)
    if box[2] <= 0 or box[3] <= 0 or box[0] >= camera.width or box[1] >= camera.height:
        return None
    return Silhouette(actor, patches, box, float(seen[2]), solid)


def silhouettes(actors: tuple[Actor, ...], camera: Camera) -> list[Silhouette]:
    """Everyone in view, farthest first: the order in which to paint."""
    found = [shown for actor in actors if (shown := silhouette(actor, camera)) is not None]
    return sorted(found, key=lambda shown: (-shown.depth, shown.actor.track_id))
