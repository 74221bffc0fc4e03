"""Multipart bodies as clients send them, and as nobody should; what is held while they come."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from cityforge.endpoint import upload
from cityforge.endpoint.analyzing import _clip
from cityforge.endpoint.refusal import Refusal
from cityforge.endpoint.upload import Bounds, Intake, Part

FORM = "multipart/form-data; boundary=b"
BOUNDS = Bounds("images", 2, 1000, 20_000)
ON_DISK = Bounds("clip", 1, 1 << 20, 1 << 20, "clip", on_disk=True)
GONE = b"the caller leaves"
Found = list[tuple[str, str | None, bytes]]


def part(data: bytes, *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in lines or ('Said: form-data; name="images"',))
    head = head.replace("Said:", "Content-Disposition:")
    return f"--b\r\n{head}\r\n".encode() + data + b"\r\n"


END = b"--b--\r\n"
WHOLE = part(b"12345", 'Said: form-data; name="images"; filename="x.jpg"')


async def read(
    intake: Intake, pieces: list[bytes], bounds: Bounds = BOUNDS, pause_s: float = 0, **head: str
) -> list[Part]:
    """What `Intake` makes of a body that comes in pieces."""
    headers = {"content-type": FORM, **{name.replace("_", "-"): head[name] for name in head}}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    source = _messages(pieces, pause_s)
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": raw}
    return await intake.form(Request(scope, source.__anext__), bounds)


async def _messages(pieces: list[bytes], pause_s: float) -> AsyncIterator[dict[str, Any]]:
    for piece in pieces:
        await asyncio.sleep(pause_s)
        if piece == GONE:
            yield {"type": "http.disconnect"}
        yield {"type": "http.request", "body": piece, "more_body": True}
    yield {"type": "http.request", "body": b"", "more_body": False}


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files without a name are, which nothing else uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@contextmanager
def nothing_stays(intake: Intake) -> Iterator[None]:
    """No byte is counted, no file is open or named afterwards that was not before."""
    gc.collect()  # what other tests left
    before = _open_files()
    yield
    assert intake.held == 0
    until = time.monotonic() + 3  # threads that other tests left open files for a moment
    while _open_files() > before and time.monotonic() < until:
        time.sleep(0.02)  # threads end when they end: counted again
    assert _open_files() <= before
    assert not list(Path(tempfile.gettempdir()).glob("*"))


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


TOLD: dict[str, tuple[bytes, Found]] = {
    "a file": (WHOLE, [("images", "x.jpg", b"12345")]),
    "a file and a field": (
        part(b"{}", 'Said: form-data; name="scene"') + WHOLE,
        [("scene", None, b"{}"), ("images", "x.jpg", b"12345")],
    ),
    "no parts": (b"", []),
    "an empty file": (
        part(b"", 'Said: form-data; name="images"; filename=""'), [("images", "", b"")],
    ),
    "a name in quotes with what parts it": (
        part(b"1", r'Said: form-data; name="images"; filename="a;b\"c=d.jpg"'),
        [("images", 'a;b"c=d.jpg', b"1")],
    ),
    "names without quotes": (
        part(b"1", "Said: form-data; name=images; filename=x.jpg"), [("images", "x.jpg", b"1")],
    ),
    "a name in Chinese": (
        part(b"1", 'Said: form-data; name="images"; filename="北门.jpg"'),
        [("images", "北门.jpg", b"1")],
    ),
    "a name of Windows": (
        part(b"1", r'Said: form-data; name="images"; filename="C:\films\x.jpg"'),
        [("images", "x.jpg", b"1")],
    ),
    "RFC 7578 knows no filename*": (
        part(b"1", "Said: form-data; name=\"images\"; filename*=UTF-8''x.jpg"),
        [("images", None, b"1")],
    ),
    "filename* does not outweigh filename": (
        part(b"1", "Said: form-data; name=\"images\"; filename=\"x.jpg\"; filename*=UTF-8''y.jpg"),
        [("images", "x.jpg", b"1")],
    ),
    "other letters of the header": (
        part(b"1", "X: y", 'cOnTeNt-dIsPoSiTiOn: form-data; name="images"', "A: b"),
        [("images", None, b"1")],
    ),
    "a part that says nothing": (part(b"1", "X: y"), [("", None, b"1")]),
    "a part that says two things": (
        part(b"1", 'Said: form-data; name="images"; filename="x.jpg"', "Said: form-data; name=a"),
        [("images", "x.jpg", b"1")],
    ),
    "data that looks like an end": (
        part(b"\r\n--bb\r\n--\r\n-b--\r\n--", 'Said: form-data; name="images"; filename="x.jpg"'),
        [("images", "x.jpg", b"\r\n--bb\r\n--\r\n-b--\r\n--")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("what", TOLD)
def test_parts_are_told_however_they_come(what: str, size: int) -> None:
    body, right = TOLD[what]
    intake = Intake()
    with nothing_stays(intake):
        parts = asyncio.run(read(intake, cut(body + END + b"an epilogue", size)))
    assert [(each.name, each.filename, bytes(each.data)) for each in parts] == right
    assert [each.size for each in parts] == [len(data) for *_, data in right]


REFUSED: dict[str, tuple[bytes, dict[str, Any], int]] = {
    "lines that end as on Unix": ((WHOLE + END).replace(b"\r\n", b"\n"), {}, 422),
    "words before the first part": (b"hello\r\n" + WHOLE + END, {}, 422),
    "no end": (WHOLE, {}, 422),
    "another boundary": ((WHOLE + END).replace(b"--b", b"--c"), {}, 422),
    "nothing": (b"", {}, 422),
    "no form": (b"{}", {"content_type": "application/json", "content_length": "6000"}, 422),
    "no boundary": (WHOLE + END, {"content_type": "multipart/form-data"}, 422),
    "an endless boundary": (WHOLE + END, {"content_type": f"{FORM}{'b' * 300}"}, 422),
    "a header without a name": (part(b"1", ": y") + END, {}, 422),
    "a huge name of a header": (part(b"1", f"{'x' * 9000}: y") + END, {}, 422),
    "a huge header": (part(b"1", f"X: {'y' * 9000}") + END, {}, 422),
    "headers that are huge together": (part(b"1", *[f"X: {'y' * 3000}"] * 4) + END, {}, 413),
    "many headers": (part(b"1", *["X: y"] * 100) + END, {}, 422),
    "a file too many": (WHOLE * 3 + END, {}, 413),
    "a large file": (part(b"1" * 1001) + END, {}, 413),
    "a large body": (part(b"1" * 2900, "X: y") * 7 + END, {}, 413),
    "a body that says it is large": (b"", {"content_length": "20001"}, 413),
    "a large field": (part(b"1" * 200, 'Said: form-data; name="scene"') + END, {}, 413),
    "many parts": (b"--b\r\n\r\n\r\n" * 65 + END, {}, 413),
}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_form_is_refused(what: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "MOST_FIELD", 100 if what == "a large field" else 3000)
    body, head, status = REFUSED[what]
    intake = Intake()
    with nothing_stays(intake), pytest.raises(Refusal) as refusal:
        asyncio.run(read(intake, cut(body, size), **{"content_length": f"{len(body)}", **head}))
    assert refusal.value.status == status
    assert str(refusal.value).startswith("expected ")


@pytest.mark.parametrize("bounds", [BOUNDS, ON_DISK])
@pytest.mark.parametrize("size", [10, 100, 200])
def test_a_caller_who_leaves_leaves_nothing(bounds: Bounds, size: int) -> None:
    body = WHOLE.replace(b"images", bounds.files.encode()) + WHOLE
    intake = Intake()
    with nothing_stays(intake), pytest.raises(ClientDisconnect):
        asyncio.run(read(intake, [body[:size], GONE], bounds))


def test_a_request_that_is_ended_leaves_nothing() -> None:
    async def end() -> None:
        pieces = [WHOLE.replace(b"images", b"clip"), b"never"]
        reading = asyncio.ensure_future(read(intake, pieces, ON_DISK, pause_s=0.05))
        await asyncio.sleep(0.08)
        assert _open_files() > before
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert _open_files() <= before

    intake = Intake()
    with nothing_stays(intake):
        before = _open_files() + 3  # of the loop
        asyncio.run(end())


def test_a_clip_has_no_name_on_the_disk_and_another_process_reads_it() -> None:
    clip = os.urandom(300_000)
    body = part(clip, 'Said: form-data; name="clip"; filename="x.mp4"') + END
    intake = Intake()
    with nothing_stays(intake):
        parts = asyncio.run(read(intake, cut(body, 65_536), ON_DISK))
        found, path = _clip(parts)
        assert (found.filename, found.size, bytes(found.data)) == ("x.mp4", len(clip), b"")
        assert subprocess.run(["cat", path], capture_output=True, check=True).stdout == clip
        for each in parts:
            each.close()
    assert not Path(path).exists()


def test_a_full_disk_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = part(b"1" * 100_000, 'Said: form-data; name="clip"; filename="x.mp4"') + END
    intake, before = Intake(), resource.getrlimit(resource.RLIMIT_FSIZE)
    with nothing_stays(intake):
        for size in (1000, 200_000):  # found when a buffer is full, and at the end
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
            try:
                with pytest.raises(Refusal) as refusal:
                    asyncio.run(read(intake, cut(body, size), ON_DISK))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert refusal.value.status == 503
        monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
        with pytest.raises(Refusal, match="room for a clip"):
            asyncio.run(read(intake, [body], ON_DISK))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_clip_leaves_free_disk_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "LOOK_EVERY", 10_000)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    body = part(b"1" * 100_000, 'Said: form-data; name="clip"; filename="x.mp4"') + END
    intake = Intake()
    for least, refused in ((2 * free, True), (free // 2, False)):
        monkeypatch.setattr(upload, "LEAST_FREE", least)
        for length in (str(len(body)), "0"):  # not to say it is no way in
            with nothing_stays(intake):
                work = read(intake, cut(body, 5000), ON_DISK, content_length=length)
                if not refused:
                    (found,) = asyncio.run(work)
                    found.close()
                    continue
                with pytest.raises(Refusal, match="of free disk") as refusal:
                    asyncio.run(work)
                assert refusal.value.status == 503


def test_clips_that_are_on_their_way_keep_the_room_they_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each alone would fit."""
    free, size = shutil.disk_usage(tempfile.gettempdir()).free, 1 << 30
    monkeypatch.setattr(upload, "LEAST_FREE", free - size - size // 2)
    body = part(b"1" * 5000, 'Said: form-data; name="clip"; filename="x.mp4"') + END
    large = Bounds("clip", 1, size, size, "clip", on_disk=True)

    async def both() -> list[Any]:
        work = [
            read(intake, cut(body, 100), large, pause_s=0.005, content_length=str(size))
            for _ in range(2)
        ]
        return await asyncio.gather(*work, return_exceptions=True)

    intake = Intake()
    for _ in range(2):  # what was kept for one that is whole, or refused, is free again
        with nothing_stays(intake):
            found = asyncio.run(both())
            assert [isinstance(each, Refusal) for each in found] == [False, True]
            found[0][0].close()


def test_a_slow_disk_holds_up_nobody_and_costs_the_caller_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upload, "GRACE_S", 0.2)
    monkeypatch.setattr(upload, "LEAST_RATE", 1 << 40)
    take = upload._Form.take

    def take_slowly(form: upload._Form, chunk: bytes) -> None:
        time.sleep(0.3)
        take(form, chunk)

    async def test() -> int:
        reading = asyncio.ensure_future(read(intake, cut(body, 2000), ON_DISK))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0.01)
            turns += 1
        (found,) = await reading
        found.close()
        return turns

    body = part(b"1" * 5000, 'Said: form-data; name="clip"; filename="x.mp4"') + END
    monkeypatch.setattr(upload._Form, "take", take_slowly)
    intake = Intake()
    with nothing_stays(intake):
        assert asyncio.run(test()) > 20  # of 90; without the thread there are four


