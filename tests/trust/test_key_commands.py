"""`cityforge key`, `model audit` and `model hold`, as people use them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from signing_people import tamper

from cityforge.footage.catalogue import catalogue_path
from cityforge.tables import FOOTAGE, write_table

Run = Callable[..., tuple[int, str, str]]
DATASET = "streets"


@pytest.fixture
def root(tmp_path: Path, make_card: Callable[..., object]) -> Path:
    """A project with one dataset and no journal."""
    from ruamel.yaml import YAML

    folder = tmp_path / "city"
    (folder / "datasets" / DATASET).mkdir(parents=True)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_text("algorithms: {}\ndatasets: []\n")
    card = make_card(name=DATASET)
    with (folder / "datasets" / DATASET / "dataset.yaml").open("w", encoding="utf-8") as stream:
        YAML().dump(card.model_dump(mode="json", exclude_unset=True), stream)  # type: ignore[attr-defined]
    return folder


@pytest.fixture
def city(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_here: Callable[..., tuple[int, str, str]],
) -> Run:
    """Run a command as somebody: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("CITYFORGE_KEYS", str(tmp_path / "keys"))

    def run(who: str, *words: str, **environment: str) -> tuple[int, str, str]:
        os.environ.update({"CITYFORGE_USER": who, **environment})
        return run_here("--project", str(root), *words)

    return run


def ok(said: tuple[int, str, str]) -> str:
    assert said[0] == 0, said[2]
    return said[1]


def line(said: tuple[int, str, str]) -> str:
    """The one line of a refusal."""
    assert (said[0], len(said[2].splitlines())) == (1, 1), said
    return said[2]


def test_a_site_from_its_first_key_to_a_revoked_one(city: Run, tmp_path: Path) -> None:
    assert "no key yet" in ok(city("李雷", "key", "list"))
    assert "the first of this site" in ok(city("李雷", "key", "new"))
    assert "trusted to approve" in ok(city("李雷", "key", "new", "ann", "--role", "approve"))
    # Tom makes his own, and an admin trusts it.
    assert "not trusted yet" in ok(city("tom", "key", "new"))
    public = tmp_path / "keys" / "tom.pub.pem"
    trust = ("key", "trust", str(public), "--role", "train")
    assert "not to admin" in line(city("ann", *trust))
    assert "the private key of 'eve', found none" in line(city("eve", *trust))
    assert "tom is trusted to train" in ok(city("李雷", *trust))
    assert "the public half of a key, found the private one" in line(
        city("李雷", "key", "trust", str(tmp_path / "keys" / "tom.pem"), "--role", "train",
             "--name", "tom")
    )  # fmt: skip
    shown = json.loads(ok(city("tom", "key", "show", "--json")))
    assert (shown["roles"], shown["state"]) == (["train"], "trusted")
    assert "revoked" in ok(city("李雷", "key", "revoke", "tom", "--reason", "lost"))
    rows = json.loads(ok(city("李雷", "key", "list", "--json")))
    assert [(row["name"], row["state"]) for row in rows] == [
        ("李雷", "trusted"), ("ann", "trusted"), ("tom", "revoked"),
    ]  # fmt: skip
    assert "revoked by entry 4" in line(
        city("tom", "model", "hold", "add", "--dataset", DATASET, "--reason", "x")
    )


def test_no_key_is_made_for_an_act_that_is_refused(city: Run, tmp_path: Path) -> None:
    ok(city("李雷", "key", "new"))
    ok(city("李雷", "key", "new", "ann", "--role", "approve"))
    assert "an admin's key" in line(city("ann", "key", "new", "tom", "--role", "approve"))
    assert not (tmp_path / "keys" / "tom.pem").exists()
    said = line(city("李雷", "key", "new", "tom", "--role", "approver"))
    assert "did you mean 'approve'?" in said
    assert "the last admin's key" in line(city("李雷", "key", "revoke", "李雷", "--reason", "x"))


def test_who_has_a_key_goes_on_with_it_at_another_site(
    city: Run, root: Path, tmp_path: Path
) -> None:
    ok(city("ann", "key", "new"))
    first = json.loads(ok(city("ann", "key", "show", "--json")))["key_id"]
    url = f"sqlite:///{tmp_path / 'other' / 'journal.db'}"
    assert first in ok(city("ann", "key", "new", CITYFORGE_JOURNAL=url))


