"""A snapshot of what was withdrawn since, on this machine or another, trains and judges nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import small_project
from small_project import DATASET, NAME

from cityforge.errors import DataError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.tables import FOOTAGE, from_rows, read_table, write_table
from cityforge.training.data import TrainingData, open_training_data
from cityforge.trust.journal import act, open_journal, signer_of

FILM, OTHER = f"{3:016x}", f"{77:016x}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose journal lies below its own folder."""
    found = small_project.make_project(tmp_path / "city")
    (found.root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    return found


def withdraw(project: Project, kind: str, *ids: str) -> None:
    """On record alone, as another machine of the site does: nothing on this disk changes."""
    body: dict[str, Any] = {
        "kind": kind, "ids": list(ids), "reason": "asked for", "snapshots": [], "versions": [],
    }  # fmt: skip
    settings = Settings()
    journal = open_journal(project, settings)
    who = signer_of(journal, settings, "王芳")
    act(journal, settings, who, "withdraw", f"dataset:{DATASET}", body)


def opened(project: Project) -> TrainingData:
    return open_training_data(project, project.algorithm(NAME))


@pytest.mark.parametrize(
    ("kind", "ids", "said"),
    [
        ("footage", (FILM,), rf"footage {FILM} \(withdrawn 20..-..-..: asked for\)"),
        ("footage", (FILM, f"{4:016x}", OTHER), rf"footage {FILM} \(withdrawn .*\) and 1 more"),
        ("label", ("annotator:李雷",), "5 labels that were withdrawn"),
        ("label", (f"{FILM}-0",), "1 labels that were withdrawn"),
    ],
)
def test_what_the_journal_names_is_not_opened(
    project: Project, kind: str, ids: tuple[str, ...], said: str
) -> None:
    assert opened(project).frames.num_rows == 9
    withdraw(project, kind, *ids)
    with pytest.raises(DataError, match=f"found {said}") as caught:
        opened(project)
    assert str(caught.value).endswith(f"cityforge run {NAME}, which makes it without")
    assert "\n" not in str(caught.value)


def test_a_film_that_the_catalogue_here_does_not_name_is_found(project: Project) -> None:
    path = project.dataset_folder(DATASET) / "footage" / "footage.parquet"
    rows = [row for row in read_table(FOOTAGE, path).to_pylist() if row["footage_id"] != FILM]
    write_table(from_rows(rows, FOOTAGE), FOOTAGE, path)
    withdraw(project, "footage", FILM)
    with pytest.raises(DataError, match=rf"footage {FILM} \(withdrawn\)"):
        opened(project)


def test_what_is_past_its_retention_is_not_opened(project: Project) -> None:
    path = project.dataset_folder(DATASET) / "footage" / "footage.parquet"
    rows = read_table(FOOTAGE, path).to_pylist()
    rows[2]["retain_until"] = datetime(2026, 3, 2, tzinfo=UTC)
    write_table(from_rows(rows, FOOTAGE), FOOTAGE, path)
    with pytest.raises(DataError, match="retention ended 2026-03-02"):
        opened(project)


def test_what_was_withdrawn_of_others_changes_nothing(project: Project) -> None:
    withdraw(project, "footage", OTHER)
    withdraw(project, "label", "annotator:nobody", f"{OTHER}-0")
    assert opened(project).labels.num_rows == 9
