"""Reads a YAML card into its model; all faults of a file are reported at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cityforge.errors import CardError, suggest

Model = TypeVar("Model", bound=BaseModel)
# Beginnings of pydantic's sentences, as they read after "expected".
PLAIN = {
    "String should have": "a text of",
    "String should match pattern": "a text that matches",
    "List should have": "a list of",
    "Tuple should have": "a list of",
    " after validation, not": ", not",
}
VARIANT = "as "  # begins the tag of a variant, which is no key of the file


class Card(BaseModel):
    """Frozen, and closed: a key that is not named here is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_yaml(path: Path) -> Any:
    """Parse a YAML 1.2 file (`1e-3` is a number, `no` is a text).

    Raises:
        CardError: the file is missing or is no YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CardError("a YAML file", found="no file", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise CardError(
            "UTF-8 text", found=f"byte {error.start} that is none", where=str(path)
        ) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}" if mark else ""
        raise CardError("YAML", found=str(error.problem), where=f"{path}{line}") from error
    except YAMLError as error:
        raise CardError("YAML", found=str(error).splitlines()[0], where=str(path)) from error


def read_card(model: type[Model], path: Path) -> Model:
    """Read one card.

    Raises:
        CardError: with a line for every fault in the file.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise CardError("a mapping of keys", found=type(content).__name__, where=str(path))
    return check(model, content, path)


def check(model: type[Model], content: dict[str, Any], path: Path, prefix: str = "") -> Model:
    """Hold already parsed content against its model; see `read_card`.

    Strict, by way of JSON: `'16'` and `true` are no numbers, and a list may stand for a tuple.
    """
    try:
        return model.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        faults = tuple(_fault(fault, model, path, prefix) for fault in error.errors())
        raise CardError(f"a valid {model.__name__}", where=str(path), faults=faults) from error


def _fault(fault: Any, model: type[BaseModel], path: Path, prefix: str) -> str:
    location = [part for part in fault["loc"] if not str(part).startswith(VARIANT)]
    key = prefix + ".".join(map(str, location))
    where = f"in {path}, key '{key}'" if key else f"in {path}"
    if fault["type"] == "extra_forbidden":
        near = suggest(str(location[-1]), _known_keys(model, location[:-1]))
        return f"expected a known key, found '{location[-1]}', {where}: {near}"
    if fault["type"] == "missing":
        return f"expected a value, found none, {where}: add it"
    found = repr(fault["input"])
    found = found if len(found) <= 60 else found[:57] + "…"
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    for begins, plain in PLAIN.items():
        expected = expected.replace(begins, plain)
    if ", found " in expected:  # says it itself: the input would be the whole card
        return f"expected {expected}, {where}"
    return f"expected {expected}, found {found}, {where}"


def _known_keys(model: type[BaseModel], location: Iterable[object]) -> list[str]:
    models = [model]
    for part in location:
        if isinstance(part, int):
            continue
        fields = [each.model_fields.get(str(part)) for each in models]
        models = [inner for field in fields if field for inner in _inner(field.annotation)]
    return [name for each in models for name in each.model_fields]


def _inner(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for part in getattr(annotation, "__args__", ()) for each in _inner(part)]
