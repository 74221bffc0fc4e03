"""Which frames are out of focus and which cameras moved, from tables and real thumbnails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from cityforge.errors import DataError
from cityforge.footage.faults import judge_cameras
from cityforge.footage.views import OTHER_VIEW, has_moved, likeness, structure
from cityforge.synthetic.backdrop import render_backdrop
from cityforge.synthetic.cameras import camera_named, resized
from cityforge.synthetic.conditions import condition_named
from cityforge.tables import FRAMES, from_rows

Image = NDArray[np.uint8]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SIZE = (256, 144)


@lru_cache
def scene(condition: str = "day", camera: str = "crossing_north") -> Image:
    view = resized(camera_named(camera), *SIZE)
    return render_backdrop(view, condition_named(condition)).image


def thumb(picture: Image) -> bytes:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (64, 36), interpolation=cv2.INTER_AREA).tobytes()


def warped(right: float = 0, down: float = 0, turn: float = 0, zoom: float = 1) -> Image:
    """The scene by day from a camera that was pushed: shares of the picture, degrees."""
    matrix = cv2.getRotationMatrix2D((SIZE[0] / 2, SIZE[1] / 2), turn, zoom)
    matrix[:, 2] += right * SIZE[0], down * SIZE[1]
    return cv2.warpAffine(scene(), matrix, SIZE, borderMode=cv2.BORDER_REFLECT)


def frames_of(
    shard: str, *, sharpness: float = 400, count: int = 10, hour: float | None = 0, **columns: Any
) -> list[dict[str, Any]]:
    """Frames of one shard, a second apart; it is named after its footage."""
    footage_id = columns.pop("footage_id", shard)
    return [
        {
            "frame_id": f"{shard}-{number * 1000}", "footage_id": footage_id,
            "pts_s": float(number),
            "captured_at": None if hour is None else NOON + timedelta(hours=hour, seconds=number),
            "shard": shard, "offset": 512, "bytes": 9, "width": 640, "height": 360,
            "phash": "0" * 16, "sharpness": sharpness, "brightness": 90.0, "contrast": 40.0,
            "lighting": "day", "faults": [], "redactions": [], "redacted_by": None, **columns,
        }
        for number in range(count)
    ]  # fmt: skip


def judge(
    *shards: list[dict[str, Any]],
    backgrounds: dict[str, bytes] | None = None,
    cameras: dict[str, str] | None = None,
    mobile: set[str] | None = None,
) -> dict[str, list[str]]:
    """Faults by frame_id; without `cameras`, all is of one."""
    rows = [row for shard in shards for row in shard]
    camera_of = cameras or {row["footage_id"]: "gate" for row in rows}
    table = judge_cameras(from_rows(rows, FRAMES), backgrounds or {}, camera_of, mobile or set())
    return dict(zip(*table.select(["frame_id", "faults"]).to_pydict().values(), strict=True))


def shards_with(found: dict[str, list[str]], fault: str) -> set[str]:
    return {frame_id.rpartition("-")[0] for frame_id, faults in found.items() if fault in faults}


MOVED: list[tuple[str, Callable[[], Image], bool]] = [
    ("the same", lambda: warped(), False),
    ("a pixel of 640 to the right", lambda: warped(right=1 / 640), False),
    ("a pixel of 640 down", lambda: warped(down=-1 / 360), False),
    ("a hundredth", lambda: warped(right=0.01, down=0.01), False),
    ("turned by half a degree", lambda: warped(turn=0.5), False),
    ("darker", lambda: scene() // 2, False),
    ("in rain", lambda: scene("rain"), False),
    ("in fog, with no structure", lambda: np.full((144, 256, 3), 170, np.uint8), False),
    ("a tenth to the right", lambda: warped(right=0.1), True),
    ("a tenth to the left", lambda: warped(right=-0.1), True),
    ("a tenth down", lambda: warped(down=0.1), True),
    ("a third", lambda: warped(right=1 / 3), True),
    ("turned by 8 degrees", lambda: warped(turn=8), True),
    ("upside down", lambda: warped(turn=180), True),
    ("zoomed in", lambda: warped(zoom=1.3), True),
    ("another street", lambda: scene("day", "crossing_east"), True),
]


def wiped(picture: Image) -> Image:
    """A street along the picture: little changes from left to right."""
    return cv2.GaussianBlur(picture, (0, 0), sigmaX=14, sigmaY=1)


def test_a_shift_along_the_lines_of_a_street_is_seen() -> None:
    for right, moved in ((0.0, False), (0.01, False), (0.06, True), (-0.08, True)):
        before, after = (
            structure(np.frombuffer(thumb(wiped(each)), np.uint8).reshape(36, 64))
            for each in (scene(), warped(right=right))
        )
        assert before is not None and after is not None
        assert likeness(before, after) > OTHER_VIEW
        assert has_moved(before, after) is moved


@pytest.mark.parametrize(
    ("picture", "moved"), [row[1:] for row in MOVED], ids=[r[0] for r in MOVED]
)
def test_a_moved_camera(picture: Callable[[], Image], moved: bool) -> None:
    found = judge(
        frames_of("a"), frames_of("b", hour=1),
        backgrounds={"a": thumb(scene()), "b": thumb(picture())},
    )  # fmt: skip
    assert shards_with(found, "moved") == ({"b"} if moved else set())
    assert all(faults == ["moved"] for key, faults in found.items() if moved and key[0] == "b")


def three(**changes: Any) -> list[list[dict[str, Any]]]:
    """Shards that were recorded in the order c, a, b, of which b shows another view."""
    hours = {"b": 2, "c": 0, "a": 1}
    return [frames_of(name, **{"hour": hour, **changes}) for name, hour in hours.items()]


@lru_cache
def views() -> dict[str, bytes]:
    """Their backgrounds."""
    return {"c": thumb(scene()), "a": thumb(scene("rain")), "b": thumb(warped(right=0.1))}


def test_moved_is_told_against_the_first_recorded() -> None:
    assert shards_with(judge(*three(), backgrounds=views()), "moved") == {"b"}
    turned = {"c": views()["b"], "a": views()["a"], "b": views()["c"]}
    assert shards_with(judge(*three(), backgrounds=turned), "moved") == {"a", "b"}


def test_without_a_time_the_order_is_that_of_the_film() -> None:
    parts = [
        [
            {**row, "pts_s": row["pts_s"] + start}
            for row in frames_of(name, hour=None, footage_id="f")
        ]
        for name, start in (("b", 600), ("c", 0), ("a", 300))
    ]  # fmt: skip
    assert shards_with(judge(*parts, backgrounds=views()), "moved") == {"b"}


def test_a_camera_is_compared_with_itself_alone() -> None:
    cameras = {"a": "gate", "b": "harbour", "c": "gate"}
    assert shards_with(judge(*three(), backgrounds=views(), cameras=cameras), "moved") == set()


def test_a_mobile_camera_is_never_moved_nor_out_of_focus() -> None:
    blurred = frames_of("d", sharpness=5, count=5)
    many = [*three(), frames_of("e", count=60), blurred]
    assert judge(*many, backgrounds=views(), mobile={"gate"}) == {
        row["frame_id"]: [] for shard in many for row in shard
    }
    assert shards_with(judge(*many, backgrounds=views()), "out_of_focus") == {"d"}


@pytest.mark.parametrize(
    ("lighting", "moved"), [("day", {"b"}), ("night", set()), ("infrared", set())]
)
def test_lightings_are_not_compared(lighting: str, moved: set[str]) -> None:
    shards = frames_of("a"), frames_of("b", hour=1, lighting=lighting)
    backgrounds = {"a": views()["a"], "b": views()["b"]}
    assert shards_with(judge(*shards, backgrounds=backgrounds), "moved") == moved


def test_a_shard_of_mixed_light_is_not_compared() -> None:
    dusk = [*frames_of("b", hour=1), *frames_of("b", hour=1, lighting="night", count=6)]
    found = judge(frames_of("a"), dusk, backgrounds={"a": views()["a"], "b": views()["b"]})
    assert shards_with(found, "moved") == set()


def test_fog_is_no_first_view() -> None:
    backgrounds = views() | {"c": bytes([170]) * (64 * 36)}
    assert shards_with(judge(*three(), backgrounds=backgrounds), "moved") == {"b"}


def test_shards_without_a_background_are_left_out() -> None:
    backgrounds = {"a": views()["a"], "b": views()["b"]}
    assert shards_with(judge(*three(), backgrounds=backgrounds), "moved") == {"b"}


def test_a_background_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match="found 5 bytes, in shard 'c'"):
        judge(*three(), backgrounds=views() | {"c": b"small"})


@pytest.mark.parametrize(
    ("sharpness", "frames", "found"),
    [
        (400, 40, False),
        (120, 40, False),  # rain, mist, a dirty dome
        (90, 40, True),
        (4, 40, True),
        (4, 15, False),  # 19 with those that are judged: too few to know
        (4, 16, True),
    ],
)
def test_out_of_focus(sharpness: float, frames: int, found: bool) -> None:
    faults = judge(frames_of("a", count=frames), frames_of("b", sharpness=sharpness, count=4))
    assert shards_with(faults, "out_of_focus") == ({"b"} if found else set())


def test_out_of_focus_is_told_by_camera_and_lighting() -> None:
    shards = [
        frames_of("sharp", sharpness=900, count=30),
        frames_of("night", sharpness=60, count=30, lighting="night"),
        frames_of("soft", sharpness=50, count=40),
    ]
    cameras = {"sharp": "gate", "night": "gate", "soft": "harbour"}
    assert shards_with(judge(*shards, cameras=cameras), "out_of_focus") == set()
    assert shards_with(judge(*shards), "out_of_focus") == set()  # the median is the soft ones'
    shards[0] = frames_of("sharp", sharpness=900, count=90)
    assert shards_with(judge(*shards), "out_of_focus") == {"soft"}


@pytest.mark.parametrize("fault", ["black", "covered"])
def test_what_shows_nothing_is_neither_out_of_focus_nor_in_the_median(fault: str) -> None:
    unseen = frames_of("dark", sharpness=1, count=90, faults=[fault])
    found = judge(unseen, frames_of("a", count=30), frames_of("b", sharpness=20, count=5))
    assert found["dark-0"] == [fault]
    assert shards_with(found, "out_of_focus") == {"b"}


def test_a_moved_camera_is_not_called_out_of_focus_for_what_it_now_sees() -> None:
    found = judge(
        frames_of("a", count=40), frames_of("b", hour=1, sharpness=20),
        backgrounds={"a": views()["a"], "b": views()["b"]},
    )  # fmt: skip
    assert found["b-0"] == ["moved"]


def test_faults_are_sorted_and_those_known_are_kept() -> None:
    found = judge(
        frames_of("a", count=40), frames_of("b", hour=1, faults=["frozen"]),
        backgrounds={"a": views()["a"], "b": views()["b"]},
    )  # fmt: skip
    assert found["b-3000"] == ["frozen", "moved"]


def whole() -> tuple[pa.Table, dict[str, bytes], dict[str, str]]:
    shards = [
        *three(),
        frames_of("d", count=30),
        frames_of("e", sharpness=9, count=3, faults=["frozen"]),
    ]
    rows = [row for shard in shards for row in shard]
    return from_rows(rows, FRAMES), views(), {row["footage_id"]: "gate" for row in rows}


def test_the_order_of_rows_does_not_matter() -> None:
    frames, backgrounds, camera_of = whole()
    once = judge_cameras(frames, backgrounds, camera_of, set())
    mixed = frames.take(np.random.default_rng(1).permutation(frames.num_rows))
    again = judge_cameras(mixed, dict(reversed(backgrounds.items())), camera_of, set())
    assert again.sort_by("frame_id").equals(once.sort_by("frame_id"))
    assert {tuple(f) for f in once["faults"].to_pylist()} == {
        (), ("moved",), ("frozen", "out_of_focus"),
    }  # fmt: skip


def test_all_else_stays_and_judging_again_changes_nothing() -> None:
    frames, backgrounds, camera_of = whole()
    once = judge_cameras(frames, backgrounds, camera_of, set())
    assert once.schema.equals(FRAMES, check_metadata=True)
    assert once.drop_columns("faults").equals(frames.drop_columns("faults"))
    assert judge_cameras(once, backgrounds, camera_of, set()).equals(once)
    # A camera that the card now calls mobile loses what was told of it.
    assert not any(
        "moved" in f for f in judge_cameras(once, {}, camera_of, {"gate"})["faults"].to_pylist()
    )


def test_frames_of_unknown_footage_are_left_alone() -> None:
    frames, backgrounds, _ = whole()
    assert judge_cameras(frames, backgrounds, {}, set()).equals(frames)


def test_no_frames_are_no_trouble() -> None:
    assert judge_cameras(FRAMES.empty_table(), {}, {}, set()).num_rows == 0
