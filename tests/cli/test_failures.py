"""A foreseen failure is one line on stderr and exit code 1."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
NAME = "demo_crossing"
DATASET_NEW = ["dataset", "new", "yard", "--class", "a", "--camera", "b"]
ALGORITHM_NEW = ["algorithm", "new", "yard", "--dataset", NAME, "--space", "road_traffic"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset", "show", "demo_crosing"], f"did you mean '{NAME}'?"),
        (["algorithm", "show", "demo_cross"], f"did you mean '{NAME}'?"),
        (["footage", "list", "demo_crosing"], f"did you mean '{NAME}'?"),
        (["run", "demo_crosing"], f"did you mean '{NAME}'?"),
        (["run", NAME, "--stage", "trian"], "did you mean 'train'?"),
        (["run", NAME, "--set", "train.epoch=3"], "did you mean 'train.epochs'?"),
        (["run", NAME, "--set", "train.epochs=x"], "found 'x'"),
        (["run", NAME], f"cityforge footage add {NAME} PATH"),
        (["footage", "add", NAME, "nowhere.mp4"], "in nowhere.mp4"),
        (["footage", "add", NAME, "dvc.yaml", "--table", "nope.csv"], "nope.csv"),
        (["footage", "add", NAME, "pipelines", "--started-at", "soon"], "'soon'"),
        (["label", "import", NAME, "nope.json"], "nope.json"),
        (["label", "export", NAME, "out", "--format", "ylo"], "did you mean 'yolo'?"),
        (["label", "export", NAME, "out"], "label import"),
        (["dataset", "check", NAME], "frames.parquet"),
        (["dataset", "new", "Yard!", "--class", "a", "--camera", "b"], "small letters"),
        (["dataset", "new", "yard", "--class", "", "--camera", "b"], "a text of at least 1"),
        ([*ALGORITHM_NEW, "--task", "clasification"], "did you mean 'classification'?"),
        ([*ALGORITHM_NEW, "--several-labels"], "found --task detection: leave it out"),
        (["--project", "/", "dataset", "list"], "--project"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_failure_is_one_line(cityforge: Run, words: list[str], said: str) -> None:
    assert said in cityforge(*words).one_line()


def test_verbose_shows_where_it_came_from(cityforge: Run) -> None:
    said = cityforge("--verbose", "dataset", "show", "nope")
    assert said.code == 1
    assert "Traceback" in said.err


def test_every_fault_of_a_card_is_a_line(cityforge: Run, root: Path) -> None:
    path = root / "datasets" / NAME / "dataset.yaml"
    text = path.read_text(encoding="utf-8")
    text = text.replace("grade: public", "grade: secret").replace("policy:", "polcy:")
    path.write_text(text, encoding="utf-8")
    said = cityforge("dataset", "show", NAME)
    assert said.code == 1
    lines = said.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("expected ") and str(path) in line for line in lines)


def test_bad_variable_is_one_line(cityforge: Run) -> None:
    assert "CITYFORGE_OFFLINE" in cityforge("dataset", "list", CITYFORGE_OFFLINE="maybe").one_line()


def test_file_of_settings_is_read_from_a_folder_below(cityforge: Run, root: Path) -> None:
    (root / ".env").write_text("CITYFORGE_WORKERS=many\n", encoding="utf-8")
    line = cityforge("--project", str(root / "pipelines"), "dataset", "list").one_line()
    assert "found 'many', in CITYFORGE_WORKERS" in line


@pytest.mark.parametrize(
    ("device", "said"),
    [("/dev/full", "expected free disk"), ("/proc/sys/kernel/ostype", "expected the right to use")],
)
def test_failing_disk_is_one_line(cityforge: Run, root: Path, device: str, said: str) -> None:
    before = (root / "params.yaml").read_bytes()
    (root / ".params.yaml.new").symlink_to(device)
    assert said in cityforge(*ALGORITHM_NEW).one_line()
    assert (root / "params.yaml").read_bytes() == before


def test_folder_that_is_a_file_is_one_line(cityforge: Run, root: Path) -> None:
    for path in sorted((root / "datasets").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (root / "datasets").rmdir()
    (root / "datasets").touch()
    assert "datasets" in cityforge(*DATASET_NEW).one_line()


def test_refused_setting_leaves_the_parameters(cityforge: Run, root: Path) -> None:
    path = root / "algorithms" / NAME / "params.yaml"
    before = path.read_bytes()
    cityforge("run", NAME, "--set", "train.epochs=0").one_line()
    assert path.read_bytes() == before


def test_of_two_settings_one_refused_leaves_both(cityforge: Run, root: Path) -> None:
    path = root / "algorithms" / NAME / "params.yaml"
    before = path.read_bytes()
    line = cityforge("run", NAME, "--set", "train.epochs=9", "--set", "train.epoch=9").one_line()
    assert "train.epochs" in line
    assert path.read_bytes() == before


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


def test_used_port_is_one_line(registered: Run, used_port: int) -> None:
    line = registered("serve", NAME, "--port", str(used_port)).one_line()
    assert f"expected port {used_port} of 127.0.0.1 free" in line
    assert "--port" in line


def test_server_that_does_not_answer_is_one_line(cityforge: Run) -> None:
    away = {"CITYFORGE_TRACKING_URI": "http://127.0.0.1:1"}
    assert "in http://127.0.0.1:1: start it" in cityforge("model", "adopt", NAME, **away).one_line()
    assert cityforge("model", "list", **away).code == 0  # the journal alone is read


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model", "list", "demo_crosing"], f"did you mean '{NAME}'?"),
        (["model", "show", NAME, "7"], "found '7'"),
        (["model", "compare", NAME, "1"], "name a second version"),
        (["model", "rollback", NAME], "expected a champion"),
        (["bento", "build", NAME], f"cityforge model approve {NAME} 1"),
        (["serve", NAME, "--port", "65000", "--open"], f"cityforge model approve {NAME} 1"),
        (["predict", NAME, "nowhere.jpg"], "nowhere.jpg"),
        (["predict", NAME, "dvc.yaml"], "dvc.yaml"),
        (["predict", NAME, "empty"], "empty"),
        (["predict", NAME, "dvc.yaml", "--version", "9"], "found '9'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_failure_with_a_version_is_one_line(
    registered: Run, served_root: Path, words: list[str], said: str
) -> None:
    (served_root / "empty").mkdir(exist_ok=True)
    assert said in registered(*words).one_line()
