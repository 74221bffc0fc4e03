"""Solid bodies made of flat faces, as arrays ready for projection.

Body axes: metres, x ahead, y to the left, z up, the origin on the ground below the
middle of the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cityforge.synthetic.street import Colour

Floats = npt.NDArray[np.float64]
Point = tuple[float, float, float]

MATT, HEADLIGHT, TAILLIGHT, CABIN_LIGHT, GLASS, LEFT_BLINK, RIGHT_BLINK = range(7)


@dataclass(frozen=True)
class Mesh:
    """Faces of one body, in the order in which each part is painted.

    `vertices` (V, 3) metres; `faces` index them; `normals` (F, 3) point outwards;
    `middles` (F, 3); `colours` (F, 3) albedo BGR in 0..1; `glows` (F,) is one of the
    constants above; `parts` (F,) numbers the convex parts and `stack` (P,) says
    which parts stand on others (painted later); `hull` lists the vertices that span
    the shadow.
    """

    vertices: Floats
    faces: tuple[npt.NDArray[np.intp], ...]
    normals: Floats
    middles: Floats
    colours: Floats
    glows: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64]
    part_middles: Floats
    stack: tuple[int, ...]
    hull: npt.NDArray[np.intp]


@dataclass
class Draft:
    """Faces gathered while a body is being built."""

    points: list[Point] = field(default_factory=list)
    faces: list[tuple[int, int]] = field(default_factory=list)
    colours: list[Colour] = field(default_factory=list)
    glows: list[int] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    stack: list[int] = field(default_factory=list)
    hull: list[int] = field(default_factory=list)

    def part(self, level: int) -> None:
        """Begin a convex part; a higher `level` is painted over a lower one."""
        self.stack.append(level)

    def face(
        self, points: Sequence[Point], colour: Colour, glow: int = MATT, *, casts: bool = False
    ) -> None:
        """Add a face whose points run counter-clockwise seen from outside."""
        first = len(self.points)
        self.points.extend(points)
        if casts:
            self.hull.extend(range(first, len(self.points)))
        self.faces.append((first, len(self.points)))
        self.colours.append(colour)
        self.glows.append(glow)
        self.parts.append(len(self.stack) - 1)

    def finish(self) -> Mesh:
        """The gathered faces as one mesh."""
        vertices = np.array(self.points)
        faces = tuple(np.arange(a, b) for a, b in self.faces)
        normals = np.array([_normal(vertices[face]) for face in faces])
        middles = np.array([vertices[face].mean(axis=0) for face in faces])
        parts = np.array(self.parts)
        part_middles = np.array([middles[parts == p].mean(axis=0) for p in range(len(self.stack))])
        return Mesh(
            vertices, faces, normals, middles, np.array(self.colours), np.array(self.glows),
            parts, part_middles, tuple(self.stack), np.array(self.hull, dtype=np.intp),
        )  # fmt: skip


def _normal(points: Floats) -> Floats:
    """Unit normal by Newell's method, for a flat polygon (K, 3)."""
    following = np.roll(points, -1, axis=0)
    normal = np.cross(points, following).sum(axis=0)
    unit: Floats = normal / np.linalg.norm(normal)
    return unit


def inset(corners: Sequence[Point], u0: float, v0: float, u1: float, v1: float) -> list[Point]:
    """A patch on a four-cornered face, given by fractions along its first and last edge."""
    a, b, c, d = (np.array(corner) for corner in corners)

    def spot(u: float, v: float) -> Point:
        x, y, z = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c)
        return float(x), float(y), float(z)

    return [spot(u0, v0), spot(u1, v0), spot(u1, v1), spot(u0, v1)]


def sides(x0: float, x1: float, half: float, z0: float, z1: float) -> dict[str, list[Point]]:
    """The five visible faces of an upright box; each begins at its lower edge."""
    return {
        "left": [(x1, half, z0), (x0, half, z0), (x0, half, z1), (x1, half, z1)],
        "right": [(x0, -half, z0), (x1, -half, z0), (x1, -half, z1), (x0, -half, z1)],
        "front": [(x1, -half, z0), (x1, half, z0), (x1, half, z1), (x1, -half, z1)],
        "rear": [(x0, half, z0), (x0, -half, z0), (x0, -half, z1), (x0, half, z1)],
        "top": [(x0, -half, z1), (x1, -half, z1), (x1, half, z1), (x0, half, z1)],
    }


def disc(x: float, y: float, z: float, radius: float, corners: int = 12) -> list[Point]:
    """A wheel's side as a polygon in the plane of constant y, facing away from the axis."""
    turn = np.linspace(0.0, 2 * np.pi, corners, endpoint=False) * (-1.0 if y > 0 else 1.0)
    return [(x + radius * float(np.cos(a)), y, z + radius * float(np.sin(a))) for a in turn]
