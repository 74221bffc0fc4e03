"""The journal's table in SQLite or PostgreSQL: one transaction a turn; rows stay as they are."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cityforge.errors import InputError, ServiceError
from cityforge.postgresql import with_tls

WAIT_S = 60  # for another process's turn
SERVER_WAIT_S = 20.0  # for an answer
SETTING = "CITYFORGE_JOURNAL"
SQLITE, POSTGRESQL = "sqlite:///", "postgresql+pg8000"
LOCK = 0x63_69_74_79  # of PostgreSQL's advisory locks, for who makes the table

MAKE = (
    "CREATE TABLE IF NOT EXISTS entries ("
    "number INTEGER PRIMARY KEY, act TEXT NOT NULL, about TEXT NOT NULL, entry TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS entries_about ON entries (about, act)",
    "CREATE INDEX IF NOT EXISTS entries_act ON entries (act)",
)
# What was written stays; `prune` alone lifts the second for the length of its turn.
KEEP_SQLITE = tuple(
    f"CREATE TRIGGER IF NOT EXISTS entries_{act.lower()} BEFORE {act} ON entries "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
    for act in ("UPDATE", "DELETE")
)
KEEP_POSTGRESQL = (
    "CREATE OR REPLACE FUNCTION entries_stay() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$",
    *(
        f"CREATE OR REPLACE TRIGGER entries_{act.lower()} BEFORE {act} ON entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION entries_stay()"
        for act in ("UPDATE", "DELETE", "TRUNCATE")
    ),
)


class Row(NamedTuple):
    """A row as it is stored; `act` and `about` repeat the entry, to be found by."""

    number: int
    act: str
    about: str
    entry: str


def store_url(stated: str) -> str:
    """The address as SQLAlchemy reads it; `postgresql://` is taken with the driver pg8000.

    Raises:
        InputError: an address of another kind of database.
    """
    scheme, _, rest = stated.partition("://")
    if scheme in ("postgresql", "postgres", POSTGRESQL):
        return f"{POSTGRESQL}://{rest}"
    if stated.startswith(SQLITE) and len(stated) > len(SQLITE):
        return stated
    raise InputError(
        "postgresql://USER:PASSWORD@HOST/DATABASE or sqlite:///FILE", found=f"'{masked(stated)}'",
        where=SETTING, do="leave it empty to use this project's own file",
    )  # fmt: skip


def masked(url: str) -> str:
    """An address without its password.

    >>> masked("postgresql://me:p@ss:w@host/studies?password=x&sslmode=off")
    'postgresql://me:***@host/studies?password=***&sslmode=off'
    """
    url = re.sub(r"://([^:/@?]*):.*@", r"://\1:***@", url)
    return re.sub(r"(?i)([?&]pass(?:word|wd)=)[^&]*", r"\1***", url)


class Store:
    """The table at an address; made by the first turn, never by reading."""

    def __init__(self, url: str) -> None:
        self.url = store_url(url)
        self.where = masked(self.url)
        self.path = Path(self.url.removeprefix(SQLITE)) if self.url.startswith(SQLITE) else None
        self._engine: Any = None

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """A connection that alone may write; all that it wrote stands at the end, or nothing.

        Raises:
            ServiceError: the store does not answer or cannot write.
        """
        from sqlalchemy.exc import SQLAlchemyError

        try:
            if self.path:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened().begin() as connection:
                _make(connection)
                if not self.path:
                    connection.exec_driver_sql("LOCK TABLE entries IN EXCLUSIVE MODE")
                yield connection
        except (SQLAlchemyError, ssl.SSLError) as error:
            raise unanswered(error, self.where) from error

    @contextmanager
    def reading(self) -> Iterator[Any | None]:
        """A connection that sees one state; None when nothing was ever written.

        Raises:
            ServiceError: the store does not answer.
        """
        from sqlalchemy import inspect
        from sqlalchemy.exc import SQLAlchemyError

        if self.path and not self.path.exists():
            yield None
            return
        try:
            with self._opened().connect().execution_options(reads=True) as connection:
                yield connection if inspect(connection).has_table("entries") else None
        except (SQLAlchemyError, ssl.SSLError) as error:
            raise unanswered(error, self.where) from error

    def _opened(self) -> Any:
        from sqlalchemy import create_engine, event
        from sqlalchemy.pool import NullPool

        if self._engine is None:
            wait = {"timeout": WAIT_S if self.path else SERVER_WAIT_S}
            url, tls = (self.url, {}) if self.path else with_tls(self.url, SETTING)
            engine = create_engine(url, poolclass=NullPool, connect_args={**wait, **tls})
            if self.path:
                event.listen(engine, "connect", _safe)
                event.listen(engine, "begin", _begin)
            self._engine = engine
        return self._engine


def rows(connection: Any, about: str = "", acts: Sequence[str] = ()) -> list[Row]:
    """Rows in order: all, those about one thing, or those of some acts."""
    from sqlalchemy import bindparam, text

    asked: dict[str, Any] = {"about": about} if about else {}
    asked |= {"acts": list(acts)} if acts else {}
    wheres = ["about = :about"] * bool(about) + ["act IN :acts"] * bool(acts)
    clause = f"WHERE {' AND '.join(wheres)}" if wheres else ""
    query = text(f"SELECT number, act, about, entry FROM entries {clause} ORDER BY number")
    if acts:
        query = query.bindparams(bindparam("acts", expanding=True))
    return [Row(*each) for each in connection.execute(query, asked)]


def newest(connection: Any, count: int) -> list[Row]:
    """The last rows, the newest first."""
    from sqlalchemy import text

    query = text("SELECT number, act, about, entry FROM entries ORDER BY number DESC LIMIT :count")
    return [Row(*each) for each in connection.execute(query, {"count": count})]


def row_at(connection: Any, number: int) -> Row | None:
    """The row with a number."""
    from sqlalchemy import text

    query = text("SELECT number, act, about, entry FROM entries WHERE number = :number")
    found = connection.execute(query, {"number": number}).first()
    return Row(*found) if found else None


def insert(connection: Any, row: Row) -> None:
    """Add a row."""
    from sqlalchemy import text

    query = text("INSERT INTO entries (number, act, about, entry) "
                 "VALUES (:number, :act, :about, :entry)")  # fmt: skip
    connection.execute(query, row._asdict())


def remove(connection: Any, numbers: Sequence[int]) -> None:
    """Remove rows: what forbids it is lifted for this transaction, which nobody else sees."""
    from sqlalchemy import text

    lite = connection.dialect.name == "sqlite"
    connection.execute(text(f"DROP TRIGGER entries_delete{'' if lite else ' ON entries'}"))
    connection.execute(
        text("DELETE FROM entries WHERE number = :number"), [{"number": n} for n in numbers]
    )
    _make(connection)


def _make(connection: Any) -> None:
    """Make the table where it is missing, and what keeps its rows as they are."""
    from sqlalchemy import text

    server = connection.dialect.name == "postgresql"
    if server:
        # Two that make one table at a time disturb each other; this lock needs no table.
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    query = (
        "SELECT count(*) FROM pg_trigger "
        "WHERE tgrelid = to_regclass('entries') AND NOT tgisinternal"
        if server
        else "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'entries'"
    )
    keep = KEEP_POSTGRESQL if server else KEEP_SQLITE
    if connection.execute(text(query)).scalar() < (3 if server else 2):
        for statement in (*MAKE, *keep):
            connection.exec_driver_sql(statement)


def _safe(connection: Any, _: Any) -> None:
    # sqlite3 begins late and only to write; here a turn begins before it reads.
    connection.isolation_level = None
    # A damaged row is still read, and found out by whoever checks it.
    connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    connection.execute("PRAGMA synchronous=FULL")


def _begin(connection: Any) -> None:
    reads = connection.get_execution_options().get("reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def unanswered(error: Exception, where: str) -> ServiceError:
    """What a store that does not answer, or cannot write, says."""
    cause = str(getattr(error, "orig", None) or error).splitlines()[0]
    damaged = "malformed" in cause or "not a database" in cause  # SQLITE_CORRUPT, SQLITE_NOTADB
    do = (
        "nothing was changed: put back a copy of the file, and hold it with model audit --verify"
        if damaged
        else "nothing was changed: run it again when the store answers"
    )
    return ServiceError("the journal", found=cause, where=where, do=do)
