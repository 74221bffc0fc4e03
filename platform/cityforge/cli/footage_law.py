"""`cityforge footage withdraw` and `expire`: what may not be used any more is sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import DatasetName, Json, dvc, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.footage.seals import Sealed
    from cityforge.project import Project
    from cityforge.registry.affected import Affected
    from cityforge.registry.descent import Made
    from cityforge.registry.rebuild import Plan
    from cityforge.registry.site import Site
    from cityforge.settings import Settings
    from cityforge.trust.entries import Entry

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]

ADVICE = (
    "DVC's cache and remotes still hold earlier copies: dvc gc --workspace, with --cloud for "
    "remotes, removes them",
    "versions that rest on it are marked: none is approved or served without a reason on record",
    "reports and sheets of pictures that were written before still show it: write them anew",
    "the next cityforge run makes the frames and the snapshot without it",
    "its pictures are gone from Label Studio; the next cityforge label push removes its tasks "
    "that nobody has labelled and lists the others, for a person to delete there",
)


def withdraw(
    context: typer.Context,
    dataset: DatasetName,
    footage: Annotated[str, typer.Argument(help="Footage id, or the name it came with.")],
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put it on record, seal a file with its frames and labels, and list what rests on it."""
    project, settings = open_project(context)
    from cityforge.footage.sealing import find_footage
    from cityforge.footage.seals import read_with_seals
    from cityforge.registry.rebuild import plan
    from cityforge.registry.site import Site

    project.dataset(dataset)
    row = find_footage(read_with_seals(project.dataset_folder(dataset)), footage, dataset)
    _refuse_unreasoned(reason, str(row["name"]))
    if not yes:
        typer.confirm(f"seal {row['name']} ({row['footage_id']})?", abort=True, err=True)
    # On record first: from then on no machine of the site uses it, sealed there or not.
    site = Site(project, settings)
    entry, affected = _on_record(site, dataset, row, reason)
    footage_id = str(row["footage_id"])
    (sealed,) = seal(project, settings, dataset, {footage_id: str(entry.body["reason"])})
    made = _made_from(project, dataset, footage_id, affected)
    then = plan(project, affected)
    if as_json:
        told = {"sealed": _row(project, sealed), "made": [vars(each) for each in made]}
        show_json(told | {"entry": entry.number, "plan": vars(then)})
        return
    _say(project, sealed)
    _say_made(made)
    say_plan(then)
    for line in ADVICE:
        typer.echo(f"- {line}")


def _refuse_unreasoned(reason: str, where: str) -> None:
    from cityforge.errors import InputError

    if not reason.strip():
        raise InputError("a reason that stays on record", found="none", where=where)


def _on_record(
    site: Site, dataset: str, row: dict[str, Any], reason: str
) -> tuple[Entry, Affected]:
    from functools import partial

    from cityforge.cli.model import login
    from cityforge.registry.affected import by_footage, put_on_record
    from cityforge.registry.descent import keep_history

    keep_history(site.project, dataset)
    footage_id = str(row["footage_id"])
    rests = partial(by_footage, dataset=dataset, ids=[footage_id], added_at=row["added_at"])
    who = site.settings.user or login()
    return put_on_record(site, dataset, "footage", [footage_id], reason, who, rests)


def say_plan(plan: Plan) -> None:
    """Print what is left, and the commands that make versions anew."""
    counts = ", ".join(f"{name} {count}" for name, count in plan.labels.items())
    typer.echo(f"left in the dataset: {plan.frames} labelled frames; labels: {counts}")
    if plan.short:
        typer.echo(f"fewer than the card's checks ask for: {', '.join(plan.short)}", err=True)
    typer.echo("to make what rests on it anew, in this order:")
    for command in plan.commands:
        typer.echo(f"  {command}")


