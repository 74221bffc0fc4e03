"""MLflow's aliases and tags follow the journal: what its pages show, and nothing that decides."""

from __future__ import annotations

from typing import Any

from cityforge.errors import ServiceError
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS, Standing, standing
from cityforge.registry.versions import CHALLENGER, CHAMPION, TAG_APPROVAL


def project_standing(site: Site, algorithm: str, *, is_own: bool = False) -> list[str]:
    """Write to MLflow how an algorithm's versions stand.

    It happens under a turn of the journal, so that a slower process writes no older state.

    Args:
        is_own: after an act of this process: what differs is what it did, and no news.

    Returns:
        A line for each alias that somebody else had moved, or why nothing could be written.
    """
    from mlflow.exceptions import MlflowException

    try:
        with site.journal.turn() as turn:
            found = standing(turn.entries(acts=ACTS), algorithm)
            if not found.versions:
                return []
            said = _aliases(site.client, algorithm, found)
            _approval_tag(site.client, algorithm, found)
    except (MlflowException, ServiceError, OSError) as error:
        line = str(error).strip().splitlines()[0]
        return [f"MLflow's aliases of '{algorithm}' follow with the next command: {line}"]
    return [] if is_own else said


def _aliases(client: Any, algorithm: str, found: Standing) -> list[str]:
    from mlflow.exceptions import MlflowException

    try:
        stored = client.get_registered_model(algorithm).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return [f"MLflow has no model '{algorithm}', which the journal has"]
    said = []
    for alias, number in ((CHAMPION, found.champion), (CHALLENGER, found.challenger)):
        there = int(stored[alias]) if alias in stored else None
        if there == number:
            continue
        if number is None:
            client.delete_registered_model_alias(algorithm, alias)
        else:
            client.set_registered_model_alias(algorithm, alias, str(number))
        if there is not None and alias == CHAMPION:
            named = f"version {number}" if number else "none"
            said.append(f"MLflow's alias {alias} of '{algorithm}' named version {there}, "
                        f"the journal says {named}: put right")  # fmt: skip
    return said


def _approval_tag(client: Any, algorithm: str, found: Standing) -> None:
    if found.champion is None:
        return
    approval = found.versions[found.champion].approval
    number = str(found.champion)
    text = approval.to_json() if approval else ""
    if client.get_model_version(algorithm, number).tags.get(TAG_APPROVAL) != text:
        client.set_model_version_tag(algorithm, number, TAG_APPROVAL, text)
