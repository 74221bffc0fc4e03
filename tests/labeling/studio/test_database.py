"""The empty database of a new data folder: made once, copied after."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from cityforge.errors import ServiceError
from cityforge.labeling.studio.database import DATABASE, place_database
from cityforge.labeling.studio.environment import Environment


@pytest.mark.services
def test_new_data_folder_gets_an_empty_database(label_studio_env: Path, tmp_path: Path) -> None:
    place_database(Environment(label_studio_env), tmp_path / "data", {}, print)
    path = tmp_path / "data" / DATABASE
    assert [each.name for each in path.parent.iterdir()] == [DATABASE]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("SELECT count(*) FROM django_migrations").fetchone()[0] > 300
        for table in ("htx_user", "organization", "project", "task", "authtoken_token"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        database.execute("CREATE TABLE mine (x)")
    place_database(Environment(label_studio_env), tmp_path / "data", {}, print)
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM mine").fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.services
def test_tables_are_made_once_for_an_environment(label_studio_env: Path, tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (tmp_path / "env" / name).symlink_to(label_studio_env / name)
    said: list[str] = []
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    environ |= {"LABEL_STUDIO_LATEST_VERSION_CHECK": "false", "LABEL_STUDIO_SENTRY_DSN": ""}
    for number in range(2):
        data = tmp_path / f"data{number}"
        place_database(Environment(tmp_path / "env"), data, environ, said.append)
        with contextlib.closing(sqlite3.connect(data / DATABASE)) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert [each.name for each in data.iterdir()] == [DATABASE]
    assert len(said) == 1


def test_environment_that_makes_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "bin" / "label-studio").write_text("raise SystemExit('no such table')")
    with pytest.raises(ServiceError, match="to make its database, found no such table"):
        place_database(Environment(tmp_path), tmp_path / "data", {}, print)
    assert list((tmp_path / "data").iterdir()) == []
