"""`cityforge predict`: what a version answers to pictures and clips, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.inference.clips import Shown
    from cityforge.inference.package import About, Package
    from cityforge.inference.runtime import Answer, Model
    from cityforge.project import Project
    from cityforge.settings import Settings


def predict(
    context: typer.Context,
    algorithm: AlgorithmName,
    paths: Annotated[list[Path], typer.Argument(help="Pictures, clips, or folders of them.")],
    version: Annotated[
        int | None,
        typer.Option("--version", help="Any version; by default the champion, or the newest."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Least score, or least objects a cell of a density map; by default the "
            "package's own.",
            min=0,
            max=1,
        ),
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(help="Folder for the pictures with what was found drawn in.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer pictures and clips on this machine, without a server.

    Of a clip, detection answers each frame, density each second, classification the whole.
    """
    project, settings = open_project(context)
    from cityforge.footage.listing import list_files
    from cityforge.footage.stills import encode_jpeg
    from cityforge.inference.runtime import Model

    listed = list_files(paths)
    if listed.refused:
        raise listed.refused[0]
    package, number = chosen_package(project, settings, algorithm, version)
    model = Model(package)
    found: list[dict[str, Any]] = []
    for path, name in listed.files:
        for shown in _shown(model, path, threshold, with_picture=draw is not None):
            found.append({"image": name, **_place(shown), **found_in(shown.answer, model.about)})
            if draw and shown.bgr is not None:
                drawn = _drawn(encode_jpeg(shown.bgr), shown.answer, model.about)
                _write(draw, name, shown.at_s, drawn)
    if as_json:
        show_json(
            {"algorithm": algorithm, "version": number, "digest": package.digest, "answers": found}
        )
        return
    show(_rows(found), False, "nothing found")


def chosen_package(
    project: Project, settings: Settings, algorithm: str, version: int | None
) -> tuple[Package, int]:
    """The package of a version, by default of the champion or else the newest, and its number."""
    from cityforge.registry.site import Site
    from cityforge.registry.versions import champion, fetch_package, find_version

    project.algorithm(algorithm)
    site = Site(project, settings)
    chosen = champion(site, algorithm) if version is None else None
    chosen = chosen or find_version(site, algorithm, version)
    return fetch_package(site, chosen)[1], chosen.version


def _shown(
    model: Model, path: Path, threshold: float | None, *, with_picture: bool
) -> Iterator[Shown]:
    """What a file shows: a picture once, a clip as its task asks."""
    from cityforge.errors import InputError
    from cityforge.inference.clips import Shown, answer_clip, is_picture
    from cityforge.tasks.picture import decode

    if not is_picture(path):
        yield from answer_clip(model, path, threshold)
        return
    data = path.read_bytes()
    try:
        (answer,) = model.answer([data], threshold)
        yield Shown(None, 1, answer, decode(data)[:, :, ::-1] if with_picture else None)
    except InputError as error:
        raise InputError(error.expected, found=error.found, where=str(path)) from error


def _place(shown: Shown) -> dict[str, Any]:
    """Where in a clip an answer belongs; nothing for a picture."""
    if shown.at_s is not None:
        return {"at_s": shown.at_s}
    return {"frames": shown.frames} if shown.frames > 1 else {}


def found_in(answer: Answer, about: About) -> dict[str, list[dict[str, Any]]]:
    """An answer as people and programs read it."""
    names = [about.classes[cls] for cls in answer.cls]
    scores = [round(float(score), 4) for score in answer.score]
    if answer.counts is not None:
        counts = (round(float(count), 2) for count in answer.counts)
        return {"counts": [{"class": n, "count": c} for n, c in zip(names, counts, strict=True)]}
    rows = [{"class": n, "score": s} for n, s in zip(names, scores, strict=True)]
    if about.task == "classification":
        return {"classes": rows}
    edges = [[round(float(each), 2) for each in row] for row in answer.xyxy]
    corners = ("x1", "y1", "x2", "y2")
    return {
        "boxes": [
            row | dict(zip(corners, box, strict=True)) for row, box in zip(rows, edges, strict=True)
        ]
    }


def _rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each thing that was found, all with the same keys."""
    clips = [key for key in ("at_s", "frames") if any(key in each for each in found)]
    return [
        {"image": each["image"], **{key: each.get(key) for key in clips}, **row}
        for each in found
        for kind in ("boxes", "classes", "counts")
        for row in each.get(kind, ())
    ]


def _write(folder: Path, name: str, at_s: float | None, jpeg: bytes) -> None:
    stem = Path(name).stem + ("" if at_s is None else f" {at_s:07.3f}s")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.jpg").write_bytes(jpeg)


def _drawn(jpeg: bytes, answer: Answer, about: About) -> bytes:
    import numpy as np

    from cityforge.evaluation.captions import caption, heat_over
    from cityforge.evaluation.pictures import draw_boxes
    from cityforge.tasks.boxes import Boxes

    if about.task == "detection":
        frame = np.zeros(len(answer.score), np.int64)
        found = Boxes(frame, answer.cls.astype(np.int64), answer.xyxy, answer.score)
        longest = max(answer.width, answer.height)
        return draw_boxes(jpeg, Boxes.empty(), found, about.classes, longest=longest)
    names = [about.classes[cls] for cls in answer.cls]
    values = answer.score if answer.counts is None else answer.counts
    lines = [f"{name} {value:.2f}" for name, value in zip(names, values, strict=True)]
    if answer.density is not None and answer.cell_px is not None:
        jpeg = heat_over(jpeg, answer.density.sum(0), answer.cell_px)
    return caption(jpeg, lines)
