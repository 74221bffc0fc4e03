"""`cityforge model failure`: confirmed field failures, which every later version must answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.cards.algorithm import Algorithm
    from cityforge.evaluation.confirmed import Taken
    from cityforge.project import Project

app = typer.Typer(
    help="Confirmed field failures: a gate of every later version.", no_args_is_help=True
)


@app.command()
def add(
    context: typer.Context,
    algorithm: AlgorithmName,
    picture: Annotated[
        str, typer.Argument(metavar="[FRAME_OR_PICTURE]", help="A stored frame's id, or a file.")
    ] = "",
    reason: Annotated[str, typer.Option(help="Why it was a failure; it stays on record.")] = "",
    clip: Annotated[Path | None, typer.Option(help="A film, instead of a picture.")] = None,
    at: Annotated[float, typer.Option(help="The second of the film.", min=0)] = 0.0,
    expect: Annotated[
        Path | None,
        typer.Option(help="What was right, as JSON: boxes, absent, classes, counts."),
    ] = None,
    expect_none: Annotated[
        bool, typer.Option("--expect-none", help="Nothing should have been reported.")
    ] = False,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="What is there; of boxes one for each, or one for all."),
    ] = None,
    boxes: Annotated[
        list[str] | None, typer.Option("--box", help="Where: x1,y1,x2,y2 in pixels.")
    ] = None,
    count: Annotated[float | None, typer.Option(help="How many there are.", min=0)] = None,
    tolerance: Annotated[float, typer.Option(help="How far a count may be off.", min=0)] = 0.5,
    as_json: Json = False,
) -> None:
    """Add a field failure with what was right: boxes, a class, a count, or nothing at all."""
    project, settings = open_project(context)
    from datetime import UTC, datetime

    from cityforge.errors import InputError
    from cityforge.evaluation.confirmed import add_failure, expected_of
    from cityforge.evaluation.failures import FOLDER
    from cityforge.trust.journal import act, open_journal, signer_of

    card = project.algorithm(algorithm)
    asked = [expect is not None, expect_none, bool(classes)]
    if sum(asked) != 1:
        raise InputError("one of --expect, --expect-none and --class", found=f"{sum(asked)}")
    content = _read(expect) if expect else said(card, classes, boxes, count, tolerance)
    loss = project.algorithm_params(algorithm).train.loss
    expected = expected_of(content, card, bool(getattr(loss, "several_labels", False)))
    journal = open_journal(project, settings)
    signer = signer_of(journal, settings, settings.user or _login())
    now = datetime.now(UTC)
    taken = _taken(project, card, picture, clip, at, now)
    folder = project.algorithm_folder(algorithm) / FOLDER
    found = add_failure(folder, taken, expected, reason, signer.name, now)
    body = {"failure_id": found.failure_id, "reason": reason, "footage_id": taken.footage_id}
    act(journal, settings, signer, "failure", algorithm, body)
    if as_json:
        show_json(found.model_dump(mode="json", by_alias=True))
        return
    typer.echo(
        f"failure {found.failure_id} added to {folder.relative_to(project.root)}; from now on it "
        f"is a gate\nnext: git add it, then cityforge run {algorithm}"
    )


@app.command("list")
def list_(context: typer.Context, algorithm: AlgorithmName, as_json: Json = False) -> None:
    """List the failures, and how the newest evaluation here answered them."""
    project, _ = open_project(context)
    from cityforge.evaluation.evidence import read_evidence
    from cityforge.evaluation.failures import FOLDER, read_failures

    project.algorithm(algorithm)
    path = project.build(algorithm) / "package" / "evidence.json"
    results = read_evidence(path).failures if path.is_file() else []
    answered = {each.failure_id: each for each in results}
    rows: list[dict[str, Any]] = []
    for each in read_failures(project.algorithm_folder(algorithm) / FOLDER):
        result = answered.get(each.failure_id)
        rows.append(
            {
                "failure": each.failure_id, "of": each.source, "reason": each.reason,
                "added": f"{each.at[:10]} by {each.by}",
                "passed": result.passed if result else None,
                "found": result.found if result else "not asked yet",
            }
        )  # fmt: skip
    show(rows, as_json, f"no failure yet: cityforge model failure add {algorithm}")


@app.command()
def remove(
    context: typer.Context,
    algorithm: AlgorithmName,
    failure: Annotated[str, typer.Argument(metavar="FAILURE", help="Its id.")],
    reason: Annotated[str, typer.Option(help="Why it is asked no more; it stays on record.")],
    by: Annotated[
        str, typer.Option("--by", help="Whose key signs; by default CITYFORGE_USER or the login.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Take a failure out of the suite, as an approver; git and the record keep it."""
    project, settings = open_project(context)
    from cityforge.errors import InputError
    from cityforge.evaluation.confirmed import remove_failure
    from cityforge.evaluation.failures import FOLDER
    from cityforge.registry.field_failures import FAILURE_ACTS, REMOVE, failures_in_force
    from cityforge.trust.journal import act, open_journal, signer_of

    project.algorithm(algorithm)
    if not reason.strip():
        raise InputError("a reason, which stays on record", found="none", where="--reason")
    journal = open_journal(project, settings)
    folder = project.algorithm_folder(algorithm) / FOLDER
    on_record = failures_in_force(journal.entries(acts=FAILURE_ACTS), algorithm)
    has_file = (folder / f"{failure}.json").is_file()
    if failure in on_record or has_file:
        signer = signer_of(journal, settings, by or settings.user or _login())
        body = {"failure_id": failure, "reason": reason}
        act(journal, settings, signer, REMOVE, algorithm, body)
    if has_file or failure not in on_record:  # else the file is gone, and the record alone asks it
        remove_failure(folder, failure)
    if as_json:
        show_json({"removed": failure})
        return
    typer.echo(f"failure {failure} removed; the next evaluation does not ask it")


