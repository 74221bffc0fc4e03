"""The page that annotators see in Label Studio, from a dataset's card: its XML, its instructions.

Hints of the tags: labelstud.io/tags. A class stands there under its exact name, because results
carry the `value` of their label. Label Studio fills in `$word` in a value from the task's data.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from xml.etree import ElementTree

from cityforge.cards.dataset import Dataset
from cityforge.cards.labeling import LabelKind
from cityforge.errors import CardError

# Okabe and Ito (2008) without black, then what Paul Tol's muted scheme (2021) adds to it.
PALETTE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
    "#332288", "#999933", "#882255", "#88CCEE", "#117733", "#AA4499", "#DDCC77",
)  # fmt: skip
OLD_COLOUR = "#8C8C8C"
# Without the letters of Label Studio's own tools: b e h k m o p r u v w.
KEYS = "123456789acdfgijlnqstxyz"
FILLED_IN = re.compile(r"\$[\w\[\].{}]")
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Control:
    """The tag that offers the classes, under the name that every result carries."""

    tag: str
    name: str
    offers: str  # tag of one class
    to: str
    task: str  # what an annotator is asked to do

    @property
    def coloured(self) -> bool:
        """Whether Label Studio shows the colour of a class; a choice has none."""
        return self.offers == "Label"


CONTROLS: dict[LabelKind, Control] = {
    "boxes": Control(
        "RectangleLabels", "label", "Label", "image",
        "Draw an upright box tightly around every object of these classes.",
    ),
    "classes": Control(
        "Choices", "class", "Choice", "image", "Say which of these classes the picture shows."
    ),
    "points": Control(
        "KeyPointLabels", "point", "Label", "image", "Set one point on every object.",
    ),
    "video": Control(
        "Labels", "videoLabels", "Label", "video",
        "Follow every object with one box; switch it off where the object is hidden.",
    ),
}  # fmt: skip


def interface(card: Dataset, kept: Sequence[str] = ()) -> str:
    """The labelling page as XML.

    Args:
        kept: old classes that annotations still use; they stand last, grey, with no key of ours
            (Label Studio gives them the next one that is free).

    Raises:
        CardError: a hot key that stands twice, or a class name that cannot stand in the page.
    """
    page = ElementTree.Element("View")
    control = CONTROLS[card.labeling.kind]
    offered = ElementTree.SubElement(page, control.tag, name=control.name, toName=control.to)
    if control.tag == "RectangleLabels":
        offered.set("canRotate", "false")  # only upright boxes are used
    if control.tag == "Choices":
        offered.set("choice", "multiple" if card.labeling.several_classes else "single")
    if control.tag in ("RectangleLabels", "KeyPointLabels"):
        offered.set("smart", "true")
    _offer(offered, control, card, _old_ones(card, kept))
    _shown_object(page, control.to)
    ElementTree.indent(page, " ")
    return ElementTree.tostring(page, encoding="unicode")


def instructions(card: Dataset, kept: Sequence[str] = ()) -> str:
    """HTML for annotators: what to do, and each class with its colour, key and definition.

    Only tags and attributes that Label Studio keeps: it drops `style`, so the
    background of a cell shows the colour. Raises as `interface` does.
    """
    control = CONTROLS[card.labeling.kind]
    colour, key = colours(card), hotkeys(card)
    entries = [
        '<tr valign="top">'
        + (f'<td bgcolor="{colour[each.name]}" width="24"></td>' if control.coloured else "")
        + f"<td>{f'<kbd>{key[each.name]}</kbd>' if each.name in key else ''}</td>"
        + f"<td><b>{_text(each.name)}</b><br>{_text(each.definition)}</td></tr>"
        for each in card.classes
    ]
    empty = "" if card.labeling.kind == "classes" else " Submit it empty where there is none."
    old = [f"<li><b>{_text(name)}</b>: {_text(now)}</li>" for name, now in _old_ones(card, kept)]
    gone = f"<p>Old classes, no longer to be used:</p><ul>{''.join(old)}</ul>" if old else ""
    task = _text(control.task + empty)
    table = f'<table border="0" cellpadding="8"><tbody>{"".join(entries)}</tbody></table>'
    return f"<p>{task}</p>{table}{gone}"


def colours(card: Dataset) -> dict[str, str]:
    """Colour of each class, #RRGGBB: the card's, else by its place: a new class changes none."""
    taken = {each.colour.upper() for each in card.classes if each.colour}
    return {
        each.name: each.colour.upper() if each.colour else _colour_at(place, taken)
        for place, each in enumerate(card.classes)
    }