def expire(
    context: typer.Context,
    dataset: DatasetName,
    soon: Annotated[int, typer.Option(help="Also list what ends within so many days.", min=0)] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Seal what has ended; else list it.")] = False,
    as_json: Json = False,
) -> None:
    """List footage past its retention, and seal it with --yes, unless a hold lies on it."""
    project, settings = open_project(context)
    from datetime import UTC, datetime, timedelta

    from cityforge.footage.lawful import expiring, retention_ended
    from cityforge.footage.seals import read_with_seals
    from cityforge.registry.descent import keep_history
    from cityforge.trust.holds import ACTS, held_footage
    from cityforge.trust.journal import open_journal

    project.dataset(dataset)
    now = datetime.now(UTC)
    footage = read_with_seals(project.dataset_folder(dataset))
    due = expiring(footage, now, timedelta(days=soon)).to_pylist()
    ids = [str(row["footage_id"]) for row in due]
    held = held_footage(open_journal(project, settings).entries(acts=ACTS), dataset, ids)
    past = [row for row in due if row["retain_until"] <= now]
    ended = [row for row in past if row["footage_id"] not in held]
    if yes and ended:
        reasons = {str(e["footage_id"]): retention_ended(e["retain_until"]) for e in ended}
        seal(project, settings, dataset, reasons)
        keep_history(project, dataset)
    rows = [
        {
            "footage_id": row["footage_id"],
            "name": row["name"],
            "camera": row["camera"],
            "lawful_basis": row["lawful_basis"],
            "retain_until": row["retain_until"].isoformat(timespec="seconds"),
            "state": held.get(str(row["footage_id"]))
            or ("still kept" if row not in ended else "sealed" if yes else "past its time"),
        }
        for row in due
    ]
    show(rows, as_json, "nothing is past its retention")
    if ended and not yes and not as_json:
        typer.echo(f"seal them: cityforge footage expire {dataset} --yes")


def seal(
    project: Project, settings: Settings, dataset: str, reasons: dict[str, str]
) -> list[Sealed]:
    """Withdraw files, and bring DVC's pointers to footage and labels up to date.

    Args:
        reasons: footage id to the reason that stays on record.
    """
    from datetime import UTC, datetime

    from cityforge.cli.model import login
    from cityforge.footage.sealing import withdraw_all
    from cityforge.labeling.studio.pictures import remove_pictures
    from cityforge.labeling.studio.server import files_folder

    folder = project.dataset_folder(dataset)
    who = settings.user or login()
    sealed = withdraw_all(folder, reasons, datetime.now(UTC), who)
    remove_pictures(files_folder(project.work, settings), dataset, footage_ids=list(reasons))
    for part in ("footage", "labels"):
        if folder.joinpath(f"{part}.dvc").is_file() and folder.joinpath(part).is_dir():
            dvc(project, "add", f"datasets/{dataset}/{part}", quietly=True)
    return sealed


def _made_from(project: Project, dataset: str, footage_id: str, affected: Affected) -> list[Made]:
    """What was made from a file: in this project, and as versions."""
    from cityforge.registry.descent import made_here, made_versions

    return made_here(project, dataset, footage_id) + made_versions(affected)


def _row(project: Project, sealed: Sealed) -> dict[str, Any]:
    return {**vars(sealed), "folder": str(sealed.folder.relative_to(project.root))}


def _say(project: Project, sealed: Sealed) -> None:
    original = "original" if sealed.original else "no original (it was not on this machine)"
    typer.echo(
        f"{sealed.name} ({sealed.footage_id}) is sealed since "
        f"{sealed.withdrawn_at.isoformat(timespec='seconds')} by {sealed.by}: {sealed.reason}\n"
        f"{original}, {sealed.frames} frames, {sealed.shards} shards and {sealed.labels} labels "
        f"in {sealed.folder.relative_to(project.root)}"
    )


def _say_made(made: list[Made]) -> None:
    rows = [
        {
            "made_from_it": each.kind if each.certain else f"{each.kind}, perhaps",
            "name": each.name,
            "snapshot": each.digest[:16],
            "state": each.state,
        }
        for each in made
    ]
    show(rows, False, "nothing on record was made from it")
    for why in sorted({each.why for each in made if not each.certain}):
        typer.echo(f"perhaps: {why}")
