"""The verdict in words: may it be approved, and why; what each gate asked and what was reached."""

from __future__ import annotations

from collections.abc import Callable
from gettext import gettext as _
from gettext import ngettext

from cityforge.evaluation.evidence import Evidence, GateResult
from cityforge.evaluation.headline import HEADLINE, SMALLER_IS_BETTER, metric_name, shown_figure
from cityforge.evaluation.proof import Change

NAMED = 3  # gates not passed that the verdict names; the table below it names all


def state(evidence: Evidence) -> str:
    """'pass', 'fail', or 'none' where no gate is set."""
    return "none" if not evidence.gates else "pass" if evidence.passed else "fail"


def verdict(evidence: Evidence) -> str:
    """Say in a few words whether a person may approve."""
    return {
        "none": _("No gate is set"),
        "pass": _("May be approved"),
        "fail": _("Must not be approved: under a gate"),
    }[state(evidence)]


def reasons(evidence: Evidence) -> list[str]:
    """Say why, in a sentence or two, and what else weighs."""
    said = [_of_gates(evidence), _of_champion(evidence), _of_failures(evidence)]
    return [sentence for sentence in said if sentence]


def _of_gates(evidence: Evidence) -> str:
    gates = evidence.gates
    if not gates:
        return _("Nothing was promised, so nothing can be held against these figures.")
    missed = [gate for gate in gates if not gate.passed]
    if not missed:
        text = ngettext("The only gate was passed.", "All {n} gates were passed.", len(gates))
        return text.format(n=len(gates)) + " " + _("A person decides.")
    said = "; ".join(_shortfall(gate) for gate in missed[:NAMED])
    if len(missed) > NAMED:
        said += "; " + _("and {n} more").format(n=len(missed) - NAMED)
    text = ngettext(
        "The only gate was not passed: {said}.",
        "{missed} of {all} gates not passed: {said}.",
        len(gates),
    )
    return text.format(missed=len(missed), all=len(gates), said=said)


def _shortfall(gate: GateResult) -> str:
    name = gate_name(gate.name) + (f" ({part_of(gate.of)})" if gate.of else "")
    if gate.why:
        return f"{name}: {gate.why}"
    text = _("{name} is {value}, asked: {limit}")
    return text.format(name=name, value=gate_figure(gate.name, gate.value), limit=limit(gate))


def _of_champion(evidence: Evidence) -> str:
    against, name = evidence.against, HEADLINE[evidence.task][0]
    change = against.changes.get(name) if against else None
    if against is None or change is None:
        return ""
    text = _("Against the champion, version {version}: {name} {verdict} ({now}, it was {before}).")
    return text.format(
        version=against.version, name=metric_name(name), verdict=change_in_words(name, change),
        now=shown_figure(change.this), before=shown_figure(change.champion),
    )  # fmt: skip


def _of_failures(evidence: Evidence) -> str:
    missed = sum(not each.passed for each in evidence.failures)
    if not missed:
        return ""
    text = _("{n} of {all} confirmed field failures still happen.")
    return text.format(n=missed, all=len(evidence.failures))


def change_verdict(name: str, change: Change) -> str:
    """'better', 'worse' or 'same': whether 95 of 100 resamples agree on the side."""
    if change.low is None or change.high is None:
        return "same"
    better, worse = change.low > 0, change.high < 0
    if name.partition(", ")[0] in SMALLER_IS_BETTER:
        better, worse = worse, better
    return "better" if better else "worse" if worse else "same"


def change_in_words(name: str, change: Change) -> str:
    """Say whether a version is better than the champion."""
    return {
        "better": _("better"),
        "worse": _("worse"),
        "same": _("no difference that can be told"),
    }[change_verdict(name, change)]


def gate_name(name: str) -> str:
    """Name what a gate asks of."""
    return {
        "latency_p50_ms": _("Time for one picture (median)"),
        "latency_p95_ms": _("Time for one picture (95 of 100 are quicker)"),
        "parity_box_px": _("Largest difference of a box, torch to ONNX"),
        "parity_answer": _("Largest difference of an answer, torch to ONNX"),
        "leak": _("Test pictures with a near copy in training"),
        "checks_failed": _("Data checks not met"),
        "agreement": _("Agreement of annotators"),
        "failures_passed": _("Field failures answered rightly"),
        "unseen": _("On cameras never trained on"),
        "seeds": _("Trainings with other seeds"),
        "over_seeds": _("On validation, at worst over the seeds"),
    }.get(name) or metric_name(name)


def part_of(of: str) -> str:
    """Name the part or the end that a gate looks at.

    >>> part_of("lighting night, low end")
    'light night, low end of its interval'
    """
    kinds = {
        "camera": _("camera"), "hour": _("hour"), "lighting": _("light"), "weather": _("weather"),
        "size": _("size"), "crowding": _("crowding"),
    }  # fmt: skip
    whole = {
        "low end": _("low end of its interval"),
        "high end": _("high end of its interval"),
        "drop from the champion": _("change from the champion, at worst"),
    }
    kind, space, name = of.partition(" ")
    if ", " in of:
        return ", ".join(part_of(part) for part in of.split(", "))
    return f"{kinds[kind]} {name}" if space and kind in kinds else whole.get(of, of)


def change_name(name: str) -> str:
    """Name a figure that was compared, as 'map50' or 'map50, lighting night'."""
    figure, comma, of = name.partition(", ")
    return metric_name(figure) + (f", {part_of(of)}" if comma else "")


def gate_figure(name: str, value: float | None) -> str:
    """A gate's figure with its unit.

    >>> gate_figure("latency_p50_ms", 8.73), gate_figure("leak", 0.0), gate_figure("map50", 0.5)
    ('8.7 ms', '0.0 %', '0.500')
    """
    if value is None:
        return "–"
    as_text: dict[str, Callable[[float], str]] = {
        "latency_p50_ms": lambda v: f"{v:.1f} ms",
        "latency_p95_ms": lambda v: f"{v:.1f} ms",
        "parity_box_px": lambda v: _("{n} pixels").format(n=small(v)),
        "parity_answer": small,
        "leak": lambda v: f"{100 * v:.1f} %",
        "checks_failed": lambda v: f"{v:.0f}",
        "seeds": lambda v: f"{v:.0f}",
        "failures_passed": lambda v: f"{100 * v:.0f} %",
    }
    return as_text.get(name, shown_figure)(value).replace("-", "−")


def small(value: float | None) -> str:
    """A figure that may be tiny, without an exponent.

    >>> small(0.000012), small(0.0), small(1.25), small(None)
    ('0.000012', '0', '1.2', '–')
    """
    if value is None:
        return "–"
    text = f"{value:.6f}" if abs(value) < 0.001 else f"{value:.2g}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def limit(gate: GateResult) -> str:
    """Say what a gate asks."""
    if gate.ceiling is None:
        return _("at least {n}").format(n=gate_figure(gate.name, gate.floor))
    return _("at most {n}").format(n=gate_figure(gate.name, gate.ceiling))
