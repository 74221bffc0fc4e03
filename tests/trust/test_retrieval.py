"""Who has taken pictures out of a dataset stands on record."""

from __future__ import annotations

from pathlib import Path

import pytest

from cityforge.cli.retrieval import MOST_IDS, record_retrieval
from cityforge.errors import TrustError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.trust.journal import open_journal


def test_a_retrieval_says_who_took_what_and_why(tmp_path: Path) -> None:
    project, settings = Project(tmp_path), Settings(keys=str(tmp_path / "keys"), user="李雷")
    record_retrieval(project, settings, "streets", "pictures", ["b", "a", "b"], "label export")
    (entry,) = open_journal(project, settings).entries(about="dataset:streets")
    assert (entry.act, entry.by) == ("retrieve", "李雷")
    assert entry.body == {
        "what": "pictures", "ids": ["a", "b"], "count": 2, "why": "label export",
    }  # fmt: skip


def test_a_large_one_names_the_first_and_counts_all(tmp_path: Path) -> None:
    project, settings = Project(tmp_path), Settings(keys=str(tmp_path / "keys"), user="ann")
    ids = [f"{number:016x}" for number in range(MOST_IDS * 3)]
    record_retrieval(project, settings, "streets", "contact sheet", ids[::-1], "footage show")
    (entry,) = open_journal(project, settings).entries(about="dataset:streets")
    assert (entry.body["ids"], entry.body["count"]) == (ids[:MOST_IDS], MOST_IDS * 3)


def test_who_has_no_key_at_a_site_that_has_some_is_shown_nothing(tmp_path: Path) -> None:
    project, settings = Project(tmp_path), Settings(keys=str(tmp_path / "keys"), user="ann")
    record_retrieval(project, settings, "streets", "pictures", [], "label export")
    other = settings.model_copy(update={"user": "tom"})
    with pytest.raises(TrustError, match="cityforge key new"):
        record_retrieval(project, other, "streets", "pictures", [], "label export")