def test_a_request_that_is_ended_while_the_disk_is_slow_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take = upload._Form.take

    def take_slowly(form: upload._Form, chunk: bytes) -> None:
        take(form, chunk)
        time.sleep(0.2)

    async def test() -> None:
        reading = asyncio.ensure_future(read(intake, [body[:3000], body[3000:]], ON_DISK))
        await asyncio.sleep(0.1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    body = part(b"1" * 5000, 'Said: form-data; name="clip"; filename="x.mp4"') + END
    monkeypatch.setattr(upload._Form, "take", take_slowly)
    intake = Intake()
    with nothing_stays(intake):
        asyncio.run(test())


@pytest.mark.parametrize(
    ("grace_s", "rate", "taken"), [(0.1, 100, True), (0.1, 5000, False), (5.0, 10**9, True)]
)
def test_a_body_may_be_slow_but_not_without_end(
    grace_s: float, rate: int, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than 1000 bytes a second come."""
    monkeypatch.setattr(upload, "GRACE_S", grace_s)
    monkeypatch.setattr(upload, "LEAST_RATE", rate)
    intake = Intake()
    with nothing_stays(intake):
        work = read(intake, cut(part(b"1" * 500) + END, 50), pause_s=0.05)
        if taken:
            assert len(asyncio.run(work)) == 1
            return
        with pytest.raises(Refusal) as refusal:
            asyncio.run(work)
    assert refusal.value.status == 408


def test_what_all_requests_send_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "MOST_AT_ONCE", 2000)
    body = part(b"1" * 900) + END

    async def all_at_once(count: int, **head: Any) -> list[Any]:
        work = [read(intake, cut(body, 100), pause_s=0.01, **head) for _ in range(count)]
        return await asyncio.gather(*work, return_exceptions=True)

    intake = Intake()
    for count, head, refused in [
        (2, {}, 0), (4, {}, 2), (4, {"content_length": str(len(body))}, 2),
        (1, {"content_length": "2001"}, 1), (2, {}, 0),
    ]:  # fmt: skip
        with nothing_stays(intake):
            found = asyncio.run(all_at_once(count, **head))
        wrong = [each for each in found if isinstance(each, Refusal)]
        assert {each.status for each in wrong} <= {503}
        assert 0 < len(wrong) >= refused if refused else not wrong
        assert all(isinstance(each, (list, Refusal)) for each in found)
