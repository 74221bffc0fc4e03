"""The distributions that an endpoint's requirements lock, and those that are installed here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cityforge.errors import DataError, ServiceError


@dataclass(frozen=True)
class Pinned:
    """One locked distribution."""

    name: str  # normalised as PEP 503 says
    version: str


def read_pins(path: Path) -> list[Pinned]:
    """The distributions that a requirements file locks for this Python and this platform.

    Raises:
        DataError: a line that locks nothing.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [
        _pinned(line, f"{path}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith(("#", "--"))
    ]
    return [each for each in found if each is not None]


def _pinned(line: str, where: str) -> Pinned | None:
    """What a line locks; None when it is for another Python or platform."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(line)
        (exact,) = [each.version for each in wanted.specifier if each.operator == "=="]
    except (InvalidRequirement, ValueError) as error:
        raise DataError("NAME==VERSION", found=f"'{line}'", where=where,
                        do="make lock writes it") from error  # fmt: skip
    here = wanted.marker is None or wanted.marker.evaluate()
    return Pinned(normalised(wanted.name), exact) if here else None


def normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it.

    >>> normalised("ruamel.yaml"), normalised("Typing_Extensions")
    ('ruamel-yaml', 'typing-extensions')
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_otherwise(pins: list[Pinned]) -> list[str]:
    """What is installed here in another version than it is locked in: NAME FOUND (LOCKED).

    Raises:
        ServiceError: one is not installed at all.
    """
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for each in pins:
        try:
            here = version(each.name)
        except PackageNotFoundError as error:
            raise ServiceError(
                f"{each.name}=={each.version} in this environment", found="none",
                do="run the bundle by its bundle_start.py, which installs what it needs",
            ) from error  # fmt: skip
        if here != each.version:
            found.append(f"{each.name} {here} ({each.version})")
    return found
