"""Captures: private, upright, bounded, and never in the way of an answer."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cityforge.cards.dataset import Privacy
from cityforge.endpoint import captures as module
from cityforge.endpoint.captures import Captures, keep_in, read_privacy, write_privacy
from cityforge.endpoint.keeper import INDEX, Keeper
from cityforge.endpoint.pool import Job, Loaded, Pool
from cityforge.errors import CardError, CityforgeError, ServiceError
from cityforge.inference.package import open_package

ID = "0123456789abcdef-" + "5" * 32
PUBLIC = {
    "grade": "public", "lawful_basis": "made here", "redact": [], "retention_days": 30,
}  # fmt: skip
FACES = {
    **PUBLIC, "grade": "personal", "redact": ["face"],
    "redaction": {"method": "fill", "padding": 0.1, "hold_s": 0},
}  # fmt: skip


def privacy_file(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "serving" / "privacy.json"
    write_privacy(path, Privacy.model_validate(content), folder)
    return path


def jpeg(picture: np.ndarray | None = None, kind: str = "JPEG", **exif: Any) -> bytes:
    if picture is None:
        picture = np.full((48, 64, 3), (200, 30, 30), np.uint8)
    image = Image.fromarray(picture)
    tags = image.getexif()
    for tag, value in exif.items():
        tags[int(tag[1:], 16)] = value
    stream = io.BytesIO()
    image.save(stream, kind, exif=tags)
    return stream.getvalue()


def head(folder: Path, path: Path) -> dict[str, Any]:
    return Captures(folder, 1.0, path).head(ID, 0, "share")


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.jpg"))


@pytest.fixture(autouse=True)
def fresh_keepers() -> None:
    module._keeper.cache_clear()


def test_a_picture_is_kept_as_its_owner_alone_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    asked = head(folder, privacy_file(tmp_path, PUBLIC))
    assert keep_in(asked, jpeg()) == ""
    assert keep_in({**asked, "picture": 3}, jpeg(kind="PNG")) == ""
    one, other = kept(folder)
    assert (one.name, other.name) == (f"{ID}-0.jpg", f"{ID}-3.jpg")
    for path in (one, other, one.with_name(INDEX)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
    assert sorted(each.name for each in one.parent.iterdir()) == [one.name, other.name, INDEX]
    lines = [json.loads(each) for each in one.with_name(INDEX).read_text().splitlines()]
    assert [(each["file"], each["why"]) for each in lines] == [
        (one.name, "share"), (other.name, "share"),
    ]  # fmt: skip
    assert np.abs(np.asarray(Image.open(one)).mean(axis=(0, 1)) - (200, 30, 30)).max() < 4


def test_what_a_file_says_beside_its_picture_is_not_kept(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :8] = 255  # white on the left; turned by the EXIF it is on top
    sent = jpeg(picture, x10F="maker of the camera", x112=6, x8298="someone")
    assert b"maker of the camera" in sent
    assert keep_in(head(folder, privacy_file(tmp_path, PUBLIC)), sent) == ""
    data = kept(folder)[0].read_bytes()
    assert b"maker" not in data
    assert b"Exif" not in data
    found = np.asarray(Image.open(io.BytesIO(data)))
    assert found.shape == (64, 48, 3)
    assert found[:6].mean() > 240 > 20 > found[12:].mean()


@pytest.mark.real
def test_faces_are_removed_before_a_picture_is_kept(
    tmp_path: Path, real_data: Callable[[str], Path]
) -> None:
    from cityforge.footage.redact import Redactor, decode_jpeg

    with Image.open(real_data("face_detector") / "22.jpg") as image:
        image.thumbnail((480, 480))
        sent = jpeg(np.asarray(image.convert("RGB")))
    privacy, folder = privacy_file(tmp_path, FACES), tmp_path / "captures"
    look = Redactor(Privacy.model_validate(FACES), tmp_path)
    assert look._look(decode_jpeg(sent))
    assert keep_in(head(folder, privacy), sent) == ""
    stored = kept(folder)[0]
    assert look._look(decode_jpeg(stored.read_bytes())) == []
    line = json.loads(stored.with_name(INDEX).read_text())
    assert line["regions"] >= 1
    assert line["redactor"] == look.digest


@pytest.mark.parametrize("bad", [b"", b"GIF89a", jpeg()[:300], b"\xff\xd8" + b"\0" * 400])
def test_what_is_no_picture_is_not_kept_and_stops_nothing(tmp_path: Path, bad: bytes) -> None:
    folder = tmp_path / "captures"
    asked = head(folder, privacy_file(tmp_path, PUBLIC))
    assert keep_in(asked, bad) == ""
    assert kept(folder) == []
    assert keep_in(asked, jpeg()) == ""
    assert len(kept(folder)) == 1


def test_an_id_cannot_name_another_place(tmp_path: Path) -> None:
    asked = head(tmp_path / "captures", privacy_file(tmp_path, PUBLIC))
    assert keep_in({**asked, "request_id": "../../escaped"}, jpeg()) == ""
    assert list(tmp_path.rglob("*escaped*")) == []


def test_too_little_free_disk_is_said(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    Keeper(tmp_path, None, free // 2).keep(jpeg(), ID, 0, "share")
    with pytest.raises(ServiceError, match=r"expected .* GiB of free disk, found .* GiB, in"):
        Keeper(tmp_path, None, free * 2).keep(jpeg(), ID, 1, "share")
    assert [each.name for each in kept(tmp_path)] == [f"{ID}-0.jpg"]


def test_a_disk_that_fills_up_stops_it_and_leaves_no_half_picture(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, json, pathlib\n"
        "from cityforge.endpoint.captures import keep_in\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "head, data = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]).read_bytes()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))\n"
        "print(keep_in(head, data))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))\n"
        "print(keep_in({**head, 'picture': 1}, data))\n"
    )
    folder, sent = tmp_path / "captures", tmp_path / "sent.jpg"
    sent.write_bytes(jpeg())
    asked = json.dumps(head(folder, privacy_file(tmp_path, PUBLIC)))
    command = [sys.executable, "-c", code, asked, str(sent)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    assert said[0] == f"expected to keep pictures, found File too large, in {folder}"
    assert said[1] == ""
    left = [each.name for each in folder.rglob("*") if each.is_file()]
    assert sorted(left) == [f"{ID}-1.jpg", INDEX]


# the front


def test_what_is_not_asked_for_is_off(tmp_path: Path) -> None:
    path = privacy_file(tmp_path, PUBLIC)
    for folder, share in ((None, 1.0), (tmp_path, 0.0)):
        found = Captures(folder, share, path)
        assert (found.state, found.wants()) == ("off", False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "off: expected what must be removed from pictures, found nothing"),
        ("", "off: expected a privacy of a dataset's card, found Expecting value"),
        ("[]", "off: expected a privacy of a dataset's card"),
        ('{"privacy": {}, "folder": "."}', "off: expected a privacy of a dataset's card"),
        ("gone", "off: expected what must be removed from pictures, found No such file"),
        ({**PUBLIC, "grade": "internal"}, "off: expected pictures that are public, or something"),
        ({**PUBLIC, "grade": "personal"}, "off: expected pictures that are public, or something"),
        ({**PUBLIC, "grade": "sensitive"}, "off: expected pictures that are public, or something"),
        (PUBLIC, "on: a picture of 100 % of the requests"),
        (FACES, "on: a picture of 100 % of the requests"),
    ],
)
def test_nothing_is_kept_before_it_is_known_what_must_be_removed(
    tmp_path: Path, content: Any, said: str
) -> None:
    path = tmp_path / "privacy.json"
    if isinstance(content, dict):
        path = privacy_file(tmp_path, content)
    elif content != "gone" and content is not None:
        path.write_text(content)
    folder = tmp_path / "captures"
    found = Captures(folder, 1.0, None if content is None else path)
    assert found.state.startswith(said)
    assert found.wants() == said.startswith("on")
    if not found.wants():
        assert keep_in(head(folder, path), jpeg()) != ""
        assert kept(folder) == []


def test_privacy_reads_as_it_was_written(tmp_path: Path) -> None:
    path = privacy_file(tmp_path, FACES)
    assert read_privacy(path) == (Privacy.model_validate(FACES), tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(CardError):
        read_privacy(tmp_path / "none")


def test_a_detector_that_is_missing_stops_it(tmp_path: Path) -> None:
    detector = {
        "path": "face.onnx", "sha256": "0" * 64, "width": 320, "height": 240, "layout": "yolo",
        "mean": 0, "divide_by": 255, "colour": "rgb", "score": 0.5, "tiles": 1,
    }  # fmt: skip
    content = {**FACES, "redaction": {**FACES["redaction"], "detectors": {"face": detector}}}
    folder = tmp_path / "captures"
    found = keep_in(head(folder, privacy_file(tmp_path, content)), jpeg())
    assert found.startswith("expected the detector that the card names, found no file")
    assert kept(folder) == []


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_share_of_the_requests_is_wanted(tmp_path: Path, share: float) -> None:
    found = Captures(tmp_path, share, privacy_file(tmp_path, PUBLIC))
    wanted = sum(found.wants() for _ in range(4000))
    assert abs(wanted - 4000 * share) < 5 * (4000 * share * (1 - share)) ** 0.5


def test_what_stopped_is_tried_again_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    found = Captures(tmp_path, 1.0, privacy_file(tmp_path, PUBLIC))
    found.heard("expected 1 GiB of free disk, found 0.2 GiB, in /data")
    assert found.state == "stopped: expected 1 GiB of free disk, found 0.2 GiB, in /data"
    tries = []
    for second in range(200):
        clock[0] = 1000.0 + second
        if found.wants():
            tries.append(second)
            found.heard("still full" if second < 150 else "")
    assert tries == [60, 120, *range(180, 200)]
    assert found.state == "on: a picture of 100 % of the requests"


def test_pictures_of_requests_are_kept_by_a_process_of_the_pool(
    tmp_path: Path, make_package: Callable[..., Path]
) -> None:
    package, folder = make_package(tmp_path / "made" / "package", "tiny", None), tmp_path / "kept"
    digest = open_package(package).digest
    found = Captures(folder, 1.0, privacy_file(tmp_path, PUBLIC))

    async def offered() -> None:
        pool = Pool("clip", 1, 1, 10, 4, 60.0)
        await pool.start(Loaded(str(package), digest))
        found.offer(pool, digest, ID, [jpeg()] * 3)
        found.offer(pool, digest, ID, [])
        await pool.close(60)

    asyncio.run(offered())
    assert found.state.startswith("on")
    (path,) = kept(folder)
    assert path.name[:-5] == f"{ID}-"
    line = json.loads(path.with_name(INDEX).read_text())
    assert (line["picture"], line["file"]) == (int(path.name[-5]), path.name)


def test_one_picture_of_a_request_is_offered_and_the_reply_heard(tmp_path: Path) -> None:
    found = Captures(tmp_path, 1.0, privacy_file(tmp_path, PUBLIC))

    def offer(*pictures: bytes) -> list[Job]:
        pool = Pool("clip", 0, 1, 10, 4, 60.0)  # without a process: what it is given waits
        found.offer(pool, "d", ID, pictures)
        found.offer(pool, "d", ID, pictures)  # something waits: it goes first
        return list(pool.waiting)

    async def offered() -> None:
        jobs = [job for _ in range(60) for job in offer(b"0", b"1", b"2")]
        assert len(jobs) == 60
        assert {bytes(each.body) for each in jobs} == {b"0", b"1", b"2"}
        assert all(str(each.head["picture"]).encode() == each.body for each in jobs)
        jobs[0].done.set_result(({"state": "full"}, b""))
        jobs[1].done.set_exception(RuntimeError("it ended two processes"))
        jobs[2].done.cancel()
        await asyncio.sleep(0)
        assert found.state == "stopped: full"
        assert offer(b"0") == []
        found.heard("")
        assert len(offer(b"0")) == 1

    asyncio.run(offered())


def test_errors_are_one_line(tmp_path: Path) -> None:
    for path in (None, tmp_path / "none"):
        with pytest.raises(CityforgeError) as refused:
            read_privacy(path)
        assert "\n" not in str(refused.value)
