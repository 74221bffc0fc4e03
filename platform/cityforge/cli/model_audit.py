"""`cityforge model audit` and `hold`: what is on record, whether it is as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import (
    Json,
    algorithm_names,
    dataset_names,
    open_project,
    show,
    show_json,
)

if TYPE_CHECKING:
    from cityforge.settings import Settings
    from cityforge.trust.entries import Entry
    from cityforge.trust.journal import Journal

hold = typer.Typer(help="Legal holds: what must not be deleted.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Why; it stays on record.")]
By = Annotated[str, typer.Option("--by", help="Who; by default CITYFORGE_USER or the login.")]


def audit(
    context: typer.Context,
    algorithm: Annotated[
        str,
        typer.Argument(
            metavar="[ALGORITHM]",
            help="By default all; also dataset:NAME or a key's id.",
            autocompletion=algorithm_names,
        ),
    ] = "",
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every entry, signature and link.")
    ] = False,
    since: Annotated[str, typer.Option(help="From this day on: 2026-11-22.")] = "",
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove entries past CITYFORGE_AUDIT_YEARS.")
    ] = False,
    by: By = "",
    as_json: Json = False,
) -> None:
    """List the acts on record: approvals, refusals, withdrawals, retrievals, keys."""
    project, settings = open_project(context)
    from cityforge.trust.journal import open_journal

    journal = open_journal(project, settings)
    if verify:
        _verify(journal, settings, as_json)
        return
    if prune:
        _prune(journal, settings, by, as_json)
        return
    found = [each for each in journal.entries(about=algorithm) if each.at >= _day(since)]
    if as_json:
        show_json([_as_json(each) for each in found])
        return
    show([_row(each) for each in found], False, "nothing on record yet")


def _verify(journal: Journal, settings: Settings, as_json: bool) -> None:
    """Say all that is wrong, a line each; exit code 1 when there is anything."""
    from cityforge.trust.journal import faults_of

    faults = faults_of(journal, settings)
    stored = journal.rows()
    if as_json:
        rows = [{"number": each.number, "what": each.what} for each in faults]
        show_json({"journal": journal.where, "entries": len(stored), "faults": rows})
    elif faults:
        for each in faults:
            typer.echo(f"entry {each.number}: {each.what}", err=True)
    elif stored:
        from cityforge.trust.audit import digest_of

        last = stored[-1]
        typer.echo(
            f"{len(stored)} entries, each as it was written, in {journal.where}\n"
            f"the newest is {last.number}, {digest_of(last)}: whoever keeps this line elsewhere "
            "can tell later that nothing was cut off"
        )
    else:
        typer.echo(f"no entry yet, in {journal.where}")
    if faults:
        raise typer.Exit(1)


def _prune(journal: Journal, settings: Settings, by: str, as_json: bool) -> None:
    from datetime import UTC, datetime

    from cityforge.trust.keys import open_key
    from cityforge.trust.prune import prune

    signer = open_key(settings, by or _person(settings))
    count, entry = prune(journal, signer, datetime.now(UTC), settings.audit_years)
    if as_json:
        show_json({"removed": count, "entry": entry.number if entry else None})
        return
    typer.echo(f"{count} entries older than {settings.audit_years} years removed")


@hold.command("add")
def add(
    context: typer.Context,
    reason: Reason,
    algorithm: Annotated[
        str, typer.Option(help="Hold what is on record of it.", autocompletion=algorithm_names)
    ] = "",
    dataset: Annotated[
        str, typer.Option(help="Hold its footage.", autocompletion=dataset_names)
    ] = "",
    footage: Annotated[
        list[str] | None, typer.Option(help="Only this footage id; may be given several times.")
    ] = None,
    by: By = "",
    as_json: Json = False,
) -> None:
    """Keep footage and entries from being deleted until the hold is released."""
    project, settings = open_project(context)
    from cityforge.errors import InputError
    from cityforge.footage.sealing import find_footage
    from cityforge.footage.seals import read_with_seals
    from cityforge.trust.holds import OF_DATASET
    from cityforge.trust.journal import act, open_journal, signer_of

    if bool(algorithm) == bool(dataset) or (footage and not dataset) or not reason.strip():
        raise InputError("--algorithm, or --dataset with or without --footage, and a --reason",
                         found="another choice")  # fmt: skip
    if algorithm:
        about, body = project.algorithm(algorithm).name, {"reason": reason, "footage": []}
    else:
        project.dataset(dataset)
        catalogue = read_with_seals(project.dataset_folder(dataset)) if footage else None
        named = [find_footage(catalogue, each, dataset) for each in footage or ()]
        about = f"{OF_DATASET}{dataset}"
        body = {"reason": reason, "footage": [str(each["footage_id"]) for each in named]}
    journal = open_journal(project, settings)
    signer = signer_of(journal, settings, by or _person(settings))
    entry = act(journal, settings, signer, "hold", about, body)
    if as_json:
        show_json(_as_json(entry))
        return
    typer.echo(f"hold {entry.number} lies on {about}: {reason}")


@hold.command("release")
def release(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="Of the hold, as `hold list` says.")],
    reason: Reason,
    by: By = "",
    as_json: Json = False,
) -> None:
    """Lift a hold; an admin's act."""
    project, settings = open_project(context)
    from cityforge.errors import NameUnknown
    from cityforge.trust.holds import ACTS, holds_in_force
    from cityforge.trust.journal import open_journal, signer_of

    journal = open_journal(project, settings)
    signer = signer_of(journal, settings, by or _person(settings))
    with journal.turn() as turn:
        turn.chain()
        found = {each.number: each for each in holds_in_force(turn.entries(acts=ACTS))}
        if number not in found:
            raise NameUnknown("a hold in force", str(number), [str(each) for each in found])
        body = {"hold": number, "reason": reason, "footage": list(found[number].footage)}
        entry = turn.append(signer, "release", found[number].about, body)
    if as_json:
        show_json(_as_json(entry))
        return
    typer.echo(f"hold {number} on {found[number].about} is released")


