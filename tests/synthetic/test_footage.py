"""Clips, labels and the list of recordings that `generate` leaves behind."""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from cityforge.footage.recordings import COLUMNS
from cityforge.synthetic.actors import CLASSES
from cityforge.synthetic.clips import is_finished
from cityforge.synthetic.footage import FootagePlan, generate, plan_clips

TINY = FootagePlan(seed=5, sessions=1, seconds=1.2, conditions=("day",))


def read_tasks(out: Path) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = json.loads((out / "labels.json").read_text())
    return tasks


def regions(task: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = task["annotations"][0]["result"]
    return found


def frame_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * stream.time_base for frame in container.decode(stream)]


def with_kept_backdrops(recording: Path, out: Path) -> Path:
    """An empty output folder that need not render the still views again."""
    (out / ".parts").mkdir(parents=True)
    for view in (recording / ".parts").glob("*.npz"):
        shutil.copy(view, out / ".parts")
    return out


def test_clips_are_h264_with_a_frame_every_tenth_of_a_second(recording: Path) -> None:
    clips = sorted(recording.glob("*/*.mp4"))
    assert [clip.name for clip in clips] == [
        "crossing_east_20260302T090000Z_day.mp4",
        "crossing_north_20260302T090000Z_day.mp4",
        "crossing_roof_20260302T090000Z_day.mp4",
    ]
    for clip in clips:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
            assert (stream.width, stream.height) == (640, 360)
            assert container.metadata["creation_time"].startswith("2026-03-02T09:00:00")
        assert frame_times(clip) == [Fraction(i, 10) for i in range(12)]


def test_every_labelled_time_is_a_frame_of_its_clip(recording: Path) -> None:
    tasks = read_tasks(recording)
    assert len(tasks) == 9  # three cameras at 0.0, 0.5 and 1.0 s
    for task in tasks:
        data = task["data"]
        times = frame_times(recording / data["footage"])
        assert Fraction(str(data["pts_s"])) in times
        assert data["image"] == f"{data['footage']}#t={data['pts_s']:.3f}"


def test_tasks_are_numbered_in_the_order_of_file_and_time(recording: Path) -> None:
    tasks = read_tasks(recording)
    order = [(task["data"]["footage"], task["data"]["pts_s"]) for task in tasks]
    assert order == sorted(order)
    assert [task["id"] for task in tasks] == list(range(1, len(tasks) + 1))


def test_boxes_lie_inside_the_image_and_have_size(recording: Path) -> None:
    checked = 0
    for task in read_tasks(recording):
        for region in regions(task):
            value = region["value"]
            wide, tall = value["width"] * 6.40, value["height"] * 3.60
            assert value["x"] >= 0 and value["x"] + value["width"] <= 100.00001
            assert value["y"] >= 0 and value["y"] + value["height"] <= 100.00001
            assert max(wide, tall) >= 8 - 1e-4 and min(wide, tall) >= 5 - 1e-4
            assert value["rectanglelabels"][0] in CLASSES
            assert 0.35 <= region["meta"]["visibility"] <= 1.0
            checked += 1
    assert checked > 30


def test_cameras_see_the_same_road_users_at_the_same_moment(recording: Path) -> None:
    seen: dict[float, dict[str, set[str]]] = defaultdict(dict)
    for task in read_tasks(recording):
        tracks = {region["meta"]["track_id"] for region in regions(task)}
        seen[task["data"]["pts_s"]][task["data"]["camera"]] = tracks
    assert sorted(seen) == [0.0, 0.5, 1.0]
    for views in seen.values():
        assert len(views) == 3
        assert views["crossing_north"] & views["crossing_east"]
        assert views["crossing_north"] & views["crossing_roof"]
        assert len(set(map(frozenset, views.values()))) > 1


def test_same_plan_gives_the_same_label_bytes(recording: Path, tmp_path: Path) -> None:
    again = with_kept_backdrops(recording, tmp_path / "again")
    generate(again, TINY, workers=1)
    assert (again / "labels.json").read_bytes() == (recording / "labels.json").read_bytes()


def test_another_seed_gives_other_labels(recording: Path, tmp_path: Path) -> None:
    other = with_kept_backdrops(recording, tmp_path / "other")
    plan = FootagePlan(seed=6, sessions=1, seconds=0.2, conditions=("day",))
    generate(other, plan, workers=1)
    first = {
        task["data"]["footage"]: regions(task)
        for task in read_tasks(recording)
        if task["data"]["pts_s"] == 0
    }
    for task in read_tasks(other):
        assert regions(task) != first[task["data"]["footage"]]


def test_finished_clips_are_kept_and_a_killed_one_is_made_again(
    recording: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(recording, out)
    clips = plan_clips(out, TINY)
    lost, *kept = [out / clip.file for clip in clips]
    whole = lost.read_bytes()
    lost.with_suffix(".partial").write_bytes(whole[:500])
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in kept}
    calls: list[tuple[int, int]] = []

    generate(out, TINY, workers=1, progress=lambda done, total: calls.append((done, total)))

    assert calls == [(2, 3), (3, 3)]
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert not list(out.rglob("*.partial"))
    assert len(frame_times(lost)) == 12
    assert (out / "labels.json").read_bytes() == (recording / "labels.json").read_bytes()


def test_a_clip_of_another_plan_does_not_count_as_finished(recording: Path) -> None:
    longer = FootagePlan(seed=5, sessions=1, seconds=2.0, conditions=("day",))
    assert all(is_finished(clip) for clip in plan_clips(recording, TINY))
    assert not any(is_finished(clip) for clip in plan_clips(recording, longer))


def test_footage_csv_lists_every_clip(recording: Path) -> None:
    with (recording / "footage.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    for row in rows:
        assert (recording / row["file"]).is_file()
        assert row["started_at"] == "2026-03-02T09:00:00Z"
        assert (row["lighting"], row["weather"]) == ("day", "clear")
        assert set(row) <= set(COLUMNS)


def test_sessions_fall_on_consecutive_days() -> None:
    plan = FootagePlan(seed=1, sessions=2, seconds=1.0)
    names = [clip.file for clip in plan_clips(Path("out"), plan)]
    assert len(names) == 18
    assert "crossing_roof/crossing_roof_20260303T210000Z_night.mp4" in names
    assert "crossing_north/crossing_north_20260302T140000Z_rain.mp4" in names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sessions": 0}, "sessions"),
        ({"fps": -1}, "fps"),
        ({"width": 641}, "even size"),
    ],
)
def test_an_impossible_plan_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FootagePlan(**{"seed": 1, "sessions": 1, "seconds": 1.0, **changes})


def test_an_unknown_condition_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="snow"):
        FootagePlan(seed=1, sessions=1, seconds=1.0, conditions=("snow",))
