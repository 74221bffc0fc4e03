"""What a file is: kind, size after rotation, frames, and why it is refused."""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cityforge.errors import FootageError
from cityforge.footage.probe import content_id, probe

Make = Callable[..., Path]


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_still_of_every_format(tmp_path: Path, make_picture: Make, format_name: str) -> None:
    path = make_picture(tmp_path / "one", format_name=format_name)
    found = probe(path)
    assert (found.still, found.codec) == (True, format_name.lower())
    assert (found.width, found.height) == (64, 48)
    assert (found.frames, found.errors, found.duration_s, found.fps) == (1, 0, 0.0, None)
    assert found.footage_id == hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("orientation", "size"), [(3, (64, 48)), (6, (48, 64)), (8, (48, 64))])
def test_still_is_measured_after_its_exif_rotation(
    tmp_path: Path, make_picture: Make, format_name: str, orientation: int, size: tuple[int, int]
) -> None:
    path = make_picture(tmp_path / "turned", format_name=format_name, orientation=orientation)
    found = probe(path)
    assert (found.width, found.height) == size


def test_still_tells_when_it_was_taken(tmp_path: Path, make_picture: Make) -> None:
    path = make_picture(tmp_path / "a.jpg", taken="2026:03:02 09:30:00")
    assert probe(path).started_at == datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def test_still_with_a_time_that_is_none_has_no_time(tmp_path: Path, make_picture: Make) -> None:
    assert probe(make_picture(tmp_path / "a.jpg", taken="0000:00:00 00:00:00")).started_at is None


def test_film(tmp_path: Path, make_film: Make) -> None:
    path = make_film(tmp_path / "街口.mp4", metadata={"creation_time": "2026-03-02T09:00:00Z"})
    found = probe(path)
    assert (found.still, found.codec, found.width, found.height) == (False, "h264", 64, 48)
    assert (found.frames, found.errors, found.fps) == (20, 0, 10.0)
    assert found.duration_s == pytest.approx(2.0)
    assert found.started_at == datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_film_with_a_colon_in_its_name(
    tmp_path: Path, make_film: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_film(tmp_path / "made.mp4").rename(tmp_path / "08:00:00.mp4")
    monkeypatch.chdir(tmp_path)
    assert probe(Path("08:00:00.mp4")).frames == 20


def _missing(folder: Path) -> Path:
    return folder / "not there.mp4"


def _folder(folder: Path) -> Path:
    return folder


def _empty(folder: Path) -> Path:
    (folder / "empty.jpg").touch()
    return folder / "empty.jpg"


def _text(folder: Path) -> Path:
    (folder / "notes.mp4").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n" * 20)
    return folder / "notes.mp4"


def _sound(folder: Path) -> Path:
    with wave.open(str(folder / "sound.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    return folder / "sound.wav"


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (_missing, "no file"),
        (_folder, "a folder"),
        (_empty, "an empty file"),
        (_text, ""),
        (_sound, "sound only"),
    ],
)
def test_what_is_no_footage_is_refused_with_its_path(
    tmp_path: Path, make: Callable[[Path], Path], found: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(FootageError) as refusal:
        probe(path)
    assert found in refusal.value.found
    assert refusal.value.where == str(path)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_truncated_still_is_refused(
    tmp_path: Path, make_picture: Make, format_name: str, share: float
) -> None:
    path = make_picture(tmp_path / "cut", size=(640, 480), format_name=format_name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(FootageError):
        probe(path)


def test_film_without_its_index_is_refused(tmp_path: Path, make_film: Make) -> None:
    path = make_film(tmp_path / "cut.mp4")
    data = path.read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")
    path.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(FootageError, match="truncated"):
        probe(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [("cut.mkv", {}), ("cut.mp4", {"movflags": "frag_keyframe+empty_moov"})],
)
def test_film_cut_in_the_middle_keeps_the_frames_before(
    tmp_path: Path, make_film: Make, name: str, options: dict[str, str]
) -> None:
    path = make_film(tmp_path / name, options=options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    assert 0 < probe(path).frames < 20


def test_still_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.bmp"
    header = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    sides = (50_000).to_bytes(4, "little") * 2
    path.write_bytes(header + (40).to_bytes(4, "little") + sides + b"\1\0\x18\0" + bytes(24))
    with pytest.raises(FootageError, match="100,000,000 pixels"):
        probe(path)


def test_content_id_does_not_depend_on_the_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"city")
    (tmp_path / "乙.mp4").write_bytes(b"city")
    assert content_id(tmp_path / "a") == content_id(tmp_path / "乙.mp4")
    assert content_id(tmp_path / "a") == hashlib.sha256(b"city").hexdigest()[:16]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "codec", "frames", "errors"),
    [
        ("decord_corrupted.mp4", "h264", 49, 1),
        ("decord_rot90.mov", "h264", None, 0),
        ("tc_av1.mkv", "av1", None, 0),
        ("tc_h265.mp4", "hevc", None, 0),
        ("opossum_intro.webm", "vp8", None, 0),
    ],
)
def test_real_film_is_measured_as_opencv_does(
    real_data: Callable[[str], Path], name: str, codec: str, frames: int | None, errors: int
) -> None:
    import cv2

    path = real_data("footage") / name
    found = probe(path)
    assert (found.codec, found.errors) == (codec, errors)
    reference = cv2.VideoCapture(str(path))  # turns frames by their metadata, too
    assert found.width == reference.get(cv2.CAP_PROP_FRAME_WIDTH)
    assert found.height == reference.get(cv2.CAP_PROP_FRAME_HEIGHT)
    assert found.frames == (frames or reference.get(cv2.CAP_PROP_FRAME_COUNT))
