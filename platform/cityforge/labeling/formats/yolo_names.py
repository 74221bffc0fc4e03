"""The class names of a YOLO folder: data.yaml, or a classes.txt as Label Studio exports it."""

from __future__ import annotations

from pathlib import Path

from cityforge.errors import LabelError
from cityforge.labeling.formats.files import read_text
from cityforge.labeling.formats.values import UnusableError, name, whole

NAMES_FILES = ("data.yaml", "data.yml", "classes.txt")


def find_names(path: Path) -> Path:
    """The file with the class names: the path itself, or the one in the folder.

    Raises:
        LabelError: the folder has none.
    """
    if not path.is_dir():
        return path
    for file in NAMES_FILES:
        if (path / file).is_file():
            return path / file
    do = "write a data.yaml with names: [first, second]"
    raise LabelError("a data.yaml with class names", found="none", where=str(path), do=do)


def read_names(path: Path) -> dict[int, str]:
    """Class names by index.

    Raises:
        LabelError: the file is missing, no YAML, or its names contradict each other or `nc`.
    """
    if path.suffix == ".txt":
        lines = read_text(path, "a classes.txt").splitlines()
        document: object = {"names": [line.strip() for line in lines if line.strip()]}
    else:
        document = _parse_yaml(path)
    try:
        return _names(document)
    except UnusableError as fault:
        raise LabelError(
            "class names: a list or index: name, all different, as many as nc says",
            found=f"{fault.reason}: {fault.found}",
            where=str(path),
            do="correct names and nc",
        ) from None


def _parse_yaml(path: Path) -> object:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    text = read_text(path, "a data.yaml")
    do = "correct the YAML"
    try:
        # Base: every scalar stays text, so that a class `on`, `1.0` or `null` keeps its name.
        return YAML(typ="base", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path} line {mark.line + 1} column {mark.column + 1}" if mark else str(path)
        found = error.problem or "a fault"
        raise LabelError("valid YAML", found=found, where=where, do=do) from None
    except (YAMLError, RecursionError, ValueError) as error:
        found = str(error).splitlines()[0]
        raise LabelError("valid YAML", found=found, where=str(path), do=do) from None


def _names(document: object) -> dict[int, str]:
    if not isinstance(document, dict):
        raise UnusableError("no mapping", document)
    stated = document.get("names")
    if isinstance(stated, list):
        rows: list[tuple[object, object]] = list(enumerate(stated))
    elif isinstance(stated, dict):
        rows = list(stated.items())
    else:
        raise UnusableError("no names", stated)
    names = {whole(key, "class index"): name(cls, "class name") for key, cls in rows}
    if not names or len(set(names.values())) != len(rows):
        raise UnusableError("no name, or one name twice", stated)
    count = document.get("nc")
    if count is not None and whole(count, "nc") != len(names):
        raise UnusableError(f"nc is not the count of {len(names)} names", count)
    return dict(sorted(names.items()))
