"""Reads what a caller sends: multipart, bounded in size and time, clips straight onto the disk."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from starlette.requests import ClientDisconnect, Request

from cityforge.endpoint.keeper import LEAST_FREE
from cityforge.endpoint.refusal import Refusal

MOST_PARTS = 64
MOST_PART_HEAD = 8 << 10
MOST_FIELD = 1 << 20  # a field that is no file
GRACE_S, LEAST_RATE = 10.0, 64 << 10  # a body may take GRACE_S, and a second each LEAST_RATE bytes
MOST_AT_ONCE = 512 << 20  # bytes of pictures that are being received, of all requests
LOOK_EVERY = 16 << 20  # bytes of a clip after which the free disk is looked at again


@dataclass
class Part:
    """One part of a form: a field, or a file in memory or, without a name, on the disk."""

    name: str = ""
    filename: str | None = None
    data: bytearray = field(default_factory=bytearray)
    file: IO[bytes] | None = None
    size: int = 0

    def close(self) -> None:
        """Give up its file; nothing of it stays on the disk."""
        if self.file:
            with suppress(OSError):  # a full disk: what is given up need not be written
                self.file.close()


@dataclass(frozen=True)
class Bounds:
    """What one route takes."""

    files: str  # the field that holds files
    most_files: int
    most_file: int  # bytes
    most_body: int  # bytes
    what: str = "picture"
    on_disk: bool = False  # files go onto the disk, not into memory


class Intake:
    """Counts the bytes that requests hold in memory while they arrive, and that are to come."""

    def __init__(self) -> None:
        self.held = 0
        self._due = 0  # bytes that clips have still to bring onto the disk, as they say

    async def form(self, request: Request, bounds: Bounds) -> list[Part]:
        """Read a multipart body; the caller closes the parts.

        Raises:
            Refusal: 408, 413, 422 or 503.
            ClientDisconnect: the caller is gone.
        """
        length = _declared(request)
        if length > bounds.most_body:
            raise _too_large(bounds)
        form = _Form(_boundary(request), bounds)
        self._refuse_full(0 if bounds.on_disk else length)
        held, due = 0, self._promised(length) if bounds.on_disk else 0
        try:
            async with aclosing(_paced(request)) as chunks:
                async for chunk in chunks:
                    if bounds.on_disk:
                        await form.in_thread(form.take, chunk)
                        due = self._came(len(chunk), due)
                    else:
                        form.take(chunk)
                    self.held += form.in_memory - held
                    held = form.in_memory
                    self._refuse_full(0)
            return await form.in_thread(form.whole) if bounds.on_disk else form.whole()
        except BaseException:
            form.discard()
            raise
        finally:
            self.held -= held
            self._due -= due

    def _promised(self, length: int) -> int:
        """Keep room on the disk for what a clip says it brings."""
        _refuse_full_disk(self._due + length)
        self._due += length
        return length

    def _came(self, size: int, due: int) -> int:
        """So many bytes are on the disk; how many are still to come."""
        came = min(size, due)
        self._due -= came
        return due - came

    def _refuse_full(self, more: int) -> None:
        if self.held + more > MOST_AT_ONCE:
            raise Refusal(503, "expected room for the request, found too many being received")


class _Form:
    """Takes a multipart body piece by piece (by python-multipart)."""

    def __init__(self, boundary: bytes, bounds: Bounds) -> None:
        from python_multipart import MultipartParser

        self._bounds = bounds
        self.parts: list[Part] = []
        self.in_memory = 0  # bytes
        self._received = self._files = self._head = 0
        self._working: asyncio.Future[Any] | None = None
        self._header: list[bytes] = [b"", b""]
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin, "on_part_data": self._data,
                "on_header_field": self._header_name, "on_header_value": self._header_value,
                "on_header_end": self._header_end, "on_end": self._end,
            },
        )  # fmt: skip

    def take(self, chunk: bytes) -> None:
        from python_multipart.exceptions import MultipartParseError

        self._received += len(chunk)
        if self._received > self._bounds.most_body:
            raise _too_large(self._bounds)
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise Refusal(422, f"expected multipart form data, found {error}") from error

    def whole(self) -> list[Part]:
        if not self._ended:
            raise Refusal(422, "expected a whole multipart body, found one that ends early")
        for part in self.parts:
            if part.file:
                _on_disk(part.file.flush)
        return self.parts

    async def in_thread(self, act: Callable[..., Any], *args: Any) -> Any:
        """Do something with the files away from the loop."""
        self._working = asyncio.get_running_loop().run_in_executor(None, act, *args)
        return await asyncio.shield(self._working)

    def discard(self) -> None:
        if self._working and not self._working.done():  # its caller was ended meanwhile
            self._working.add_done_callback(lambda _: self._close())
        else:
            self._close()

    def _close(self) -> None:
        for part in self.parts:
            part.close()

    def _begin(self) -> None:
        if len(self.parts) == MOST_PARTS:
            raise Refusal(413, f"expected at most {MOST_PARTS} parts, found more")
        self.parts.append(Part())
        self._head = 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header[1] += data[start:end]

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MOST_PART_HEAD:
            raise Refusal(413, f"expected a part's head of at most {MOST_PART_HEAD} bytes")

    def _header_end(self) -> None:
        from python_multipart.multipart import parse_options_header

        name, value = self._header
        self._header = [b"", b""]
        part = self.parts[-1]
        if name.lower() != b"content-disposition" or part.name:
            return
        _, options = parse_options_header(value)
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            part.filename = options[b"filename"].decode("utf-8", "replace")
        self._open(part)

    def _open(self, part: Part) -> None:
        if part.name != self._bounds.files:
            return
        self._files += 1
        if self._files > self._bounds.most_files:
            most, what = self._bounds.most_files, self._bounds.what
            raise Refusal(413, f"expected at most {most} {what}s, found more")
        if self._bounds.on_disk:
            part.file = _on_disk(tempfile.TemporaryFile)

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        part.size += end - start
        is_file = part.name == self._bounds.files
        if is_file and part.size > self._bounds.most_file:
            raise _too_large(self._bounds, part.filename)
        if not is_file and part.size > MOST_FIELD:
            raise Refusal(413, f"expected at most {MOST_FIELD >> 20} MiB a field, found more")
        piece = memoryview(data)[start:end]
        if part.file:
            _on_disk(part.file.write, piece)
            if part.size // LOOK_EVERY > (part.size - len(piece)) // LOOK_EVERY:
                _refuse_full_disk(0)
            return
        part.data += piece
        self.in_memory += len(piece)

    def _end(self) -> None:
        self._ended = True


def _on_disk(act: Callable[..., Any], *args: Any) -> Any:
    """Do something with a file on the disk; a full one is no fault of the caller."""
    try:
        return act(*args)
    except OSError as error:
        raise Refusal(503, f"expected room for a clip, found {error.strerror}") from error


def _refuse_full_disk(more: int) -> None:
    """Raise Refusal where so many bytes more would not leave LEAST_FREE to others."""
    free = _on_disk(shutil.disk_usage, tempfile.gettempdir()).free
    if free - more < LEAST_FREE:
        raise Refusal(503, f"expected room for a clip, found {free >> 20} MiB of free disk")


async def _paced(request: Request) -> AsyncGenerator[bytes]:
    """The body's pieces; one that comes too slowly is given up.

    What is done with a piece is not the caller's time.
    """
    clock = asyncio.get_running_loop().time
    begun, received = clock(), 0
    try:
        async with asyncio.timeout_at(begun + GRACE_S) as limit:
            async for chunk in request.stream():
                received += len(chunk)
                limit.reschedule(None)
                paused = clock()
                yield chunk
                begun += clock() - paused
                limit.reschedule(begun + GRACE_S + received / LEAST_RATE)
    except TimeoutError as error:
        text = f"expected at least {LEAST_RATE >> 10} KiB a second, found {received} bytes"
        raise Refusal(408, text) from error


def _declared(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _boundary(request: Request) -> bytes:
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        shown = kind.decode("latin-1")[:60] or "nothing"
        raise Refusal(422, f"expected multipart/form-data with a boundary, found {shown}")
    return boundary


def _too_large(bounds: Bounds, name: str | None = None) -> Refusal:
    where = f", in {name}" if name else ""
    return Refusal(
        413,
        f"expected at most {bounds.most_file >> 20} MiB a {bounds.what} and "
        f"{bounds.most_body >> 20} MiB in all, found more{where}",
    )


__all__ = ["Bounds", "ClientDisconnect", "Intake", "Part"]
