"""The `cityforge` command: nouns, then verbs. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cityforge.cli import (
    algorithm,
    bundle,
    dataset,
    feedback,
    footage,
    key,
    label,
    model,
    serving,
    tune,
)
from cityforge.cli.analyze import analyze
from cityforge.cli.demo import demo
from cityforge.cli.doctor import doctor
from cityforge.cli.predict import predict
from cityforge.cli.run import run
from cityforge.cli.trace import trace

app = typer.Typer(
    help="City footage in, approved algorithms out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo)
app.command()(doctor)
app.add_typer(footage.app, name="footage")
app.add_typer(label.app, name="label")
app.add_typer(dataset.app, name="dataset")
app.add_typer(algorithm.app, name="algorithm")
app.command()(run)
app.add_typer(tune.app, name="tune")
app.add_typer(model.app, name="model")
app.add_typer(key.app, name="key")
app.add_typer(serving.bento, name="bento")
app.add_typer(bundle.app, name="bundle")
app.command()(serving.serve)
app.command()(predict)
app.command()(analyze)
app.add_typer(feedback.app, name="feedback")
app.command()(trace)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("cityforge"))
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    project: Annotated[
        Path | None, typer.Option(help="The project's folder; by default the one you are in.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show the traceback of errors.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """City footage in, approved algorithms out."""
    context.obj = project
    if verbose:
        os.environ["CITYFORGE_VERBOSE"] = "1"


def main() -> None:
    """Run the command line; a foreseen failure is its lines on stderr and exit code 1."""
    try:
        app()
    except Exception as error:
        from cityforge.errors import line_of

        line = None if os.environ.get("CITYFORGE_VERBOSE") else line_of(error)
        if line is None:
            raise
        typer.echo(line, err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
