"""Where studies live: this project's SQLite file, or a PostgreSQL server that many share."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import logging
import re
import sqlite3
import ssl
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cityforge.errors import InputError, ServiceError
from cityforge.postgresql import with_tls
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.trust.store import masked

# A trial under way says so this often; without a word for so long, another worker takes it.
BEAT_S = 10
GRACE_S = 60
# A trial that ended its worker this often is given up, and another is drawn.
RETRIES = 2
# A writer of SQLite waits so long for the others; a server has so long to answer.
SQLITE_PATIENCE_S = 60.0
SERVER_PATIENCE_S = 20.0
ATTEMPTS = 5  # to make the tables, which others may be making at this moment

SETTING = "CITYFORGE_TUNING_STORAGE"
POSTGRESQL = "postgresql+pg8000"
PLAIN_POSTGRESQL = ("postgresql", "postgres")
SQLITE_FILE = "sqlite:///"


def storage_url(project: Project, settings: Settings) -> str:
    """The address as SQLAlchemy reads it; `postgresql://` is taken with the driver pg8000.

    Raises:
        InputError: an address of another kind of database.
    """
    stated = settings.tuning_storage
    if not stated:
        project.work.mkdir(exist_ok=True)
        return f"{SQLITE_FILE}{project.work / 'tuning.db'}"
    scheme, _, rest = stated.partition("://")
    if scheme in PLAIN_POSTGRESQL:
        return f"{POSTGRESQL}://{rest}"
    if scheme == POSTGRESQL or (stated.startswith(SQLITE_FILE) and len(stated) > len(SQLITE_FILE)):
        return stated
    raise InputError(
        "postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE", found=f"'{masked(stated)}'",
        where=SETTING, do="leave it empty to use this project's own file",
    )  # fmt: skip


def open_storage(url: str, *, beat_s: int = BEAT_S, grace_s: int = GRACE_S) -> Any:
    """Optuna's storage at this address, its tables made where they are missing.

    Args:
        beat_s: seconds between two signs of life of a trial.
        grace_s: seconds without one after which a trial is run again.

    Raises:
        InputError: an address with a key that is not known.
        ServiceError: the storage does not answer, or is no database of studies.
    """
    import optuna
    from sqlalchemy import event
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    keep_optuna_quiet()
    address, engine = _engine_arguments(url)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with translated(url), _alone(url):
                made = optuna.storages.RDBStorage(
                    address.replace("{", "{{").replace("}", "}}"),  # Optuna fills in its version
                    engine_kwargs=engine,
                    heartbeat_interval=beat_s,
                    grace_period=grace_s,
                    heartbeat_stale_trial_callback=run_again,
                )
                break
        except ServiceError as error:
            raced = isinstance(error.__cause__, IntegrityError | ProgrammingError)
            if not raced or attempt == ATTEMPTS:
                raise
            time.sleep(0.2 * attempt)  # another worker is making the same tables
    if url.startswith(SQLITE_FILE):
        # SQLite has no locks on rows: each transaction has the file to itself from its first
        # word on, or two workers would both take the same trial.
        event.listen(made.engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
    _beat_on(made)
    return made


def run_again(study: Any, trial: Any) -> None:
    """Queue a trial that its worker did not end, less what it noted of that worker."""
    import optuna

    bare = copy.copy(trial)
    bare.user_attrs = {}
    optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)(study, bare)


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """What a database says, as one line without its password."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ssl.SSLError) as error:
        raise _unanswered(url, error) from error


def _unanswered(url: str, error: BaseException) -> ServiceError:
    # Optuna and SQLAlchemy wrap what the driver said.
    said = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
    # Of TLS the first argument is a number only.
    inner = said.args[0] if said.args and not isinstance(said, ssl.SSLError) else said
    found = str(inner.get("M", inner) if isinstance(inner, dict) else inner)
    password = re.search(r"://[^:/@?]*:(.*)@", url)
    if password and password[1]:
        found = found.replace(password[1], "***")
    return ServiceError(
        "a tuning storage that answers", found=found.splitlines()[0], where=masked(url),
        do="start it, or clear CITYFORGE_TUNING_STORAGE to use this project's own file",
    )  # fmt: skip


def keep_optuna_quiet() -> None:
    """No lines of Optuna's own, and no word on what it calls experimental."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def _engine_arguments(url: str) -> tuple[str, dict[str, Any]]:
    """The address for SQLAlchemy, and what its engine is made with."""
    if url.startswith(SQLITE_FILE):
        path = url.removeprefix(SQLITE_FILE).partition("?")[0]
        return url, {"creator": lambda: _open_file(path)}
    # UTC, or the server's time zone would come between a sign of life and its age.
    startup = {"TimeZone": "UTC"}
    address, tls = with_tls(url, SETTING)
    connect = {"timeout": SERVER_PATIENCE_S, "startup_params": startup, **tls}
    return address, {"pool_pre_ping": True, "connect_args": connect}


def _open_file(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=SQLITE_PATIENCE_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode=WAL")
    return connection


@contextlib.contextmanager
def _alone(url: str) -> Iterator[None]:
    """No other process of this machine makes the tables of this file meanwhile."""
    if not url.startswith(SQLITE_FILE):
        yield
        return
    path = Path(url.removeprefix(SQLITE_FILE).partition("?")[0])
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _beat_on(storage: Any) -> None:
    """One sign of life that does not reach the storage is not the last one."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    beat = storage.record_heartbeat

    def record(trial_id: int) -> None:
        with contextlib.suppress(SQLAlchemyError, optuna.exceptions.StorageInternalError):
            beat(trial_id)

    storage.record_heartbeat = record
