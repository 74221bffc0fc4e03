"""`cityforge algorithm`: make, list and show algorithms."""

from __future__ import annotations

from typing import Annotated

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show, show_json

app = typer.Typer(help="Make, list and show algorithms.", no_args_is_help=True)


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Small letters, digits and _.")],
    dataset: Annotated[str, typer.Option(help="The dataset it learns from.")],
    space: Annotated[
        str,
        typer.Option(
            help="road_traffic, work_places, living_and_crowds, street_environment "
            "or internet_content."
        ),
    ],
    title: Annotated[str, typer.Option(help="What people call it.")] = "",
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="A class of the dataset; by default all of them."),
    ] = None,
    task: Annotated[
        str,
        typer.Option(help="detection (boxes), classification (of a frame) or density (counts)."),
    ] = "detection",
    several_labels: Annotated[
        bool,
        typer.Option("--several-labels", help="Classification: a frame may have several classes."),
    ] = False,
) -> None:
    """Make an algorithm's folder that runs as it is."""
    project, settings = open_project(context)
    from cityforge.starters import new_algorithm

    path = new_algorithm(
        project,
        name,
        title or name,
        dataset,
        space,
        classes or [],
        settings.user or "unnamed",
        task,
        several_labels,
    )
    typer.echo(f"{path.relative_to(project.root)} made and active; next:\ncityforge run {name}")


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the algorithms of this project."""
    project, _ = open_project(context)
    active = project.params().algorithms
    rows = []
    for name in project.algorithm_names():
        card = project.algorithm(name)
        rows.append(
            {
                "name": name,
                "title": card.title,
                "space": card.space,
                "task": card.task,
                "dataset": card.dataset,
                "active": "yes" if name in active else "no",
            }
        )
    show(rows, as_json, "no algorithm yet: cityforge algorithm new NAME --dataset D --space S")


@app.command("show")
def show_one(context: typer.Context, algorithm: AlgorithmName, as_json: Json = False) -> None:
    """Show an algorithm's card, its parameters, and what its last run came to."""
    project, _ = open_project(context)
    import json

    from ruamel.yaml import YAML

    card = project.algorithm(algorithm)
    params = project.algorithm_params(algorithm)
    metrics = project.build(algorithm) / "evaluate" / "metrics.json"
    content = {
        "card": card.model_dump(mode="json"),
        "params": params.model_dump(mode="json"),
        "last_run": json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else None,
    }
    if as_json:
        show_json(content)
        return
    import sys

    yaml = YAML()
    yaml.dump(content, sys.stdout)
