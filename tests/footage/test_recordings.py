"""What a person says of files: times that can be, a CSV with each fault named by its line."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cityforge.errors import InputError, NameUnknown
from cityforge.footage.recordings import (
    Recording,
    completed,
    hold_against,
    parse_time,
    read_recordings,
)

MOMENT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-03-02T09:00:00Z", "2026-03-02T09:00:00", "2026-03-02 17:00+08:00"]
)
def test_a_time_without_a_zone_is_utc(text: str) -> None:
    assert parse_time(text, "here") == MOMENT


@pytest.mark.parametrize("text", ["1970-01-01", "2000-01-01", "2100-12-31T23:59:59Z"])
def test_the_clock_of_a_camera_may_stand_far_off(text: str) -> None:
    assert parse_time(text, "here") == datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",  # in UTC it is of no year at all
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "2101-01-01",
    ],
)
def test_a_time_that_footage_cannot_be_of_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"years 1970 to 2100, found .*, in --started-at"):
        parse_time(text, "--started-at")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"file\na.jpg\n", "line 2"),
        (b"file,camera\na.jpg,x\n,y\n", "line 3"),
        (b"file,camera\n\n\na.jpg,x\n,y\n", "line 5"),  # empty lines count
        (b"file,camera,started_at\na.jpg,x,soon\n", "'soon'.*line 2"),
        (b"file,camera,started_at\na.jpg,x,9999-12-31\n", "1970 to 2100.*line 2"),
        (b"file,camera,retain_until\na.jpg,x,\nb.jpg,x,0001-01-01\n", "1970 to 2100.*line 3"),
        (b"file,camera\na.jpg,x\nb.jpg,x,day,rain\n", r"also \['day', 'rain'\].*line 3"),
        (b"file,camera\na.jpg,x\n" + b"b" * 200_000 + b",x\n", "field larger.*line 3"),
        (b"file,camera\na.jpg,x\na.jpg,y\n", "'a.jpg' again.*line 3"),
        (b"file,camera,lightning\na.jpg,x,day\n", "did you mean 'lighting'"),
        ("file,camera\n照片.jpg,北门\n".encode("gbk"), "UTF-8"),
    ],
)
def test_a_table_of_recordings_with_a_fault_is_refused(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(InputError, match=expected) as caught:
        read_recordings(tmp_path / "table.csv")
    assert "\n" not in str(caught.value)


def test_a_row_says_what_it_says_and_the_options_the_rest() -> None:
    row = Recording("北门", MOMENT, weather="fog")
    common = Recording("harbour", None, "night", "rain", "contract 7", MOMENT)
    expected = Recording("北门", MOMENT, "night", "fog", "contract 7", MOMENT)
    assert completed(row, common) == expected


@pytest.mark.alone
def test_a_long_table_is_held_against_its_files_at_once() -> None:
    names = [f"{number}.jpg" for number in range(100_000)]
    begun = time.monotonic()
    hold_against(dict.fromkeys(names, Recording("x")), names, Path("table.csv"))
    assert time.monotonic() - begun < 2  # name by name it took a minute
    with pytest.raises(NameUnknown, match=r"'nine\.jpg', in table\.csv"):
        hold_against({"nine.jpg": Recording("x")}, names[:20], Path("table.csv"))
