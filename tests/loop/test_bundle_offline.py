"""A bundle of a trained model, verified and run in an empty folder with the network off."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from offline import PORT
from scratch import cityforge

from cityforge.endpoint.conformance import difference

pytestmark = [pytest.mark.slow, pytest.mark.services]

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
BUILDER = "王芳"


def without_network() -> list[str]:
    """The command that takes the network away; else the test is skipped."""
    for words in (["unshare", "-n"], ["unshare", "-rn"]):
        try:
            if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
                return words
        except FileNotFoundError:
            break
    pytest.skip("nobody may take the network away here (unshare -n)")


def refuse_no_registry(folder: Path) -> None:
    """Skip where no wheel can be fetched; in CI that is a failure."""
    words = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "idna"]
    done = subprocess.run([*words, "--dest", str(folder / "probe")], capture_output=True, text=True)
    if done.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"no package registry: {done.stderr.strip().splitlines()[-1]}")


def built(loop: Path, out: Path, *words: str) -> dict[str, Any]:
    command = ["bundle", "build", "bins", "--out", str(out), "--by", BUILDER, "--json", *words]
    done = cityforge(loop, *command)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def elsewhere(folder: Path) -> dict[str, str]:
    """An environment that knows nothing of this checkout, its keys or its caches."""
    home = folder / "home"
    home.mkdir()
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "OMP_NUM_THREADS": "1"}


def run_offline(folder: Path, site: Path, command: list[str]) -> dict[str, Any]:
    words = [*without_network(), sys.executable, str(HERE / "offline.py"), str(site), "--"]
    done = subprocess.run(
        [*words, *command], cwd=folder, env=elsewhere(folder), capture_output=True, text=True,
        timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refuse_other_answers(found: dict[str, Any], pictures: int) -> None:
    """Each picture over HTTP got the answer that was given where the bundle was built."""
    expected = found["expected"]
    assert (found["stranger"], len(found["answers"])) == (401, pictures)
    for each, answer in zip(expected["pictures"], found["answers"], strict=True):
        (picture,) = answer["pictures"]
        assert difference(each["answer"], picture, expected["threshold"]) == ""


def refuse_lost_books(found: dict[str, Any], site: Path, feedback: Path, pictures: int) -> None:
    """What was answered and said is there after a second start, which knew the ids of the first."""
    assert found["thanks"] == [200, 200]
    state = site / "state"
    logged = "".join(each.read_text() for each in (state / "answers").glob("*.jsonl"))
    ids = [each["request_id"] for each in found["answers"]]
    assert [each for each in ids if each not in logged] == []
    assert len(ids) == pictures
    assert (state / "request_ids.key").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(feedback / "feedback.sqlite")) as kept:
        said = kept.execute("SELECT request_id FROM feedback ORDER BY at").fetchall()
    assert said == [(ids[0],), (ids[-1],)]


def test_a_bundle_runs_without_a_network_where_cityforge_is(loop: Path, tmp_path: Path) -> None:
    made = built(loop, tmp_path / "bins.cityforge.tar", "--no-wheels", "--pictures", "5")
    assert (made["pictures"], made["why_drawn"]) == (5, "")
    site = tmp_path / "site"
    file, key = made["path"], made["key"]
    command = [str(BIN / "cityforge"), "bundle", "run", file, "--folder", str(site)]
    command = ["env", "CITYFORGE_FEEDBACK=said", *command]  # below the folder it is started in
    found = run_offline(tmp_path, site, [*command, "--port", str(PORT), "--key", key])
    refuse_other_answers(found, 5)
    refuse_lost_books(found, site, tmp_path / "said", 5)
    assert all(each["frame_id"] for each in found["expected"]["pictures"])


def test_a_bundle_runs_on_a_bare_machine(loop: Path, tmp_path: Path) -> None:
    refuse_no_registry(tmp_path)
    made = built(loop, tmp_path / "bins.cityforge.tar", "--pictures", "2")
    words = ["tar", "xf", made["path"], "bundle_start.py"]
    subprocess.run(words, cwd=tmp_path, check=True)
    python = shutil.which(os.path.realpath(sys.executable))
    assert python is not None
    site = tmp_path / "site"
    command = [python, "bundle_start.py", "run", made["path"], "--folder", str(site)]
    more = ["--sha256", made["sha256"], "--port", str(PORT), "--key", made["key"]]
    found = run_offline(tmp_path, site, [*command, *more])
    refuse_other_answers(found, 2)
    refuse_lost_books(found, site, site / "state" / "feedback", 2)
    inside = subprocess.run(
        [site / "venv/bin/python", "-I", "-c", "import cityforge; print(cityforge.__file__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert inside.stdout.startswith(str(site / "venv"))