def test_audit_lists_and_verifies(city: Run, root: Path) -> None:
    ok(city("ann", "key", "new"))
    ok(city("ann", "model", "hold", "add", "--dataset", DATASET, "--reason", "一案"))
    rows = json.loads(ok(city("ann", "model", "audit", "--json")))
    assert [(row["number"], row["act"], row["by"]) for row in rows] == [
        (1, "key.trust", "ann"), (2, "hold", "ann"),
    ]  # fmt: skip
    assert "一案" in ok(city("ann", "model", "audit", f"dataset:{DATASET}"))
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert json.loads(ok(city("ann", "model", "audit", "--since", tomorrow, "--json"))) == []
    assert "a day such as" in line(city("ann", "model", "audit", "--since", "last week"))
    assert "2 entries, each as it was written" in ok(city("ann", "model", "audit", "--verify"))
    tamper(root / ".cityforge" / "journal.db", ("DELETE FROM entries WHERE number = 2", ()))
    code, _, complaints = city("ann", "model", "audit", "--verify")
    assert (code, complaints) == (1, "entry 2: cut off: it was seen, and is not there\n")
    code, out, _ = city("ann", "model", "audit", "--verify", "--json")
    assert (code, json.loads(out)["faults"][0]["number"]) == (1, 2)


def test_prune_by_command(city: Run) -> None:
    ok(city("ann", "key", "new"))
    assert "0 entries older than 10 years" in ok(city("ann", "model", "audit", "--prune"))
    said = line(city("ann", "model", "audit", "--prune", CITYFORGE_AUDIT_YEARS="0"))
    assert "at least one year" in said


def put_footage(root: Path, ids: list[str]) -> None:
    """Footage whose retention ended yesterday, without a file on disk."""
    now = datetime.now(UTC)
    rows = [
        {
            "footage_id": each, "path": f"footage/{each}.mp4", "name": f"{each}.mp4",
            "camera": "北门", "site": "North gate", "started_at": now - timedelta(days=40),
            "retain_until": now - timedelta(days=1), "added_at": now - timedelta(days=40),
            "lawful_basis": "made here",
        }
        for each in ids
    ]  # fmt: skip
    columns = {
        name: [row.get(name, default(FOOTAGE.field(name))) for row in rows]
        for name in FOOTAGE.names
    }
    folder = root / "datasets" / DATASET
    write_table(pa.table(columns, schema=FOOTAGE), FOOTAGE, catalogue_path(folder))


def default(field: pa.Field) -> object:
    """Something of the column's type."""
    if field.nullable:
        return None
    if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        return 1
    return [] if pa.types.is_list(field.type) else "x"


def test_a_hold_beats_retention(city: Run, root: Path) -> None:
    held, free = "a" * 16, "b" * 16
    put_footage(root, [held, free])
    ok(city("ann", "key", "new"))
    hold = ("model", "hold", "add", "--dataset", DATASET, "--footage", held, "--reason", "一案")
    assert "hold 2 lies on dataset:streets" in ok(city("ann", *hold))
    expire = ("footage", "expire", DATASET, "--yes", "--json")
    states = {row["footage_id"]: row["state"] for row in json.loads(ok(city("ann", *expire)))}
    assert states[free] == "sealed"
    assert states[held].startswith("held since ")
    assert [path.name for path in (root / "datasets" / DATASET / "sealed").iterdir()] == [free]
    ok(city("ann", "model", "hold", "release", "2", "--reason", "over"))
    assert "a hold in force, found '2'" in line(
        city("ann", "model", "hold", "release", "2", "--reason", "over")
    )
    assert json.loads(ok(city("ann", "model", "hold", "list", "--json"))) == []
    (row,) = json.loads(ok(city("ann", *expire)))
    assert (row["footage_id"], row["state"]) == (held, "sealed")


@pytest.mark.parametrize(
    "words",
    [(), ("--algorithm", "a", "--dataset", DATASET), ("--algorithm", "a", "--footage", "f")],
)
def test_a_hold_lies_on_one_thing(city: Run, words: tuple[str, ...]) -> None:
    said = line(city("ann", "model", "hold", "add", "--reason", "x", *words))
    assert "expected --algorithm, or --dataset" in said
