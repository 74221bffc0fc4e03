"""First cards: a folder that runs as it is."""

from __future__ import annotations

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
) -> Path:
    """Make an algorithm's folder with card and parameters, and make it active.

    Raises:
        InputError: a name that is taken or is no folder's name.
        NameUnknown: no such dataset, or a class that it does not have.
        CardError: an unknown space.
    """
    ontology = project.dataset(dataset).class_names
    for each in classes:
        if each not in ontology:
            raise NameUnknown(f"a class of dataset '{dataset}'", each, ontology)
    folder = _free(project.algorithm_folder(name), name)
    content: dict[str, Any] = {
        "name": name,
        "title": title,
        "space": space,
        "task": "detection",
        "dataset": dataset,
        "classes": classes or ontology,
        "network": "detection/nano",
        "events": [],
        "envelope": {
            "camera_height_m": [3, 20],
            "pitch_deg": [0, 60],
            "illumination": ["day"],
            "smallest_object_px": 12,
        },
        "gates": [{"metric": "map50", "floor": 0.3}],
        "target_devices": ["2 CPU cores"],
        "owner": owner,
    }
    check(Algorithm, content, folder / "algorithm.yaml")
    starter = files("cityforge.cards") / "starter_files" / "params.yaml"
    params = starter.read_text(encoding="utf-8")
    folder.mkdir(parents=True)
    _dump(content, folder / "algorithm.yaml")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    project.algorithm_params(name)
    (folder / "README.md").write_text(_algorithm_readme(name, title, dataset), encoding="utf-8")
    activate(project, name)
    return folder


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
    cityforge model approve {name}
    cityforge serve {name}
"""
