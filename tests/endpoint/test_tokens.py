"""Tokens: made once, kept as hashes, followed while an endpoint runs; the commands for them."""

from __future__ import annotations

import json
import logging
import os
import string
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cityforge.endpoint.token_file import (
    PLACE,
    hash_of,
    is_well_formed,
    new_secret,
    new_token,
    read_tokens,
    revoke_token,
)
from cityforge.endpoint.tokens import LOOK_EVERY_S, Tokens
from cityforge.errors import InputError, NameUnknown

SIGNS = string.ascii_letters + string.digits + "-_"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "tokens.json"


def make(path: Path, name: str = "gate", **changes: Any) -> str:
    asked: dict[str, Any] = {"scopes": ["predict"], "rate": 20.0, "burst": 40, "days": 1}
    scopes = (asked | changes).pop("scopes")
    rest = {name: value for name, value in (asked | changes).items() if name != "scopes"}
    return new_token(path, name, scopes, **rest)[1]


def stored(**changes: object) -> dict[str, object]:
    """A token as the file holds it."""
    now = datetime.now(UTC)
    return {
        "name": "gate", "scopes": ["predict"], "rate": 20.0, "burst": 40,
        "created": now.isoformat(), "expires": (now + timedelta(days=1)).isoformat(),
        "sha256": "ab" * 32, **changes,
    }  # fmt: skip


def put(path: Path, *tokens: dict[str, object], mode: int = 0o600) -> None:
    """Write a file as `cityforge key token` does: beside, then renamed."""
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name("beside")
    beside.write_text(json.dumps({"tokens": tokens}))
    beside.chmod(mode)
    beside.replace(path)


def test_a_token_says_who_calls_and_what_they_may(path: Path) -> None:
    secret = make(path, "北门", scopes=["feedback", "predict"], rate=2.5, burst=3)
    found = Tokens(path).caller(secret)
    assert found is not None
    assert (found.name, set(found.scopes)) == ("北门", {"predict", "feedback"})
    assert (found.rate, found.burst) == (2.5, 3)
    assert found.expires == pytest.approx(time.time() + 86400, abs=5)
    assert Tokens(path).caller(new_secret()) is None
    assert Tokens(None).caller(secret) is None


def test_the_file_is_its_owners_and_holds_no_secret(path: Path) -> None:
    secret = make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_text()
    assert secret not in content
    assert secret[3:46] not in content
    assert hash_of(secret) in content
    assert sorted(each.name for each in path.parent.iterdir()) == [
        ".tokens.json.lock", "tokens.json",
    ]  # fmt: skip


def test_every_slip_of_one_sign_is_told() -> None:
    secret, tried = new_secret(), 0
    assert is_well_formed(secret)
    for place, right in enumerate(secret):
        wrong = [each for each in SIGNS if each != right]
        for each in wrong[:: 7 if place else 1]:
            assert not is_well_formed(secret[:place] + each + secret[place + 1 :])
            tried += 1
        assert not is_well_formed(secret[:place] + secret[place + 1 :])
    assert tried > 400
    assert not is_well_formed(secret + "\n")
    assert not is_well_formed("")


def test_secrets_differ_and_are_long_enough_to_be_kept_by_a_plain_hash() -> None:
    made = {new_secret() for _ in range(200)}
    assert len(made) == 200
    assert {len(each) for each in made} == {3 + 43 + 6}


def test_an_expired_token_stops_within_a_second(path: Path) -> None:
    secret, end = new_secret(), datetime.now(UTC) + timedelta(seconds=0.3)
    put(path, stored(expires=end.isoformat(), sha256=hash_of(secret)))
    tokens = Tokens(path)
    assert tokens.caller(secret) is not None
    time.sleep(0.31)  # past its end
    assert tokens.caller(secret) is None


@pytest.mark.alone
def test_a_revoked_token_stops_within_a_second_and_a_new_one_works(path: Path) -> None:
    first, second = make(path, "gate"), make(path, "harbour")
    tokens = Tokens(path)
    assert tokens.caller(first) is not None
    revoke_token(path, "gate")
    third, begun = make(path, "depot"), time.monotonic()
    while tokens.caller(first) is not None:
        assert time.monotonic() - begun < 3
        time.sleep(0.02)  # between two looks at the file
    assert [tokens.caller(each) is not None for each in (second, third)] == [True, True]


def test_the_file_is_looked_at_twice_a_second_at_most(path: Path) -> None:
    class Counted(Tokens):
        looks = 0

        def look(self) -> None:
            self.looks += 1
            super().look()

    secret, tokens, begun = make(path), Counted(path), time.monotonic()
    for _ in range(2000):
        assert tokens.caller(secret) is not None
    assert tokens.looks <= 1 + (time.monotonic() - begun) / LOOK_EVERY_S


def test_a_file_that_comes_later_is_followed_and_one_that_goes_lets_nobody_call(
    path: Path,
) -> None:
    tokens = Tokens(path)
    tokens.look()
    secret = make(path)
    tokens.look()
    assert tokens.caller(secret) is not None
    path.unlink()
    tokens.look()
    assert (tokens.caller(secret), tokens.complaint) == (None, "")