def hotkeys(card: Dataset) -> dict[str, str]:
    """Hot key of each class: the card's, else the next of `KEYS`; later ones have none.

    Raises:
        CardError: the card gives one key to two classes.
    """
    stated = [each.hotkey for each in card.classes if each.hotkey]
    doubled = sorted({key for key in stated if stated.count(key) > 1})
    if doubled:
        names = [each.name for each in card.classes if each.hotkey == doubled[0]]
        raise CardError(
            "a hot key of its own for each class",
            found=f"'{doubled[0]}' for {' and '.join(f'{name!r}' for name in names)}",
            where=f"card of dataset '{card.name}', key 'classes.hotkey'",
        )
    free = iter(key for key in KEYS if key not in stated)
    keys = {each.name: each.hotkey or next(free, None) for each in card.classes}
    return {name: key for name, key in keys.items() if key}


def offered_classes(page: str) -> dict[str, list[str]]:
    """Classes that a labelling page offers, by the name of their control; [] where it has none."""
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(page)
    except ParseError:
        return {}
    return {
        str(tag.get("name")): [
            str(each.get("alias") or each.get("value"))
            for each in tag.iter()
            if each.tag in ("Label", "Choice")
        ]
        for tag in root.iter()
        if tag.get("name") and tag.get("toName")
    }


def _offer(
    offered: ElementTree.Element, control: Control, card: Dataset, old: list[tuple[str, str]]
) -> None:
    _refuse_unshowable(card, [name for name, _ in old])
    colour, key = colours(card), hotkeys(card)
    for each in card.classes:
        tag = ElementTree.SubElement(offered, control.offers, value=each.name)
        if control.coloured:
            tag.set("background", colour[each.name])
        if each.name in key:
            tag.set("hotkey", key[each.name])
        tag.set("hint", _line(each.definition))
    for name, now in old:
        tag = ElementTree.SubElement(offered, control.offers, value=name)
        if control.coloured:
            tag.set("background", OLD_COLOUR)
        tag.set("hint", _line(f"Old class, no longer to be used: {now}"))


def _shown_object(page: ElementTree.Element, to: str) -> None:
    if to == "video":
        ElementTree.SubElement(page, "Video", name="video", value="$video", frameRate="$fps")
        ElementTree.SubElement(page, "VideoRectangle", name="box", toName="video")
        return
    wanted = ("zoom", "zoomControl", "brightnessControl", "contrastControl")
    ElementTree.SubElement(
        page, "Image", {"name": to, "value": "$image"} | dict.fromkeys(wanted, "true")
    )


def _old_ones(card: Dataset, kept: Sequence[str]) -> list[tuple[str, str]]:
    """Old classes, each with a word on what stands for it now."""
    known = set(card.class_names)
    found = []
    for name in dict.fromkeys(kept):
        if name not in known:
            into = [new for change in card.ontology_changes if name in change.old
                    for new in change.new]  # fmt: skip
            found.append((name, f"use {' or '.join(into)}" if into else "leave it as it is"))
    return found


def _refuse_unshowable(card: Dataset, old: list[str]) -> None:
    faults = tuple(
        f"expected a class name without $ before a word, and without control characters, "
        f"found {name!r}, in card of dataset '{card.name}', key 'classes': "
        "Label Studio could not show it"
        for name in [*card.class_names, *old]
        if FILLED_IN.search(name) or NO_XML.search(name)
    )
    if faults:
        raise CardError("class names that Label Studio can show", faults=faults)


def _colour_at(place: int, taken: set[str]) -> str:
    if place < len(PALETTE) and PALETTE[place] not in taken:
        return PALETTE[place]
    hue = place * 0.618034 % 1  # golden angle: neighbours lie far apart
    red, green, blue = colorsys.hls_to_rgb(hue, (0.4, 0.55, 0.7)[place % 3], 0.75)
    return f"#{round(red * 255):02X}{round(green * 255):02X}{round(blue * 255):02X}"


def _line(text: str) -> str:
    return " ".join(NO_XML.sub("", text).split())


def _text(text: str) -> str:
    return escape(_line(text), quote=False)
