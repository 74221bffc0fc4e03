"""`cityforge feedback status`: how often each version was right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cityforge.endpoint.feedback import FILE, FeedbackRow, FeedbackStore

NAME = "demo_crossing"
Run = Callable[..., Any]


def store(root: Path, *said: tuple[str, bool, int]) -> None:
    feedback = FeedbackStore(root / ".cityforge" / "feedback")
    for number, (digest, right, version) in enumerate(said):
        request = f"{digest * 16}-{number:032x}"
        at = f"2026-03-0{number + 1}T08:00:00.000+00:00"
        feedback.add(FeedbackRow(request, 0, right, None, "", "", at, NAME, version))


def test_each_version_is_counted(root: Path, cityforge: Run) -> None:
    store(root, ("a", True, 1), ("a", False, 0), ("b", True, 0), ("b", False, 2))
    release = root / ".cityforge" / "serving" / NAME / "v1-0123" / "release.json"
    release.parent.mkdir(parents=True)
    body = {"version": 1, "package_digest": "a" * 64}
    release.write_text(json.dumps({"register": {"body": body}}))
    said = cityforge("feedback", "status", NAME, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found.pop("where").endswith(f".cityforge/feedback/{FILE}")
    newest = "2026-03-0{}T08:00:00.000+00:00"
    assert found == {
        "algorithm": NAME, "feedback": 4, "newest": newest.format(4),
        "versions": [
            {"version": 2, "right": 0, "wrong": 1, "corrected": 0, "newest": newest.format(4)},
            {"version": 1, "right": 1, "wrong": 1, "corrected": 0, "newest": newest.format(2)},
            {"version": "unknown", "right": 1, "wrong": 0, "corrected": 0,
             "newest": newest.format(3)},
        ],
    }  # fmt: skip
    table = cityforge("feedback", "status", NAME).out
    assert "4 in all, the newest of 2026-03-04" in table
    assert "unknown" in table


def test_no_feedback_is_said(root: Path, cityforge: Run) -> None:
    assert cityforge("feedback", "status", NAME).out == f"no feedback on '{NAME}' yet\n"
    assert json.loads(cityforge("feedback", "status", NAME, "--json").out)["feedback"] == 0
    assert not (root / ".cityforge" / "feedback").exists()


def test_what_cannot_be_read_is_one_line(root: Path, cityforge: Run) -> None:
    assert (
        "did you mean 'demo_crossing'?"
        in cityforge("feedback", "status", "demo_crosing").one_line()
    )
    path = root / ".cityforge" / "feedback" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 100)
    line = cityforge("feedback", "status", NAME).one_line()
    assert "found file is not a database" in line
