"""`cityforge model verify`: the evidence is made again, here and in another clone."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from scratch import cityforge, dvc, git

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(loop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Another clone, its data from the first one's cache; registry and journal are shared."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(loop, folder / "first", symlinks=True)
    git(folder / "first", "add", "--all")
    git(folder / "first", "commit", "--quiet", "--message", "run")
    other = folder / "other"
    subprocess.run(["git", "clone", "--quiet", str(folder / "first"), str(other)], check=True)
    (other / ".dvc" / "config.local").write_text(
        f"[cache]\n    dir = {loop / '.dvc' / 'cache'}\n", encoding="utf-8"
    )
    dvc(other, "checkout")
    shared = {
        "CITYFORGE_TRACKING_URI": f"sqlite:///{loop / '.cityforge' / 'mlflow.db'}",
        "CITYFORGE_JOURNAL": f"sqlite:///{loop / '.cityforge' / 'journal.db'}",
    }
    return other, shared


def test_another_clone_makes_equal_evidence(clone: tuple[Path, dict[str, str]]) -> None:
    root, shared = clone
    assert not (root / ".cityforge" / "mlflow.db").exists()
    done = cityforge(root, "model", "verify", "bins", "--json", **shared)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["version"], found["same"], found["differences"]) == (1, True, [])
    assert found["recorded"] == found["again"]
    shown = json.loads(cityforge(root, "model", "show", "bins", "--json", **shared).stdout)
    assert found["recorded"] == shown["evidence_digest"]


def test_other_parameters_make_other_evidence_and_it_is_said_where(
    clone: tuple[Path, dict[str, str]],
) -> None:
    root, shared = clone
    params = root / "algorithms" / "bins" / "params.yaml"
    text = params.read_text(encoding="utf-8")
    line = next(each for each in text.splitlines() if each.strip().startswith("resamples:"))
    params.write_text(text.replace(line, line.split(":")[0] + ": 7"), encoding="utf-8")
    done = cityforge(root, "model", "verify", "bins", **shared)
    params.write_text(text, encoding="utf-8")
    assert done.returncode == 1
    assert "the evidence differs" in done.stderr
    assert "intervals.map50" in done.stderr
    assert "parameters here are not those of version 1: check out commit" in done.stderr


def test_another_snapshot_is_one_line(clone: tuple[Path, dict[str, str]]) -> None:
    root, shared = clone
    path = root / "algorithms" / "bins" / "build" / "split" / "snapshot.json"
    text = path.read_text(encoding="utf-8")
    digest = json.loads(text)["digest"]
    path.unlink()  # a link into the cache, maybe
    path.write_text(text.replace(digest, "0" * 64), encoding="utf-8")
    done = cityforge(root, "model", "verify", "bins", **shared)
    path.write_text(text, encoding="utf-8")
    assert done.returncode == 1
    (said,) = done.stderr.strip().splitlines()
    assert f"expected the snapshot {digest[:12]} that the evidence rests on" in said
    assert "dvc pull (or dvc checkout)" in said
