"""Messages between the front and a compute process, byte for byte and in any pieces."""

from __future__ import annotations

import json
import socket
import struct
import threading
from typing import Any

import pytest

from cityforge.endpoint.wire import Assembly, Message, packed, receive, send

SENT: list[tuple[dict[str, Any], list[bytes]]] = [
    ({}, []),
    ({"op": "load", "name": "北门 \u2028"}, []),
    ({"op": "pictures"}, [b"\x00" * 7, b"", b"\xff\xd8"]),
    ({"op": "after"}, [b"x"]),
]


def by_hand(head: dict[str, Any], body: bytes) -> bytes:
    """A message as the module's first lines describe it."""
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
    return struct.pack(">IQ", len(text), len(body)) + text + body


def told(messages: list[Message]) -> list[tuple[dict[str, Any], bytes]]:
    return [(each.head, bytes(each.body)) for each in messages]


@pytest.mark.parametrize(("head", "bodies"), SENT)
def test_a_message_is_sizes_head_and_bytes(head: dict[str, Any], bodies: list[bytes]) -> None:
    assert b"".join(packed(head, bodies)) == by_hand(head, b"".join(bodies))


@pytest.mark.parametrize("size", [1, 2, 11, 12, 13, 64, 10_000])
def test_messages_are_whole_however_they_come(size: int) -> None:
    stream = b"".join(by_hand(head, b"".join(bodies)) for head, bodies in SENT)
    assembly, found = Assembly(), []
    for start in range(0, len(stream), size):
        found += assembly.feed(stream[start : start + size])
    assert told(found) == [(head, b"".join(bodies)) for head, bodies in SENT]
    assert assembly.feed(b"") == []


def test_a_message_larger_than_any_buffer_arrives() -> None:
    ours, theirs = socket.socketpair()
    body = bytes(range(256)) * 40_000  # 10 MB
    sending = threading.Thread(target=send, args=(ours, {"op": "pictures"}, [body, body]))
    with ours, theirs:
        sending.start()
        found = receive(theirs)
        sending.join()
    assert found is not None
    assert told([found]) == [({"op": "pictures"}, body + body)]


@pytest.mark.parametrize("cut", [0, 3, 12, 14, 20])
def test_half_a_message_of_one_who_left_is_none(cut: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(by_hand({"op": "x"}, b"12345678")[:cut])
        assert receive(theirs) is None