def said(
    card: Algorithm,
    classes: list[str] | None,
    boxes: list[str] | None,
    count: float | None,
    tolerance: float,
) -> dict[str, Any]:
    """What the options say was right, as `--expect` would."""
    from cityforge.errors import InputError

    if not classes:
        if card.task == "density":
            none = [{"class": name, "count": 0, "tolerance": tolerance} for name in card.classes]
            return {"counts": none}
        return {"absent": [{"class": None, "xyxy": None}]}
    if card.task == "density":
        if count is None:
            raise InputError("--count beside --class (task density)", found="none")
        return {"counts": [{"class": c, "count": count, "tolerance": tolerance} for c in classes]}
    if card.task == "classification":
        return {"classes": classes}
    if not boxes or len(classes) not in (1, len(boxes)):
        raise InputError(
            "a --box for each --class, or one --class for all",
            found=f"{len(classes)} classes and {len(boxes or [])} boxes",
        )
    names = classes * len(boxes) if len(classes) == 1 else classes
    places = [corners(each) for each in boxes]
    return {"boxes": [{"class": n, "xyxy": p} for n, p in zip(names, places, strict=True)]}


def corners(text: str) -> list[float]:
    """Read x1,y1,x2,y2.

    >>> corners("10, 20,30.5,40")
    [10.0, 20.0, 30.5, 40.0]
    """
    from cityforge.errors import InputError

    try:
        found = [float(each) for each in text.split(",")]
    except ValueError:
        found = []
    if len(found) != 4:
        raise InputError("four numbers x1,y1,x2,y2", found=f"'{text}'", where="--box")
    return found


def _read(path: Path) -> dict[str, Any]:
    import json

    from cityforge.errors import InputError

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("a JSON file", found="no file", where=str(path)) from error
    except ValueError as error:
        raise InputError("JSON", found=str(error), where=str(path)) from error
    if not isinstance(content, dict):
        raise InputError("an object of JSON", found=type(content).__name__, where=str(path))
    return content


def _taken(
    project: Project, card: Algorithm, picture: str, clip: Path | None, at: float, now: Any
) -> Taken:
    from cityforge.errors import InputError
    from cityforge.evaluation.confirmed import taken_frame, taken_moment, taken_picture

    if bool(picture) == (clip is not None):
        raise InputError(
            "a stored frame's id, a picture file or --clip FILE --at SECONDS",
            found="two of them" if picture else "none",
        )
    dataset, folder = project.dataset(card.dataset), project.dataset_folder(card.dataset)
    if clip is not None:
        return taken_moment(dataset, folder, clip, at)
    path = Path(picture)
    if path.exists() or path.suffix:
        return taken_picture(dataset, folder, path)
    return taken_frame(dataset, folder, picture, now)


def _login() -> str:
    import getpass

    return getpass.getuser()
