"""The summary of each camera, the contact sheet, and the command that shows both."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from cityforge.cards.dataset import Dataset
from cityforge.cli.footage_show import show_dataset
from cityforge.errors import CityforgeError, DataError
from cityforge.footage.sealing import withdraw
from cityforge.footage.shards import FrameStore, read_shard, write_shard
from cityforge.footage.sheet import spread, worst, write_sheet
from cityforge.footage.stored import part
from cityforge.footage.summary import summarise
from cityforge.project import Project
from cityforge.settings import load_settings
from cityforge.tables import FOOTAGE, FRAMES, from_rows, write_table
from cityforge.trust.journal import open_journal

MORNING = datetime(2026, 3, 2, 9, tzinfo=UTC)
NOW = MORNING + timedelta(days=1)
PRIVATE = {
    "grade": "personal", "lawful_basis": "街道办 <b>42</b>", "redact": ["face"],
    "redaction": {"method": "blur", "padding": 0.1, "hold_s": 1}, "retention_days": 30,
}  # fmt: skip
Row = dict[str, Any]


def film(footage_id: str, camera: str, **changes: Any) -> Row:
    return {
        "footage_id": footage_id, "path": f"footage/{footage_id}.mp4", "name": f"{footage_id}.mp4",
        "camera": camera, "site": "门", "started_at": MORNING, "duration_s": 60.0, "fps": 25.0,
        "width": 640, "height": 360, "codec": "h264", "frames": 1500, "errors": 0,
        "lawful_basis": "made here", **changes,
    }  # fmt: skip


def frame(footage_id: str, second: int, **changes: Any) -> Row:
    return {
        "frame_id": f"{footage_id}-{second * 1000}", "footage_id": footage_id,
        "pts_s": float(second), "captured_at": MORNING + timedelta(seconds=second),
        "shard": f"{footage_id}.tar", "width": 640, "height": 360, "phash": "0" * 16,
        "sharpness": 400.0 + second, "brightness": 90.0 + second, "contrast": 40.0,
        "lighting": "day", "faults": [], "redactions": [], "redacted_by": None, **changes,
    }  # fmt: skip


def grey_jpeg(grey: int, size: tuple[int, int] = (640, 360)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def store_frames(folder: Path, rows: list[Row]) -> tuple[Any, FrameStore]:
    """Write shards in which the frame of second s is a grey of 3 s; table and store."""
    for shard in sorted({row["shard"] for row in rows}):
        here = [row for row in rows if row["shard"] == shard]
        members = [(row["frame_id"], grey_jpeg(int(row["pts_s"]) * 3)) for row in here]
        write_shard(folder / shard, members)
        for row, member in zip(here, read_shard(folder / shard), strict=True):
            row |= {"offset": member.offset, "bytes": len(member.data)}
    table = from_rows(sorted(rows, key=lambda row: str(row["frame_id"])), FRAMES)
    return table, FrameStore(folder, table)


@dataclass
class Page(HTMLParser):
    """What a page shows: its texts, its pictures, and all it refers to."""

    text: str
    pictures: list[Image.Image] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "src" and str(value).startswith("data:image/jpeg;base64,"):
                data = base64.b64decode(str(value).partition(",")[2], validate=True)
                self.pictures.append(Image.open(io.BytesIO(data)))
            elif name in ("src", "href", "srcset") and not str(value).startswith("#"):
                self.outside.append(str(value))
            elif name == "title" and tag == "figcaption":
                self.captions.append(str(value))

    @property
    def greys(self) -> list[int]:
        """The second of each picture, told by its pixels."""
        return [round(float(np.asarray(each).mean()) / 3) for each in self.pictures]


Make = Callable[..., Dataset]


def test_a_camera_is_summed_up(tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    footage = [
        film("f1", "北门", errors=3),
        film("f2", "北门", started_at=MORNING + 5 * hour, duration_s=1800.0),
        film("f3", "北门", started_at=None, withdrawn_at=MORNING, duration_s=0.0, fps=None),
        film("h1", "harbour", started_at=None),
    ]
    box = {"kind": "face", "x1": 1, "y1": 1, "x2": 9, "y2": 9, "score": 0.9, "found": "detected"}
    frames = [
        frame("f1", 0, faults=["moved", "out_of_focus"], redactions=[box, box], redacted_by="d"),
        frame("f1", 2, faults=["moved"], lighting="night", redacted_by="d"),
        frame("f1", 7),
        frame("f2", 9, captured_at=MORNING + 5 * hour, lighting="infrared"),
        frame("gone", 1),
    ]
    rows = [row | {"offset": 0, "bytes": 0} for row in frames]
    gate, harbour = sorted(
        summarise(from_rows(footage, FOOTAGE), from_rows(rows, FRAMES)), key=lambda s: s.frames == 0
    )
    assert (gate.camera, gate.site, gate.films, gate.stills) == ("北门", "门", 2, 1)
    assert (gate.hours, gate.errors, gate.withdrawn) == (pytest.approx(31 / 60), 3, 1)
    assert (gate.first, gate.last) == (MORNING, MORNING + 5 * hour)
    assert gate.longest_gap_h == pytest.approx(5 - 1 / 60)
    assert gate.lighting == {"day": 0.5, "night": 0.25, "infrared": 0.25}
    assert (gate.faults, gate.faulty) == ({"moved": 2, "out_of_focus": 1}, 2)
    assert (gate.frames, gate.redactions, gate.redacted) == (4, 2, 2)
    assert (gate.brightness, gate.sharpness, gate.contrast) == (94.5, 404.5, 40)
    assert (harbour.camera, harbour.frames, harbour.brightness) == ("harbour", 0, None)
    assert (harbour.first, harbour.longest_gap_h, harbour.faults) == (None, None, {})


def test_footage_that_overlaps_leaves_no_gap() -> None:
    starts = [(0, 7200), (600, 60), (7200, 60)]
    footage = [
        film(f"f{s}", "北门", started_at=MORNING + timedelta(seconds=s), duration_s=float(d))
        for s, d in starts
    ]
    (only,) = summarise(from_rows(footage, FOOTAGE), FRAMES.empty_table())
    assert only.longest_gap_h == 0
    assert (only.first, only.last) == (MORNING, MORNING + timedelta(seconds=7260))


@pytest.mark.parametrize(
    ("rows", "count", "taken"),
    [(0, 3, []), (2, 3, [0, 1]), (3, 3, [0, 1, 2]), (9, 3, [0, 4, 8]), (100, 2, [0, 99]),
     (5, 1, [0])],
)  # fmt: skip
def test_frames_are_spread(rows: int, count: int, taken: list[int]) -> None:
    assert [row["n"] for row in spread([{"n": n} for n in range(rows)], count)] == taken


def test_the_worst_frames_come_first() -> None:
    rows = [
        frame("f", n, faults=["black", "frozen", "out_of_focus"] if n % 2 else [], sharpness=s)
        for n, s in enumerate([1, 9, 1, 3, 1, 7, 1, 5])
    ]
    assert [row["pts_s"] for row in worst(rows, "out_of_focus", 3)] == [3, 7, 5]
    assert [row["pts_s"] for row in worst(rows, "black", 3)] == [1, 3, 5]
    assert [row["pts_s"] for row in worst(rows, "frozen", 2)] == [1, 7]
    assert worst(rows, "moved") == []


def sheet(folder: Path, card: Dataset, footage: list[Row], frames: list[Row], **more: Any) -> Page:
    table, store = store_frames(folder, frames)
    stored = part(card, from_rows(footage, FOOTAGE), table, NOW, "d")
    path = write_sheet(folder / "页" / "sheet.html", card, stored, store, **more)
    assert [each.name for each in path.parent.iterdir()] == ["sheet.html"]
    return Page(path.read_text(encoding="utf-8"))


def test_a_sheet_shows_stored_frames_and_refers_to_nothing_outside(
    tmp_path: Path, make_card: Make
) -> None:
    frames = [frame("f1", second) for second in range(60)]
    frames[30] |= {"faults": ["frozen"], "lighting": "night"}
    page = sheet(tmp_path, make_card(), [film("f1", "北门")], frames, per_camera=7)
    assert page.greys == [0, 10, 20, 30, 39, 49, 59, 30]
    assert page.captions == [f"f1-{second * 1000}" for second in page.greys]
    assert {picture.size for picture in page.pictures} == {(320, 180)}
    assert page.outside == [] and "http" not in page.text and "url(" not in page.text
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert '<b class="fault">frozen</b>' in page.text
    assert "2026-03-02 09:00:30" in page.text
    assert "@media print" in page.text


def test_small_frames_are_not_enlarged(tmp_path: Path, make_card: Make) -> None:
    table, _ = store_frames(tmp_path, [frame("f1", 0)])
    write_shard(tmp_path / "f1.tar", [("f1-0", grey_jpeg(9, (64, 48)))])
    (member,) = read_shard(tmp_path / "f1.tar")
    row = table.to_pylist()[0] | {"bytes": len(member.data)}
    table = from_rows([row], FRAMES)
    footage = from_rows([film("f1", "北门")], FOOTAGE)
    stored = part(make_card(), footage, table, NOW, None)
    path = write_sheet(tmp_path / "a.html", make_card(), stored, FrameStore(tmp_path, table))
    assert [each.size for each in Page(path.read_text(encoding="utf-8")).pictures] == [(64, 48)]


def test_names_are_shown_as_they_are(tmp_path: Path, make_card: Make) -> None:
    card = make_card(title="城市 <script>alert(1)</script>", privacy=PRIVATE)
    footage = [film("f1", "北门", name='早 "高峰" <img src=x>.mp4')]
    page = sheet(tmp_path, card, footage, [frame("f1", 0, redacted_by="d")])
    assert "script" not in page.tags
    assert page.outside == [] and len(page.pictures) == 1
    assert "城市 &lt;script&gt;" in page.text and "街道办 &lt;b&gt;42&lt;/b&gt;" in page.text
    assert "早 &#34;高峰&#34; &lt;img src=x&gt;.mp4" in page.text
    assert "North gate" in page.text


def test_frames_that_were_not_redacted_are_not_shown(tmp_path: Path, make_card: Make) -> None:
    frames = [
        frame("f1", second, redacted_by="dx"[second > 3] if second < 7 else None, faults=["moved"])
        for second in range(9)
    ]
    page = sheet(tmp_path, make_card(privacy=PRIVATE), [film("f1", "北门")], frames)
    assert set(page.greys) == {0, 1, 2, 3}
    assert "5 frames did not pass the redaction" in page.text
    assert "4 of 4" in page.text


def test_withdrawn_and_expired_footage_is_not_shown(tmp_path: Path, make_card: Make) -> None:
    footage = [
        film("f1", "北门", retain_until=NOW + timedelta(seconds=1)),
        film("f2", "北门", withdrawn_at=MORNING),
        film("f3", "北门", retain_until=NOW),
    ]
    frames = [frame(f"f{n}", n, faults=["moved"]) for n in (1, 2, 3)] + [frame("unknown", 4)]
    page = sheet(tmp_path, make_card(), footage, frames)
    assert page.greys == [1, 1]
    assert "1 withdrawn" in page.text
    assert "2 frames are of withdrawn or expired footage" in page.text


def test_cameras_without_footage_or_frames_say_so(tmp_path: Path, make_card: Make) -> None:
    page = sheet(tmp_path, make_card(), [film("f1", "北门", started_at=None)], [])
    assert page.text.count("No stored frames yet.") == 1  # 北门
    assert page.text.count("No footage yet.") == 1  # harbour
    assert "at an unknown time" in page.text
    assert page.pictures == []


def test_times_of_film_stand_where_no_clock_is_known(tmp_path: Path, make_card: Make) -> None:
    frames = [frame("f1", 75, captured_at=None), frame("s1", 0, captured_at=None)]
    footage = [film("f1", "北门"), film("s1", "harbour", duration_s=0.0, fps=None)]
    page = sheet(tmp_path, make_card(), footage, frames)
    assert "<span>1:15</span>" in page.text
    assert "<span>0:00</span>" not in page.text


def test_a_camera_that_left_the_card_is_still_shown(tmp_path: Path, make_card: Make) -> None:
    page = sheet(tmp_path, make_card(), [film("f1", "旧桥")], [frame("f1", 1)])
    assert "旧桥" in page.text and "not in the card" in page.text
    assert page.greys == [1]


def test_a_lost_shard_is_an_error_and_leaves_the_old_sheet(tmp_path: Path, make_card: Make) -> None:
    table, store = store_frames(tmp_path / "frames", [frame("f1", 1)])
    (tmp_path / "frames" / "f1.tar").unlink()
    old = tmp_path / "sheet.html"
    old.write_text("old", encoding="utf-8")
    with pytest.raises(DataError, match="expected a shard, found no file"):
        stored = part(make_card(), from_rows([film("f1", "北门")], FOOTAGE), table, NOW, None)
        write_sheet(old, make_card(), stored, store)
    assert old.read_text(encoding="utf-8") == "old"


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """A project with one dataset, nothing added."""
    folder = tmp_path / "datasets" / "streets"
    folder.mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_text("algorithms: {}\ndatasets: []\n", encoding="utf-8")
    (folder / "dataset.yaml").write_text(
        "name: streets\ntitle: 街道\nclasses: [{name: car, definition: A car.}]\n"
        "cameras: [{name: 北门, site: North gate}]\n"
        "privacy: {grade: public, lawful_basis: b, redact: [], retention_days: 9}\n"
        "licence: L\nsampling: {policy: every, seconds: 1}\n"
        "checks: {min_frames: 1, min_boxes_per_class: 1, min_box_px: 2, max_rejected_share: 0}\n",
        encoding="utf-8",
    )
    return tmp_path


@pytest.fixture
def show(city: Path) -> Iterator[Callable[..., str]]:
    """Run the command in the project; what it printed."""
    before = dict(os.environ)
    app = typer.Typer()

    @app.callback()
    def project(context: typer.Context) -> None:
        context.obj = city

    @app.command()
    def run(
        context: typer.Context, dataset: str, as_json: bool = False, sheet: Path | None = None
    ) -> None:
        show_dataset(context, dataset, as_json, sheet)

    def show_it(*words: str) -> str:
        done = CliRunner().invoke(app, ["run", *words])
        if isinstance(done.exception, CityforgeError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout

    yield show_it
    os.environ.clear()
    os.environ.update(before)


def fill(city: Path, frames: bool = True) -> None:
    folder = city / "datasets" / "streets"
    write_table(
        from_rows([film("f1", "北门")], FOOTAGE), FOOTAGE, folder / "footage" / "footage.parquet"
    )
    if frames:
        rows = [frame("f1", n, faults=["out_of_focus"] * (n > 5)) for n in range(9)]
        table, _ = store_frames(folder / "frames", rows)
        write_table(table, FRAMES, folder / "frames" / "frames.parquet")


def test_command_shows_a_table_and_writes_the_sheet(city: Path, show: Callable[..., str]) -> None:
    fill(city)
    said = show("streets")
    place = city / ".cityforge" / "sheets" / "streets.html"
    assert said.splitlines()[-1] == f"contact sheet: {place}"
    assert "北门" in said and "day 100%" in said and "out of focus 3" in said
    assert "2026-03-02 09:00" in said
    assert len(Page(place.read_text(encoding="utf-8")).pictures) == 9 + 3


def test_command_prints_json_and_writes_where_it_is_told(
    city: Path, show: Callable[..., str]
) -> None:
    fill(city)
    place = city / "图 1.html"
    said = json.loads(show("streets", "--as-json", "--sheet", str(place)))
    assert (said["dataset"], said["sheet"]) == ("streets", str(place))
    assert [(c["camera"], c["frames"], c["faults"]) for c in said["cameras"]] == [
        ("北门", 9, {"out_of_focus": 3})
    ]
    assert place.is_file() and not (city / ".cityforge" / "sheets").exists()
    (entry,) = open_journal(Project(city), load_settings(city)).entries(acts=("retrieve",))
    assert (entry.about, entry.body["ids"]) == ("dataset:streets", ["f1"])


def test_command_shows_what_the_catalogue_says_before_frames_are_stored(
    city: Path, show: Callable[..., str]
) -> None:
    fill(city, frames=False)
    said = show("streets")
    assert "北门" in said and "60 s" in said
    assert said.splitlines()[-1].startswith("no frames are stored yet")
    assert not (city / ".cityforge").exists()


def test_command_shows_nothing_that_is_sealed_or_past_its_time(
    city: Path, show: Callable[..., str]
) -> None:
    fill(city)
    folder = city / "datasets" / "streets"
    withdraw(folder, "f1", "asked for", MORNING, "me")
    fill(city)  # as `dvc checkout` of an older commit does
    said = show("streets")
    assert said.splitlines()[-1].startswith("no frame may be shown")
    assert json.loads(show("streets", "--as-json"))["cameras"][0]["frames"] == 0
    assert not (city / ".cityforge").exists()


def test_command_without_footage_says_what_to_do(show: Callable[..., str]) -> None:
    assert show("streets").strip() == "no footage yet: cityforge footage add streets PATH"


def test_command_does_not_know_the_dataset(show: Callable[..., str]) -> None:
    with pytest.raises(CityforgeError, match="did you mean 'streets'"):
        show("street")
