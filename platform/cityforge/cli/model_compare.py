"""`cityforge model compare`: two versions side by side, and on the same frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from cityforge.cli.surroundings import AlgorithmName, Json, open_project, show, show_json

if TYPE_CHECKING:
    from cityforge.evaluation.against import Compared
    from cityforge.evaluation.evidence import Evidence, GateResult
    from cityforge.inference.package import Package
    from cityforge.project import Project
    from cityforge.registry.site import Site
    from cityforge.registry.versions import Version


class Opened(NamedTuple):
    """A version with its package and the evidence in it."""

    version: Version
    package: Package
    evidence: Evidence

    @property
    def name(self) -> str:
        """As the columns are headed."""
        return f"v{self.version.version}"


def compare(
    context: typer.Context,
    algorithm: AlgorithmName,
    one: Annotated[int, typer.Argument(help="A version.")],
    other: Annotated[int | None, typer.Argument(help="By default the champion.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Read what was stored; run neither of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hold two versions side by side: figures, gates, slices, and the same frames answered anew.

    A difference is that of the first less the other; its interval is a paired bootstrap (95 %).
    """
    project, settings = open_project(context)
    from cityforge.evaluation.against import Compared
    from cityforge.registry.site import Site

    project.algorithm(algorithm)
    left, right = _open_both(Site(project, settings), algorithm, one, other)
    same = _snapshot(left) == _snapshot(right)
    here = Compared(None, "not run (--quick)") if quick else _run_both(project, left, right)
    if as_json:
        show_json(_facts(left, right, same, here))
    else:
        _show(left, right, here)
    if here.against is None and not quick:
        typer.echo(f"not compared on the same frames: {here.why}", err=True)
    if not same:
        typer.echo("measured on different snapshots: the stored figures do not compare", err=True)


def _open_both(site: Site, algorithm: str, one: int, other: int | None) -> tuple[Opened, Opened]:
    from cityforge.errors import RegistryError
    from cityforge.registry.versions import champion, find_version

    left = find_version(site, algorithm, one)
    right = champion(site, algorithm) if other is None else find_version(site, algorithm, other)
    if right is None:
        raise RegistryError("a champion to compare with", found="none", do="name a second version")
    return _open(site, left), _open(site, right)


def _open(site: Site, version: Version) -> Opened:
    from cityforge.evaluation.evidence import read_evidence
    from cityforge.inference.package import EVIDENCE_FILE
    from cityforge.registry.versions import fetch_package

    folder, package = fetch_package(site, version)
    return Opened(version, package, read_evidence(folder / EVIDENCE_FILE))


def _snapshot(opened: Opened) -> str:
    return opened.package.about.snapshot_digest


def _run_both(project: Project, left: Opened, right: Opened) -> Compared:
    """Answer the test split that is here with both packages, if that can be done."""
    from cityforge.errors import CityforgeError
    from cityforge.evaluation.against import Champion, Compared
    from cityforge.evaluation.judging import answer_subsets, case_of
    from cityforge.evaluation.judging import compare as compare_answers
    from cityforge.training.data import open_training_data

    def say(line: str) -> None:
        typer.echo(line, err=True)

    card = project.algorithm(left.version.algorithm)
    params = project.algorithm_params(card.name)
    theirs = Champion(right.version.version, right.package)
    try:
        data = open_training_data(project, card)
        case = case_of(project, card, params, data, theirs, say)
        answers = answer_subsets(case, left.package, ("test",))
        return compare_answers(case, left.package, answers["test"])
    except CityforgeError as error:
        return Compared(None, str(error))


def _facts(left: Opened, right: Opened, same: bool, here: Compared) -> dict[str, Any]:
    return {
        "same_snapshot": same,
        "metrics": _metrics(left, right),
        "gates": _gates(left, right),
        "slices": slice_rows(left.name, left.evidence, right.name, right.evidence),
        "here": here.against.model_dump() if here.against else None,
        "not_run": here.why,
    }


