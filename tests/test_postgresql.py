"""TLS to PostgreSQL, for studies and for the journal, by a server that takes no one without it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "training" / "tuning"))

from postgresql_server import Server, running_server, self_signed

from cityforge.errors import CityforgeError, InputError, ServiceError
from cityforge.postgresql import with_tls
from cityforge.training.storage import open_storage
from cityforge.training.study import open_study, standing
from cityforge.trust.store import Store

URL = "postgresql+pg8000://me:s3cret@localhost/db"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """PostgreSQL whose certificate is for localhost, and not for 127.0.0.1."""
    yield from running_server(encrypted=True)


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    stated = server.new_database(f"t{abs(hash(request.node.name)) % 10**10}")
    return stated.replace("postgresql:", "postgresql+pg8000:")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A certificate of somebody else."""
    (tmp_path / "other.crt").write_bytes(self_signed("localhost")[0])
    return tmp_path / "other.crt"


def studies(url: str) -> None:
    inputs = {"tune.objectives": ["score"]}
    assert standing(open_study(open_storage(url), url, "bins", inputs)).finished == 0


def journal(url: str) -> None:
    with Store(url).writing() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM entries").scalar() == 0
    with Store(url).reading() as connection:
        used = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert connection.exec_driver_sql(used).scalar() is True


@pytest.mark.services
@pytest.mark.parametrize("ways", [studies, journal])
def test_what_the_address_asks_for_is_held(
    server: Server, url: str, other: Path, ways: Callable[[str], Any]
) -> None:
    own = server.folder / "server.crt"
    named = url.replace("127.0.0.1", "localhost")
    for good in (
        f"{url}?sslmode=require",
        f"{url}?sslmode=verify-ca&sslrootcert={own}",
        f"{named}?sslmode=verify-full&sslrootcert={own}",
        url,  # the driver takes TLS where the server can
    ):
        ways(good)
    for bad, said in (
        (f"{url}?sslmode=disable", "no encryption"),
        (f"{url}?sslmode=verify-ca&sslrootcert={other}", "CERTIFICATE_VERIFY_FAILED"),
        (f"{url}?sslmode=require&sslrootcert={other}", "CERTIFICATE_VERIFY_FAILED"),
        (f"{named}?sslmode=verify-full", "CERTIFICATE_VERIFY_FAILED"),
        (f"{url}?sslmode=verify-full&sslrootcert={own}", "IP address mismatch"),
    ):
        with pytest.raises(ServiceError) as error:
            ways(bad)
        line = str(error.value)
        assert said in line and "\n" not in line and "s3cret" not in line


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sslmode=prefer", "expected sslmode disable, require, verify-ca, verify-full, found"),
        ("sslrootcert=ca.crt", "found sslrootcert alone"),
        ("sslmode=verify-ca&sslrootcert=nowhere.crt", "found No such file or directory"),
        ("sslmode=verify-ca&sslrootcert={folder}/text", "expected a file of certificates in PEM"),
        ("sslmode=require&sslmode=require", "found 'sslmode' twice"),
        ("connect_timeout=5", "found 'connect_timeout', in CITYFORGE_"),
    ],
)
@pytest.mark.parametrize("ways", [studies, journal])
def test_what_an_address_cannot_say_is_one_line(
    query: str, said: str, ways: Callable[[str], Any], tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(InputError) as error:
        ways(f"{URL}?{query.format(folder=tmp_path)}")
    line = str(error.value)
    assert said in line and "\n" not in line and "s3cret" not in line


def test_an_address_that_cannot_be_read_is_one_line() -> None:
    with pytest.raises(CityforgeError, match="found one that cannot be read, in SETTING") as error:
        with_tls("postgresql+pg8000://me:s3c@et:x/y@host/db", "SETTING")
    assert "s3c" not in str(error.value)


@pytest.mark.parametrize("query", ["", "?application_name=city", "?unix_sock=/run/s&user=me"])
def test_other_addresses_stay_as_they_are(query: str) -> None:
    assert with_tls(f"{URL}{query}", "SETTING") == (f"{URL}{query}", {})
