"""`cityforge model`: versions, their evidence, and the acts of approvers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.footage import show_facts
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

VersionNumber = Annotated[
    int | None, typer.Argument(metavar="[VERSION]", help="By default the newest.")
]
Approver = Annotated[str, typer.Option("--by", help="Who; by default CITYFORGE_USER or the login.")]


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
    from cityforge.registry.versions import list_versions
    from cityforge.training.tracking import tracking_client

    names = [project.algorithm(algorithm).name] if algorithm else project.algorithm_names()
    client = tracking_client(project, settings)
    found = [each for name in names for each in list_versions(client, name)]
    rows = [_row(each) for each in found]
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
    from cityforge.registry.versions import find_version
    from cityforge.training.tracking import tracking_client

    project.algorithm(algorithm)
    found = find_version(tracking_client(project, settings), algorithm, version)
    facts = {**_row(found), **found.metrics, "run": found.run_id, "approval": found.approval}
    facts |= {
        name.removeprefix("cityforge."): value
        for name, value in found.tags.items()
        if name.endswith(("digest", "commit", "dirty"))
    }
    if as_json:
        show_json(facts)
        return
    show_facts(facts)


@app.command()
def compare(
    context: typer.Context,
    algorithm: AlgorithmName,
    one: Annotated[int, typer.Argument(help="A version.")],
    other: Annotated[int | None, typer.Argument(help="By default the champion.")] = None,
    as_json: Json = False,
) -> None:
    """Hold two versions of an algorithm side by side."""
    project, settings = open_project(context)
    from cityforge.errors import RegistryError
    from cityforge.registry.versions import champion, find_version
    from cityforge.training.tracking import tracking_client

    project.algorithm(algorithm)
    client = tracking_client(project, settings)
    left = find_version(client, algorithm, one)
    right = champion(client, algorithm) if other is None else find_version(client, algorithm, other)
    if right is None:
        raise RegistryError("a champion to compare with", found="none", do="name a second version")
    same = left.tags.get("cityforge.snapshot_digest") == right.tags.get("cityforge.snapshot_digest")
    rows: list[dict[str, Any]] = []
    for name in sorted(set(left.metrics) | set(right.metrics)):
        a, b = left.metrics.get(name), right.metrics.get(name)
        change = a - b if a is not None and b is not None else None
        rows.append(
            {"metric": name, f"v{left.version}": a, f"v{right.version}": b, "difference": change}
        )
    if as_json:
        show_json({"same_snapshot": same, "metrics": rows})
        return
    show(rows, False)
    if not same:
        typer.echo("measured on different snapshots: the figures do not compare", err=True)


@app.command()
def approve(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: VersionNumber = None,
    by: Approver = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    override: Annotated[
        bool, typer.Option("--override", help="Approve under a gate; needs --reason.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Approve a version: it becomes champion and may be built and served."""
    project, settings = open_project(context)
    from cityforge.registry import approval
    from cityforge.training.tracking import tracking_client

    project.algorithm(algorithm)
    who = by or settings.user or login()
    client = tracking_client(project, settings)
    found, record = approval.approve(
        client, project, algorithm, version, who, reason, override=override
    )
    if as_json:
        show_json({"algorithm": algorithm, "version": found.version, **vars(record)})
        return
    typer.echo(
        f"{algorithm} version {found.version} approved by {record.approver} at {record.at}, "
        f"on evidence {record.evidence_digest[:16]}; it is champion\n"
        f"next: cityforge serve {algorithm}"
    )


@app.command()
def rollback(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", help="By default the champion before.")
    ] = None,
    by: Approver = "",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: Json = False,
) -> None:
    """Make an earlier approved version champion again."""
    project, settings = open_project(context)
    from cityforge.registry import approval
    from cityforge.training.tracking import tracking_client

    project.algorithm(algorithm)
    who = by or settings.user or login()
    client = tracking_client(project, settings)
    before, now = approval.rollback(client, algorithm, version, who, reason)
    if as_json:
        show_json({"algorithm": algorithm, "before": before.version, "now": now.version})
        return
    typer.echo(f"{algorithm}: version {now.version} is champion again, instead of {before.version}")


def login() -> str:
    """The name this process runs under."""
    import getpass

    return getpass.getuser()


def _row(version: Version) -> dict[str, Any]:
    metrics = version.metrics
    return {
        "algorithm": version.algorithm,
        "version": version.version,
        "aliases": list(version.aliases),
        "map50": metrics.get("map50"),
        "map50_95": metrics.get("map50_95"),
        "gates": "passed" if version.tags.get("cityforge.gates_passed") == "true" else "not passed",
        "approved_by": version.approval["approver"] if version.approval else None,
        "created_at": version.created_at.isoformat(timespec="seconds"),
    }
