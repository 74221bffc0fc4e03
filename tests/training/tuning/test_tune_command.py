"""`cityforge tune`: a search is shown while it is under way, and joined by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from streets import NAME, SEARCH, Streets

from cityforge.cards.params import AlgorithmParams
from cityforge.cards.yaml_files import check
from cityforge.errors import InputError
from cityforge.training.storage import open_storage, storage_url
from cityforge.training.study import inputs_of, open_study, studies_of
from cityforge.training.tune import join


def cityforge(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CITYFORGE_")}
    return subprocess.run(
        [str(Path(sys.executable).parent / "cityforge"), *words],
        cwd=root, env={**kept, **environment}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def begin(streets: Streets) -> None:
    """The study as the stage begins it, without a trial."""
    url = storage_url(streets.project, streets.settings)
    inputs = inputs_of(
        streets.project, streets.settings, streets.card, streets.params, streets.data.digest
    )
    open_study(open_storage(url), url, NAME, inputs)


@pytest.fixture
def root(streets: Streets) -> Path:
    return streets.project.root


@pytest.mark.slow
def test_a_search_is_joined_by_hand_and_shown(root: Path, streets: Streets) -> None:
    said = cityforge(root, "tune", "show", NAME)
    assert (said.returncode, said.stderr) == (0, "")
    assert "no trial yet: cityforge run bins --stage tune" in said.stdout
    said = cityforge(root, "tune", "work", NAME)
    assert said.returncode == 1 and "begin it: cityforge run bins --stage tune" in said.stderr
    begin(streets)
    said = cityforge(root, "tune", "work", NAME)
    assert said.returncode == 0, said.stderr
    assert "2 of 2 done" in said.stdout and "2 trials done" in said.stdout
    under_way = json.loads(cityforge(root, "tune", "show", NAME, "--json").stdout)
    assert under_way["picked"] == {} and "nothing is picked yet" in under_way["why"]
    assert [each["state"] for each in under_way["trials"]] == ["complete"] * 2
    # The stage finds the trials that were made by hand, and picks.
    streets.tune(trials=2)
    found = json.loads(cityforge(root, "tune", "show", NAME, "--json").stdout)
    assert found["study"] == under_way["study"]
    assert set(found["picked"]) == set(SEARCH)
    shown = cityforge(root, "tune", "show", NAME).stdout
    assert f"picked {found['why']}" in shown
    assert f"algorithms/{NAME}/build/tune/front.png" in shown


@pytest.mark.parametrize(
    ("words", "change", "expected"),
    [
        (["tune", "work", "bin"], {}, "did you mean 'bins'?"),
        (["tune", "work", NAME], {"tune": {"trials": 0}}, "expected trials to work on"),
        (["tune", "show", NAME], {}, "found 'mysql://a:***@b/c', in CITYFORGE_TUNING_STORAGE"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    root: Path, words: list[str], change: dict[str, dict[str, int]], expected: str
) -> None:
    path = root / "algorithms" / NAME / "params.yaml"
    content = json.loads(path.read_text())
    for section, values in change.items():
        content[section] |= values
    path.write_text(json.dumps(content))
    said = cityforge(root, *words, CITYFORGE_TUNING_STORAGE="mysql://a:secret@b/c")
    assert said.returncode == 1
    assert expected in said.stderr and len(said.stderr.splitlines()) == 1
    assert "secret" not in said.stderr


@pytest.mark.parametrize(
    ("section", "change", "said"),
    [
        ("train", {"batch": 4}, "with other train.batch, in sqlite:///"),
        ("tune", {"seed": 6}, "with other tune.seed, in sqlite:///"),
        ("tune", {"objectives": ["score", "latency"]}, "device, in sqlite:///"),
    ],
)
def test_who_joins_with_other_parameters_begins_no_second_study(
    streets: Streets, section: str, change: dict[str, Any], said: str
) -> None:
    begin(streets)
    values = streets.params.model_dump(mode="json")
    values[section] |= change
    params = check(AlgorithmParams, values, Path("params.yaml"))
    spoken: list[str] = []
    with pytest.raises(InputError) as error:
        join(streets.project, streets.settings, streets.card, params, streets.data, spoken.append)
    line = str(error.value)
    assert said in line and "begin another: cityforge run bins --stage tune" in line
    assert ("all machines are of one kind" in line) == ("device" in said)
    url = storage_url(streets.project, streets.settings)
    (only,) = studies_of(open_storage(url), NAME)
    assert (only.get_trials(), spoken) == ([], [])
