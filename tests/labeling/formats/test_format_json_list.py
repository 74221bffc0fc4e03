"""Items of a JSON list, the same as Python's own reader gives, whatever the chunks."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from cityforge.errors import LabelError
from cityforge.labeling.formats import json_list

TEXTS = [
    "[]",
    " [ ] \n",
    '[1, 23, 4.5e3, "a]b", null, true, {"a": [1, {"b": "汽车"}]}, []]',
    '[NaN, -Infinity, 123456789012345678901234567890, "\\ud800", "\\ud83d\\ude00"]',
    '[\n {"x": "街"} ,\r\n\t{"x": ""}\n]\n',
]
BROKEN = ["", "[", "[1", "[1,", "[1 2]", "[1]]", "[1,]", '["a', '[{"a": 1]', "[" * 100_000, "nul"]


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("text", TEXTS)
def test_items_are_those_of_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, chunk: int
) -> None:
    monkeypatch.setattr(json_list, "CHUNK_CHARACTERS", chunk)
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    found = list(json_list.json_list(tmp_path / "a.json", "a list"))
    assert repr(found) == repr(json.loads(text))


@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize("text", BROKEN)
def test_broken_list_is_refused_as_valid_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, chunk: int
) -> None:
    monkeypatch.setattr(json_list, "CHUNK_CHARACTERS", chunk)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(LabelError, match=r"valid JSON"):
        list(json_list.json_list(tmp_path / "a.json", "a list"))


def test_other_json_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(LabelError, match="expected a list of tasks, found a dict"):
        list(json_list.json_list(tmp_path / "a.json", "a list of tasks"))
    with pytest.raises(LabelError, match="found nothing"):
        list(json_list.json_list(tmp_path / "none.json", "a list"))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    task = json.dumps({"data": {"image": "街.jpg"}, "text": "x" * 1000}, ensure_ascii=False)
    peaks = []
    for count in (5_000, 20_000):
        path = tmp_path / f"{count}.json"
        path.write_text("[" + ",".join([task] * count) + "]", encoding="utf-8")
        tracemalloc.start()
        assert sum(1 for _ in json_list.json_list(path, "a list")) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 20e6
    assert peaks[1] < 1.3 * peaks[0] < 13e6
