"""`cityforge model`: versions, their evidence, and the acts of approvers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli import model_acts, model_audit, model_failure
from cityforge.cli.footage import show_facts
from cityforge.cli.model_compare import compare
from cityforge.cli.model_parity import parity
from cityforge.cli.surroundings import (
    AlgorithmName,
    Json,
    algorithm_names,
    open_project,
    show,
    show_json,
)

if TYPE_CHECKING:
    from cityforge.registry.versions import Version

app = typer.Typer(help="Versions, their evidence, approval.", no_args_is_help=True)
app.command()(compare)
app.command()(parity)
app.command()(model_acts.approve)
app.command()(model_acts.reject)
app.command()(model_acts.rollback)
app.command()(model_acts.adopt)
app.command()(model_acts.verify)
app.add_typer(model_failure.app, name="failure")
app.command()(model_audit.audit)
app.add_typer(model_audit.hold, name="hold")

VersionNumber = Annotated[
    int | None, typer.Argument(metavar="[VERSION]", help="By default the newest.")
]


@app.command("list")
def list_(
    context: typer.Context,
    algorithm: Annotated[
        str,
        typer.Argument(
            metavar="[ALGORITHM]", help="By default all.", autocompletion=algorithm_names
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """List model versions, the newest first."""
    project, settings = open_project(context)
    from cityforge.registry.site import Site
    from cityforge.registry.standing import ACTS, standing
    from cityforge.registry.versions import versions_in

    names = [project.algorithm(algorithm).name] if algorithm else project.algorithm_names()
    entries = Site(project, settings).journal.entries(acts=ACTS)
    found = [each for name in names for each in versions_in(standing(entries, name), name)]
    rows = [_facts(each) if as_json else _row(each) for each in found]
    show(rows, as_json, "no version yet: cityforge run ALGORITHM")


@app.command("show")
def show_one(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: VersionNumber = None,
    as_json: Json = False,
) -> None:
    """Show a version: its figures, what it came from, who approved it."""
    project, settings = open_project(context)
    from cityforge.registry.site import Site
    from cityforge.registry.versions import find_version
    from cityforge.trust.journal import faults_of

    project.algorithm(algorithm)
    site = Site(project, settings)
    found = find_version(site, algorithm, version)
    facts = {**_facts(found), **found.metrics, "run": found.run_id, "approval": found.approval}
    facts |= {
        name.removeprefix("cityforge."): value
        for name, value in found.tags.items()
        if name.endswith(("digest", "commit", "dirty"))
    }
    facts["gates_held"] = found.state.register.body.get("gates", []) if found.state else []
    facts["journal"] = f"{len(faults_of(site.journal, settings))} faults, {site.journal.where}"
    if as_json:
        show_json(facts)
        return
    show_facts(facts)


def login() -> str:
    """The name this process runs under."""
    import getpass

    return getpass.getuser()


def _row(version: Version) -> dict[str, Any]:
    """A line of the table: the task's first figures in one column."""
    from cityforge.evaluation.headline import HEADLINE, headline

    facts = _facts(version)
    figures = headline(version.task, {name: facts.pop(name) for name in HEADLINE[version.task]})
    first = {name: facts.pop(name) for name in ("algorithm", "version", "aliases")}
    return {**first, "figures": figures, **facts}


def _facts(version: Version) -> dict[str, Any]:
    from cityforge.evaluation.headline import HEADLINE

    passed = version.tags.get("cityforge.gates_passed") == "true"
    return {
        "algorithm": version.algorithm,
        "version": version.version,
        "aliases": list(version.aliases),
        **{name: version.metrics.get(name) for name in HEADLINE[version.task]},
        "gates": "passed" if passed else "not passed",
        "approved_by": version.approval["approver"] if version.approval else None,
        "standing": version.state.words() if version.state else None,
        "created_at": version.created_at.isoformat(timespec="seconds"),
    }
