"""`cityforge dataset split`: which frames train and which prove, and how near they are."""

from __future__ import annotations

from typing import Any

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show, show_json

SHOWN = 10  # pairs on the screen


def split(context: typer.Context, algorithm: AlgorithmName, as_json: Json = False) -> None:
    """Show an algorithm's split as it stands: frames, boxes, groups, leak, what was left out."""
    project, _ = open_project(context)
    from cityforge.dataset.snapshot import open_snapshot
    from cityforge.dataset.standing import split_as_it_stands

    card = project.algorithm(algorithm)
    _, _, labels = open_snapshot(project.dataset_folder(card.dataset) / "snapshot")
    found = split_as_it_stands(project.build(algorithm), labels, card.classes, algorithm)
    if as_json:
        show_json(found)
        return
    show([_row(each) for each in found["subsets"]], False)
    _show_leak(found)


def _row(subset: dict[str, Any]) -> dict[str, Any]:
    return {**{key: subset[key] for key in ("subset", "frames", "groups")}, **subset["boxes"]}


def _show_leak(found: dict[str, Any]) -> None:
    leak, left_out = found["leak"], found["left_out"]
    if leak is None:
        typer.echo(
            "its leak was not measured by an earlier cityforge: "
            f"cityforge run {found['algorithm']} --stage split"
        )
        return
    typer.echo(
        f"leak {leak['share']:.1%} of val and test, nearest pair {leak['nearest']:.3f}; "
        f"{len(left_out)} frames left out, near one of another subset"
    )
    _show_pairs(leak["pairs"], "evaluated", "trained")
    _show_pairs(left_out, "left out", "near")


def _show_pairs(pairs: list[dict[str, Any]], first: str, second: str) -> None:
    if pairs:
        show([_pair(each, first, second) for each in pairs[:SHOWN]], False)


def _pair(pair: dict[str, Any], first: str, second: str) -> dict[str, Any]:
    return {first: pair["frame"], second: pair["near"], "likeness": pair["likeness"]}
