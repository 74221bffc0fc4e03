"""Where an endpoint without a project keeps things, when nobody names a place.

Below the bundle's own folder, or that of a container: `state/` holds who may call, what was
answered and what people said of it; no start of the endpoint takes anything away there.
`cameras/` beside it holds the camera cards of the site.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cityforge.endpoint.surroundings import Surroundings
from cityforge.errors import InputError

STATE, CAMERAS = "state", "cameras"
# Setting of an endpoint: its name in STATE.
KEPT = {
    "tokens": "tokens.json",
    "answers": "answers",
    "feedback": "feedback",
    "secret": "request_ids.key",
    "capture": "captures",
}
PATHS = frozenset(
    name for name, field in Surroundings.model_fields.items() if field.annotation == Path | None
)

logger = logging.getLogger(__name__)


def places(folder: Path) -> dict[str, Path]:
    """Where each setting of `Surroundings` that names a place points, by its name."""
    kept = {name: folder / STATE / file for name, file in KEPT.items()}
    return {**kept, "cameras": folder / CAMERAS}


def named_places(folder: Path, given: Mapping[str, str], own: Iterable[Path]) -> dict[str, str]:
    """CITYFORGE_* of an endpoint that name places: as given, else below a folder; all absolute.

    Args:
        folder: of the bundle.
        given: an environment; a relative path in it is below the current folder, an empty one
            is none.
        own: folders of the bundle, where a start removes or refuses what it did not bring.

    Raises:
        InputError: what is given lies in one of them.
    """
    found = {name: str(path) for name, path in places(folder).items()}
    for name in sorted(PATHS):
        said = given.get(_variable(name))
        if not said:
            continue
        path = Path(said).absolute()
        _refuse_own(_variable(name), path, own)
        found[name] = str(path)
    return {_variable(name): path for name, path in found.items()}


def kept_in_container(found: Surroundings, environment: Mapping[str, str]) -> Surroundings:
    """The same settings; in a container what was not said is kept below its home.

    Where nothing can be written there, a line of the log says so, and nothing is added.
    """
    home = environment.get("BENTOML_HOME", "")
    if environment.get("BENTOML_CONTAINERIZED", "").lower() != "true" or not home:
        return found
    state = Path(home) / STATE
    if not os.access(state if state.exists() else state.parent, os.W_OK | os.X_OK):
        logger.warning("answers and feedback are not kept: expected a folder that can be written, "
                       "found none, in %s: mount one there", state)  # fmt: skip
        return found
    unsaid = {name: path for name, path in places(Path(home)).items() if not getattr(found, name)}
    return found.model_copy(update=unsaid)


def _variable(name: str) -> str:
    return f"CITYFORGE_{name.upper()}"


def _refuse_own(variable: str, path: Path, own: Iterable[Path]) -> None:
    real = Path(os.path.realpath(path))
    inside = [each for each in own if real.is_relative_to(each)]
    if inside:
        raise InputError(
            "a place that stays", found=f"one in {inside[0]}, which holds the bundle and no more",
            where=f"{variable}={path}", do="name one elsewhere, or none",
        )  # fmt: skip
