"""`cityforge run`: an algorithm's pipeline, as far as it needs running."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cityforge.cli.expiry import leave_expired
from cityforge.cli.surroundings import AlgorithmName, Json, dvc, open_project, show_json

if TYPE_CHECKING:
    from cityforge.project import Project

# In the order they run; the first two belong to the dataset.
STAGES = ("ingest", "snapshot", "split", "tune", "train", "export", "evaluate", "register")
OF_DATASET = ("ingest", "snapshot")


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
    force: Annotated[
        bool, typer.Option("--force", help="Run stages that are up to date, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run an algorithm's stages that are not up to date, from footage to a model version."""
    project, _ = open_project(context)
    run_algorithm(project, algorithm, stage, assignments or [], force=force, quietly=as_json)
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
    words = ["repro", f"{last}@{owner}"]
    dvc(project, *words, *(["--force"] if force else []), quietly=quietly)


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
    import json

    build = project.build(algorithm)
    found: dict[str, object] = {"algorithm": algorithm}
    for key, path in (
        ("metrics", build / "evaluate" / "metrics.json"),
        ("registered", build / "register" / "version.json"),
    ):
        if path.is_file():
            found[key] = json.loads(path.read_text(encoding="utf-8"))
    report = build / "evaluate" / "report.html"
    found["report"] = str(report) if report.is_file() else None
    found["at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return found


def _summary(project: Project, algorithm: str, last: str) -> None:
    if last != STAGES[-1]:
        typer.echo(f"{algorithm}: done up to {last}")
        return
    import json

    build = project.build(algorithm)
    figures = json.loads((build / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    version = json.loads((build / "register" / "version.json").read_text(encoding="utf-8"))
    typer.echo(
        f"{algorithm} version {version['version']}: mAP50 {figures['map50']:.3f}, "
        f"mAP50-95 {figures['map50_95']:.3f} on the test split\n"
        f"report: {(build / 'evaluate' / 'report.html').relative_to(project.root)}\n"
        f"next: cityforge model approve {algorithm} {version['version']}"
    )
