"""Only live streams are opened, and one that does not start is one clear line."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import live_server as cameras
import pytest
from live_server import FAST, record_all, shown

from cityforge.errors import InputError, ServiceError
from cityforge.footage.live import check_address, open_live


@pytest.mark.parametrize("scheme", ["tcp", "http", "rtsp"])
@pytest.mark.alone
def test_stream_that_never_starts_is_one_clear_line(tmp_path: Path, scheme: str) -> None:
    begin = time.monotonic()
    with cameras.silent_camera() as server, pytest.raises(ServiceError) as caught:
        url = f"{scheme}://admin:s3cret@127.0.0.1:{server.port}/x"
        record_all(url, tmp_path, timeout=0.6)
    assert time.monotonic() - begin < 1.5
    assert "found nothing within 0.6 s" in str(caught.value)
    assert f"{scheme}://admin:***@127.0.0.1" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_udp_that_never_comes_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"found nothing within 0.6 s"):
        record_all(f"udp://127.0.0.1:{cameras.free_port(socket.SOCK_DGRAM)}", tmp_path, timeout=0.6)


@pytest.mark.parametrize("scheme", ["tcp", "http", "rtsp"])
def test_refused_connection_is_one_clear_line(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(ServiceError, match=r"found Connection refused, in .*:[*]{3}@127"):
        record_all(f"{scheme}://u:s3cret@127.0.0.1:{cameras.free_port()}/x", tmp_path)


def test_login_is_used_and_not_shown(tmp_path: Path) -> None:
    reasons: list[str] = []
    stop = threading.Event()

    def on_break(why: str) -> None:
        reasons.append(why)
        stop.set()

    with cameras.rtsp_camera(cameras.make_film(range(10)), "admin:s3cret", FAST) as server:
        url = f"rtsp://admin:s3cret@127.0.0.1:{server.port}/x?password=s3cret"
        segments, _ = record_all(url, tmp_path, stop=stop, on_break=on_break)
        with pytest.raises(ServiceError, match="401"):
            record_all(url.replace("s3cret@", "wrong@"), tmp_path)
    assert shown(segments) == [list(range(10))]
    assert "s3cret" not in reasons[0]
    assert "admin:***@" in reasons[0]


@pytest.mark.parametrize(
    "url",
    [
        "/etc/hostname",
        "film.mp4",
        "file:/etc/hostname",
        "file:///etc/hostname",
        "concat:/etc/hostname|/etc/hosts",
        "subfile,,start,0,end,9,,:/etc/hostname",
        "hls+http://127.0.0.1/a.m3u8",
        "data:text/plain,hello",
        "rtmp://127.0.0.1/x",
        "rtsp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:many",
        "http:///a.ts",
        "",
    ],
)
def test_only_addresses_of_live_streams_are_taken(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="the address of a live stream"):
        record_all(url, tmp_path / "spool")
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize(
    "url", ["udp://@:5000", "udp://127.0.0.1:5000", "rtsps://h/x", "https://h/x", "rtp://h:5004"]
)
def test_addresses_that_are_taken(url: str) -> None:
    check_address(url)


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXTINF:2,\n{}\n"
SCRIPT = "ffconcat version 1.0\nfile {}\nfile {}\n"
SESSION = "v=0\no=- 1 1 IN IP4 {}\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 0 RTP/AVP 33\na={}\n"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/vnd.apple.mpegurl", PLAYLIST),
        ("video/mp2t", PLAYLIST),
        ("text/plain", SCRIPT),
        ("application/sdp", SESSION),
    ],
)
def test_script_that_names_other_places_opens_none_of_them(
    tmp_path: Path, kind: str, body: str
) -> None:
    canary = tmp_path / "canary.ts"
    canary.write_bytes(b"".join(cameras.make_film(range(10)).chunks))
    with cameras.http_camera(cameras.make_film(range(10)), FAST) as other:
        text = body.format(f"file:{canary}", f"http://127.0.0.1:{other.port}/a.ts")
        with cameras.http_page(f"HTTP/1.1 200 OK\nContent-Type: {kind}", text.encode()) as server:
            with pytest.raises(ServiceError, match="playlists and scripts are not"):
                record_all(f"http://127.0.0.1:{server.port}/live.m3u8", tmp_path / "spool")
            assert server.sent  # it was asked
        assert other.connections == []
    assert list((tmp_path / "spool").iterdir()) == []


def test_redirection_to_a_file_opens_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary.ts"
    canary.write_bytes(b"".join(cameras.make_film(range(10)).chunks))
    page = cameras.http_page(f"HTTP/1.1 302 Found\nLocation: file://{canary}", b"")
    with page as server, pytest.raises(ServiceError):
        record_all(f"http://127.0.0.1:{server.port}/", tmp_path / "spool")
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("address", ["{}", "file:{}", "concat:{}", "subfile,,start,0,end,0,,:{}"])
def test_files_stay_shut_behind_the_check_of_the_address_too(tmp_path: Path, address: str) -> None:
    canary = tmp_path / "canary.ts"
    canary.write_bytes(b"".join(cameras.make_film(range(10)).chunks))
    with pytest.raises(ServiceError):
        open_live(address.format(canary), 1.0)
