"""First cards: a folder that runs as it is."""

from __future__ import annotations

import io
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.dataset import Dataset
from cityforge.cards.yaml_files import check
from cityforge.errors import InputError, NameUnknown
from cityforge.project import Project, activate

NAME = re.compile(r"[a-z][a-z0-9_]{2,63}")
# Task: its network, and what the first model of it must keep.
FIRST: dict[str, tuple[str, dict[str, Any]]] = {
    "detection": ("detection/nano", {"metric": "map50", "floor": 0.3}),
    "classification": ("classification/small", {"metric": "accuracy", "floor": 0.8}),
    "density": ("density/small", {"metric": "relative_mae", "ceiling": 0.2}),
}


def new_dataset(
    project: Project, name: str, title: str, classes: list[str], cameras: list[str]
) -> Path:
    """Make a dataset's folder with its card.

    Raises:
        InputError: a name that is taken or is no folder's name.
        CardError: doubled or empty names.
    """
    folder = _free(project.dataset_folder(name), name)
    content: dict[str, Any] = {
        "name": name,
        "title": title,
        "classes": [{"name": each, "definition": f"say here what a {each} is"} for each in classes],
        "cameras": [{"name": each, "site": "unnamed site"} for each in cameras],
        "privacy": {
            "grade": "internal",
            "lawful_basis": "name the law or the contract here",
            "redact": [],
            "retention_days": 180,
        },
        "licence": "internal",
        "sampling": {"policy": "every", "seconds": 1.0},
        "checks": {
            "min_frames": 10,
            "min_boxes_per_class": 1,
            "min_box_px": 2.0,
            "max_rejected_share": 0.1,
        },
    }
    check(Dataset, content, folder / "dataset.yaml")
    folder.mkdir(parents=True)
    _dump(content, folder / "dataset.yaml")
    (folder / "README.md").write_text(_dataset_readme(name, title), encoding="utf-8")
    return folder


def new_algorithm(
    project: Project,
    name: str,
    title: str,
    dataset: str,
    space: str,
    classes: list[str],
    owner: str,
    task: str = "detection",
    several_labels: bool = False,
) -> Path:
    """Make an algorithm's folder with card and parameters, and make it active.

    Args:
        several_labels: classification alone: a frame may have several classes, or none.

    Raises:
        InputError: a name that is taken or is no folder's name; labels that the task has not.
        NameUnknown: no such task, no such dataset, or a class that it does not have.
        CardError: an unknown space.
    """
    if task not in FIRST:
        raise NameUnknown("a task", task, FIRST, where="--task")
    ontology = project.dataset(dataset).class_names
    for each in classes:
        if each not in ontology:
            raise NameUnknown(f"a class of dataset '{dataset}'", each, ontology)
    _labels_fit(task, classes or ontology, several_labels)
    folder = _free(project.algorithm_folder(name), name)
    network, gate = FIRST[task]
    if several_labels:  # all classes of a frame right at once says little there
        gate = {"metric": "map", "floor": 0.5}
    content: dict[str, Any] = {
        "name": name,
        "title": title,
        "space": space,
        "task": task,
        "dataset": dataset,
        "classes": classes or ontology,
        "network": network,
        "choice": {"prefer": "best"},
        "events": [],
        "envelope": {
            "camera_height_m": [3, 20],
            "pitch_deg": [0, 60],
            "illumination": ["day"],
            "smallest_object_px": 12,
        },
        "gates": [gate],
        "target_devices": ["2 CPU cores"],
        "owner": owner,
    }
    check(Algorithm, content, folder / "algorithm.yaml")
    params = starter_params(task, several_labels)
    folder.mkdir(parents=True)
    _dump(content, folder / "algorithm.yaml")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    project.algorithm_params(name)
    own = files("cityforge.cards") / "starter_files" / "network.py.txt"
    (folder / "network.py").write_text(own.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "README.md").write_text(_algorithm_readme(name, title, dataset), encoding="utf-8")
    (folder / "failures").mkdir()
    (folder / "failures" / "README.md").write_text(_failures_readme(name), encoding="utf-8")
    activate(project, name)
    return folder


def starter_params(task: str, several_labels: bool = False) -> str:
    """The text of a first params.yaml: that of detection, with what another task changes."""
    starters = files("cityforge.cards") / "starter_files"
    text = (starters / "params.yaml").read_text(encoding="utf-8")
    if task == "detection":
        return text
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    content = yaml.load(text)
    changed = yaml.load((starters / f"{task}.yaml").read_text(encoding="utf-8"))
    if several_labels:
        changed["train.loss"]["several_labels"] = True
    for key, value in changed.items():
        *parents, last = key.split(".")
        node = content
        for parent in parents:
            node = node[parent]
        node[last] = value
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def _labels_fit(task: str, classes: list[str], several_labels: bool) -> None:
    if several_labels and task != "classification":
        raise InputError(
            "--several-labels with --task classification", found=f"--task {task}",
            do="leave it out",
        )  # fmt: skip
    if task == "classification" and not several_labels and len(classes) < 2:
        raise InputError(
            "two classes or more, of which a frame has one", found=f"'{classes[0]}' alone",
            do="name more, or say --several-labels: then a frame may have none",
        )  # fmt: skip


def _free(folder: Path, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise InputError(
            "a name of 3 to 64 small letters, digits and _",
            found=f"'{name}'",
            do="put what people call it into --title, in any language",
        )
    if folder.exists():
        raise InputError("a name that is free", found=f"'{name}'", where=str(folder))
    return folder


def _dump(content: dict[str, Any], path: Path) -> None:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.allow_unicode = True
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def _dataset_readme(name: str, title: str) -> str:
    return f"""# {title}

What it is stands in `dataset.yaml`. What it holds:

    cityforge footage add {name} PATH
    cityforge label import {name} FILE
    cityforge dataset show {name}
"""


def _algorithm_readme(name: str, title: str, dataset: str) -> str:
    return f"""# {title}

Learns from dataset `{dataset}`. What it is stands in `algorithm.yaml`, how it is made in
`params.yaml`.

    cityforge run {name}
    cityforge model list {name}
    cityforge model approve {name} --by ANOTHER
    cityforge key token new me --scope predict
    cityforge serve {name}

Who trained may not approve. ANOTHER has a key of their own:
`cityforge key new ANOTHER --role approve`. Who is alone sets `CITYFORGE_ONE_PERSON=true` and leaves
`--by` out. The token of `me` is made once, for all algorithms.
"""


def _failures_readme(name: str) -> str:
    return f"""# Confirmed field failures

What went wrong in the field and what was right. Every new version is asked again, and the gate
`failures_passed` holds it to all of them.

    cityforge model failure add {name} PICTURE --class CLASS --box 10,20,60,80 --reason TEXT
    cityforge model failure list {name}
"""
