"""Acts of people on versions: approve, reject, roll back, adopt, and re-run the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show_json

if TYPE_CHECKING:
    from cityforge.registry.site import Site

VersionNumber = Annotated[
    int | None, typer.Argument(metavar="[VERSION]", help="By default the newest.")
]
Person = Annotated[
    str, typer.Option("--by", help="Whose key signs; by default CITYFORGE_USER or the login.")
]
Reason = Annotated[str, typer.Option(help="Why.")]


def approve(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: VersionNumber = None,
    by: Person = "",
    reason: Reason = "",
    override: Annotated[
        bool, typer.Option("--override", help="Approve under a gate; needs --reason.")
    ] = False,
    despite_withdrawal: Annotated[
        str,
        typer.Option(
            metavar="REASON", help="Why, though footage or labels that it rests on were withdrawn."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Approve a version: it becomes champion and may be built and served."""
    site = open_site(context, algorithm)
    from cityforge.registry import approval

    found, record = approval.approve(
        site, algorithm, version, by or _me(site), reason, override, despite_withdrawal
    )
    if as_json:
        show_json({"algorithm": algorithm, "version": found.version, **vars(record)})
        return
    alone = ", who also trained it" if record.one_person else ""
    typer.echo(
        f"{algorithm} version {found.version} approved by {record.approver}{alone} "
        f"at {record.at}, on evidence {record.evidence_digest[:16]}; it is champion\n"
        f"next: cityforge serve {algorithm}"
    )


def reject(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: Annotated[int, typer.Argument(help="A version.")],
    by: Person = "",
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Put on record that a version must not be used; a champion is champion no more."""
    site = open_site(context, algorithm)
    from cityforge.registry import approval

    found = approval.reject(site, algorithm, version, by or _me(site), reason)
    if as_json:
        show_json({"algorithm": algorithm, "version": found.version, "reason": reason})
        return
    typer.echo(f"{algorithm} version {found.version} rejected: {reason}")


def rollback(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", help="By default the champion before.")
    ] = None,
    by: Person = "",
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Make an earlier approved version champion again."""
    site = open_site(context, algorithm)
    from cityforge.registry import approval

    before, now = approval.rollback(site, algorithm, version, by or _me(site), reason)
    if as_json:
        was = before.version if before else None
        show_json({"algorithm": algorithm, "before": was, "now": now.version})
        return
    instead = f", instead of {before.version}" if before else ""
    typer.echo(f"{algorithm}: version {now.version} is champion again{instead}")


def adopt(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: VersionNumber = None,
    by: Person = "",
    as_json: Json = False,
) -> None:
    """Sign a version that an older cityforge registered, so that it can be approved."""
    site = open_site(context, algorithm)
    from cityforge.registry.adoption import sign_adopted

    found = sign_adopted(site, algorithm, version, by or _me(site))
    if as_json:
        show_json({"algorithm": algorithm, "version": found.version, **found.tags})
        return
    typer.echo(
        f"{algorithm} version {found.version} is signed\n"
        f"next: cityforge model approve {algorithm} {found.version}"
    )


def verify(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: VersionNumber = None,
    as_json: Json = False,
) -> None:
    """Run a version's evaluation again, in a process of its own, and hold it against the record."""
    site = open_site(context, algorithm)
    from cityforge.registry.verify import verify_version

    found = verify_version(site, algorithm, version)
    if as_json:
        show_json(vars(found))
    elif found.same:
        typer.echo(
            f"{algorithm} version {found.version}: equal evidence {found.recorded[:16]}, "
            f"on snapshot {found.snapshot[:16]}"
        )
    else:
        typer.echo(
            f"{algorithm} version {found.version}: the evidence differs "
            f"({found.recorded[:16]} on record, {found.again[:16]} now)\n"
            + "\n".join(found.differences),
            err=True,
        )
    if not found.same:
        raise typer.Exit(1)


def open_site(context: typer.Context, algorithm: str) -> Site:
    """The registry of this command's project; what a person should know goes to stderr."""
    project, settings = open_project(context)
    from cityforge.registry.site import Site

    project.algorithm(algorithm)
    return Site(project, settings, lambda line: typer.echo(line, err=True))


def _me(site: Site) -> str:
    from cityforge.registry.site import acting

    return acting(site)
