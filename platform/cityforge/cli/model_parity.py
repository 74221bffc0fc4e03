"""`cityforge model parity`: one version through torch, ONNX, INT8 and a live endpoint."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.dataset.labelled import LabelledFrames
    from cityforge.export.found import Parity, Side
    from cityforge.export.sides import Way
    from cityforge.inference.package import Package
    from cityforge.project import Project
    from cityforge.registry.site import Site
    from cityforge.registry.versions import Version
    from cityforge.training.data import TrainingData


def parity(
    context: typer.Context,
    algorithm: AlgorithmName,
    version: Annotated[
        int | None,
        typer.Option(
            "--version", help="By default what is served, or the champion, or the newest."
        ),
    ] = None,
    endpoint: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="An endpoint that serves it is asked, too, with CITYFORGE_ENDPOINT_TOKEN.",
        ),
    ] = "",
    frames: Annotated[
        int, typer.Option(min=0, help="At most so many of the test split; 0 takes all.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Answer the test split in every way the model is run, and hold the answers side by side.

    Boxes are compared before thresholds, in pixels of the frame; an endpoint over the package's.
    """
    project, settings = open_project(context)
    from cityforge.export.endpoint import endpoint_parity
    from cityforge.export.sides import measured_sides, parts_of, refuse_far
    from cityforge.footage.catalogue import read_catalogue
    from cityforge.registry.site import Site
    from cityforge.training.data import open_training_data

    card = project.algorithm(algorithm)
    site = Site(project, settings)
    token = settings.endpoint_token.get_secret_value()
    chosen, package = _package(site, algorithm, version, endpoint, token)
    data = open_training_data(project, card)
    shown = _frames(data, package, frames)
    ways, lacking = _ways(site, chosen, package)
    footage = read_catalogue(project.dataset_folder(card.dataset))
    parts = parts_of(shown.frame_ids, data.frames, footage)
    found = measured_sides(package.about, shown, data.store.read, ways, parts)
    live = None
    if endpoint:
        live = endpoint_parity(package.about, shown, data.store.read, ways["onnx"], endpoint, token)
    for line in [*lacking, *_other_snapshot(package, data)]:
        typer.echo(line, err=True)
    _show(project, chosen, package, found, live, endpoint, as_json)
    limits = project.algorithm_params(algorithm).export
    for each in (found, live):
        if each is not None:
            refuse_far(package.about, each, limits.max_difference, limits.most_score_difference)


def _package(
    site: Site, algorithm: str, version: int | None, endpoint: str, token: str
) -> tuple[Version, Package]:
    """The version that is meant; of an endpoint the one it serves, byte for byte."""
    from cityforge.errors import DataError
    from cityforge.export.endpoint import served_by
    from cityforge.registry.versions import champion, fetch_package, find_version

    served = served_by(endpoint, token) if endpoint else {}
    number = version if version is not None else served.get("version")
    chosen = champion(site, algorithm) if number is None else None
    chosen = chosen or find_version(site, algorithm, number)
    package = fetch_package(site, chosen)[1]
    if served and served["digest"] != package.digest:
        raise DataError(
            f"version {chosen.version} of '{algorithm}', package {package.digest[:16]}…",
            found=f"version {served['version']} of '{served.get('model')}', package "
            f"{served['digest'][:16]}…",
            where=endpoint,
            do="name the endpoint that serves it",
        )
    return chosen, package


def _frames(data: TrainingData, package: Package, most: int) -> LabelledFrames:
    """Frames of test, evenly over it, with the labels of the package's classes."""
    import numpy as np

    from cityforge.dataset.labelled import labelled_frames

    about = package.about
    found = labelled_frames(
        data.split,
        data.labels,
        "test",
        about.classes,
        about.task,
        several_labels=bool(about.several_labels),
    )
    if not most or most >= len(found):
        return found
    return found.take(np.linspace(0, len(found) - 1, most).round().astype(int).tolist())


def _ways(site: Site, version: Version, package: Package) -> tuple[dict[Any, Way], list[str]]:
    """How this version can be run here, torch first; and what is lacking, in words."""
    from cityforge.errors import CityforgeError
    from cityforge.export.onnx import open_network
    from cityforge.export.sides import onnx_way, torch_way
    from cityforge.training.registered import fetch_weights

    ways: dict[Any, Way] = {}
    lacking: list[str] = []
    address = f"models:/{version.algorithm}/{version.version}"
    try:
        weights, _ = fetch_weights(site.client, site.project, address)
        folder = site.project.algorithm_folder(version.algorithm)
        ways["torch"] = torch_way(open_network(weights.parent, folder))
    except CityforgeError as error:
        lacking.append(f"torch is not measured, ONNX is what the others are held against: {error}")
    ways["onnx"] = onnx_way(package.model, package.about.task)
    if package.int8 is not None:
        ways["int8"] = onnx_way(package.int8, package.about.task)
    return ways, lacking


def _other_snapshot(package: Package, data: TrainingData) -> list[str]:
    if package.about.snapshot_digest == data.digest:
        return []
    return ["the package was made from another snapshot: its own evidence has other figures"]


def _show(
    project: Project,
    version: Version,
    package: Package,
    found: Parity,
    live: Parity | None,
    endpoint: str,
    as_json: bool,
) -> None:
    from cityforge.export.answers import main_figure_name

    if as_json:
        facts = {
            "algorithm": version.algorithm, "version": version.version, "digest": package.digest,
            "subset": "test", "figure": main_figure_name(package.about), **asdict(found),
        }  # fmt: skip
        if live is not None:
            facts["endpoint"] = {"url": endpoint, **asdict(live)}
        show_json(facts)
        return
    name = main_figure_name(package.about)
    rows = [_row(side, "", name) for side in found.sides]
    if live is not None:
        rows += [_row(side, " over the threshold", name) for side in live.sides]
    typer.echo(f"{version.algorithm} version {version.version} on {found.frames} frames of test")
    show(rows, False)
    parts = list(found.sides[0].slices)
    if parts:
        sides = {side.name: side.slices for side in found.sides}
        show(
            [{"slice": part, **{k: v.get(part) for k, v in sides.items()}} for part in parts], False
        )


def _row(side: Side, suffix: str, figure: str) -> dict[str, Any]:
    """A line of the table; differences need more digits than figures."""
    return {
        "side": f"{side.name}{suffix}",
        figure: "–" if side.score is None else f"{side.score:.6f}",
        "box_px": "–" if side.box_px is None else f"{side.box_px:.2e}",
        "score": "–" if side.answer is None else f"{side.answer:.2e}",
        "unmatched": side.unmatched,
    }
