"""`cityforge trace`: from an answer back to labels and films, and forward again, as a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cityforge.cli.surroundings import Json, open_project, progress

if TYPE_CHECKING:
    from cityforge.registry.records import Records
    from cityforge.registry.site import Site
    from cityforge.registry.trace_tree import Node

SHOWN = 5  # of one kind below one thing


def trace(
    context: typer.Context,
    thing: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A request, version (NAME@3), digest, label, annotation, annotator, frame, film "
            "(id or name), endpoint or Bento; KIND:ID where two have the same.",
        ),
    ],
    version: Annotated[
        int | None, typer.Argument(help="Where ID names an algorithm: its version.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="Look in this dataset alone.")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Every line, not only the first of each kind.")
    ] = False,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="First bring what versions rest on from the registry.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Trace anything: what it rests on, and what rests on it."""
    project, settings = open_project(context)
    from cityforge.registry.lacking import has_registry
    from cityforge.registry.records import Records
    from cityforge.registry.site import Site
    from cityforge.registry.standing import ACTS
    from cityforge.registry.trace import trace as find

    site = Site(project, settings)
    text = thing if version is None else f"{thing}@{version}"
    records = Records(project, site.journal.entries(acts=ACTS))
    if fetch:
        _fetch(site, records, [each.register.body for each in records.versions.values()])
        records = Records(project, records.entries)
    node = find(records, text, dataset=dataset, full=as_json)
    lacking = _lacking(records, node)
    if lacking and not fetch and has_registry(site) and _fetch(site, records, lacking):
        node = find(Records(project, records.entries), text, dataset=dataset, full=as_json)
    if as_json:
        import json

        # On one line: of a million labels the lines alone would take seconds.
        typer.echo(json.dumps(node.as_dict(), ensure_ascii=False, default=str))
        return
    _print(node, everything)


def _lacking(records: Records, node: Node) -> list[dict[str, Any]]:
    """What is registered of the versions in the back of a trace whose labels are not here."""
    found = []
    if node.kind == "version":
        name, _, number = node.id.partition("@")
        named = (name, int(number))
        if records.basis(named).snapshot not in records.lineages:
            found.append(records.versions[named].register.body)
    return found + [body for each in node.back for body in _lacking(records, each)]


def _fetch(site: Site, records: Records, bodies: list[dict[str, Any]]) -> int:
    """Bring the lineages that are not on this machine; how many were there to bring."""
    from cityforge.registry.lineage import fetch_lineage

    splits = {str(body["snapshot_digest"]): str(body["run_id"]) for body in bodies}
    runs = [run_id for split, run_id in splits.items() if records.subsets(split) is None]
    brought = 0
    with progress("lineage", "snapshots") as advance:
        for done, run_id in enumerate(runs, start=1):
            brought += fetch_lineage(site, run_id)
            advance(done, len(runs))
    return brought


def _print(node: Node, everything: bool) -> None:
    import sys

    from rich.console import Console
    from rich.tree import Tree

    tree = Tree(node.text)
    for title, nodes, side in (
        ("rests on", node.back, "back"), ("what rests on it", node.forward, "forward"),
    ):  # fmt: skip
        if nodes:
            _grow(tree.add(title), nodes, side, everything)
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False, markup=False, soft_wrap=True).print(tree)


def _grow(branch: Any, nodes: list[Node], side: str, everything: bool) -> None:
    """Add nodes and what lies behind them; of each kind the first, and how many more there are."""
    kinds: dict[str, list[Node]] = {}
    for each in nodes:
        kinds.setdefault(each.kind, []).append(each)
    for kind, theirs in kinds.items():
        shown = theirs if everything else theirs[:SHOWN]
        for each in shown:
            below = branch.add(each.text)
            _grow(below, getattr(each, side), side, everything)
            if side == "back" and each.kind == "version" and each.forward:
                _grow(below, each.forward, "forward", everything)
        if len(theirs) > len(shown):
            branch.add(f"… and {len(theirs) - len(shown):,} more of kind {kind}: --all shows them")