@hold.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the holds in force."""
    project, settings = open_project(context)
    from cityforge.trust.holds import ACTS, holds_in_force
    from cityforge.trust.journal import open_journal

    found = holds_in_force(open_journal(project, settings).entries(acts=ACTS))
    rows = [
        {
            "hold": each.number, "about": each.about, "footage": list(each.footage) or "all",
            "since": each.at[:10], "by": each.by, "reason": each.reason,
        }
        for each in found
    ]  # fmt: skip
    show(rows, as_json, "no hold lies on anything")


def _person(settings: Settings) -> str:
    from cityforge.cli.model import login

    return settings.user or login()


def _day(text: str) -> str:
    """A day as ISO 8601, which the times of entries begin with."""
    from datetime import date

    from cityforge.errors import InputError

    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as error:
        raise InputError("a day such as 2026-11-22", found=f"'{text}'", where="--since") from error


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "entry": entry.number,
        "at": entry.at[:19],
        "act": entry.act,
        "about": entry.about,
        "by": entry.by,
        "what": _words(entry.act, entry.body),
    }


def _words(act: str, body: dict[str, Any]) -> str:
    """What an act was, in a line."""
    if act in ("key.trust", "key.revoke"):
        taken = ", compromised" if body.get("compromised") else ""
        return " and ".join(body.get("roles", [])) or f"{body.get('reason')}{taken}"
    said = [f"version {body['version']}"] if "version" in body else []
    said += [name.replace("_", " ") for name in ("override", "one_person", "adopted")
             if body.get(name)]  # fmt: skip
    if body.get("waived"):
        said.append(f"without {', '.join(body['waived'])}")
    if body.get("champion_before"):
        said.append(f"instead of {body['champion_before']}")
    if act == "prune":
        said.append(f"{body['entries']} entries from before {str(body['until'])[:10]}")
    said += [str(body[name]) for name in ("failure_id", "kind", "what") if body.get(name)]
    if body.get("ids"):
        said.append(f"{body.get('count', len(body['ids']))} files")
    said += [str(body[name]) for name in ("reason", "why") if body.get(name)]
    return ", ".join(said)


def _as_json(entry: Entry) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(entry.to_json())
    return found | {"digest": entry.digest()}
