"""Labels go out under the names of the footage that they were drawn on."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from cityforge.errors import DataError
from cityforge.labeling.outgoing import give_out
from cityforge.tables import FOOTAGE, FRAMES, LABELS, from_rows

FILM, STILL = {"duration_s": 5.0}, {"duration_s": 0.0}


def tables(film: dict[str, Any]) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Catalogue, frames and labels of one file `a.mp4` with one box at 1.5 s."""
    row = {
        "footage_id": "a", "path": "a.mp4", "name": "a.mp4", "camera": "c", "width": 64,
        "height": 48, "codec": "x", "frames": 1, "errors": 0, "lawful_basis": "x", **film,
    }  # fmt: skip
    frame = {
        "frame_id": "a-1500", "footage_id": "a", "pts_s": 1.5, "shard": "s", "offset": 0,
        "bytes": 1, "width": 64, "height": 48, "phash": "0", "sharpness": 0.0, "brightness": 0.0,
        "contrast": 1.0, "lighting": "day", "faults": [], "redactions": [],
    }  # fmt: skip
    label = {
        "label_id": "l", "frame_id": "a-1500", "task": "detection", "class": "bus", "x1": 1.0,
        "y1": 1.0, "x2": 9.0, "y2": 9.0, "source": "s", "origin": "human",
    }  # fmt: skip
    return from_rows([row], FOOTAGE), from_rows([frame], FRAMES), from_rows([label], LABELS)


@pytest.mark.parametrize(
    ("film", "name", "footage", "pts_s"),
    [
        (FILM | {"fps": 25.0}, "a-1500.jpg", "a.mp4", 1.5),
        (FILM, "a-1500.jpg", "a.mp4", 1.5),  # of no rate that is known
        (STILL, "a.mp4", None, None),
        (STILL | {"fps": 25.0}, "a-1500.jpg", "a.mp4", 1.5),  # of one frame
    ],
)
def test_a_moment_of_a_film_is_named_as_such(
    film: dict[str, Any], name: str, footage: str | None, pts_s: float | None
) -> None:
    (image,) = give_out("tiny", ["bus"], *tables(film)).images
    assert (image.name, image.footage, image.pts_s) == (name, footage, pts_s)


def test_a_frame_of_unknown_footage_is_named() -> None:
    footage, frames, labels = tables(FILM)
    with pytest.raises(DataError, match=r"frame 'a-1500' of other footage, in dataset 'tiny'"):
        give_out("tiny", ["bus"], footage.slice(0, 0), frames, labels)
