"""A site with a real MLflow store (SQLite, local files), a journal, and people with keys."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from store import APPROVER, OTHER, Store, bless, found_site

from cityforge.project import Project
from cityforge.registry.site import Site
from cityforge.settings import Settings

NAMES = (f"tiny_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Its trainer is its first person, so its admin; two others may approve."""
    site = Site(Project(tmp_path_factory.mktemp("city")), Settings(tracking_uri=""))
    found_site(site)
    for name in (APPROVER, OTHER):
        bless(site, name, ["approve"])
    return site


@pytest.fixture
def store(opened: Site, make_package: Callable[..., Path]) -> Store:
    """The site, and a name in it that no other test uses."""
    return Store(opened, make_package, next(NAMES))
