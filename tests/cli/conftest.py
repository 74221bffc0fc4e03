"""A small project, and the command line run in it as a person does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "demo_crossing"
KEYS = "CITYFORGE_KEYS"  # or the tests would make keys for the person who runs them


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    def one_line(self) -> str:
        """The one line of a foreseen failure; anything more fails the test."""
        lines = self.err.splitlines()
        assert (self.code, len(lines)) == (1, 1), self.err
        assert lines[0].startswith("expected "), self.err
        return lines[0]


def run(root: Path, *words: str, **environment: str) -> Said:
    """Run `cityforge` in a process of its own, with no CITYFORGE_* of this one but the keys."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CITYFORGE_") or k == KEYS}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "cityforge"), *words],
        cwd=root,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def make_project(root: Path) -> Path:
    """Cards and stages of the demo; nothing active, nothing made, no git and no DVC."""
    root.mkdir(exist_ok=True)
    shutil.copy(ROOT / "dvc.yaml", root)
    (root / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    shutil.copytree(
        ROOT / "pipelines", root / "pipelines", ignore=shutil.ignore_patterns("__pycache__")
    )
    for kind in ("algorithms", "datasets"):
        (root / kind / NAME).mkdir(parents=True)
        for card in (ROOT / kind / NAME).glob("*.yaml"):
            shutil.copy(card, root / kind / NAME)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_project(tmp_path / "city")


@pytest.fixture
def cityforge(root: Path) -> Callable[..., Said]:
    """Run a command in the small project."""
    return lambda *words, **environment: run(root, *words, **environment)


@pytest.fixture(scope="session")
def served_root(
    tmp_path_factory: pytest.TempPathFactory, make_package: Callable[..., Path]
) -> Path:
    """A small project whose algorithm has one registered version."""
    from cityforge.project import Project
    from cityforge.registry.registering import register
    from cityforge.registry.site import Site
    from cityforge.settings import Settings
    from cityforge.training.tracking import experiment_id

    root = make_project(tmp_path_factory.mktemp("served") / "city")
    site = Site(Project(root), Settings(tracking_uri=""))
    experiment = experiment_id(site.client, site.project, site.settings, NAME)
    run_id = site.client.create_run(experiment).info.run_id
    package = make_package(root.parent / "made" / "package", NAME, run_id)
    register(site, NAME, package, package.parent)
    return root


@pytest.fixture
def registered(
    served_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_here: Callable[..., tuple[int, str, str]],
) -> Callable[..., Said]:
    """Run a command in the project that has a registered version, in this process."""

    def at_home(*words: str, **environment: str) -> Said:
        for name in [each for each in os.environ if each.startswith("CITYFORGE_")]:
            if name != KEYS:
                del os.environ[name]
        os.environ.update(environment)
        monkeypatch.chdir(served_root)
        return Said(*run_here(*words))

    return at_home
