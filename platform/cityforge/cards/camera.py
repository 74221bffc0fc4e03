"""What an endpoint knows of a camera: where it hangs, its zones and lines, a scale of the ground.

One file a camera, `serving/cameras/<name>.yaml`. Zones and lines may come with a request, too.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from cityforge.cards.dataset import ShownName
from cityforge.cards.yaml_files import Card

Coordinate = Annotated[float, Field(ge=-100_000, le=100_000)]
Point = tuple[Coordinate, Coordinate]  # x, y
Polygon = Annotated[list[Point], Field(min_length=3, max_length=200)]
Line = tuple[Point, Point]
MOST_NAMED = 100


class GroundPoint(Card):
    """A point of the ground: where the picture shows it, and where it is."""

    pixel: Point
    metres: Point


class Scene(Card):
    """Zones, lines and the ground of a view of `width` × `height` pixels, the upright picture.

    A picture of another size of the same shape is scaled; of another shape it is refused.
    """

    width: Annotated[int, Field(ge=1, le=100_000)]
    height: Annotated[int, Field(ge=1, le=100_000)]
    zones: Annotated[dict[ShownName, Polygon], Field(max_length=MOST_NAMED)] = Field(
        default_factory=dict
    )
    lines: Annotated[dict[ShownName, Line], Field(max_length=MOST_NAMED)] = Field(
        default_factory=dict
    )
    # Four or more points of the road, no three on one line: the homography is found from them.
    ground: Annotated[list[GroundPoint], Field(min_length=4, max_length=100)] | None = None

    @model_validator(mode="after")
    def _inside_the_picture(self) -> Scene:
        named = {
            **{f"zone '{name}'": points for name, points in self.zones.items()},
            **{f"line '{name}'": list(points) for name, points in self.lines.items()},
            "ground": [each.pixel for each in self.ground or ()],
        }
        for what, points in named.items():
            for x, y in points:
                if not (0 <= x <= self.width and 0 <= y <= self.height):
                    raise ValueError(
                        f"points inside {self.width}×{self.height}, found ({x:g}, {y:g}) in {what}"
                    )
        return self

    @field_validator("lines")
    @classmethod
    def _lines_have_a_length(cls, lines: dict[str, Line]) -> dict[str, Line]:
        for name, (first, second) in lines.items():
            if first == second:
                raise ValueError(f"two different points, found one twice in line '{name}'")
        return lines


class CameraCard(Scene):
    """One camera of the site; height and pitch are held against an algorithm's envelope."""

    name: ShownName
    site: ShownName
    height_m: Annotated[float, Field(gt=0, le=500)] | None = None
    pitch_deg: Annotated[float, Field(ge=-90, le=90)] | None = None  # 90 looks straight down
