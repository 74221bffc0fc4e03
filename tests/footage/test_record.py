"""A live stream becomes segments: every frame once, true start times, whatever breaks off."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import live_server as cameras
import pytest
from live_server import CAMERA, FAST, record_all, shown

from cityforge.errors import ServiceError
from cityforge.footage.spool import segment_name

# Each: a server's maker, and its address.
SOURCES: dict[str, tuple[Callable[..., Any], str, dict[str, Any]]] = {
    "MPEG-TS over TCP": (cameras.tcp_camera, "tcp://127.0.0.1:{}", {}),
    "MPEG-TS over HTTP": (cameras.http_camera, "http://127.0.0.1:{}/live", {}),
    "RTSP": (cameras.rtsp_camera, "rtsp://127.0.0.1:{}/ch1", {}),
    "RTSP over UDP": (cameras.rtsp_camera, "rtsp://127.0.0.1:{}/ch1", {"udp": True}),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_frame_is_recorded_once(tmp_path: Path, source: str) -> None:
    make, url, options = SOURCES[source]
    with make(cameras.make_film(range(60)), speed=FAST) as server:
        segments, totals = record_all(url.format(server.port), tmp_path, **options)
    assert shown(segments) == [list(range(20)), list(range(20, 40)), list(range(40, 60))]
    assert [each.packets for each in segments] == [20, 20, 20]
    assert [each.seconds for each in segments] == pytest.approx([0.8] * 3, abs=0.05)
    assert (totals.packets, totals.segments, totals.reconnects) == (60, 3, 0)


def test_udp_is_recorded(tmp_path: Path) -> None:
    port, film = cameras.free_port(socket.SOCK_DGRAM), cameras.make_film(range(60))
    timer = threading.Timer(0.5, cameras.send_udp, (film, port, FAST))
    timer.start()
    segments, _ = record_all(f"udp://127.0.0.1:{port}", tmp_path)
    timer.join()
    assert [number for each in shown(segments) for number in each] == list(range(60))


@pytest.mark.parametrize(
    ("make", "url", "rate"),
    [
        (lambda: cameras.raw_camera(cameras.make_film(range(60))), "tcp://127.0.0.1:{}", 25),
        (lambda: cameras.jpeg_camera(20), "http://127.0.0.1:{}/mjpeg", 10),
    ],
    ids=["H.264 without a container", "JPEGs over HTTP"],
)
def test_stream_without_times_gets_those_of_its_arrival(
    tmp_path: Path, make: Callable[[], Any], url: str, rate: int
) -> None:
    with make() as server:
        segments, totals = record_all(url.format(server.port), tmp_path)
    numbers = shown(segments)
    assert [number for each in numbers for number in each] == list(range(totals.packets))
    assert totals.packets >= 20
    assert len(segments) >= 2
    for segment, (first, *_) in zip(segments, numbers, strict=True):
        taken = server.first_sent + first / rate
        assert segment.started_at.timestamp() == pytest.approx(taken, abs=0.3)


def test_pictures_that_need_both_sides_of_a_cut_stay_whole(tmp_path: Path) -> None:
    options = {"tune": "film", "x264-params": "open-gop=1:bframes=2:b-adapt=0:scenecut=0"}
    film = cameras.make_film(range(60), gop=12, options=options)
    with cameras.tcp_camera(film, FAST) as server:
        segments, _ = record_all(f"tcp://127.0.0.1:{server.port}", tmp_path)
    assert [number for each in shown(segments) for number in each] == list(range(60))


def test_what_comes_before_the_first_keyframe_is_dropped(tmp_path: Path) -> None:
    film = cameras.make_film(range(40), gop=10)
    late = cameras.Film(film.units[3:], film.chunks[3:])
    with cameras.tcp_camera(late, FAST) as server:
        segments, _ = record_all(f"tcp://127.0.0.1:{server.port}", tmp_path)
    assert [number for each in shown(segments) for number in each] == list(range(10, 40))


@pytest.mark.parametrize("burst", [0, 30])
def test_start_is_when_the_first_picture_was_taken(tmp_path: Path, burst: int) -> None:
    with cameras.tcp_camera(cameras.make_film(range(50)), burst=burst) as server:
        segments, _ = record_all(f"tcp://127.0.0.1:{server.port}", tmp_path)
    assert len(segments) == 3
    for place, segment in enumerate(segments):
        taken = server.first_sent - burst / cameras.RATE + place * 0.8
        assert segment.started_at.timestamp() == pytest.approx(taken, abs=0.15)


def test_segment_tells_its_camera_and_start(tmp_path: Path) -> None:
    import av

    with cameras.tcp_camera(cameras.make_film(range(10)), FAST) as server:
        (segment,), _ = record_all(f"tcp://127.0.0.1:{server.port}", tmp_path)
    assert segment.path == tmp_path / segment_name(CAMERA, segment.started_at)
    with av.open(str(segment.path)) as film:
        assert film.metadata["title"] == CAMERA
        moment = datetime.fromisoformat(film.metadata["creation_time"])
        assert film.duration == pytest.approx(400_000, abs=50_000)  # µs: the index was written
    assert moment == segment.started_at


@pytest.mark.parametrize("ahead", [50_000, -20], ids=["far ahead", "back"])
def test_jump_of_the_camera_s_time_starts_a_segment(tmp_path: Path, ahead: int) -> None:
    first = cameras.make_film(range(12), first_moment=1000)
    second = cameras.make_film(range(100, 115), first_moment=1012 + ahead * 2)
    film = cameras.Film([], first.chunks + second.chunks)
    with cameras.tcp_camera(film) as server:
        segments, _ = record_all(f"tcp://127.0.0.1:{server.port}", tmp_path, seconds=60)
    assert shown(segments) == [list(range(12)), list(range(100, 115))]
    apart = segments[1].started_at - segments[0].started_at
    assert apart.total_seconds() == pytest.approx(12 / cameras.RATE, abs=0.15)


def test_stream_that_breaks_off_is_connected_to_again(tmp_path: Path) -> None:
    before, after = cameras.make_film(range(100)), cameras.make_film(range(200, 220))
    server = cameras.tcp_camera(before).__enter__()
    again: list[Any] = []

    def replace_server() -> None:
        server.kill()
        again.append(cameras.tcp_camera(after, FAST, server.port).__enter__())

    timer = threading.Timer(1.0, replace_server)
    timer.start()
    segments, totals = record_all(f"tcp://127.0.0.1:{server.port}", tmp_path, breaks=2)
    again[0].kill()
    numbers = [number for each in shown(segments) for number in each]
    count = numbers.index(200)
    assert numbers[:count] == list(range(count))
    assert numbers[count:] == list(range(200, 220))
    assert count - len(server.sent) in (0, 1)  # the last may have gone out just before the end
    assert totals.reconnects == 1


@pytest.mark.alone
def test_pauses_grow_until_it_gives_up(tmp_path: Path) -> None:
    reasons: list[str] = []
    begin = time.monotonic()
    with pytest.raises(ServiceError, match="a packet within 2 s, found Connection refused"):
        record_all(
            f"tcp://127.0.0.1:{cameras.free_port()}",
            tmp_path,
            give_up=2.0,
            on_break=reasons.append,
        )
    assert ["again in 1 s" in reasons[0], "again in 2 s" in reasons[1]] == [True, True]
    assert 2.9 < time.monotonic() - begin < 4


@pytest.mark.alone
def test_stop_ends_a_recording_and_finishes_its_segment(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.8, stop.set).start()
    begin = time.monotonic()
    with cameras.tcp_camera(cameras.make_film(range(100))) as server:
        segments, _ = record_all(f"tcp://127.0.0.1:{server.port}", tmp_path, stop=stop, seconds=60)
    assert time.monotonic() - begin < 2
    (numbers,) = shown(segments)
    assert numbers == list(range(len(numbers)))
    assert 12 < len(numbers) < 25


def test_recording_ends_after_the_time_asked_for(tmp_path: Path) -> None:
    with cameras.tcp_camera(cameras.make_film(range(100))) as server:
        segments, totals = record_all(
            f"tcp://127.0.0.1:{server.port}", tmp_path, stop_after=1.0, seconds=60
        )
    assert len(segments) == 1
    assert totals.seconds == pytest.approx(1.0, abs=0.2)


def test_file_behind_http_is_taken_once(tmp_path: Path) -> None:
    body = b"".join(cameras.make_film(range(30)).chunks)
    head = f"HTTP/1.1 200 OK\nContent-Type: video/mp2t\nContent-Length: {len(body)}"
    with cameras.http_page(head, body) as server:
        segments, totals = record_all(f"http://127.0.0.1:{server.port}/a.ts", tmp_path)
    assert [number for each in shown(segments) for number in each] == list(range(30))
    assert totals.reconnects == 0
