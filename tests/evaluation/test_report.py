"""The page that an approver reads."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from cityforge.evaluation.report import render, write_report


class Page(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def write(tmp_path, grey_jpeg):
    def _write(case, **changes):
        path = write_report(
            tmp_path / "reports" / "report.html",
            case.evaluate(**changes),
            labels=case.labels,
            predictions=case.predictions,
            read_frame=lambda _: grey_jpeg,
            augmented=[grey_jpeg],
        )
        return path.read_text(encoding="utf-8")

    return _write


def test_it_names_every_class_gate_and_digest(case, write):
    text = Page(write(case)).text
    checked = 0
    for word in [*case.classes, "mAP50", "mAP50-95", "5a" * 32, "d1" * 32, "run-42", "北门"]:
        assert word in text, word
        checked += 1
    assert checked == 9
    assert "2 of 2 gates not passed: mAP50 is 0.433, asked: at least 0.500; mAP50-95 is" in text
    assert "Must not be approved: under a gate" in text


def test_the_verdict_follows_the_gates(case, write):
    passed = Page(write(case, gates={"map50": 0.1})).text
    assert "May be approved The only gate was passed. A person decides." in passed
    assert "No gate is set" in write(case, gates={})


def test_it_says_what_it_means_for_a_hundred_objects(case, write):
    text = Page(write(case)).text
    assert "Of 100 objects that people marked, it finds 50." in text
    assert "Of 100 objects that it reports, 50 are wrong." in text


def test_a_class_without_a_box_is_said_in_words(case, write):
    assert "'tram' does not occur in the tested pictures." in Page(write(case)).text


def test_few_boxes_are_called_too_few(case, write):
    few = [part.few for part in case.evaluate(few=3).slices]
    page = write(case, few=3)
    assert 0 < sum(few) < len(few)
    assert Page(page).text.count("too few") == 1 + sum(few)  # the explanation and each slice
    kinds = [a["class"] for tag, a in Page(page).tags if tag == "svg" and a.get("height") == "18"]
    assert kinds.count("dot few") == sum(few)


def test_nothing_is_fetched_from_outside(case, write):
    page = write(case)
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+", "", page))
    sources = [
        value
        for _, attributes in Page(page).tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action")
    ]
    assert len(sources) == 9  # crops 4, worst 3, best 1, augmented 1
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)


def test_pictures_are_shrunk_and_hold_the_boxes(case, write):
    page = write(case)
    pictures = [base64.b64decode(found) for found in re.findall(r"base64,([\w+/=]+)", page)]
    sizes = [Image.open(io.BytesIO(picture)).size for picture in pictures]
    assert sizes == [(320, 240)] * 4 + [(400, 320)] * 4 + [(320, 256)]
    whole = page[page.index("Whole pictures") :]
    kinds = [a.get("class") for tag, a in Page(whole).tags if tag == "rect"]
    # once in the legend; two correct with truth, two missed, two false alarms
    assert [kinds.count(k) for k in ("correct", "truth", "missed", "false_alarm")] == [3, 3, 3, 3]
    assert "car 0.90" in Page(page).text


def test_a_hostile_name_stays_text(case_of, write):
    hostile = "<script>alert(1)</script>"
    page = write(case_of(hostile, '"><img src=x onerror=alert(1)>', "车"))
    tags = Page(page).tags
    assert "script" not in [tag for tag, _ in tags]
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_chinese_names_are_on_the_page(case_of, write):
    text = Page(write(case_of("暴露垃圾", "垃圾桶", "积水"))).text
    assert "暴露垃圾 0.90" in text
    assert "'积水' does not occur" in text


def test_an_evaluation_with_little_in_it(case):
    evidence = case.evaluate(
        predictions=case.predictions.slice(0, 0), footage=None, training=[], latency=None
    )
    text = Page(render(evidence)).text
    assert "not measured" in text
    assert "Of 100 objects that people marked, it finds 0." in text


def test_a_commit_with_changes_is_marked(case):
    evidence = case.evaluate()
    dirty = evidence.created_from.model_copy(update={"git_dirty": True})
    assert "not committed" not in render(evidence)
    assert "not committed" in render(evidence.model_copy(update={"created_from": dirty}))
