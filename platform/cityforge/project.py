"""Finds the project's root and opens its cards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.dataset import Dataset
from cityforge.cards.params import AlgorithmParams, ProjectParams
from cityforge.cards.yaml_files import check, read_card, read_yaml
from cityforge.errors import CardError, InputError, NameUnknown, suggest


@dataclass(frozen=True)
class Project:
    """One checkout: the folder that holds dvc.yaml, params.yaml, algorithms/ and datasets/."""

    root: Path

    @property
    def work(self) -> Path:
        """The machine's own state: registry, studies, checkpoints under way. Never in git."""
        return self.root / ".cityforge"

    def dataset_folder(self, name: str) -> Path:
        """Folder of a dataset, there or not."""
        return self.root / "datasets" / name

    def algorithm_folder(self, name: str) -> Path:
        """Folder of an algorithm, there or not."""
        return self.root / "algorithms" / name

    def build(self, name: str) -> Path:
        """Where the stages of an algorithm write."""
        return self.algorithm_folder(name) / "build"

    def dataset_names(self) -> list[str]:
        """Every dataset that has a card, sorted."""
        return sorted(path.parent.name for path in self.root.glob("datasets/*/dataset.yaml"))

    def algorithm_names(self) -> list[str]:
        """Every algorithm that has a card, sorted."""
        return sorted(path.parent.name for path in self.root.glob("algorithms/*/algorithm.yaml"))

    def dataset(self, name: str) -> Dataset:
        """Open a dataset's card.

        Raises:
            NameUnknown: no dataset of that name.
            CardError: the card has faults.
        """
        if name not in self.dataset_names():
            raise NameUnknown(
                "a dataset", name, self.dataset_names(), where=f"{self.root}/datasets"
            )
        path = self.dataset_folder(name) / "dataset.yaml"
        card = read_card(Dataset, path)
        _named_as_folder(card.name, path)
        return card

    def algorithm(self, name: str) -> Algorithm:
        """Open an algorithm's card, held against its dataset's ontology.

        Raises:
            NameUnknown: no algorithm of that name.
            CardError: the card has faults, or names what its dataset does not have.
        """
        known = self.algorithm_names()
        if name not in known:
            raise NameUnknown("an algorithm", name, known, where=f"{self.root}/algorithms")
        path = self.algorithm_folder(name) / "algorithm.yaml"
        card = read_card(Algorithm, path)
        _named_as_folder(card.name, path)
        ontology = self.dataset(card.dataset).class_names
        faults = tuple(
            f"expected a class of dataset '{card.dataset}', found '{each}', "
            f"in {path}, key 'classes': {suggest(each, ontology)}"
            for each in card.classes
            if each not in ontology
        )
        if faults:
            raise CardError("classes of the dataset", where=str(path), faults=faults)
        return card

    def params_path(self, algorithm: str) -> Path:
        """The parameter file of an algorithm."""
        return self.algorithm_folder(algorithm) / "params.yaml"

    def algorithm_params(self, name: str) -> AlgorithmParams:
        """Open an algorithm's parameters, held against the task of its card.

        Raises:
            CardError: the file has faults, or values of another task.
        """
        path = self.params_path(name)
        params = read_card(AlgorithmParams, path)
        faults = params.faults_for(self.algorithm(name).task, path)
        if faults:
            raise CardError("parameters of the card's task", where=str(path), faults=faults)
        return params

    def params(self) -> ProjectParams:
        """Open the root's parameters."""
        return read_card(ProjectParams, self.root / "params.yaml")


def find_project(start: Path | None = None) -> Project:
    """Walk up from `start` (or the current folder) to the project's root.

    Raises:
        InputError: no folder above holds both dvc.yaml and params.yaml.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return Project(folder)
    raise InputError(
        "a cityforge project (a folder with dvc.yaml and params.yaml)",
        found="none",
        where=f"{here} or above",
        do="go to the project's folder, or name it with --project",
    )


def set_parameter(project: Project, algorithm: str, assignment: str) -> tuple[object, object]:
    """Write one `key=value` into an algorithm's params.yaml, keeping its comments.

    Returns:
        The value before and the value after.

    Raises:
        InputError: not of the form key=value.
        NameUnknown: no such parameter; the nearest is suggested.
        CardError: a value that the parameter does not take; the file is left as it was.
    """
    key, equals, text = assignment.partition("=")
    if not equals:
        raise InputError(
            "key=value", found=f"'{assignment}'", where="--set", do="--set train.epochs=3"
        )
    path = project.params_path(algorithm)
    known = flat_keys(read_yaml(path))
    yaml = _keeper()
    content = yaml.load(path.read_text(encoding="utf-8"))
    if key not in known:
        raise NameUnknown("a parameter", key, known, where=f"--set {assignment}")
    *parents, last = key.split(".")
    node = content
    for parent in parents:
        node = node[parent]
    before, node[last] = node[last], _parsed(text, assignment)
    check(AlgorithmParams, content, Path(f"--set {assignment}"))
    if before != node[last]:
        _rewrite(yaml, content, path)
    return before, node[last]


def _parsed(text: str, assignment: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise InputError(
            "a value in YAML", found=f"'{text}'", where=f"--set {assignment}"
        ) from error


def activate(project: Project, algorithm: str) -> bool:
    """List an algorithm and its dataset in the root's params.yaml; True when that was new."""
    card = project.algorithm(algorithm)
    path = project.root / "params.yaml"
    yaml = _keeper()
    content = yaml.load(path.read_text(encoding="utf-8"))
    check(ProjectParams, content, path)
    new = content["algorithms"].get(algorithm) != card.dataset
    content["algorithms"][algorithm] = card.dataset
    return activate_dataset(project, card.dataset, content) or new


def activate_dataset(project: Project, dataset: str, content: Any = None) -> bool:
    """List a dataset in the root's params.yaml (and write `content`, its parsed text)."""
    path = project.root / "params.yaml"
    yaml = _keeper()
    stored = yaml.load(path.read_text(encoding="utf-8"))
    content = content if content is not None else yaml.load(path.read_text(encoding="utf-8"))
    new = dataset not in content["datasets"]
    if new:
        content["datasets"].append(dataset)
    if content != stored:
        _rewrite(yaml, content, path)
    return new


def flat_keys(content: Any, prefix: str = "") -> list[str]:
    """Every dotted key of nested mappings.

    >>> flat_keys({"train": {"epochs": 3, "lr": 0.1}})
    ['train', 'train.epochs', 'train.lr']
    """
    keys: list[str] = []
    for key, value in content.items():
        keys.append(f"{prefix}{key}")
        if isinstance(value, dict):
            keys.extend(flat_keys(value, f"{prefix}{key}."))
    return keys


def _keeper() -> Any:
    """A YAML that writes a file as people wrote it: comments, quotes, indents, long lines."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096
    return yaml


def _rewrite(yaml: Any, content: Any, path: Path) -> None:
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    beside.replace(path)


def _named_as_folder(name: str, path: Path) -> None:
    if name != path.parent.name:
        raise CardError(
            f"the folder's name '{path.parent.name}'",
            found=f"'{name}'",
            where=f"{path}, key 'name'",
        )
