"""Where rays meet the still parts of the street: the ground, boxes and foliage balls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityforge.synthetic.street import BUILDINGS, CROWNS, FURNITURE, Block, Crown

Floats = npt.NDArray[np.float32]

SKY, GROUND = 0, 1
FIRST_BUILDING = 10
FIRST_FURNITURE = 100
FIRST_CROWN = 400


@dataclass(frozen=True)
class Hits:
    """First hits of N rays: distance in metres (inf: sky), what was hit, and the place (N, 3)."""

    distance: Floats
    surface: npt.NDArray[np.int16]
    points: Floats


def _enter_box(origin: Floats, rays: Floats, block: Block) -> Floats:
    """Distance at which each ray enters a box, inf where it misses; slab test."""
    first: Floats = np.full(len(rays), -np.inf, np.float32)
    last: Floats = np.full(len(rays), np.inf, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis in range(3):  # by column: far quicker than reducing over an axis of three
            inverse = 1.0 / rays[:, axis]
            near = (np.float32(block.low[axis]) - origin[..., axis]) * inverse
            far = (np.float32(block.high[axis]) - origin[..., axis]) * inverse
            first = np.maximum(first, np.minimum(near, far))
            last = np.minimum(last, np.maximum(near, far))
    hit: Floats = np.where((first <= last) & (first > 0.02), first, np.float32(np.inf))
    return hit


def _enter_ball(origin: Floats, rays: Floats, crown: Crown) -> Floats:
    towards = np.array(crown.middle, np.float32) - origin
    along = rays @ towards
    apart = float(towards @ towards) - along**2
    inside = crown.radius**2 - apart
    hit: Floats = np.where(
        (inside > 0) & (along > 0), along - np.sqrt(np.maximum(inside, 0)), np.float32(np.inf)
    )
    return hit


def _bounds(item: Block | Crown) -> tuple[Floats, float]:
    """Middle and radius of a ball around a box or crown."""
    if isinstance(item, Crown):
        return np.array(item.middle, np.float32), item.radius
    low, high = np.array(item.low, np.float32), np.array(item.high, np.float32)
    middle: Floats = ((low + high) / 2).astype(np.float32)
    return middle, float(np.linalg.norm(high - low)) / 2


def _near_rays(origin: Floats, rays: Floats, item: Block | Crown) -> npt.NDArray[np.intp]:
    """Indices of the rays from one origin that may touch `item`."""
    middle, radius = _bounds(item)
    towards = middle - origin
    away = float(np.linalg.norm(towards))
    if away <= radius:
        return np.arange(len(rays))
    least = np.sqrt(max(0.0, 1.0 - (radius / away) ** 2))
    return np.flatnonzero(rays @ (towards / away) >= least - 1e-4)


def cast(origin: npt.ArrayLike, rays: Floats, *, details: bool = True) -> Hits:
    """Follow rays (N, 3), unit length, from one origin (3,).

    Without `details` only the ground and the buildings are there.
    """
    start = np.asarray(origin, np.float32)
    with np.errstate(divide="ignore"):
        distance = np.where(rays[:, 2] < -1e-4, -start[2] / rays[:, 2], np.float32(np.inf))
    distance = np.where(distance < 260.0, distance, np.float32(np.inf)).astype(np.float32)
    surface = np.where(np.isfinite(distance), GROUND, SKY).astype(np.int16)
    items: list[tuple[int, Block | Crown]] = [
        (FIRST_BUILDING + i, block) for i, block in enumerate(BUILDINGS)
    ]
    if details:
        items += [(FIRST_FURNITURE + i, block) for i, block in enumerate(FURNITURE)]
        items += [(FIRST_CROWN + i, crown) for i, crown in enumerate(CROWNS)]
    for number, item in items:
        chosen = _near_rays(start, rays, item)
        if len(chosen) == 0:
            continue
        some = rays[chosen]
        if isinstance(item, Crown):
            found = _enter_ball(start, some, item)
        else:
            found = _enter_box(start, some, item)
        closer = found < distance[chosen]
        distance[chosen[closer]] = found[closer]
        surface[chosen[closer]] = number
    reach = np.where(np.isfinite(distance), distance, 0.0).astype(np.float32)
    return Hits(distance, surface, start + rays * reach[:, None])


def sunlit(points: Floats, sun: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which points (N, 3) see the sun in direction `sun` (3,) past buildings and trees."""
    towards = np.asarray(sun, np.float32)
    free = np.ones(len(points), np.bool_)
    squared = np.einsum("ij,ij->i", points, points)
    forward = points @ towards
    items: list[Block | Crown] = [*BUILDINGS, *FURNITURE, *CROWNS]
    for item in items:
        middle, radius = _bounds(item)
        along = float(middle @ towards) - forward
        apart = squared - 2 * (points @ middle) + float(middle @ middle) - along**2
        chosen = np.flatnonzero((apart < radius**2) & (along > -radius))
        if isinstance(item, Block):
            directions = np.broadcast_to(towards, (len(chosen), 3))
            chosen = chosen[np.isfinite(_enter_box(points[chosen], directions, item))]
        free[chosen] = False
    return free
