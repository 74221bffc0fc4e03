"""What a search has come to: its trials as points, and what the stage wrote of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.training.front import Point, front_of
from cityforge.training.storage import open_storage, storage_url, translated
from cityforge.training.study import (
    ENDED,
    FAULT,
    GRAPH,
    MEASURED,
    OWNER,
    SURPLUS,
    UNMEASURED_MS,
    studies_of,
)

BEST = "best.json"
PICTURE = "front.png"


def read_best(folder: Path) -> dict[str, Any]:
    """What the stage wrote into `folder`; empty where it has not run."""
    path = folder / BEST
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def read_picked(folder: Path) -> dict[str, Any]:
    """What the search picked, by keys of `tune.search`; empty when it was asked for no trial."""
    picked: dict[str, Any] = read_best(folder).get("picked", {})
    return picked


def under_way(project: Project, settings: Settings, algorithm: str) -> dict[str, Any] | None:
    """The newest study of an algorithm as it stands; None where there is none.

    Raises:
        ServiceError: the storage does not answer.
    """
    url = storage_url(project, settings)
    if not settings.tuning_storage and not (project.work / "tuning.db").is_file():
        return None
    with translated(url):
        found = studies_of(open_storage(url), algorithm)
        if not found:
            return None
        points = points_of(found[0])
    return {
        "study": found[0].study_name,
        "picked": {},
        "why": "nothing is picked yet: the search is under way, or was cut short",
        "front": [each.number for each in front_of(points)],
        "trials": [row_of(each) for each in points],
    }


def points_of(study: Any) -> list[Point]:
    """The study's trials, less those that were one too many.

    The latency of a network and input is the least that any trial measured of them.
    """
    found = []
    trials = study.get_trials(deepcopy=False)
    least: dict[str, float] = {}
    for trial in trials:
        graph, measured = trial.user_attrs.get(GRAPH), trial.user_attrs.get(MEASURED)
        if graph and measured:
            least[graph] = min(measured, least.get(graph, measured))
    for trial in trials:
        noted, values = trial.user_attrs, trial.values or [None]
        ms = least.get(noted.get(GRAPH), values[1]) if len(values) > 1 else None
        if SURPLUS in noted:
            continue
        ended, owner = noted.get(ENDED), noted.get(OWNER)
        repeated = trial.system_attrs.get("retry_history", [])
        found.append(
            Point(
                number=trial.number,
                state=trial.state.name.lower(),
                score=values[0],
                latency_ms=None if ms == UNMEASURED_MS else ms,
                params=dict(trial.params),
                fault=noted.get(FAULT),
                seconds=round(ended - owner["began"], 1) if ended and owner else None,
                again=repeated[-1] if repeated else None,
                graph=noted.get(GRAPH),
            )
        )
    return found


def row_of(point: Point) -> dict[str, Any]:
    """A trial as best.json has it."""
    return {
        "number": point.number,
        "state": point.state,
        "val_score": point.score,
        "latency_ms": point.latency_ms,
        "params": dict(point.params),
        "seconds": point.seconds,
        "again": point.again,
        "fault": point.fault,
    }
