"""`cityforge run`: an algorithm's pipeline, as far as it needs running."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.expiry import leave_expired
from cityforge.cli.surroundings import AlgorithmName, Json, dvc, open_project, show_json

if TYPE_CHECKING:
    from cityforge.project import Project

# In the order they run; the first two belong to the dataset.
STAGES = ("ingest", "snapshot", "split", "tune", "train", "export", "evaluate", "register")
OF_DATASET = ("ingest", "snapshot")
# The figures of each task that the last line names, and what people call them.
FIGURES = {
    "detection": {"map50": "mAP50", "map50_95": "mAP50-95"},
    "classification": {"accuracy": "accuracy", "f1": "F1"},
    "density": {"mae": "mean count error", "relative_mae": "relative to the mean count"},
}


def run(
    context: typer.Context,
    algorithm: AlgorithmName,
    stage: Annotated[str, typer.Option(help=f"Run up to this stage: {', '.join(STAGES)}.")] = "",
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a parameter in the algorithm's params.yaml first, such as train.epochs=3.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Train so often, each with a seed of its own, and report the spread "
            "(sets train.seeds).",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run stages that are up to date, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run an algorithm's stages that are not up to date, from footage to a model version."""
    project, _ = open_project(context)
    changes = [*(assignments or []), *([f"train.seeds={seeds}"] if seeds else [])]
    run_algorithm(project, algorithm, stage, changes, force=force, quietly=as_json)
    if as_json:
        show_json(_results(project, algorithm))
        return
    _summary(project, algorithm, stage or STAGES[-1])


def run_algorithm(
    project: Project,
    algorithm: str,
    stage: str = "",
    assignments: list[str] | None = None,
    *,
    force: bool = False,
    quietly: bool = False,
) -> None:
    """Check the cards, set parameters, make the algorithm active, and let DVC run."""
    from cityforge.errors import DataError, NameUnknown
    from cityforge.footage.catalogue import catalogue_path
    from cityforge.labeling.intake import labels_path
    from cityforge.project import activate

    if stage and stage not in STAGES:
        raise NameUnknown("a stage", stage, STAGES, where="--stage")
    card = project.algorithm(algorithm)
    _set_parameters(project, algorithm, assignments or [], quietly=quietly)
    project.algorithm_params(algorithm)
    folder = project.dataset_folder(card.dataset)
    for path, command in (
        (catalogue_path(folder), f"cityforge footage add {card.dataset} PATH"),
        (labels_path(folder), f"cityforge label import {card.dataset} FILE"),
    ):
        if not path.is_file():
            raise DataError(
                f"{path.parent.name} in dataset '{card.dataset}'", found="none", do=command
            )
    if activate(project, algorithm) and not quietly:
        typer.echo(f"{algorithm} is now active (params.yaml)")
    leave_expired(project, card.dataset, quietly=quietly)
    last = stage or STAGES[-1]
    owner = card.dataset if last in OF_DATASET else algorithm
    if not force:
        _begin_anew(project, algorithm, last, quietly=quietly)
    words = ["repro", f"{last}@{owner}"]
    dvc(project, *words, *(["--force"] if force else []), quietly=quietly)
    if last in ("evaluate", "register") and _another_champion(project, algorithm):
        if not quietly:
            typer.echo("the champion is another one than the evaluation knew: held against it now")
        dvc(project, "repro", "--single-item", "--force", f"evaluate@{algorithm}", quietly=quietly)
        dvc(project, "repro", "--single-item", f"{last}@{algorithm}", quietly=quietly)


def _begin_anew(project: Project, algorithm: str, last: str, *, quietly: bool) -> None:
    """Run tune and train again where `train.weights` names other weights than they began from.

    DVC knows the name of a file or version, not what is behind it.
    """
    from cityforge.settings import load_settings
    from cityforge.training.begun import began_from_others
    from cityforge.training.study import names_weights

    params = project.algorithm_params(algorithm)
    if not (names_weights(params.train.weights) or "weights" in params.tune.search):
        return
    settings = load_settings(project.root)
    for stage in ("tune", "train"):
        if STAGES.index(stage) > STAGES.index(last) or not (params.tune.trials or stage == "train"):
            continue
        dvc(project, "repro", f"{stage}@{algorithm}", quietly=quietly)
        if began_from_others(project, settings, params, algorithm, stage):
            if not quietly:
                typer.echo(f"train.weights are others than {stage} began from: run again")
            dvc(project, "repro", "--single-item", "--force", f"{stage}@{algorithm}",
                quietly=quietly)  # fmt: skip


def _another_champion(project: Project, algorithm: str) -> bool:
    """Whether the package here was held against another champion than there is now.

    DVC does not know of the registry; a package that is champion itself needs no other one.
    """
    from cityforge.evaluation.evidence import read_evidence
    from cityforge.inference.package import EVIDENCE_FILE, package_digest
    from cityforge.registry.site import Site
    from cityforge.registry.versions import TAG_PACKAGE, champion
    from cityforge.settings import load_settings

    found = champion(Site(project, load_settings(project.root)), algorithm)
    if found is None:
        return False
    folder = project.build(algorithm) / "package"
    against = read_evidence(folder / EVIDENCE_FILE).against
    known = {package_digest(folder), against.package_digest if against else ""}
    return found.tags[TAG_PACKAGE] not in known


def _set_parameters(
    project: Project, algorithm: str, assignments: list[str], *, quietly: bool
) -> None:
    """Set all of them or, where one is refused, none."""
    from cityforge.errors import CityforgeError
    from cityforge.project import set_parameter

    path = project.params_path(algorithm)
    stored = path.read_bytes() if assignments else b""
    changes = []
    try:
        for assignment in assignments:
            before, after = set_parameter(project, algorithm, assignment)
            changes.append(f"{assignment.partition('=')[0]}: {before} → {after}")
    except CityforgeError:
        path.write_bytes(stored)
        raise
    if not quietly:
        for change in changes:
            typer.echo(change)


def _results(project: Project, algorithm: str) -> dict[str, object]:
    build = project.build(algorithm)
    found: dict[str, object] = {"algorithm": algorithm}
    for key, path in (
        ("metrics", build / "evaluate" / "metrics.json"),
        ("seeds", build / "train" / "seeds.json"),
        ("registered", build / "register" / "version.json"),
    ):
        if path.is_file():
            found[key] = _read(path)
    report = build / "evaluate" / "report.html"
    found["report"] = str(report) if report.is_file() else None
    found["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return found


def _summary(project: Project, algorithm: str, last: str) -> None:
    if last != STAGES[-1]:
        typer.echo(f"{algorithm}: done up to {last}")
        return
    from cityforge.training.seeds import lines

    build = project.build(algorithm)
    shown = FIGURES[project.algorithm(algorithm).task]
    version = _read(build / "register" / "version.json")["version"]
    figures = _read(build / "evaluate" / "metrics.json")
    said = ", ".join(f"{name} {_number(figures.get(key))}" for key, name in shown.items())
    typer.echo(f"{algorithm} version {version}: {said} on the test split")
    for line in lines(_read(build / "train" / "seeds.json"), list(shown)):
        typer.echo(line)
    typer.echo(
        f"report: {(build / 'evaluate' / 'report.html').relative_to(project.root)}\n"
        f"next: cityforge model approve {algorithm} {version}"
    )


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _read(path: Path) -> Any:
    import json

    return json.loads(path.read_text(encoding="utf-8"))
