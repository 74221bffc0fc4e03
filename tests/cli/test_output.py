"""What commands print: JSON for programs, names in any language, doctor's findings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
NAME = "demo_crossing"
COLOUR = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["algorithm", "list"], {"name", "title", "space", "active"}),
        (["algorithm", "show", NAME], {"card", "params", "last_run"}),
        (["dataset", "list"], {"name", "classes", "footage"}),
        (["dataset", "show", NAME], {"name", "boxes", "classes", "snapshot"}),
        (["footage", "list", NAME], set()),
        (["model", "list"], {"algorithm", "version", "aliases", "gates"}),
        (["model", "show", NAME], {"version", "approval", "map50"}),
        (["predict", NAME, "scene.jpg"], {"algorithm", "version", "digest", "answers"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_json_is_json_without_colour(
    registered: Run,
    served_root: Path,
    make_picture: Callable[..., Path],
    words: list[str],
    keys: set[str],
) -> None:
    make_picture(served_root / "scene.jpg")
    said = registered(*words, "--json", **COLOUR)
    assert (said.code, said.err) == (0, "")
    assert "\x1b" not in said.out
    found = json.loads(said.out)
    first = found[0] if isinstance(found, list) and found else found
    assert keys <= set(first)


def test_predict_answers_with_the_class_and_its_box(
    registered: Run, served_root: Path, make_picture: Callable[..., Path]
) -> None:
    make_picture(served_root / "照片" / "路口 1.jpg")
    out = json.loads(registered("predict", NAME, "照片", "--json", "--draw", "out").out)
    (answer,) = out["answers"]
    assert answer["image"] == "路口 1.jpg"
    assert answer["boxes"] == [
        {"class": "汽车", "score": 0.9, "x1": 8.0, "y1": 6.0, "x2": 40.0, "y2": 30.0}
    ]
    assert (served_root / "out" / "路口 1.jpg").stat().st_size > 500


def test_new_dataset_and_algorithm_show_up_with_chinese_names(cityforge: Run) -> None:
    words = ["dataset", "new", "yard", "--class", "行人", "--camera", "东门", "--title", "院子"]
    made = cityforge(*words)
    assert (made.code, made.out.splitlines()[-1]) == (0, "cityforge footage add yard PATH")
    made = cityforge(
        *("algorithm", "new", "yard_people", "--dataset", "yard"),
        *("--space", "living_and_crowds", "--title", "院内行人"),
        CITYFORGE_USER="李雷",
    )
    assert (made.code, made.out.splitlines()[-1]) == (0, "cityforge run yard_people")
    listed = cityforge("dataset", "list").out
    assert "院子" in listed
    assert "行人" in listed
    listed = cityforge("algorithm", "list", "--json").out
    assert "院内行人" in listed
    rows = {each["name"]: each for each in json.loads(listed)}
    assert rows["yard_people"]["title"] == "院内行人"
    assert (rows["yard_people"]["active"], rows[NAME]["active"]) == ("yes", "no")
    shown = json.loads(cityforge("algorithm", "show", "yard_people", "--json").out)
    assert (shown["card"]["owner"], shown["last_run"]) == ("李雷", None)


def test_setting_a_parameter_says_before_and_after(cityforge: Run, root: Path) -> None:
    said = cityforge("run", NAME, "--set", "train.epochs=3")
    assert said.out == "train.epochs: 2 → 3\n"
    assert "  epochs: 3\n" in (root / "algorithms" / NAME / "params.yaml").read_text("utf-8")


def test_empty_lists_say_what_to_do(cityforge: Run) -> None:
    said = cityforge("footage", "list", NAME)
    assert said.out.strip() == f"no footage yet: cityforge footage add {NAME} PATH"


ASKED = {
    *("Python", "torch", "mlflow", "dvc", "bentoml", "onnxruntime", "optuna"),
    *("disk", "memory", "accelerator", "Chinese text", "offline switch"),
    *("git", "DVC repository", "MLflow", "Label Studio"),
}


def test_doctor_names_a_mend_beside_each_failure(cityforge: Run) -> None:
    said = cityforge(
        *("doctor", "--json"),
        CITYFORGE_TRACKING_URI="http://127.0.0.1:1",
        CITYFORGE_LABEL_STUDIO_URL="http://127.0.0.1:1",
        CITYFORGE_OFFLINE="0",
        **COLOUR,
    )
    findings = {each["what"]: each for each in json.loads(said.out)}
    assert (said.code, said.err) == (1, "")
    assert set(findings) >= ASKED
    failed = {what for what, each in findings.items() if each["state"] == "fails"}
    assert failed >= {"MLflow", "Label Studio", "DVC repository"}
    assert all(findings[what]["mend"] for what in failed)
    assert {each["state"] for each in findings.values()} <= {"works", "absent", "fails"}
    assert findings["offline switch"]["found"] == "off"
    assert "CITYFORGE_TRACKING_URI" in findings["MLflow"]["mend"]
