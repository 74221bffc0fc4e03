"""The model card: its sections, what it says, and that the registry can hold it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from proofs import basis, gate, proven
from small_tasks import classified, counted
from test_proof_report import evidences

from cityforge.evaluation.card import MOST_LETTERS, model_card
from cityforge.evaluation.evidence import Evidence, Note, Slice

ENVELOPE = {
    "camera_height_m": (6.0, 18.5), "pitch_deg": (15, 50), "illumination": ["day", "night"],
    "smallest_object_px": 10,
}  # fmt: skip
# Mitchell et al. 2019, figure 1; its "quantitative analyses" stand under metrics and factors.
SECTIONS = [
    "Model details", "Intended use", "Metrics", "Factors", "Data", "Ethical considerations",
    "Caveats and recommendations",
]  # fmt: skip


def card(evidence: Evidence) -> str:
    return model_card(evidence, ENVELOPE, "路口组", "Apache-2.0")


@pytest.mark.parametrize("task", ["detection", "classification", "density"])
def test_it_has_the_sections_of_the_field_whether_much_or_little_is_known(task):
    evidence, main = evidences()[task]
    for each in (evidence, proven(evidence, main)):
        lines = [line for line in card(each).splitlines() if line]
        assert [line[3:] for line in lines if line.startswith("## ")] == SECTIONS
        empty = [a for a, b in pairwise([*lines, "## "]) if a[:3] == b[:3] == "## "]
        assert empty == []


def test_it_says_what_a_reader_must_know():
    evidence, main = evidences()["detection"]
    text = card(proven(evidence, main, gates=[gate(of="lighting night", passed=False, value=0.1)]))
    for said in (
        "**Must not be approved: under a gate.**", "- Owner: 路口组", "the data: Apache",
        "- Height of the camera, metres: 6 … 18.5", "- Light: day, night",
        "- Smallest object, pixels: 10", "- mAP50: 0.433, between 0.410 and 0.630",
        "| mAP50, light night | at least 0.500 | 0.100 | not passed |", "mAP50 0.377",
        "9,300 labels of 2 annotators", "traffic safety order 12", "- Still wrong: a shadow",
        "'tram' does not occur", "5a5a", "d1d1", "c0ffee", "Test CPU",
    ):  # fmt: skip
        assert said in text, said
    assert evidence.digest() not in text  # of the evidence with its proof, not without
    assert "李雷" not in text  # a registry's page names no annotator


def test_what_was_not_measured_is_a_caveat():
    evidence, main = evidences()["detection"]
    assert "a camera it never saw was not measured" in card(evidence)
    assert "a camera it never saw was not measured" not in card(proven(evidence, main))
    few = evidence.model_copy(
        update={"slices": [Slice(by="camera", name="x", frames=1, boxes=1, map50=1, few=True)]}
    )
    assert "| camera x | too few |" in card(few)
    assert "Some parts hold too few" in card(few)


@pytest.mark.parametrize("names", [3, 200])
def test_it_is_never_longer_than_the_registry_holds(names):
    evidence, main = evidences()["detection"]
    long = "很长的名字" * 40  # 200 letters
    given = {
        "title": long, "classes": [f"{i}{long}" for i in range(names)],
        "slices": [Slice(by="camera", name=f"{i}{long}", frames=9, boxes=9, map50=i / 200)
                   for i in range(names)],
        "gates": [gate(of=f"camera {i}{long}", passed=False, why=long) for i in range(names)],
        "notes": [Note(kind="class_without_box", name=long, count=0)] * names,
        "data": basis(cameras=[long] * names, lawful_basis=[long] * names),
    }  # fmt: skip
    text = card(proven(evidence, main, **given))
    assert len(text) <= MOST_LETTERS == 5000  # of the registry's column in a database
    assert text.endswith("\n")


def test_the_weakest_parts_come_first():
    evidence, _main = evidences()["detection"]
    slices = [
        Slice(by="camera", name=name, frames=9, boxes=90, map50=value)
        for name, value in (("a", 0.9), ("b", 0.2), ("c", 0.5))
    ]
    text = card(evidence.model_copy(update={"slices": slices}))
    assert [text.index(f"camera {name}") for name in "bca"] == sorted(
        text.index(f"camera {name}") for name in "abc"
    )


def test_names_cannot_break_out_of_the_markdown():
    evidence, _main = evidences()["detection"]
    bad = "<script>x</script> | [y](z)\n# h"
    text = card(
        evidence.model_copy(
            update={
                "title": bad,
                "slices": [Slice(by="camera", name=bad, frames=1, boxes=1, map50=1)],
            }
        )
    )
    assert "<script" not in text
    assert "\n# h" not in text
    assert r"camera &lt;script&gt;x&lt;/script&gt; \| \[y\](z) \# h |" in text


def test_the_same_evidence_gives_the_same_card():
    for make in (classified, counted):
        assert card(make()) == card(make())
