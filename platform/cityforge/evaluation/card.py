"""The model card: what a version is for, how good it is and where not, on what data it rests.

Source of the form: Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from gettext import gettext as _
from typing import Any

from cityforge.evaluation import words
from cityforge.evaluation.evidence import Evidence
from cityforge.evaluation.headline import HEADLINE, metric_name
from cityforge.evaluation.proof import DataBasis
from cityforge.evaluation.verdict import gate_figure, gate_name, limit, part_of, reasons, verdict
from cityforge.evaluation.view_basis import agreement_said, leak_said, machine, period, side_title
from cityforge.evaluation.view_proof import figure_text, interval_text, main_metric, named

MOST_LETTERS = 5000  # what the registry keeps of a version's description
ROWS = (40, 20, 12, 8, 5, 3, 2, 1)  # of each table, tried in turn until the card is short enough
CELL = 80  # letters of a name in a table
ENDING = "…\n"


def model_card(evidence: Evidence, envelope: Mapping[str, Any], owner: str, licence: str) -> str:
    """Write the card as Markdown of at most MOST_LETTERS letters; long tables are cut, and say so.

    Args:
        envelope: conditions the algorithm was made for, as its card states them.
        owner: who answers for the algorithm.
        licence: of the data it was trained on.
    """
    text = ""
    for rows in ROWS:
        text = "\n".join(_lines(evidence, envelope, owner, licence, rows)) + "\n"
        if len(text) <= MOST_LETTERS:
            return text
    return text[: MOST_LETTERS - len(ENDING)] + ENDING


def _lines(
    evidence: Evidence, envelope: Mapping[str, Any], owner: str, licence: str, rows: int
) -> Iterator[str]:
    yield f"# {plain(evidence.title)}"
    yield from ("", f"**{verdict(evidence)}.** " + plain(" ".join(reasons(evidence))))
    for title, lines in (
        (_("Model details"), _details(evidence, owner, licence)),
        (_("Intended use"), _use(evidence, envelope, rows)),
        (_("Metrics"), _metrics(evidence, rows)),
        (_("Factors"), _factors(evidence, rows)),
        (_("Data"), _data(evidence)),
        (_("Ethical considerations"), _ethics(evidence.data)),
        (_("Caveats and recommendations"), _caveats(evidence, rows)),
    ):
        yield from ("", f"## {title}", "", *lines)


def _details(evidence: Evidence, owner: str, licence: str) -> Iterator[str]:
    source = evidence.created_from
    yield _item(_("Algorithm"), f"{evidence.algorithm} ({evidence.task})")
    yield _item(_("Owner"), owner)
    yield _item(_("Licence of the data"), licence)
    yield _item(_("Commit"), source.git_commit + (" (changed)" if source.git_dirty else ""))
    yield _item(_("Snapshot"), source.snapshot_digest)
    yield _item(_("Model"), source.model_digest)
    yield _item(_("Evidence"), evidence.digest())
    if evidence.device:
        yield _item(_("Measured on"), machine(evidence))


def _use(evidence: Evidence, envelope: Mapping[str, Any], rows: int) -> Iterator[str]:
    yield _item(_("City space"), words.space_title(evidence.space))
    yield _item(_("Classes"), named([cell(each) for each in evidence.classes], rows))
    for key, value in envelope.items():
        yield _item(_envelope_title(key), _range(value))
    yield _item(_("Out of scope"), _("cameras, light and classes other than these"))


def _metrics(evidence: Evidence, rows: int) -> Iterator[str]:
    for name in HEADLINE[evidence.task]:
        text = figure_text(name, evidence.metrics.get(name))
        between = interval_text(evidence, name)
        yield _item(metric_name(name), f"{text}, {between}" if between else text)
    if evidence.calibration and evidence.calibration.ece is not None:
        yield _item(_("Calibration error"), f"{evidence.calibration.ece:.3f}")
    for speed in evidence.speeds[:3]:
        title = _("Time for one picture, {side}").format(side=side_title(speed.name))
        yield _item(title, gate_figure("latency_p50_ms", speed.p50_ms))
    if evidence.gates:
        found = [
            (gate_name(g.name) + (f", {part_of(g.of)}" if g.of else ""), limit(g),
             gate_figure(g.name, g.value), _("passed") if g.passed else _("not passed"))
            for g in sorted(evidence.gates, key=lambda gate: gate.passed)
        ]  # fmt: skip
        yield ""
        yield from _table((_("Gate"), _("Asked"), _("Reached"), ""), found, rows)


def _factors(evidence: Evidence, rows: int) -> Iterator[str]:
    """Each slice with its figure, the weakest first."""
    name, own = main_metric(evidence), evidence.classification or evidence.density or evidence
    found = []
    for part in own.slices:
        value = getattr(part, {"detection": "map50", "density": "mae"}.get(evidence.task, "value"))
        between = "–"
        if part.low is not None and part.high is not None:
            between = f"{figure_text(name, part.low)} … {figure_text(name, part.high)}"
        few = _("too few") if part.few else figure_text(name, value)
        strength = -(value or 0.0) if evidence.task == "density" else value or 0.0
        title = part_of(f"{part.by} {part.name or _('not stated')}")
        found.append((part.few, strength, (title, few, between)))
    found.sort(key=lambda row: row[:2])
    if found:
        head = (_("Part"), metric_name(name), _("interval (95 %)"))
        yield from _table(head, [row for *_k, row in found], rows)
    else:
        yield _("The parts of the test were not measured one by one.")
    if evidence.unseen:
        value = figure_text(name, evidence.unseen.metrics.get(name))
        yield from ("", _item(_("Cameras it never saw"), f"{metric_name(name)} {value}"))


def _data(evidence: Evidence) -> Iterator[str]:
    yield _item(_("Tested on"), words.tested_on(evidence))
    data = evidence.data
    if data is None:
        return
    frames = ", ".join(f"{name} {count:,}" for name, count in data.frames.items())
    yield _item(_("Pictures"), frames)
    yield _item(_("Films"), f"{data.films:,} · {named(data.cameras, 6)} · {period(data)}")
    labels = sum(data.annotators.values())
    people = _("{n} labels of {people} annotators").format(
        n=f"{labels:,}", people=len(data.annotators)
    )
    yield _item(_("Labels"), people)
    yield _item(_("Agreement"), agreement_said(data))
    yield _item(_("Leak"), " ".join(leak_said(data)))


def _ethics(data: DataBasis | None) -> Iterator[str]:
    basis = "; ".join(data.lawful_basis) if data and data.lawful_basis else _("not stated")
    yield _item(_("Lawful basis of the footage"), basis)
    yield _item(
        _("Privacy"),
        _("faces and plates are redacted where the card of the data says so"),
    )
    yield _item(_("Use of its answers"), _("a hint to a person, who decides"))


def _caveats(evidence: Evidence, rows: int) -> Iterator[str]:
    said = [words.note_text(note) for note in evidence.notes[:rows]]
    own = evidence.classification or evidence.density or evidence
    if any(part.few for part in own.slices):
        said.append(_("Some parts hold too few objects to say how it does there."))
    if evidence.unseen is None:
        said.append(_("How it does on a camera it never saw was not measured."))
    if evidence.created_from.git_dirty:
        said.append(_("It was made from changes that nobody committed."))
    said += [_("Still wrong: {what}").format(what=each.said)
             for each in evidence.failures if not each.passed][:rows]  # fmt: skip
    for sentence in said or [_("None are known.")]:
        yield f"- {plain(sentence)}"


def _envelope_title(key: str) -> str:
    return {
        "camera_height_m": _("Height of the camera, metres"),
        "pitch_deg": _("Pitch of the camera, degrees"),
        "illumination": _("Light"),
        "smallest_object_px": _("Smallest object, pixels"),
    }.get(key, key)


def _range(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        pair = len(value) == 2 and all(isinstance(each, (int, float)) for each in value)
        return " … ".join(f"{v:g}" for v in value) if pair else ", ".join(str(v) for v in value)
    return str(value)


def _item(title: str, text: str) -> str:
    return f"- {title}: {plain(text)}"


def _table(head: Sequence[str], found: Sequence[Sequence[str]], rows: int) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in found[:rows]:
        yield "| " + " | ".join(plain(cell(each)) for each in row) + " |"
    if len(found) > rows:
        yield from ("", _("and {n} more").format(n=len(found) - rows))


def cell(text: str) -> str:
    """A name short enough for a table."""
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def plain(text: str) -> str:
    r"""A text that Markdown shows as it is, on one line.

    >>> plain("<b>a|b</b>")
    '&lt;b&gt;a\\|b&lt;/b&gt;'
    """
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#|])", r"\\\1", text)
