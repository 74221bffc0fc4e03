"""`cityforge footage withdraw` and `expire`: what may not be used any more is sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import DatasetName, Json, dvc, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.footage.seals import Sealed
    from cityforge.project import Project
    from cityforge.registry.descent import Made
    from cityforge.settings import Settings

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]

ADVICE = (
    "DVC's cache and remotes still hold earlier copies: dvc gc --workspace, with --cloud for "
    "remotes, removes them",
    "models that were trained on it stay as they are: people decide about them",
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
    """Seal a file with its frames and labels, and list what was made from it."""
    project, settings = open_project(context)
    from cityforge.footage.sealing import find_footage
    from cityforge.footage.seals import read_with_seals

    project.dataset(dataset)
    row = find_footage(read_with_seals(project.dataset_folder(dataset)), footage, dataset)
    if not yes:
        typer.confirm(f"seal {row['name']} ({row['footage_id']})?", abort=True, err=True)
    footage_id = str(row["footage_id"])
    (sealed,) = seal(project, settings, dataset, {footage_id: reason})
    made, silent = _made_from(project, settings, dataset, row)
    if as_json:
        show_json({"sealed": _row(project, sealed), "made": [vars(each) for each in made]})
    else:
        _say(project, sealed)
        _say_made(made)
        for line in ADVICE:
            typer.echo(f"- {line}")
    if silent:
        typer.echo(f"it is sealed, but what was made from it is not all listed: {silent}", err=True)
        raise typer.Exit(1)


def expire(
    context: typer.Context,
    dataset: DatasetName,
    soon: Annotated[int, typer.Option(help="Also list what ends within so many days.", min=0)] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Seal what has ended; else list it.")] = False,
    as_json: Json = False,
) -> None:
    """List footage past its retention, and seal it with --yes."""
    project, settings = open_project(context)
    from datetime import UTC, datetime, timedelta

    from cityforge.footage.lawful import expiring, retention_ended
    from cityforge.footage.seals import read_with_seals
    from cityforge.registry.descent import keep_history

    project.dataset(dataset)
    now = datetime.now(UTC)
    footage = read_with_seals(project.dataset_folder(dataset))
    due = expiring(footage, now, timedelta(days=soon)).to_pylist()
    ended = [row for row in due if row["retain_until"] <= now]
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
            "state": "still kept" if row not in ended else "sealed" if yes else "past its time",
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


def _made_from(
    project: Project, settings: Settings, dataset: str, row: dict[str, Any]
) -> tuple[list[Made], str]:
    """What was made from a file, and why the registry could not be asked, if so."""
    from cityforge.errors import CityforgeError
    from cityforge.registry.descent import keep_history, made_here, made_versions

    footage_id = str(row["footage_id"])
    made: list[Made] = []
    try:
        keep_history(project, dataset)
        made += made_here(project, dataset, footage_id)
        if settings.tracking_uri or (project.work / "mlflow.db").is_file():
            from cityforge.training.tracking import tracking_client

            client = tracking_client(project, settings)
            made += made_versions(client, project, dataset, footage_id, row["added_at"])
    except CityforgeError as error:
        return made, str(error)
    return made, ""


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
    if any(not each.certain for each in made):
        typer.echo("perhaps: nothing is on record of the snapshot that these came from")
