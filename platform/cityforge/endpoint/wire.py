"""How the front and a compute process talk: a head of JSON, then bytes, over a Unix socket."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SIZES = struct.Struct("!IQ")  # of the head, of the bytes behind it
ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Message:
    """One message."""

    head: dict[str, Any]
    body: memoryview = field(default_factory=lambda: memoryview(b""))


def packed(head: dict[str, Any], bodies: Sequence[Buffer] = ()) -> list[Buffer]:
    """The parts of a message in their order, ready to be written one behind the other."""
    text = ENCODE(head).encode()
    return [SIZES.pack(len(text), sum(map(len, bodies))), text, *bodies]


class Assembly:
    """Puts messages together from whatever pieces arrive."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._wanted = SIZES.size

    def feed(self, data: bytes) -> list[Message]:
        """Take a piece; the messages that are whole now."""
        self._held += data
        found = []
        while len(self._held) >= self._wanted:
            head_size, body_size = SIZES.unpack_from(self._held)
            whole = SIZES.size + head_size + body_size
            if len(self._held) < whole:
                self._wanted = whole
                break
            taken = memoryview(bytes(self._held[:whole]))
            del self._held[:whole]
            self._wanted = SIZES.size
            found.append(_message(taken, head_size))
        return found


def receive(connection: socket.socket) -> Message | None:
    """Wait for the next message; None when the other side is gone."""
    sizes = _exactly(connection, SIZES.size)
    if sizes is None:
        return None
    head_size, body_size = SIZES.unpack(sizes)
    rest = _exactly(connection, head_size + body_size)
    if rest is None:
        return None
    return Message(json.loads(bytes(rest[:head_size])), rest[head_size:])


def send(connection: socket.socket, head: dict[str, Any], bodies: Sequence[Buffer] = ()) -> None:
    """Write one message, whole."""
    connection.sendall(b"".join(packed(head, bodies)))


def _message(whole: memoryview, head_size: int) -> Message:
    split = SIZES.size + head_size
    return Message(json.loads(bytes(whole[SIZES.size : split])), whole[split:])


def _exactly(connection: socket.socket, size: int) -> memoryview | None:
    buffer = memoryview(bytearray(size))
    got = 0
    while got < size:
        count = connection.recv_into(buffer[got:])
        if count == 0:
            return None
        got += count
    return buffer
