"""The labelling page says the card, whatever its names hold; Label Studio's own reader judges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from cityforge.cards.dataset import Dataset
from cityforge.errors import CardError
from cityforge.labeling.studio.interface import (
    CONTROLS,
    KEYS,
    PALETTE,
    colours,
    hotkeys,
    instructions,
    interface,
    offered_classes,
)

MakeCard = Callable[..., Dataset]
NASTY = [
    'a "quoted" one',
    "it's",
    "<script>alert(1)</script>",
    "=HYPERLINK(\"http://x\",'y')",
    "../../etc/passwd",
    "a & b &amp; c",
    'name="image" toName="image"',
    "]]> --> <!-- {",
    "true",
    "1e5",
    "公交车 🚌",
    "$ 5",
]


def classes(*names: str, **more: str) -> list[dict[str, str]]:
    return [{"name": name, "definition": f"What {name} is.", **more} for name in names]


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        ("boxes", {"label": "RectangleLabels"}),
        ("classes", {"class": "Choices"}),
        ("points", {"point": "KeyPointLabels"}),
        ("video", {"videoLabels": "Labels", "box": "VideoRectangle"}),
    ],
)
@pytest.mark.parametrize("names", [["one"], NASTY], ids=["one class", "nasty names"])
def test_every_kind_is_read_by_the_sdk_with_the_exact_classes(
    make_card: MakeCard, kind: str, tags: dict[str, str], names: list[str]
) -> None:
    from label_studio_sdk.label_interface import LabelInterface

    card = make_card(classes=classes(*names), labeling={"kind": kind})
    page = interface(card, ["old one"])
    read = LabelInterface(page)
    read.validate()
    assert {tag.name: tag.tag for tag in read.controls} == tags
    control = CONTROLS[card.labeling.kind].name
    assert list(read.get_control(control).labels) == [*names, "old one"]
    assert [each.name for each in read.objects] == ["video" if kind == "video" else "image"]
    assert offered_classes(page) == {
        name: [*names, "old one"] if name == control else [] for name in tags
    }


def test_page_holds_nothing_but_its_own_tags(make_card: MakeCard) -> None:
    page = interface(make_card(classes=classes(*NASTY)))
    tags = [tag.tag for tag in ElementTree.fromstring(page).iter()]
    assert tags == ["View", "RectangleLabels", *["Label"] * len(NASTY), "Image"]


def test_annotators_can_look_closer_but_not_turn_boxes_or_the_picture(make_card: MakeCard) -> None:
    root = ElementTree.fromstring(interface(make_card()))
    image, boxes = root.find("Image"), root.find("RectangleLabels")
    assert image is not None and boxes is not None
    for control in ("zoom", "zoomControl", "brightnessControl", "contrastControl"):
        assert image.get(control) == "true", control
    assert image.get("rotateControl") is None
    assert boxes.get("canRotate") == "false"


@pytest.mark.parametrize(("several", "choice"), [(False, "single"), (True, "multiple")])
def test_choices_are_one_or_several(make_card: MakeCard, several: bool, choice: str) -> None:
    card = make_card(labeling={"kind": "classes", "several_classes": several})
    tag = ElementTree.fromstring(interface(card)).find("Choices")
    assert tag is not None and tag.get("choice") == choice


def test_colours_stay_when_classes_are_added(make_card: MakeCard) -> None:
    few = [{"name": f"c{n}", "definition": "x"} for n in range(5)]
    few[2]["colour"] = "#abcdef"
    many = few + [{"name": f"d{n}", "definition": "x"} for n in range(40)]
    before, after = colours(make_card(classes=few)), colours(make_card(classes=many))
    assert before["c2"] == "#ABCDEF"
    assert before["c0"] == PALETTE[0]
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == 45


def test_a_colour_that_the_card_gives_is_given_to_no_other_class(make_card: MakeCard) -> None:
    found = colours(
        make_card(
            classes=[
                {"name": "a", "definition": "x"},
                {"name": "b", "definition": "x", "colour": PALETTE[0].lower()},
            ]
        )
    )
    assert found["b"] == PALETTE[0]
    assert found["a"] != PALETTE[0]


def test_hot_keys_of_the_card_go_first_and_none_stands_twice(make_card: MakeCard) -> None:
    named = [{"name": f"c{n}", "definition": "x"} for n in range(30)]
    named[5]["hotkey"] = "1"
    found = hotkeys(make_card(classes=named))
    assert found["c5"] == "1"
    assert found["c0"] == "2"
    assert len(set(found.values())) == len(found) == len(KEYS)
    assert not set("behkmopruvw") & set(found.values())  # Label Studio's tools


def test_one_hot_key_for_two_classes_is_refused(make_card: MakeCard) -> None:
    with pytest.raises(CardError, match=r"found 'q' for 'a' and 'b', in card of dataset 'tiny'"):
        interface(make_card(classes=classes("a", "b", hotkey="q")))


@pytest.mark.parametrize("name", ["$image", "car $type", "a\ufffeb", "a\ud800b"])
def test_names_that_the_page_cannot_show_are_refused(make_card: MakeCard, name: str) -> None:
    card = make_card()
    entry = card.classes[0].model_copy(update={"name": name})
    with pytest.raises(CardError, match="found"):
        interface(card.model_copy(update={"classes": [entry]}))


def test_old_classes_stand_last_grey_and_without_a_hot_key(make_card: MakeCard) -> None:
    card = make_card(ontology_changes=[
        {"kind": "rename", "on": date(2026, 1, 1), "old": ["lorry"], "new": ["bus"]},
    ])  # fmt: skip
    labels = ElementTree.fromstring(interface(card, ["lorry", "lorry", "bus"])).findall(".//Label")
    assert [tag.get("value") for tag in labels] == ["汽车", "bus", "lorry"]
    assert labels[-1].get("hotkey") is None
    assert labels[-1].get("background") == "#8C8C8C"
    assert labels[-1].get("hint") == "Old class, no longer to be used: use bus"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_instructions_show_each_class_and_run_nothing(make_card: MakeCard) -> None:
    card = make_card(classes=classes(*NASTY))
    parsed = Tags()
    parsed.feed(instructions(card, ["<img src=x onerror=alert(1)>"]))
    assert {tag for tag, _ in parsed.tags} == {
        "p", "table", "tbody", "tr", "td", "br", "b", "kbd", "ul", "li"
    }  # fmt: skip
    shown = [about["bgcolor"] for tag, about in parsed.tags if tag == "td" and "bgcolor" in about]
    assert shown == list(colours(card).values())
    assert len(shown) == len(NASTY)
    for name in NASTY:
        assert name in parsed.text
        assert f"What {name} is." in parsed.text


def test_instructions_for_choices_name_no_colour(make_card: MakeCard) -> None:
    text = instructions(make_card(labeling={"kind": "classes"}))
    assert "bgcolor" not in text
    assert "Submit it empty" not in text


@pytest.mark.parametrize("page", ["<View></View>", "", "<View", "no page"])
def test_a_page_without_controls_offers_nothing(page: str) -> None:
    assert offered_classes(page) == {}