GOOD = json.dumps({"tokens": [stored()]})
DAMAGED = {
    "cut": GOOD[:-9],
    "no JSON": "<html>",
    "bytes": "\x00\xff",
    "a list": "[]",
    "nested": "[" * 250_000,
    "another key": json.dumps({"tokens": [], "open": True}),
    "no hash": json.dumps({"tokens": [stored(sha256="")]}),
    "a hash in capitals": json.dumps({"tokens": [stored(sha256="AB" * 32)]}),
    "another scope": json.dumps({"tokens": [stored(scopes=["root"])]}),
    "no scope": json.dumps({"tokens": [stored(scopes=[])]}),
    "no rate": json.dumps({"tokens": [stored(rate=float("nan"))]}),
    "a rate of nothing": json.dumps({"tokens": [stored(rate=0)]}),
    "no burst": json.dumps({"tokens": [stored(burst=0)]}),
    "a time nowhere": json.dumps({"tokens": [stored(expires="2030-01-01T00:00:00")]}),
    "two of one name": json.dumps({"tokens": [stored(), stored(sha256="cd" * 32)]}),
    "too large": GOOD + " " * (5 << 20),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_keeps_those_known_before_and_says_so(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = make(path)
    tokens, good = Tokens(path), path.read_text()
    tokens.look()
    path.write_text(DAMAGED[damage])
    with caplog.at_level(logging.ERROR):
        tokens.look()
        tokens.look()
    assert tokens.caller(secret) is not None
    assert tokens.complaint.startswith("expected ")
    assert str(path) in tokens.complaint
    assert len(tokens.complaint) < 400
    assert [each.message.count(tokens.complaint) for each in caplog.records] == [1]
    path.write_text(good)
    revoke_token(path, "gate")
    tokens.look()
    assert (tokens.caller(secret), tokens.complaint) == (None, "")


def test_a_file_that_others_may_write_is_not_followed(path: Path) -> None:
    mine, theirs = make(path), new_secret()
    tokens = Tokens(path)
    tokens.look()
    put(path, stored(sha256=hash_of(theirs)), mode=0o662)
    tokens.look()
    assert tokens.caller(theirs) is None
    assert tokens.caller(mine) is not None
    assert "chmod 600" in tokens.complaint


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_something_that_is_no_file_is_not_waited_for(path: Path, what: str) -> None:
    path.parent.mkdir()
    path.mkdir() if what == "folder" else os.mkfifo(path, 0o600)
    tokens = Tokens(path)
    tokens.look()
    assert tokens.complaint
    assert tokens.caller(new_secret()) is None


def test_writers_at_the_same_time_lose_nothing(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(lambda number: make(path, f"caller {number}"), range(24)))
    tokens = Tokens(path)
    found = [tokens.caller(each) for each in secrets]
    assert [each.name for each in found if each] == [f"caller {each}" for each in range(24)]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""}, {"name": "a\nb"}, {"name": " gate"}, {"name": "x" * 65},
        {"rate": 0.0}, {"rate": float("inf")}, {"burst": 0}, {"scopes": []},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_token_can_be_is_refused_in_one_line(path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"expected a token's {next(iter(changes))}") as caught:
        make(path, **{"name": "gate", **changes})
    assert len(str(caught.value).splitlines()) == 1
    assert not path.exists()


def test_a_misspelt_scope_or_name_gets_a_suggestion(path: Path) -> None:
    make(path, "harbour")
    with pytest.raises(NameUnknown, match="did you mean 'predict'"):
        make(path, scopes=["predct"])
    with pytest.raises(NameUnknown, match="did you mean 'harbour'"):
        revoke_token(path, "harbor")
    with pytest.raises(InputError, match="cityforge key token revoke 'harbour'"):
        make(path, "harbour")
    assert [each.name for each in read_tokens(path)] == ["harbour"]


@pytest.fixture
def city(tmp_path: Path, run_here: Run) -> Run:
    """Run a command of `key token` in a project."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text("algorithms: {}\ndatasets: []\n")
    return lambda *words: run_here("--project", str(tmp_path), "key", "token", *words)


def test_the_commands_make_list_and_take_back(city: Run, tmp_path: Path) -> None:
    path = tmp_path / ".cityforge" / PLACE
    assert "no token yet" in city("list")[1]
    code, secret, said = city("new", "north gate", "--scope", "predict", "--days", "2")
    assert (code, is_well_formed(secret.strip())) == (0, True)
    assert "it is not shown again" in said
    assert secret.strip() not in said
    made = json.loads(city("new", "city", "--scope", "admin", "--rate", "5", "--json")[1])
    assert (made["name"], made["scopes"], made["rate"]) == ("city", ["admin"], 5)
    assert Tokens(path).caller(made["token"]) is not None
    shown = city("list", "--json")[1]
    assert [each["name"] for each in json.loads(shown)] == ["north gate", "city"]
    assert made["token"] not in shown
    assert "token" not in json.loads(shown)[0]
    assert "north gate" in city("revoke", "north gate")[1]
    assert Tokens(path).caller(secret.strip()) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("new", "gate"), "name one: --scope, of predict, feedback, admin"),
        (("new", "gate", "--scope", "predict", "--rate", "nan"), "expected a token's rate"),
        (("revoke", "gate"), "there is none yet"),
    ],
)
def test_the_commands_refuse_in_one_line(city: Run, words: tuple[str, ...], said: str) -> None:
    code, _, complaint = city(*words)
    assert (code, len(complaint.splitlines())) == (1, 1), complaint
    assert said in complaint
