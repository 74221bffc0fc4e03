from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cityforge.errors import LabelError
from cityforge.evaluation.mot import MotScore, Tracks, read_mot, score_tracks, together
from cityforge.inference.tracking import Tracker

# MOTA and IDF1 that py-motmetrics 1.4 publishes for these files.
PUBLISHED = {
    "TUD-Campus": (0.526462, 0.557659),
    "TUD-Stadtmitte": (0.564014, 0.644619),
}
TOGETHER = (0.555116, 0.624296)
FRAMES_A_SECOND = 25


def tracks(*rows: tuple[int, int, float]) -> Tracks:
    """Boxes of 10×10 pixels from frame, track and their left edge."""
    table = np.array(rows, np.float64).reshape(-1, 3)
    left = table[:, 2]
    xyxy = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=1)
    return Tracks(
        table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), xyxy, np.ones(len(table))
    )


# Two objects, far apart, three frames each.
TRUTH = tracks((1, 1, 0), (2, 1, 0), (3, 1, 0), (1, 2, 100), (2, 2, 100), (3, 2, 100))

# found; missed, false, switches, matched ids: worked by hand
CASES = {
    "all of it": (tracks((1, 7, 0), (2, 7, 0), (3, 7, 0), (1, 8, 100), (2, 8, 100), (3, 8, 100)), 0, 0, 0, 6),  # noqa: E501
    "nothing": (tracks(), 6, 0, 0, 0),
    "too far off to count": (tracks((1, 7, 3.4),), 6, 1, 0, 0),  # IoU 6.6 / 13.4
    "just near enough": (tracks((1, 7, 3.3),), 5, 0, 0, 1),  # IoU 6.7 / 13.3
    "another id in the third frame": (tracks((1, 7, 0), (2, 7, 0), (3, 9, 0)), 3, 0, 1, 2),
    "ids change places": (
        tracks((1, 7, 0), (2, 8, 0), (3, 8, 0), (1, 8, 100), (2, 7, 100), (3, 7, 100)), 0, 0, 2, 4,
    ),
    # The old track stays the object's own while it overlaps, though another fits better.
    "a better one beside": (tracks((1, 7, 2), (2, 7, 2), (2, 9, 0)), 4, 1, 0, 2),
    # After a gap the object comes back under another id: a switch, too.
    "away for a frame": (tracks((1, 7, 0), (3, 9, 0)), 4, 0, 1, 1),
    "frames that the truth has not": (tracks((1, 7, 0), (9, 7, 0)), 5, 1, 0, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_counts_are_those_worked_by_hand(name: str) -> None:
    found, missed, false, switches, ids = CASES[name]
    score = score_tracks(TRUTH, found)
    assert score == MotScore(6, len(found.frame), missed, false, switches, ids)
    assert score.mota == pytest.approx(1 - (missed + false + switches) / 6)
    assert score.idf1 == pytest.approx(2 * ids / (6 + len(found.frame)))


def test_without_boxes_there_is_no_score() -> None:
    score = score_tracks(tracks(), tracks())
    assert math.isnan(score.mota) and math.isnan(score.idf1)


@pytest.mark.real
def test_scores_are_the_published_ones(real_data: Callable[[str], Path]) -> None:
    scores = []
    for name, published in PUBLISHED.items():
        folder = real_data("mot") / name
        score = score_tracks(read_mot(folder / "gt.txt"), read_mot(folder / "test.txt"))
        assert (score.mota, score.idf1) == pytest.approx(published, abs=1e-4)
        scores.append(score)
    both = together(scores)
    assert len(scores) == 2
    assert (both.mota, both.idf1) == pytest.approx(TOGETHER, abs=1e-4)


def tracked_anew(found: Tracks) -> Tracks:
    """The same boxes with the ids that our tracker gives them; those without one are left out."""
    tracker = Tracker(sure=0.5)
    track = np.zeros(len(found.frame), np.int64)
    for frame in np.unique(found.frame):
        rows = np.flatnonzero(found.frame == frame)
        track[rows] = tracker.update(
            frame / FRAMES_A_SECOND, found.xyxy[rows], np.ones(len(rows)), rows * 0
        )
    return Tracks(found.frame, track, found.xyxy, found.score).where(track > 0)


@pytest.mark.real
def test_our_tracker_holds_up_on_real_walkers(real_data: Callable[[str], Path]) -> None:
    """Floors a little under what was reached; MOTA is the published tracker's and more."""
    scores = []
    for name in PUBLISHED:
        folder = real_data("mot") / name
        found = tracked_anew(read_mot(folder / "test.txt"))
        scores.append(score_tracks(read_mot(folder / "gt.txt"), found))
    both = together(scores)
    assert both.mota >= 0.545
    assert both.idf1 >= 0.57
    assert both.switches <= 14


def test_mot_text_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1,3,10,20,30,40,0.5,-1,-1,-1\n\n2,3,11.5,20,30,40,1\n")
    found = read_mot(path)
    assert found.frame.tolist() == [1, 2] and found.track.tolist() == [3, 3]
    assert found.xyxy.tolist() == [[10, 20, 40, 60], [11.5, 20, 41.5, 60]]
    assert found.score.tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,3,10,20,30,40", "gt.txt:1"),
        ("1,3,10,20,30,40,1\n1,x,10,20,30,40,1", "gt.txt:2"),
        ("1.5,3,10,20,30,40,1", "gt.txt:1"),
        ("1,3,10,20,-30,40,1", "gt.txt:1"),
        ("1,3,nan,20,30,40,1", "gt.txt:1"),
        ("1,3,10,20,30,40,1\n1,3,10,20,30,40,1", "track 3 twice in frame 1"),
    ],
)
def test_what_is_no_box_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "gt.txt"
    path.write_text(text)
    with pytest.raises(LabelError, match=said):
        read_mot(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"none\.txt"):
        read_mot(tmp_path / "none.txt")
