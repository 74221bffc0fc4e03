"""Whether a stage began from the weights that `train.weights` names by now."""

from __future__ import annotations

import json

from cityforge.cards.params import AlgorithmParams
from cityforge.dataset.digests import digest_of_file
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.training.registered import ABOUT_FILE, WEIGHTS_FILE
from cityforge.training.results import read_best, read_picked
from cityforge.training.study import weights_of


def began_from_others(
    project: Project, settings: Settings, params: AlgorithmParams, algorithm: str, stage: str
) -> bool:
    """Whether the weights that `tune` or `train` began from are others than there are now.

    DVC knows the name alone, behind which a file is replaced or an alias moved. Weights that
    this very training made are no others: an algorithm whose version has become champion is
    not trained from itself for that.

    Raises:
        InputError: no weights there; and as `weights_digest`.
    """
    build = project.build(algorithm)
    now = weights_of(project, settings, params)
    made = build / "train" / WEIGHTS_FILE
    if made.is_file() and digest_of_file(made) == now:
        return False
    if stage == "tune":
        best = read_best(build / "tune")
        return "study" in best and best.get("weights") != now
    about = build / "train" / ABOUT_FILE
    if not about.is_file():
        return False
    if isinstance(now, dict):  # searched: one of them was picked
        now = now.get(read_picked(build / "tune").get("weights", ""))
    begun = json.loads(about.read_text(encoding="utf-8")).get("initial", {})
    return now is not None and begun.get("digest") != now
