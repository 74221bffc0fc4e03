"""dvc.yaml, params.yaml, the cards and the stages hold together."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cityforge.cards import algorithm, dataset, params
from cityforge.cards.params import AlgorithmParams
from cityforge.cards.yaml_files import Card, read_yaml
from cityforge.cli.run import STAGES
from cityforge.project import Project

ROOT = Path(__file__).parents[2]
PROJECT = Project(ROOT)
OF_DATASET = {"ingest", "snapshot"}
OF_PEOPLE = ("footage", "labels")
PARAMETER = re.compile(r"params(\.\w+)+")
# None says that nothing is asked; what is asked for stands in the card.
FREE = {
    *("Camera.height_m", "Camera.pitch_deg", "Camera.mobile"),
    *("Sampling.offset_s", "Sampling.threshold", "Sampling.per_hour", "Sampling.near_duplicates"),
    *("Privacy.redaction", "Redaction.detectors"),
    # Of labelling, which is no stage: colours, keys, the project, and how classes changed.
    *("OntologyClass.colour", "OntologyClass.hotkey"),
    *("Dataset.labeling", "Dataset.ontology_changes"),
    *("Gate.floor", "Gate.ceiling", "Choice.least_score", "Choice.most_ms"),
    *("Gate.most_drop", "Gate.end", "Gate.slice", "Gate.device"),
}


def stages() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]
    return found


def body(stage: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = stage.get("do", stage)
    return found


def items(name: str) -> list[tuple[str, str]]:
    """What a stage runs for: (algorithm or dataset, the dataset)."""
    active = PROJECT.params()
    if name in OF_DATASET:
        return [(each, each) for each in active.datasets]
    return list(active.algorithms.items())


def filled(text: str, key: str, item: str) -> str:
    for mark, value in (("${item.dataset}", item), ("${key}", key), ("${item}", item)):
        text = text.replace(mark, value)
    return text


def tracked(name: str) -> list[tuple[str, str]]:
    """(file, key) of every parameter that a stage names, as dvc.yaml writes them."""
    entries = body(stages()[name]).get("params", [])
    return [(path, key) for entry in entries for path, keys in entry.items() for key in keys]


def test_every_stage_has_its_file_and_every_file_its_stage() -> None:
    files = {path.stem for path in ROOT.glob("pipelines/*.py")}
    assert files == set(stages()) == set(STAGES)
    assert len(files) == 8


def test_every_stage_runs_its_own_file_and_depends_on_it() -> None:
    checked = 0
    for name, stage in stages().items():
        mark = "${item.dataset}" if name in OF_DATASET else "${key}"
        assert body(stage)["cmd"] == f"python pipelines/{name}.py {mark}"
        assert f"pipelines/{name}.py" in body(stage)["deps"]
        checked += 1
    assert checked == 8


def test_every_parameter_of_dvc_is_in_its_file() -> None:
    checked = 0
    for name in stages():
        assert items(name)
        for key, item in items(name):
            for path, parameter in tracked(name):
                node = read_yaml(ROOT / filled(path, key, item))
                for part in parameter.split("."):
                    assert part in node, f"{name}: no '{parameter}' in {filled(path, key, item)}"
                    node = node[part]
                checked += 1
    assert checked >= 25


def test_every_dependency_is_source_or_made_by_a_stage() -> None:
    outs = set()
    for name, stage in stages().items():
        for key, item in items(name):
            for out in body(stage)["outs"]:
                text = out if isinstance(out, str) else next(iter(out))
                outs.add(filled(text, key, item))
    by_people = {f"datasets/{x}/{y}" for x in PROJECT.params().datasets for y in OF_PEOPLE}
    checked = 0
    for name, stage in stages().items():
        for key, item in items(name):
            for dep in (filled(each, key, item) for each in body(stage)["deps"]):
                # Beside the card, written by people.
                own = dep in (f"algorithms/{key}/network.py", f"algorithms/{key}/failures")
                made = dep.startswith(("algorithms/", "datasets/")) and not own
                source = (ROOT / dep).exists() and not made
                assert source or dep in outs | by_people, f"{name} depends on {dep}"
                checked += 1
    assert checked >= 40


def test_every_section_of_an_algorithms_parameters_is_tracked() -> None:
    keys = {key.partition(".")[0] for s in stages() for path, key in tracked(s) if "params" in path}
    assert keys == set(AlgorithmParams.model_fields)
    assert len(keys) == 6


def test_what_a_stage_reads_of_the_parameters_it_tracks() -> None:
    """`params.export.opset` in pipelines/export.py asks for `export` or `export.opset`."""
    checked = 0
    for name in stages():
        text = (ROOT / "pipelines" / f"{name}.py").read_text(encoding="utf-8")
        listed = [key for path, key in tracked(name) if "params.yaml" in path]
        for read in {ast.unparse(n) for n in ast.walk(ast.parse(text)) if is_parameter(n)}:
            key = read.removeprefix("params.")
            assert any(key == each or key.startswith(f"{each}.") for each in listed) or any(
                each.startswith(f"{key}.") for each in listed
            ), f"pipelines/{name}.py reads {read}, which dvc.yaml does not track"
            checked += 1
    assert checked >= 5


def is_parameter(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and bool(PARAMETER.fullmatch(ast.unparse(node)))


def test_active_algorithms_name_the_dataset_of_their_card() -> None:
    active = PROJECT.params()
    assert len(active.algorithms) >= 1
    for name, named in active.algorithms.items():
        assert PROJECT.algorithm(name).dataset == named
        assert named in active.datasets
    assert set(active.datasets) <= set(PROJECT.dataset_names())


def cards_of(module: Any) -> list[type[BaseModel]]:
    found = [each for each in vars(module).values() if isinstance(each, type)]
    return [e for e in found if issubclass(e, Card) and e.__module__ == module.__name__]


@pytest.mark.parametrize(("module", "least"), [(params, 10), (dataset, 6), (algorithm, 3)])
def test_no_tracked_value_has_a_default(module: Any, least: int) -> None:
    models = cards_of(module)
    assert len(models) >= least
    for model in models:
        for name, field in model.model_fields.items():
            assert field.is_required() != (f"{model.__name__}.{name}" in FREE), (
                f"{model.__name__}.{name} has a default: dvc status would not see it change"
            )
