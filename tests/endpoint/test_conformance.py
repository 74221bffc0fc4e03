"""Answers held against those that are expected, and libraries against those that are locked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cityforge.endpoint.conformance import difference
from cityforge.endpoint.pins import Pinned, installed_otherwise, read_pins
from cityforge.errors import CityforgeError

BOX = {"class_name": "car", "score": 0.8, "x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0}
WEAK = {**BOX, "score": 0.50005}
SIZE = {"width": 8, "height": 8}


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        ({"boxes": [BOX]}, {"boxes": [BOX]}, ""),
        ({"boxes": [BOX]}, {"boxes": [{**BOX, "score": 0.80009, "x2": 3.04}]}, ""),
        ({"boxes": [BOX]}, {"boxes": [{**BOX, "score": 0.8002}]}, "no car 0.8"),
        ({"boxes": [BOX]}, {"boxes": [{**BOX, "y1": 2.06}]}, "no car 0.8 at (1.0, 2.0"),
        ({"boxes": [BOX]}, {"boxes": [{**BOX, "class_name": "bus"}]}, "no car"),
        ({"boxes": [BOX]}, {"boxes": [BOX, BOX]}, "also car"),
        ({"boxes": [BOX, WEAK]}, {"boxes": [BOX]}, ""),  # it lies at the threshold
        ({"boxes": [BOX]}, {"boxes": [WEAK, BOX]}, ""),
        ({"boxes": []}, {"classes": []}, ""),
        ({"boxes": [BOX]}, {"classes": []}, "no car"),
        ({"classes": [{"name": "night", "score": 0.9}]},
         {"classes": [{"name": "day", "score": 0.9}]}, "no night"),
        ({"counts": [{"name": "a", "count": 3.2}]},
         {"counts": [{"name": "a", "count": 3.205}]}, ""),
        ({"counts": [{"name": "a", "count": 3.2}]},
         {"counts": [{"name": "a", "count": 3.3}]}, "3.3 of a, not 3.2"),
        ({"counts": [{"name": "a", "count": 3.2}]}, {"counts": []}, "counts of other"),
        ({"boxes": [], "width": 9}, {"boxes": []}, "width 8, not 9"),
    ],
)  # fmt: skip
def test_answers_are_equal_within_what_another_processor_changes(
    expected: dict[str, Any], found: dict[str, Any], said: str
) -> None:
    why = difference({**SIZE, **expected}, {**SIZE, **found}, 0.5)
    assert why.startswith(said) and bool(why) == bool(said), why


def test_requirements_are_those_of_this_python(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# a note\nA.b==1 ; python_version >= '3'\na_b==2 ; python_version < '3'\n\nc==3\n"
    )
    assert read_pins(path) == [Pinned("a-b", "1"), Pinned("c", "3")]
    for line in ("c>=3", "c", "c===3.*", "https://example.invalid/c.whl"):
        path.write_text(line)
        with pytest.raises(CityforgeError, match="NAME==VERSION"):
            read_pins(path)


def test_other_versions_than_the_locked_ones_are_named() -> None:
    from importlib.metadata import version

    here = version("numpy")
    assert installed_otherwise([Pinned("numpy", here)]) == []
    assert installed_otherwise([Pinned("numpy", "1.0")]) == [f"numpy {here} (1.0)"]
    with pytest.raises(CityforgeError, match="nothing-of-this-name==1"):
        installed_otherwise([Pinned("nothing-of-this-name", "1")])
