"""What the page says of the ways the model is run, of its speed, and of the data it rests on."""

from __future__ import annotations

from gettext import gettext as _
from gettext import ngettext
from typing import Any

from cityforge.evaluation import words
from cityforge.evaluation.evidence import Evidence
from cityforge.evaluation.headline import metric_name
from cityforge.evaluation.proof import DataBasis, Parity, Side
from cityforge.evaluation.verdict import part_of, small
from cityforge.evaluation.view_proof import figure_text, main_metric, named, signed

View = dict[str, Any]
SLICES_SHOWN = 16
ANNOTATORS_SHOWN = 10
CAMERAS_NAMED = 12


def parity_view(evidence: Evidence) -> View | None:
    """Every way to run the network against torch: figures, largest differences, slices."""
    parity, name = evidence.parity, main_metric(evidence)
    if parity is None or not parity.sides:
        return None
    torch = next((side for side in parity.sides if side.name == "torch"), None)
    return {
        "metric": metric_name(name),
        "frames": words.pictures(parity.frames),
        "sides": [_side_row(side, torch, name) for side in parity.sides],
        "titles": [side_title(side.name) for side in parity.sides],
        "slices": _slice_rows(parity, name),
        "has_boxes": evidence.task == "detection",
    }


def side_title(name: str) -> str:
    """Name one way of running the network."""
    return {
        "torch": _("torch, as trained"),
        "onnx": _("ONNX, as approved"),
        "int8": _("INT8, smaller"),
        "endpoint": _("the endpoint, live"),
    }.get(name, name)


def _side_row(side: Side, torch: Side | None, name: str) -> View:
    from_torch = "–"
    if torch is not None and side is not torch and None not in (side.score, torch.score):
        from_torch = signed(name, (side.score or 0.0) - (torch.score or 0.0))
    return {
        "title": side_title(side.name),
        "score": figure_text(name, side.score),
        "difference": from_torch,
        "box": small(side.box_px),
        "answer": small(side.answer),
        "unmatched": f"{side.unmatched:,}",
        "is_torch": side.name == "torch",
    }


def _slice_rows(parity: Parity, name: str) -> list[View]:
    """Slices with the figure of each side, those that differ most first where they are many."""
    found: dict[str, list[float | None]] = {}
    for side in parity.sides:
        for part in side.slices:
            found.setdefault(part, [each.slices.get(part) for each in parity.sides])
    if len(found) > SLICES_SHOWN:
        found = dict(sorted(found.items(), key=lambda item: -_spread(item[1]))[:SLICES_SHOWN])
    return [
        {"name": part_of(part), "figures": [figure_text(name, value) for value in values]}
        for part, values in found.items()
    ]


def _spread(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known else 0.0


def speed_view(evidence: Evidence) -> View | None:
    """Time for one picture by each way, and the machine it was taken on."""
    if not evidence.speeds:
        return None
    torch = next((each.p50_ms for each in evidence.speeds if each.name == "torch"), None)
    return {
        "rows": [
            {
                "title": side_title(each.name),
                "p50": _number(each.p50_ms), "p95": _number(each.p95_ms),
                "rate": _number(each.images_per_s),
                "times": f"{torch / each.p50_ms:.1f}" if torch and each.p50_ms else "–",
            }
            for each in evidence.speeds
        ],
        "machine": machine(evidence),
    }  # fmt: skip


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def machine(evidence: Evidence) -> str:
    """Say on what machine the times were measured."""
    device = evidence.device
    if device is None:
        return evidence.latency.device if evidence.latency else _("not stated")
    threads = ngettext("{n} thread", "{n} threads", device.threads).format(n=device.threads)
    return " · ".join([device.processor, threads, device.runtime, ", ".join(device.providers)])


def seeds_said(evidence: Evidence) -> list[str]:
    """Say how far trainings with other seeds lie apart; nothing where there was one."""
    if evidence.seeds is None:
        return []
    text = _(
        "{figure} on validation, {n} trainings with other seeds: {mean} on average, "
        "{deviation} apart, between {low} and {high} (95 of 100)."
    )
    return [
        text.format(
            figure=metric_name(name),
            n=evidence.seeds.count,
            mean=figure_text(name, each.mean),
            deviation=figure_text(name, each.deviation),
            low=figure_text(name, each.low),
            high=figure_text(name, each.high),
        )
        for name, each in evidence.seeds.figures.items()
    ]


def data_view(evidence: Evidence) -> View | None:
    """The data and the labels: what, where, when, by whom, by which right."""
    data = evidence.data
    if data is None:
        return None
    people = sorted(data.annotators.items(), key=lambda item: (-item[1], item[0]))
    whole = sum(data.annotators.values()) or 1
    return {
        "subsets": [
            (subset_title(name), f"{frames:,}", f"{data.boxes.get(name, 0):,}")
            for name, frames in data.frames.items()
        ],
        "films": ngettext("{n} film", "{n} films", data.films).format(n=f"{data.films:,}"),
        "cameras": named(data.cameras, CAMERAS_NAMED),
        "period": period(data),
        "annotators": [
            (name or _("not stated"), f"{count:,}", 100 * count / whole)
            for name, count in people[:ANNOTATORS_SHOWN]
        ],
        "others": len(people) - ANNOTATORS_SHOWN,
        "lawful_basis": "; ".join(data.lawful_basis) or _("not stated"),
        "leak": leak_said(data),
        "leaks": bool(data.leak),
        "agreement": agreement_said(data),
        "checks": checks_said(data),
        "checks_failed": bool(data.checks_failed),
    }


def subset_title(name: str) -> str:
    """Name a subset by what it is for."""
    return {
        "train": _("trained on"), "val": _("chosen by (validation)"),
        "test": _("tested on"), "unseen": _("unseen cameras"),
    }.get(name, name)  # fmt: skip


def period(data: DataBasis) -> str:
    """Say from when to when the pictures were taken."""
    if not data.first or not data.last:
        return _("not stated")
    first, last = data.first[:10], data.last[:10]
    return first if first == last else _("{first} to {last}").format(first=first, last=last)


def leak_said(data: DataBasis) -> list[str]:
    """Say how much of the test was seen in training, and what that means."""
    if data.leak is None:
        return [_("It was not measured whether test pictures have a near copy in training.")]
    text = _("{n} of 100 pictures it was judged by have a near copy among those it learned from.")
    said = [text.format(n=f"{100 * data.leak:.1f}".removesuffix(".0"))]
    said.append(
        _("The figures on this page are better than the street will be.")
        if data.leak
        else _("So the test asks for what it never saw.")
    )
    if data.nearest is not None:
        text = _("The nearest pair between training and test is {n} alike (1 is the same picture).")
        said.append(text.format(n=f"{data.nearest:.2f}"))
    return said


def agreement_said(data: DataBasis) -> str:
    """Say how far annotators agree."""
    if data.agreement is None:
        return _("nobody labelled the same picture twice, so it is not known")
    return _("{n} of 100, where two people labelled the same picture").format(
        n=round(100 * data.agreement)
    )


def checks_said(data: DataBasis) -> str:
    """Say whether the data met the checks of its card."""
    if not data.checks_failed:
        return _("all met")
    return ngettext("{n} not met", "{n} not met", data.checks_failed).format(n=data.checks_failed)
