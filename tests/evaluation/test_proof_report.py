"""What the page says beside accuracy: gates, champion, unseen cameras, parity, data, failures."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from proofs import against, basis, change, gate, proven
from small_tasks import classified, counted

from cityforge.evaluation.evidence import Evidence, Slice
from cityforge.evaluation.proof import Interval
from cityforge.evaluation.report import render, write_report
from cityforge.evaluation.verdict import change_in_words, gate_figure, part_of, reasons
from cityforge.evaluation.view_basis import leak_said
from cityforge.evaluation.whiskers import Scale, balanced_scale, count_scale, fitted_scale, whisker

HEADINGS = (
    "Against the champion", "Mistakes that the street reported", "How far scores can be believed",
    "The data and labels it rests on", "The same model, run in each way", "Time for one picture",
    "On cameras it never saw",
)  # fmt: skip


class Words(HTMLParser):
    """Collects the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.feed(re.sub(r"<style>.*?</style>", "", page, flags=re.S))

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def text_of(page: str) -> str:
    return " ".join(" ".join(Words(page).said).split())


def evidences() -> dict[str, tuple[Evidence, str]]:
    from detected import make_case

    case = make_case("car", "bus", "tram")
    return {
        "detection": (case.evaluate(), "map50"),
        "classification": (classified(), "accuracy"),
        "density": (counted(), "mae"),
    }


@pytest.mark.parametrize("task", ["detection", "classification", "density"])
def test_everything_that_was_proven_is_on_the_page(task):
    evidence, main = evidences()[task]
    text = text_of(render(proven(evidence, main)))
    for said in (
        *HEADINGS, "known cameras", "cameras it never saw", "东桥", "version 3", "ab" * 32,
        "雨夜漏报公交车", "a shadow", "car 0.58", "1 of 2 confirmed field failures still happen.",
        "Of 100 answers with a score about", "On average a score is off by 6.1 of 100.",
        "On the whole it is too sure of itself.",
        "0 of 100 pictures it was judged by have a near copy", "0.83 alike",
        "李雷", "5,200", "traffic safety order 12", "91 films", "北门, Old Harbour",
        "2026-03-14 to 2026-04-16", "91 of 100, where two people labelled", "unseen cameras",
        "torch, as trained", "INT8, smaller", "the endpoint, live", "light night", "0.000004",
        "3 trainings with other seeds: 0.58",
        "Test CPU · 2 threads · onnxruntime 9.9 · CPUExecutionProvider", "6.5",
    ):  # fmt: skip
        assert said in text, said
    numbers = {"detection": "0.377", "classification": "0.377", "density": "0.38"}
    assert numbers[task] in text
    assert ("box off by, pixels" in text) == (task == "detection")


@pytest.mark.parametrize("task", ["detection", "classification", "density"])
def test_older_evidence_shows_none_of_it_and_is_whole(task):
    evidence, _main = evidences()[task]
    old = {"intervals": {}, "calibration": None, "gates": []}
    text = text_of(render(evidence.model_copy(update=old)))
    assert [heading for heading in HEADINGS if heading in text] == []
    assert "No gate is set" in text
    assert "Where this comes from" in text


@pytest.mark.parametrize(
    ("name", "low", "high", "said"),
    [
        ("map50", 0.004, 0.047, "better"),
        ("map50", -0.05, -0.001, "worse"),
        ("map50", -0.01, 0.02, "no difference that can be told"),
        ("map50", 0.0, 0.02, "no difference that can be told"),
        ("map50", None, None, "no difference that can be told"),
        ("mae", -0.5, -0.1, "better"),
        ("mae, lighting night", 0.1, 0.5, "worse"),
    ],
)
def test_a_difference_is_told_only_where_the_interval_leaves_nought(name, low, high, said):
    found = change(0.01, low, high)
    assert change_in_words(name, found) == said
    evidence, _main = evidences()["density" if name.startswith("mae") else "detection"]
    page = render(evidence.model_copy(update={"against": against(**{name: found})}))
    table = page[page.index('<table class="against">') :].partition("</table>")[0]
    assert text_of(table).endswith(said)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (gate(), "mAP50 0.600 at least 0.500 passed"),
        (gate(of="lighting night", value=0.3, passed=False),
         "mAP50 light night 0.300 at least 0.500 not passed"),
        (gate(of="low end"), "mAP50 low end of its interval 0.600 at least 0.500 passed"),
        (gate(of="lighting night, drop from the champion", floor=-0.02, value=-0.01),
         "mAP50 light night, change from the champion, at worst −0.010 at least −0.020 passed"),
        (gate("latency_p50_ms", ceiling=20.0, value=8.73, of="on Test CPU*"),
         "Time for one picture (median) on Test CPU* 8.7 ms at most 20.0 ms passed"),
        (gate("leak", ceiling=0.0, value=0.013, passed=False),
         "Test pictures with a near copy in training 1.3 % at most 0.0 % not passed"),
        (gate(value=None, passed=False, of="camera 东桥", why="too few boxes (7)"),
         "mAP50 camera 东桥 too few boxes (7) – at least 0.500 not passed"),
        (gate(value=None, why="no champion yet: nothing to drop from"),
         "mAP50 no champion yet: nothing to drop from – at least 0.500 passed"),
    ],
)  # fmt: skip
def test_a_gate_shows_its_part_number_limit_and_reason(result, said):
    evidence, _main = evidences()["detection"]
    assert said in text_of(render(evidence.model_copy(update={"gates": [result]})))


