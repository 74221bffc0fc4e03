"""Addresses of storages, and what is said of one that does not answer."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from cityforge.errors import InputError, ServiceError, line_of
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.training.storage import open_storage, storage_url
from cityforge.trust.store import masked


def url_of(tmp_path: Path, stated: str) -> str:
    return storage_url(Project(tmp_path), Settings(tuning_storage=stated))


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("", "sqlite:///{root}/.cityforge/tuning.db"),
        ("sqlite:////data/tuning.db", "sqlite:////data/tuning.db"),
        ("postgresql://me:x@host/db", "postgresql+pg8000://me:x@host/db"),
        ("postgres://me:x@host:5433/db", "postgresql+pg8000://me:x@host:5433/db"),
        ("postgresql+pg8000://me@/db", "postgresql+pg8000://me@/db"),
    ],
)
def test_address(tmp_path: Path, stated: str, expected: str) -> None:
    assert url_of(tmp_path, stated) == expected.format(root=tmp_path)


@pytest.mark.parametrize(
    "stated",
    ["mysql://me:s3cret@host/db", "sqlite://", "postgresql+psycopg2://me:s3cret@h/d", "tuning.db"],
)
def test_other_kinds_of_database_are_refused(tmp_path: Path, stated: str) -> None:
    with pytest.raises(InputError) as error:
        url_of(tmp_path, stated)
    line = str(error.value)
    assert line.startswith("expected postgresql://") and "CITYFORGE_TUNING_STORAGE" in line
    assert "s3cret" not in line and "\n" not in line


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://me:p@ss:w/d@host:1/db", "postgresql://me:***@host:1/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql:///db?user=me&password=abc", "postgresql:///db?user=me&password=***"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
    ],
)
def test_masked(url: str, expected: str) -> None:
    assert masked(url) == expected


def test_a_server_that_is_not_there_is_one_line() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ServiceError) as error:
        open_storage(f"postgresql+pg8000://me:s3cret@127.0.0.1:{port}/db")
    line = str(error.value)
    assert line.startswith("expected a tuning storage that answers") and "\n" not in line
    assert f"me:***@127.0.0.1:{port}/db" in line and "s3cret" not in line


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tuning.db").write_text("something else")
    with pytest.raises(ServiceError, match="file is not a database"):
        open_storage(f"sqlite:///{tmp_path / 'tuning.db'}")
    with pytest.raises(FileNotFoundError) as error:
        open_storage(f"sqlite:///{tmp_path / 'nowhere' / 'tuning.db'}")
    assert "nowhere" in (line_of(error.value) or "")


@pytest.mark.services
def test_a_wrong_password_or_database_is_one_line(postgresql: Any, tmp_path: Path) -> None:
    url = url_of(tmp_path, postgresql.new_database("here"))
    open_storage(url)
    for changed, found in (
        (url.replace("s3cret", "wr0ng"), "password authentication failed"),
        (url.replace("/here", "/nowhere"), 'database "nowhere" does not exist'),
    ):
        assert changed != url
        with pytest.raises(ServiceError) as error:
            open_storage(changed)
        line = str(error.value)
        assert found in line and "\n" not in line
        assert "s3cret" not in line and "wr0ng" not in line
