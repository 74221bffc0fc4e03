"""HTTP as nobody should speak it: any bytes over a socket, and what comes back."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")
SILENT = 0  # no status came: the connection was closed, or nothing more was said


def connect(address: str, seconds: float = 20.0) -> socket.socket:
    where = urlsplit(address)
    assert where.hostname and where.port
    return socket.create_connection((where.hostname, where.port), seconds)


def head(address: str, *lines: str, path: str = "/predict", method: str = "POST") -> bytes:
    """The head of a request with more lines, by a caller who may."""
    where = urlsplit(address)
    first = (
        f"{method} {path} HTTP/1.1", f"Host: {where.hostname}:{where.port}",
        f"Authorization: Bearer {where.password}",
    )  # fmt: skip
    return ("\r\n".join((*first, *lines)) + "\r\n\r\n").encode("latin-1")


def statuses(
    address: str, pieces: Iterable[bytes], seconds: float = 20.0, ends: bool = True
) -> list[int]:
    """Send pieces, then read until the other side is done: the statuses of its answers.

    Args:
        ends: tell that nothing more comes (a half-closed connection).
    """
    with connect(address, seconds) as connection:
        with contextlib.suppress(OSError):  # refused before the end
            for piece in pieces:
                connection.sendall(piece)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        return [int(each) for each in STATUS.findall(read(connection, seconds))]


def read(connection: socket.socket, seconds: float) -> bytes:
    """What comes until the connection ends, or for so long."""
    found, until = b"", time.monotonic() + seconds
    with contextlib.suppress(OSError):
        while time.monotonic() < until:
            connection.settimeout(max(0.01, until - time.monotonic()))
            data = connection.recv(1 << 16)
            if not data:
                break
            found += data
    return found


def reset(connection: socket.socket) -> None:
    """Go without a word, as a client that is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
