"""Requests that are none: over raw sockets, slow, lying, endless, cut off."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from raw_socket import connect, head, read, reset, statuses
from sent_pictures import quick, refuse_another_answer, slow
from served_process import Running

pytestmark = [pytest.mark.services, pytest.mark.slow]
FORM = "Content-Type: multipart/form-data; boundary=b"
REFUSED = {400, 404, 405, 408, 411, 413, 414, 415, 417, 422, 426, 431, 501, 505}


def part(data: bytes, said: str = 'name="images"; filename="x.jpg"', more: str = "") -> bytes:
    disposition = f"Content-Disposition: form-data; {said}\r\n{more}\r\n"
    return b"--b\r\n" + disposition.encode("latin-1") + data + b"\r\n"


WHOLE = part(quick()) + b"--b--\r\n"


def sent(address: str, body: bytes, *lines: str, path: str = "/predict") -> bytes:
    return head(address, f"Content-Length: {len(body)}", *lines, path=path) + body


LARGE = {413, 422}
# What: how its bytes are made, and which answers are right; nothing else may come.
BODIES: dict[str, tuple[bytes, tuple[str, ...], set[int]]] = {
    "as it should be": (WHOLE, (FORM,), {200}),
    "JSON": (b"{}", ("Content-Type: application/json",), {422}),
    "text": (WHOLE, ("Content-Type: text/plain",), {422}),
    "no type": (WHOLE, (), {422}),
    "no boundary": (WHOLE, ("Content-Type: multipart/form-data",), {422}),
    "an empty boundary": (WHOLE, ("Content-Type: multipart/form-data; boundary=",), {422}),
    "another boundary": (WHOLE, ("Content-Type: multipart/form-data; boundary=c",), {422}),
    "a boundary of 64 KB": (
        WHOLE, (f"Content-Type: multipart/form-data; boundary={'x' * 60_000}",), {413, 422, 431},
    ),
    "no end": (part(quick()), (FORM,), {422}),
    "nothing": (b"", (FORM,), {422}),
    "only the end": (b"--b--\r\n", (FORM,), {422}),
    "10,000 parts": (part(b"x", 'name="n"') * 10_000 + b"--b--\r\n", (FORM,), {413}),
    "33 pictures": (part(quick()) * 33 + b"--b--\r\n", (FORM,), {413}),
    "a part's head of 1 MB": (
        part(b"x", more=f"X-A: {'a' * 10**6}\r\n") + b"--b--\r\n", (FORM,), LARGE,
    ),
    "10,000 heads of a part": (part(b"x", more="X: y\r\n" * 10**4) + b"--b--\r\n", (FORM,), LARGE),
    "a name of 100 KB": (part(quick(), f'name="{"n" * 10**5}"') + b"--b--\r\n", (FORM,), LARGE),
    "no name": (part(quick(), "") + b"--b--\r\n", (FORM,), {422}),
    "a text for a file": (part(quick(), 'name="images"') + b"--b--\r\n", (FORM,), {422}),
    "another field": (part(quick(), 'name="x"; filename="y"') + b"--b--\r\n", (FORM,), {422}),
    "a file's name that climbs": (
        part(quick(), 'name="images"; filename="../../etc/passwd"') + b"--b--\r\n", (FORM,), {200},
    ),
    "a file's name that is no text": (
        part(quick(), 'name="images"; filename="\xff\xfe\x00"') + b"--b--\r\n", (FORM,), {200, 422},
    ),
    "a form within a form": (
        part(WHOLE, more="Content-Type: multipart/mixed; boundary=b\r\n") + b"--b--\r\n",
        (FORM,), {400, 422},
    ),
    "a packed body": (WHOLE, (FORM, "Content-Encoding: gzip"), {200, 415, 422}),
    "after its end": (WHOLE + b"x" * 10**6, (FORM,), {200, 422}),
}  # fmt: skip


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_is_not_as_described_is_refused(endpoint: Running, what: str) -> None:
    body, lines, right = BODIES[what]
    request = sent(endpoint.address, body, *lines, "Connection: close")
    found = statuses(endpoint.address, [request], ends=False)
    assert len(found) == 1
    assert set(found) <= right
    refuse_another_answer(endpoint.address)


def heads(address: str) -> Iterator[tuple[str, bytes, set[int]]]:
    """What, its bytes, and which answers may come; none at all is right, too, unless {200}."""
    close = "Connection: close"
    yield "garbage", b"\x00\x01\x02\xff" * 100, {400}
    yield "a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), {400}
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(50), {400, 404, 403, 405, 505}
    yield "HTTP/0.9", b"GET /\r\n", {400}
    yield (
        "a first line of 100 KB",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        {400, 414, 431},
    )
    yield "a head of 10 MB", head(address, f"X-A: {'a' * 10_000_000}"), {400, 413, 431}
    yield "50,000 lines", head(address, *["X-A: b"] * 50_000), {400, 413, 431}
    yield "150 lines", head(address, *["X-A: b"] * 150, "Content-Length: 0"), {400, 413, 431}
    yield "a line without a colon", head(address, "nonsense"), {400}
    yield "a folded line", head(address, "X-A: b\r\n c", "Content-Length: 0"), {400, 422}
    yield "two hosts", head(address, "Host: other", "Content-Length: 0"), {400, 403, 421}
    yield "no host", b"GET /info HTTP/1.1\r\n\r\n", {400, 403}
    yield "a bare line feed", b"GET /info HTTP/1.1\nHost: x\n\n", {400, 403}
    yield (
        "an address for a path",
        head(address, path="http://127.0.0.1:9/x", method="GET"),
        {400, 403, 404, 405},
    )
    yield "a tunnel", head(address, path="127.0.0.1:9", method="CONNECT"), {400, 403, 404, 405, 426}
    yield "a method nobody knows", head(address, close, method="BREW"), {400, 404, 405}
    yield "a socket of the web", head(
        address, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", path="/info", method="GET",
    ), {400, 403, 404, 426, 200}  # fmt: skip
    yield "a length below zero", head(address, FORM, "Content-Length: -1"), {400}
    yield "a length that is none", head(address, FORM, "Content-Length: abc"), {400}
    yield "a length of 2^63", head(address, FORM, f"Content-Length: {2**63}"), {400, 413}
    yield "a length of 40 digits", head(address, FORM, f"Content-Length: {'9' * 40}"), {400, 413}
    yield (
        "two lengths",
        head(address, FORM, "Content-Length: 3", "Content-Length: 9") + b"abc",
        {400},
    )
    yield "a length and chunks", head(
        address, FORM, "Content-Length: 3", "Transfer-Encoding: chunked",
    ) + b"0\r\n\r\n", {400, 422}  # fmt: skip
    yield (
        "less than it said",
        head(address, FORM, "Content-Length: 100000") + WHOLE[:50],
        {400, 408, 422},
    )
    chunked = head(address, FORM, "Transfer-Encoding: chunked", close)
    yield "a chunk without a size", chunked + b"zz\r\nabc\r\n", {400}
    yield "a chunk of 2^64", chunked + b"FFFFFFFFFFFFFFFFF\r\nabc\r\n", {400, 413}
    yield "a chunk below zero", chunked + b"-5\r\nabc\r\n", {400}
    yield "chunks without an end", chunked + b"3\r\nabc\r\n", {400, 408, 422}
    yield (
        "a chunk's note of 1 MB",
        chunked + b"3;a=" + b"b" * 10**6 + b"\r\nabc\r\n0\r\n\r\n",
        {400, 413, 422},
    )
    yield (
        "a body encoded twice",
        head(address, FORM, "Transfer-Encoding: gzip, chunked", close) + b"0\r\n\r\n",
        {400, 415, 422, 501},
    )


def test_a_head_that_is_none_is_refused_or_cut_off(endpoint: Running) -> None:
    seen = 0
    for what, data, right in heads(endpoint.address):
        found = statuses(endpoint.address, [data])
        assert set(found) <= right, f"{what}: {found}"
        seen += 1
        refuse_another_answer(endpoint.address)
    assert seen == 30


def test_chunks_are_as_good_as_a_length(endpoint: Running) -> None:
    begin = head(endpoint.address, FORM, "Transfer-Encoding: chunked", "Connection: close")
    pieces = [b"%x\r\n%s\r\n" % (1, WHOLE[each : each + 1]) for each in range(len(WHOLE))]
    found = statuses(endpoint.address, [begin, *pieces, b"0\r\n\r\n"], ends=False)
    assert found == [200]


def test_more_than_it_said_is_no_second_request(endpoint: Running) -> None:
    body = sent(endpoint.address, WHOLE, FORM) + b"GET /nowhere HTTP/9\r\n\r\n"
    assert set(statuses(endpoint.address, [body])[1:]) <= {400}


def test_requests_in_a_row_are_answered_in_a_row(endpoint: Running) -> None:
    one = sent(endpoint.address, WHOLE, FORM)
    last = sent(endpoint.address, WHOLE, FORM, "Connection: close")
    assert statuses(endpoint.address, [one * 5 + last], ends=False) == [200] * 6


@pytest.mark.alone
def test_too_much_is_refused_before_it_is_sent(endpoint: Running) -> None:
    begin = head(endpoint.address, FORM, f"Content-Length: {65 << 20}", "Expect: 100-continue")
    begun = time.monotonic()
    assert statuses(endpoint.address, [begin], seconds=5, ends=False)[-1:] == [413]
    assert time.monotonic() - begun < 10


DEEP = b"[" * 250_000
JSONS: dict[str, tuple[bytes, set[int]]] = {
    "nested 250,000 deep": (DEEP + b"]" * 250_000, {400, 413, 422}),
    "nested, never closed": (DEEP, {400, 413, 422}),
    "objects nested": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {400, 413, 422}),
    "no JSON": (b"{", {400, 422}),
    "no text": (b"\xff\xfe\x00", {400, 422}),
    "a number of 100,000 digits": (b'{"request_id":' + b"9" * 100_000 + b"}", {400, 413, 422}),
    "not a number": (b'{"request_id":"a","right":NaN}', {400, 422}),
    "half a letter": (rb'{"request_id":"\ud800","right":true}', {400, 404, 422}),
    "never made": (b'{"request_id":"' + b"0" * 16 + b"-" + b"0" * 32 + b'","right":true}',
                   {404, 422, 503}),
    "10 MB": (b'{"note":"' + b"x" * 10_000_000 + b'"}', {400, 413, 422}),
    "nothing": (b"", {400, 422}),
}  # fmt: skip


@pytest.mark.parametrize("what", JSONS)
def test_feedback_that_is_none_is_refused(endpoint: Running, what: str) -> None:
    body, right = JSONS[what]
    kind = "Content-Type: application/json"
    request = sent(endpoint.address, body, kind, "Connection: close", path="/feedback")
    found = statuses(endpoint.address, [request], ends=False)
    assert len(found) == 1
    assert set(found) <= right
    refuse_another_answer(endpoint.address)


SCENES: dict[str, bytes] = {
    "nested 250,000 deep": DEEP + b"]" * 250_000,
    "no JSON": b"{",
    "two points": b'{"width":64,"height":48,"zones":{"z":[[0,0],[9,9]]}}',
    "outside": b'{"width":64,"height":48,"zones":{"z":[[0,0],[9,9],[999,9]]}}',
    "not a number": b'{"width":64,"height":48,"zones":{"z":[[NaN,0],[9,9],[9,0]]}}',
    "endless": b'{"width":1e999,"height":48}',
    "a line of one point": b'{"width":64,"height":48,"lines":{"l":[[1,1],[1,1]]}}',
    "101 zones": b'{"width":64,"height":48,"zones":{'
    + b",".join(b'"z%d":[[0,0],[9,9],[9,0]]' % each for each in range(101)) + b"}}",
}  # fmt: skip


@pytest.mark.parametrize("what", SCENES)
def test_a_scene_that_is_none_is_refused(endpoint: Running, what: str) -> None:
    from bad_films import film

    body = part(film(), 'name="clip"; filename="x.mp4"') + part(SCENES[what], 'name="scene"')
    request = sent(
        endpoint.address, body + b"--b--\r\n", FORM, "Connection: close", path="/analyze"
    )
    assert statuses(endpoint.address, [request], ends=False) in ([422], [413])
    refuse_another_answer(endpoint.address)


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/predict?map=maybe", {422}),
        ("/predict?camera=nobody", {422}),
        ("/predict?camera=" + "x" * 10_000, {414, 422}),
        ("/predict?camera=..%2F..%2Fsecret", {422}),
        ("/predict?camera=%00", {422}),
        ("/analyze?fps=nan", {422}),
        ("/analyze?fps=inf", {422}),
        ("/analyze?fps=0", {422}),
        ("/analyze?fps=31", {422}),
        ("/analyze?evidence=-1", {422}),
        ("/analyze?evidence=4", {422}),
        ("/analyze?camera=nobody", {422}),
        ("/nowhere", {403, 404}),
        ("/static_content/..%2f..%2f..%2fetc%2fpasswd", {403, 404, 405}),
        ("/static_content/../../../etc/passwd", {403, 404, 405}),
        ("//predict", {403, 404, 405}),
    ],
)
def test_a_question_that_is_none_is_refused(endpoint: Running, path: str, right: set[int]) -> None:
    field = "clip" if path.startswith("/analyze") else "images"
    body = part(quick(), f'name="{field}"; filename="x"') + b"--b--\r\n"
    request = sent(endpoint.address, body, FORM, "Connection: close", path=path)
    found = statuses(endpoint.address, [request], ends=False)
    assert len(found) == 1
    assert set(found) <= right
    refuse_another_answer(endpoint.address)


@pytest.mark.alone
def test_who_sends_a_byte_a_second_costs_nobody_else(endpoint: Running) -> None:
    """Heads and bodies that never come to an end are given up after some seconds."""
    begin = head(endpoint.address, FORM, "Content-Length: 100000")
    given: dict[str, float] = {}
    over = threading.Event()

    def drip(name: str, first: bytes) -> None:
        begun = time.monotonic()
        with connect(endpoint.address, 60) as connection:
            connection.sendall(first)
            try:
                while not over.wait(0.5) and time.monotonic() < begun + 40:
                    connection.sendall(b"x")
            except OSError:
                given[name] = time.monotonic() - begun

    firsts = {"head": b"POST /predict HTTP/1.1\r\nX: ", "body": begin, "part": begin + WHOLE[:60]}
    work = [
        threading.Thread(target=drip, args=(f"{name} {number}", first))
        for name, first in firsts.items()
        for number in range(10)
    ]
    for each in work:
        each.start()
    for _ in range(20):
        begun = time.monotonic()
        refuse_another_answer(endpoint.address)
        assert time.monotonic() - begun < 5
        time.sleep(0.1)  # between two good requests amid the bad ones
    for each in work:
        each.join(45)
    over.set()
    assert len(given) == len(work), f"not given up: {given}"
    assert max(given.values()) < 35


@pytest.mark.alone
def test_clients_that_are_killed_leave_nothing_behind(endpoint: Running) -> None:
    whole = sent(endpoint.address, part(slow()) * 4 + b"--b--\r\n", FORM)
    for cut in (10, 100, 300, len(whole) // 2, len(whole) - 3, len(whole)):
        for _ in range(15):
            connection = connect(endpoint.address)
            connection.sendall(whole[:cut])
            if cut == len(whole):
                time.sleep(0.01)  # so that it is read before the reset
            reset(connection)
    begun = time.monotonic()
    refuse_another_answer(endpoint.address)
    assert time.monotonic() - begun < 15, "what nobody waits for was computed"
    page = httpx.get(f"{endpoint.address}/metrics", timeout=20).text
    waiting = [line for line in page.splitlines() if "waiting" in line and line[0] != "#"]
    assert waiting
    assert {line.rpartition(" ")[2] for line in waiting} == {"0.0"}


def test_a_film_that_nobody_waits_for_is_no_burden(endpoint: Running) -> None:
    from bad_films import film

    body = part(film(400), 'name="clip"; filename="x.mp4"') + b"--b--\r\n"
    whole = sent(endpoint.address, body, FORM, path="/analyze")
    for cut in (len(whole) // 2, len(whole)):
        for _ in range(3):
            connection = connect(endpoint.address)
            connection.sendall(whole[:cut])
            reset(connection)
    files = {"clip": ("x.mp4", film(), "video/mp4")}
    answer = httpx.post(f"{endpoint.address}/analyze", files=files, timeout=60)
    assert answer.status_code == 200


def test_half_closed_and_idle_connections_cost_nothing(endpoint: Running) -> None:
    assert statuses(endpoint.address, [sent(endpoint.address, WHOLE, FORM)]) in ([200], [])
    idle = [connect(endpoint.address) for _ in range(500)]
    try:
        for _ in range(5):
            refuse_another_answer(endpoint.address)
    finally:
        for each in idle:
            each.close()
    refuse_another_answer(endpoint.address)


def test_an_answer_that_is_not_read_costs_nothing(endpoint: Running) -> None:
    asked = head(endpoint.address, path="/openapi.json", method="GET")
    deaf = [connect(endpoint.address) for _ in range(20)]
    try:
        for each in deaf:
            each.setblocking(False)
            for _ in range(200):
                try:
                    each.send(asked)
                except BlockingIOError:
                    break
        refuse_another_answer(endpoint.address)
        deaf[0].setblocking(True)
        assert b"HTTP/1.1 " in read(deaf[0], 0.5)
    finally:
        for each in deaf:
            reset(each)
    refuse_another_answer(endpoint.address)
