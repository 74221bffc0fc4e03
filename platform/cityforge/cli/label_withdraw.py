"""`cityforge label withdraw`: labels that may not be used any more, by whom or by which id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cityforge.cli.surroundings import DatasetName, Json, dvc, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.labeling.withdrawing import Taken
    from cityforge.labeling.withdrawn import Withdrawn
    from cityforge.project import Project
    from cityforge.registry.affected import Affected
    from cityforge.registry.site import Site
    from cityforge.trust.entries import Entry


def withdraw(
    context: typer.Context,
    dataset: DatasetName,
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    label: Annotated[
        list[str] | None, typer.Option(help="Id of a label; may be given several times.")
    ] = None,
    annotator: Annotated[
        list[str] | None, typer.Option(help="All that this person drew, now and later.")
    ] = None,
    annotation: Annotated[list[str] | None, typer.Option(help="Id of an annotation.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    as_json: Json = False,
) -> None:
    """Put it on record, take labels out under seal, and list what rests on them."""
    project, settings = open_project(context)
    from cityforge.cli.footage_law import say_plan
    from cityforge.errors import InputError
    from cityforge.labeling.withdrawing import asked_for, refuse_unknown
    from cityforge.registry.rebuild import plan
    from cityforge.registry.site import Site

    project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    asked = asked_for(label or (), annotator or (), annotation or ())
    if not asked.ids:
        raise InputError("what to withdraw", found="nothing",
                         do="name it with --label, --annotator or --annotation")  # fmt: skip
    if not reason.strip():
        raise InputError("a reason that stays on record", found="none", where=dataset)
    refuse_unknown(folder, asked)
    if not yes:
        typer.confirm(f"withdraw {', '.join(sorted(asked.ids))}?", abort=True, err=True)
    # On record first: from then on no machine of the site reads them, taken out there or not.
    entry, affected = _on_record(Site(project, settings), dataset, asked, reason)
    taken = _take_out(project, dataset, entry)
    then = plan(project, affected)
    if as_json:
        versions = [vars(each) for each in affected.versions]
        show_json({"entry": entry.number, **vars(taken), "snapshots": affected.snapshots,
                   "versions": versions, "plan": vars(then)})  # fmt: skip
        return
    _say(project, entry, taken, affected)
    say_plan(then)


def _on_record(site: Site, dataset: str, asked: Withdrawn, reason: str) -> tuple[Entry, Affected]:
    from functools import partial

    from cityforge.cli.model import login
    from cityforge.registry.affected import by_labels, put_on_record
    from cityforge.registry.descent import keep_history

    keep_history(site.project, dataset)
    rests = partial(by_labels, dataset=dataset, withdrawn=asked)
    who = site.settings.user or login()
    return put_on_record(site, dataset, "label", sorted(asked.ids), reason, who, rests)


def _take_out(project: Project, dataset: str, entry: Entry) -> Taken:
    """Seal the labels, list the act beside them, and settle anew what several people drew."""
    from cityforge.labeling.stored import annotations_path
    from cityforge.labeling.withdrawing import take_out
    from cityforge.labeling.withdrawn import add_to_list, read_withdrawn

    folder = project.dataset_folder(dataset)
    act = {"entry": entry.digest(), "ids": entry.body["ids"], "reason": entry.body["reason"],
           "by": entry.by, "at": entry.at}  # fmt: skip
    add_to_list(folder, act)
    taken = take_out(folder, read_withdrawn(folder))
    if annotations_path(folder).is_file() and (folder / "frames" / "frames.parquet").is_file():
        _settle(project, dataset)
    if (folder / "labels.dvc").is_file():
        dvc(project, "add", f"datasets/{dataset}/labels", quietly=True)
    return taken


def _settle(project: Project, dataset: str) -> None:
    from datetime import UTC, datetime

    from cityforge.footage.stored import lawful_frames
    from cityforge.labeling.settle import settle

    card, folder = project.dataset(dataset), project.dataset_folder(dataset)
    stored = lawful_frames(card, folder, datetime.now(UTC))
    settle(card, folder, stored.footage, stored.frames)


def _say(project: Project, entry: Entry, taken: Taken, affected: Affected) -> None:
    typer.echo(
        f"withdrawn by {entry.by} at {entry.at}: {entry.body['reason']}\n"
        f"{taken.labels} labels on {taken.frames} frames lie in "
        f"{taken.folder.relative_to(project.root)}; {taken.unlabelled_frames} of these frames "
        "have no label left and leave the next snapshot"
    )
    partly = taken.frames - taken.unlabelled_frames
    if partly:
        typer.echo(
            f"{partly} frames keep other labels: look whether what was drawn there is missing now",
            err=True,
        )
    rows = [
        {
            "rests_on_them": "version" if each.certain else "version, perhaps",
            "name": f"{each.algorithm} version {each.version}",
            "state": ", ".join([each.standing, *each.answering]),
        }
        for each in affected.versions
    ]
    for digest in affected.snapshots:
        typer.echo(f"snapshot {digest[:16]} held them")
    show(rows, False, "no version on record rests on them")
    for why in sorted({each.why for each in affected.versions if not each.certain}):
        typer.echo(f"perhaps: {why}")
