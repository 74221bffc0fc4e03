"""Every notebook runs from top to bottom, with something to show and with nothing yet."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAME = "demo_crossing"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which nothing has run yet."""
    monkeypatch.delenv("CITYFORGE_TRACKING_URI", raising=False)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for kind in ("algorithms", "datasets"):
        (tmp_path / kind / NAME).mkdir(parents=True)
        for card in (ROOT / kind / NAME).glob("*.yaml"):
            shutil.copy(card, tmp_path / kind / NAME)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


def run(path: Path, root: Path) -> str:
    """All that the cells of a notebook put out."""
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    resources = {"metadata": {"path": str(root / "notebooks")}}
    NotebookClient(book, timeout=120, kernel_name="python3", resources=resources).execute()
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    texts = [str(out.get("text") or out.get("data")) for cell in code for out in cell.outputs]
    return "\n".join(texts)


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["look_at_a_model.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_output(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(code) > 0
    assert [cell.outputs for cell in code] == [[]] * len(code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_says_that_nothing_has_run_yet(path: Path, root: Path) -> None:
    said = run(path, root)
    assert said.count("yet: cityforge run ALGORITHM") == 2


def test_look_at_a_model_shows_figures_and_versions(
    root: Path, make_package: Callable[..., Path]
) -> None:
    from cityforge.project import Project
    from cityforge.registry.registering import register
    from cityforge.registry.site import Site
    from cityforge.settings import Settings
    from cityforge.training.tracking import experiment_id

    project, settings = Project(root), Settings(tracking_uri="")
    site = Site(project, settings)
    client = site.client
    run_id = client.create_run(experiment_id(client, project, settings, NAME)).info.run_id
    package = make_package(project.build(NAME) / "package", NAME, run_id, score=0.731)
    register(site, NAME, package, package.parent)
    said = run(ROOT / "notebooks" / "look_at_a_model.ipynb", root)
    assert "0.731" in said
    assert "challenger" in said
    assert "yet: cityforge" not in said
