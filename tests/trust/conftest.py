"""A site of its own for each test, in SQLite and in PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "training" / "tuning"))

from postgresql_server import Server, running_server
from signing_people import Place, make_place


@pytest.fixture(scope="session")
def journal_server() -> Iterator[Server]:
    """A running PostgreSQL."""
    yield from running_server()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a journal that nobody has written to, of both kinds one behind the other."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'city' / 'journal.db'}"
    server: Server = request.getfixturevalue("journal_server")
    return server.new_database(f"j{abs(hash(request.node.name)) % 10**10}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A site with three people, in SQLite."""
    return make_place(f"sqlite:///{tmp_path / 'city' / 'journal.db'}", tmp_path)


@pytest.fixture
def both(url: str, tmp_path: Path) -> Place:
    """The same, in each kind of store."""
    return make_place(url, tmp_path)