def test_the_verdict_names_three_gates_and_counts_the_rest():
    evidence, _main = evidences()["detection"]
    gates = [gate(of=f"camera {i}", value=0.1 * i, passed=False) for i in range(5)]
    (said,) = reasons(evidence.model_copy(update={"gates": gates}))
    assert said.startswith("5 of 5 gates not passed: mAP50 (camera 0) is 0.000, asked: at least")
    assert said.endswith("; and 2 more.")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"leak": 0.0}, "So the test asks for what it never saw."),
        ({"leak": 0.25}, "better than the street will be"),
        ({"leak": 0.25}, "25 of 100 pictures"),
        ({"leak": 0.004}, "0.4 of 100 pictures"),
        ({"leak": None}, "It was not measured"),
    ],
)
def test_a_leak_is_explained(given, said):
    assert said in " ".join(leak_said(basis(**given)))


def test_what_is_not_known_of_the_data_is_said():
    nothing = basis(
        first=None, last=None, agreement=None, annotators={}, lawful_basis=[], leak=None,
        nearest=None, cameras=[], checks_failed=2,
    )  # fmt: skip
    evidence, _main = evidences()["detection"]
    text = text_of(render(evidence.model_copy(update={"data": nothing})))
    for said in ("Cameras not stated", "Filmed not stated", "Lawful basis not stated",
                 "nobody labelled the same picture twice", "Data checks 2 not met"):  # fmt: skip
        assert said in text, said


def test_many_cameras_show_the_weakest_and_count_the_others():
    evidence, _main = evidences()["detection"]
    slices = [
        Slice(by="camera", name=f"camera {i:02}", frames=9, boxes=90, map50=i / 40, low=0.0,
              high=1.0, few=i == 0)
        for i in range(30)
    ]  # fmt: skip
    text = text_of(render(evidence.model_copy(update={"slices": slices})))
    shown = [i for i in range(30) if f"camera {i:02}" in text]
    assert shown == list(range(1, 13))  # not the first: it rests on too few
    assert "and 18 more" in text


def test_a_hostile_name_stays_text_wherever_it_stands():
    bad = "<script>alert(1)</script>"
    evidence, main = evidences()["detection"]
    everything = proven(
        evidence, main, gates=[gate(of=bad, why=bad)],
        data=basis(cameras=[bad], annotators={bad: 1}, lawful_basis=[bad]),
        slices=[Slice(by="hour", name=bad, frames=1, boxes=1, map50=0.5)],
    )  # fmt: skip
    page = render(everything)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_a_page_full_of_noise_stays_small(tmp_path, case_of):
    """Pictures of noise are the worst that a JPEG can meet; street pictures take a third."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 255, (90, 160, 3), np.uint8)).resize((1280, 720))
    stream = io.BytesIO()
    soft.save(stream, "JPEG")
    case = case_of("car", "bus", "tram")
    frame = case.evaluate().worst_frames[0]
    evidence, main = case.evaluate(), "map50"
    path = write_report(
        tmp_path / "report.html",
        proven(evidence, main, worst_frames=[frame] * 6, best_frames=[frame] * 6),
        labels=case.labels, predictions=case.predictions, frames=case.frames,
        footage=case.footage, read_frame=lambda _: stream.getvalue(),
        augmented=[stream.getvalue()] * 8,
    )  # fmt: skip
    assert path.stat().st_size < 2_000_000
    assert path.read_text(encoding="utf-8").count("base64,") == 6 + 3 + 4 + 8


@pytest.mark.parametrize(
    ("scale", "value", "at"),
    [
        (fitted_scale([0.45, 0.58], 0.5), 0.5, 50.0),
        (fitted_scale([0.0, 1.0]), 0.25, 26.0),
        (fitted_scale([]), 0.0, 2.0),
        (fitted_scale([1.0]), 1.0, 98.0),
        (count_scale([3.9]), 4.0, 98.0),
        (balanced_scale([0.1, -0.2, None]), 0.0, 50.0),
        (balanced_scale([]), 5.0, 98.0),
    ],
)
def test_a_dot_stands_where_its_figure_is(scale, value, at):
    assert scale.at(value) == pytest.approx(at)
    assert f'<circle cx="{at:.1f}%"' in whisker(value, None, None, scale)


def test_a_whisker_without_a_figure_has_no_dot_and_without_an_interval_no_line():
    scale = Scale(0, 1)
    assert "circle" not in whisker(None, 0.1, 0.2, scale)
    assert 'class="whisker" x1="11.6%" x2="21.2%"' in whisker(None, 0.1, 0.2, scale)
    assert 'class="whisker"' not in whisker(0.5, None, 0.2, scale)


def test_every_way_to_run_it_is_held_against_torch():
    evidence, main = evidences()["detection"]
    page = render(proven(evidence, main))
    table = page[page.index("run in each way") :].partition("</table>")[0]
    rows = [text_of(row) for row in table.split("<tr>")[2:]]
    assert rows == [
        "torch, as trained 0.576 – – – –",
        "ONNX, as approved 0.576 ±0.000 0.00003 0.000004 0",
        "INT8, smaller 0.561 −0.015 4.2 0.11 31",
        "the endpoint, live 0.576 ±0.000 0.004 0.00005 0",
    ]


def test_intervals_stand_under_the_figures():
    evidence, _main = evidences()["detection"]
    given = {"intervals": {"map50": Interval(low=0.41, high=0.63)}}
    assert "between 0.410 and 0.630" in text_of(render(evidence.model_copy(update=given)))


def test_figures_and_parts_of_gates_have_words():
    assert gate_figure("checks_failed", 2.0) == "2"
    assert gate_figure("parity_box_px", 0.0004) == "0.0004 pixels"
    assert part_of("hour 08") == "hour 08"
    assert part_of("anything else") == "anything else"
