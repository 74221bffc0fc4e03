"""`cityforge tune`: look at a search, and work on it from another process or machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.project import Project
    from cityforge.settings import Settings

app = typer.Typer(help="The search before the training.", no_args_is_help=True)


@app.command("show")
def show_one(context: typer.Context, algorithm: AlgorithmName, as_json: Json = False) -> None:
    """Show a search's trials, its front, and what was picked and why; under way, too."""
    project, settings = open_project(context)
    found = _newest(project, settings, algorithm)
    if as_json:
        show_json(found)
        return
    rows = [_row(each, found["front"]) for each in found["trials"]]
    show(rows, False, f"no trial yet: cityforge run {algorithm} --stage tune")
    if found.get("study"):
        typer.echo(f"study {found['study']}")
    typer.echo(f"picked {found['why']}" if found["picked"] else found["why"])
    for key, value in found["picked"].items():
        typer.echo(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}")
    picture = project.build(algorithm) / "tune" / "front.png"
    if picture.is_file():
        typer.echo(f"picture: {picture.relative_to(project.root)}")


@app.command()
def work(
    context: typer.Context,
    algorithm: AlgorithmName,
    as_json: Json = False,
) -> None:
    """Join a search with one more worker until its budget is spent.

    On another machine, set CITYFORGE_TUNING_STORAGE to the PostgreSQL server that all share;
    data and parameters must be the same there.
    """
    project, settings = open_project(context)
    card, params = project.algorithm(algorithm), project.algorithm_params(algorithm)
    if not params.tune.trials:
        from cityforge.errors import InputError

        raise InputError(
            "trials to work on", found="none", where=f"{algorithm}, key 'tune.trials'",
            do=f"cityforge run {algorithm} --set tune.trials=20",
        )  # fmt: skip
    from cityforge.training.data import open_training_data
    from cityforge.training.tune import join

    data = open_training_data(project, card)
    name, finished = join(
        project, settings, card, params, data, lambda line: typer.echo(line, err=as_json)
    )
    if as_json:
        show_json({"study": name, "finished": finished})
        return
    typer.echo(f"study {name}: {finished} trials done; next:\ncityforge run {algorithm}")


def _newest(project: Project, settings: Settings, algorithm: str) -> dict[str, Any]:
    """As best.json says, or as the study stands where a newer one is not through yet."""
    card = project.algorithm(algorithm)
    from cityforge.training.results import read_best, under_way

    best = read_best(project.build(card.name) / "tune")
    current = under_way(project, settings, card.name)
    if current is None or (best and current["study"] == best.get("study")):
        nothing = {"picked": {}, "why": "nothing was searched yet", "trials": [], "front": []}
        return best or nothing
    return current


def _row(trial: dict[str, Any], front: list[int]) -> dict[str, Any]:
    return {
        "trial": trial["number"],
        "state": trial["state"] if trial["fault"] is None else "failed",
        "front": "yes" if trial["number"] in front else "",
        "score": trial["val_score"],
        "ms": trial["latency_ms"],
        "s": trial["seconds"],
        **{
            key: f"{value:.3g}" if isinstance(value, float) else value
            for key, value in trial["params"].items()
        },
    }
