"""Who brings pictures to Label Studio stands on record before they go."""

from __future__ import annotations

from pathlib import Path

import pytest

from cityforge.cli.label_push import _record
from cityforge.errors import TrustError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.trust.journal import open_journal

FRAMES = ["00c66ade1f52f103-1500", "00c66ade1f52f103-0", "11c66ade1f52f103-0"]


def test_a_push_says_whose_frames_become_tasks(tmp_path: Path) -> None:
    project, settings = Project(tmp_path), Settings(keys=str(tmp_path / "keys"), user="李雷")
    _record(project, settings, "streets")(FRAMES)
    (entry,) = open_journal(project, settings).entries(about="dataset:streets")
    assert (entry.act, entry.by) == ("retrieve", "李雷")
    assert entry.body == {
        "what": "pictures", "ids": ["00c66ade1f52f103", "11c66ade1f52f103"], "count": 2,
        "why": "label push",
    }  # fmt: skip
    other = settings.model_copy(update={"user": "tom"})
    with pytest.raises(TrustError, match="cityforge key new"):
        _record(project, other, "streets")(FRAMES)