def _show(left: Opened, right: Opened, here: Compared) -> None:
    from cityforge.evaluation.verdict import change_in_words
    from cityforge.evaluation.verdict import change_name as named

    tables: list[tuple[str, list[dict[str, Any]]]] = [
        ("figures, as they were measured", _metrics(left, right)),
        ("gates of each version", [_gate_row(row) for row in _gates(left, right)]),
        ("slices", slice_rows(left.name, left.evidence, right.name, right.evidence)),
    ]
    if here.against:
        rows = [
            {
                "figure": named(name), left.name: each.this, right.name: each.champion,
                "difference": each.difference, "low": each.low, "high": each.high,
                "verdict": change_in_words(name, each),
            }
            for name, each in here.against.changes.items()
        ]  # fmt: skip
        tables.insert(0, (f"on the same {here.against.frames} frames, answered now", rows))
    for title, rows in tables:
        if rows:
            typer.echo(f"\n{title}")
            show(rows, False)


def _metrics(left: Opened, right: Opened) -> list[dict[str, Any]]:
    one, other = left.evidence.metrics, right.evidence.metrics
    rows = []
    for name in sorted({*one, *other}):
        a, b = one.get(name), other.get(name)
        change = a - b if a is not None and b is not None else None
        rows.append({"metric": name, left.name: a, right.name: b, "difference": change})
    return rows


def _gates(left: Opened, right: Opened) -> list[dict[str, Any]]:
    """A row for each gate that either of them was held to: as each was held then."""
    from cityforge.evaluation.verdict import limit

    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for opened in (left, right):
        for gate in opened.evidence.gates:
            key = gate.name, gate.of, limit(gate)
            row = found.setdefault(key, dict(zip(("gate", "of", "asked"), key, strict=True)))
            row[opened.name] = _held(gate)
    return [{**row, **{n: row.get(n) for n in (left.name, right.name)}} for row in found.values()]


def _held(gate: GateResult) -> dict[str, Any]:
    return {"value": gate.value, "passed": gate.passed, "why": gate.why}


def _gate_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `_gates` with each version's verdict in one cell."""
    from cityforge.evaluation.verdict import gate_figure, gate_name, part_of

    shown: dict[str, Any] = {"gate": gate_name(row["gate"]), "of": part_of(row["of"])}
    for name, held in list(row.items())[2:]:
        if not isinstance(held, dict):
            shown[name] = held
            continue
        verdict = "passed" if held["passed"] else "NOT passed"
        why = f" ({held['why']})" if held["why"] else ""
        shown[name] = f"{gate_figure(row['gate'], held['value'])} {verdict}{why}"
    return shown


def slice_rows(one: str, left: Evidence, other: str, right: Evidence) -> list[dict[str, Any]]:
    """The main figure of each slice that either of two versions was measured on."""
    mine, theirs = _slices_of(left), _slices_of(right)
    return [
        {
            "slice": " ".join(key), "of": next(iter(mine.get(key) or theirs[key])),
            one: _told(mine.get(key)), other: _told(theirs.get(key)),
        }
        for key in {**mine, **theirs}
    ]  # fmt: skip


def _slices_of(evidence: Evidence) -> dict[tuple[str, str], dict[str, Any]]:
    """Each slice's main figure under its name, with its interval and whether it is too few."""
    if evidence.task == "classification" and evidence.classification:
        main = evidence.classification.main
        rows: list[Any] = [(main, s, s.value) for s in evidence.classification.slices]
    elif evidence.task == "density" and evidence.density:
        rows = [("mae", s, s.mae) for s in evidence.density.slices]
    else:
        rows = [("map50", s, s.map50) for s in evidence.slices]
    return {
        (s.by, s.name or "not stated"): {main: value, "low": s.low, "high": s.high, "few": s.few}
        for main, s, value in rows
    }


def _told(found: Mapping[str, Any] | None) -> str | None:
    """A slice in one cell.

    >>> _told({"map50": 0.5, "low": 0.4, "high": 0.61, "few": True})
    '0.500 (0.400 to 0.610), too few'
    """
    if found is None:
        return None
    value, low, high, few = found.values()
    text = "–" if value is None else f"{value:.3f}"
    text += f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    return text + (", too few" if few else "")
