"""What is refused is in a log of its own: by whom, which, how large; and few rows of a flood."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from cityforge.endpoint import request_log
from cityforge.endpoint.request_log import AT_ONCE, RequestLog


def scope(caller: str = "desk", **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"state": {"caller": caller}, "headers": pairs}


def rows(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "requests").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"content_length": "81"}, 81),
        ({}, 0),
        ({"content_length": "9" * 30}, 0),
        ({"content_length": "-1"}, 0),
    ],
)
def test_a_row_says_who_was_refused_and_what(
    tmp_path: Path, headers: dict[str, str], size: int
) -> None:
    log = RequestLog(tmp_path)
    log.note(scope("值班室", **headers), "abc", "/predict", 413, 0.0021)
    (row,) = rows(tmp_path)
    assert row.pop("at")[:2] == "20"
    assert row == {
        "request_id": "abc", "route": "/predict", "status": 413, "caller": "值班室",
        "bytes": size, "ms": 2.1, "left_out": 0,
    }  # fmt: skip
    assert not list(tmp_path.glob("*.jsonl"))  # the log of answers counts answers alone


def test_of_a_flood_a_part_is_written_and_the_rest_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "SAY_LEFT_OUT_S", 0.05)

    async def flood() -> None:
        log = RequestLog(tmp_path)
        for number in range(AT_ONCE + 300):
            log.note(scope(), f"{number}", "/predict", 429, 0.001)
        log.note(scope(), "another status", "/predict", 503, 0.001)
        log.note(scope("other"), "another caller", "/predict", 429, 0.001)
        await asyncio.sleep(0.2)

    asyncio.run(flood())
    found = rows(tmp_path)
    written, last = found[:-3], found[-1]
    assert [each["request_id"] for each in found[-3:]] == ["another status", "another caller", ""]
    assert (last["caller"], last["status"]) == ("desk", 429)
    assert len(written) + last["left_out"] == AT_ONCE + 300
    assert AT_ONCE <= len(written) <= AT_ONCE + 3


def test_a_refusal_that_is_left_out_costs_microseconds(tmp_path: Path) -> None:
    async def flood() -> float:
        log, took = RequestLog(tmp_path), []
        for number in range(3000):
            begun = time.perf_counter()
            log.note(scope(), f"{number}", "/predict", 429, 0.001)
            took.append(time.perf_counter() - begun)
        return sorted(took)[1500]

    assert asyncio.run(flood()) < 20e-6


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    log = RequestLog(None)
    for _ in range(2 * AT_ONCE):
        log.note(scope(), "a", "/predict", 429, 0.001)
    assert rows(tmp_path) == []
