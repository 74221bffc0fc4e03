"""What the detector finds before is not found after, and nothing of it is left to be read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import TensorProto, checker, helper

from cityforge.cards.dataset import Privacy
from cityforge.errors import CheckFailed, FootageError
from cityforge.footage.detectors import CascadeFinder, Find, open_detectors
from cityforge.footage.redact import Redactor, carried, covered, decode_jpeg, redactor_digest
from cityforge.footage.stills import encode_jpeg

METHODS = ["blur", "pixelate", "fill"]
FINDER = "version-RFB-320.onnx"


def privacy(*kinds: str, method: str = "blur", finder: Path | None = None, **more: Any) -> Privacy:
    """A card's privacy; faces by the 320×240 network where `finder` is given."""
    detectors = {}
    if finder:
        detectors["face"] = {
            "path": finder.name, "sha256": sha256(finder.read_bytes()).hexdigest(), "width": 320,
            "height": 240, "layout": "scores_boxes", "mean": 127.0, "divide_by": 128.0,
            "colour": "rgb", "score": 0.5, "tiles": more.pop("tiles", 1),
        }  # fmt: skip
    redaction = {"method": method, "padding": 0.2, "hold_s": 0.5, "detectors": detectors, **more}
    return Privacy.model_validate(
        {
            "grade": "personal", "lawful_basis": "a test", "redact": list(kinds),
            "retention_days": 1, "redaction": redaction,
        }
    )  # fmt: skip


def street(grey: int, seed: int = 0, size: tuple[int, int] = (960, 540)) -> np.ndarray[Any, Any]:
    """A noisy grey picture of width × height with a few darker and lighter walls."""
    rng = np.random.default_rng(seed)
    picture = rng.normal(grey, 9, (size[1], size[0], 3))
    for _ in range(6):
        x, y = rng.integers(0, size[0] - 80), rng.integers(0, size[1] - 80)
        w, h = rng.integers(60, 400, 2)
        picture[y : y + h, x : x + w] += rng.integers(-25, 25)
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_plate(
    picture: np.ndarray[Any, Any],
    centre: tuple[int, int],
    width: int,
    angle: float = 0.0,
    text: str = "A 123 BC 77",
) -> tuple[float, float, float, float]:
    """Draw a plate (white, a black frame, dark letters) and return its xyxy before rotation."""
    height, fine = round(width / 4.6), 4  # drawn four times as large, then shrunk
    plate = np.full((height * fine, width * fine, 3), 245, np.uint8)
    edge = max(2, height * fine // 14)
    cv2.rectangle(plate, (0, 0), (width * fine - 1, height * fine - 1), (10, 10, 10), edge)
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(2, round(height * fine * 0.09))
    (w, h), _ = cv2.getTextSize(text, font, 1, thick)
    scale = min(width * fine * 0.86 / w, height * fine * 0.62 / h)
    (w, h), _ = cv2.getTextSize(text, font, scale, thick)
    corner = ((width * fine - w) // 2, (height * fine + h) // 2)
    cv2.putText(plate, text, corner, font, scale, (10, 10, 10), thick, cv2.LINE_AA)
    plate = cv2.GaussianBlur(plate, (0, 0), fine / 2)
    middle = (width * fine / 2, height * fine / 2)
    turn = cv2.getRotationMatrix2D(middle, angle, 1 / fine)
    turn[:, 2] += np.subtract(centre, middle)
    size = picture.shape[1::-1]
    mask = cv2.warpAffine(np.full(plate.shape[:2], 255, np.uint8), turn, size) > 127
    picture[mask] = cv2.warpAffine(plate, turn, size)[mask]
    x, y = centre
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def overlap(find: Find, box: tuple[float, float, float, float]) -> float:
    """Share of `box` that lies in a find."""
    w = min(find.x2, box[2]) - max(find.x1, box[0])
    h = min(find.y2, box[3]) - max(find.y1, box[1])
    return max(0.0, w) * max(0.0, h) / ((box[2] - box[0]) * (box[3] - box[1]))


def shrunk(photo: np.ndarray[Any, Any], longest: int) -> np.ndarray[Any, Any]:
    scale = longest / max(photo.shape[:2])
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


@pytest.fixture
def photos(real_data: Callable[[str], Path]) -> list[np.ndarray[Any, Any]]:
    folder = real_data("face_detector")
    return [cv2.imread(str(folder / f"{name}.jpg")) for name in (1, 10, 22)]


@pytest.fixture
def finder(real_data: Callable[[str], Path]) -> Path:
    return real_data("face_detector") / FINDER


def count_before_and_after(
    asked: Privacy, folder: Path, pictures: list[np.ndarray[Any, Any]]
) -> tuple[list[int], list[int]]:
    """Finds in each picture, and in the stored JPEG of each."""
    redactor, before, after = Redactor(asked, folder), [], []
    detectors = open_detectors(asked, folder)
    for picture in pictures:
        jpeg = redactor.redact(picture).jpeg
        before.append(sum(len(each.find(picture)) for each in detectors))
        after.append(sum(len(each.find(decode_jpeg(jpeg))) for each in detectors))
    return before, after


@pytest.mark.real
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tiles", [1, 2])
def test_no_face_that_the_network_finds_before_is_found_after(
    photos: list[np.ndarray[Any, Any]], finder: Path, method: str, tiles: int
) -> None:
    asked = privacy("face", method=method, finder=finder, tiles=tiles)
    before, after = count_before_and_after(asked, finder.parent, photos)
    assert after == [0, 0, 0]
    assert min(before) >= 2
    assert sum(before) >= 65


@pytest.mark.real
@pytest.mark.parametrize("method", METHODS)
def test_no_face_that_the_cascades_find_before_is_found_after(
    photos: list[np.ndarray[Any, Any]], tmp_path: Path, method: str
) -> None:
    small = [shrunk(each, 400) for each in photos]
    before, after = count_before_and_after(privacy("face", method=method), tmp_path, small)
    assert after == [0, 0, 0]
    assert min(before) >= 1
    assert sum(before) >= 20


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_no_face_of_the_whole_photographs_is_found_after_by_the_cascades(
    photos: list[np.ndarray[Any, Any]], tmp_path: Path, method: str
) -> None:
    before, after = count_before_and_after(privacy("face", method=method), tmp_path, photos)
    assert after == [0, 0, 0]
    assert min(before) >= 2
    assert sum(before) >= 65


def street_with_plates(number: int) -> np.ndarray[Any, Any]:
    """Three plates of different sizes, turned a little, on a darker or lighter street."""
    picture = street((40, 70, 100)[number % 3], number)
    for place, (width, angle) in enumerate(product((90, 130, 210), ((number % 5) * 2.0 - 4,))):
        x = 170 + 300 * place + 7 * number
        y = 90 + 150 * ((place + number) % 3)
        draw_plate(picture, (x, y), width, angle, ("A 123 BC 77", "X057KO 199")[number % 2])
    return picture


@pytest.mark.parametrize("method", METHODS)
def test_no_plate_that_the_cascade_finds_before_is_found_after(tmp_path: Path, method: str) -> None:
    pictures = [street_with_plates(number) for number in range(10)]
    before, after = count_before_and_after(privacy("plate", method=method), tmp_path, pictures)
    assert after == [0] * 10
    assert min(before) >= 1
    assert sum(before) >= 27  # of 30 that were drawn


def test_what_was_covered_is_told_with_its_padding(tmp_path: Path) -> None:
    picture = street(70)
    box = draw_plate(picture, (400, 300), 160)
    (seen,) = CascadeFinder("plate").find(picture)
    (told,) = Redactor(privacy("plate"), tmp_path).redact(picture).finds
    assert (told.kind, told.found, told.score) == ("plate", "detected", seen.score)
    assert overlap(told, box) > 0.9
    wanted = [
        seen.x1 - 0.2 * (seen.x2 - seen.x1), seen.y1 - 0.2 * (seen.y2 - seen.y1),
        seen.x2 + 0.2 * (seen.x2 - seen.x1), seen.y2 + 0.2 * (seen.y2 - seen.y1),
    ]  # fmt: skip
    np.testing.assert_allclose([told.x1, told.y1, told.x2, told.y2], wanted, atol=1)


def test_a_region_ends_at_the_edge_of_the_picture(tmp_path: Path) -> None:
    picture = street(50)
    draw_plate(picture, (85, 25), 160)
    (told,) = Redactor(privacy("plate", padding=1.0), tmp_path).redact(picture).finds
    assert (told.x1, told.y1) == (0, 0)
    assert 165 < told.x2 < 960


@pytest.mark.parametrize("method", METHODS)
def test_the_same_frame_gives_the_same_bytes(tmp_path: Path, method: str) -> None:
    pictures = [street_with_plates(number) for number in (0, 1, 2)]
    first, second = (
        Redactor(privacy("plate", method=method), tmp_path).redact(pictures[1], *pictures[::2])
        for _ in range(2)
    )
    assert first == second
    assert len(first.finds) >= 3


@pytest.mark.parametrize("method", METHODS)
def test_pixels_outside_the_regions_stay_as_they_are(tmp_path: Path, method: str) -> None:
    picture = street_with_plates(0)
    redacted = Redactor(privacy("plate", method=method), tmp_path).redact(picture)
    stays = np.ones(picture.shape[:2], bool)
    for find in redacted.finds:  # a JPEG block of 16 pixels may hold pixels of a region
        stays[max(0, int(find.y1) - 18) : int(find.y2) + 18,
              max(0, int(find.x1) - 18) : int(find.x2) + 18] = False  # fmt: skip
    assert 0.3 < stays.mean() < 1
    plain, stored = decode_jpeg(encode_jpeg(picture)), decode_jpeg(redacted.jpeg)
    assert np.array_equal(plain[stays], stored[stays])
    assert not np.array_equal(plain, stored)
    picture_again = street_with_plates(0)
    assert np.array_equal(picture, picture_again)  # the frame itself is left alone


def test_a_frame_without_a_find_is_stored_as_any_other(tmp_path: Path) -> None:
    redacted = Redactor(privacy("plate", "face"), tmp_path).redact(street(90))
    assert redacted.finds == []
    assert redacted.jpeg == encode_jpeg(street(90))


def faces_that_differ(side: int = 32) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Two squares of noise that have the same mean in each of 4×4 cells."""
    one = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    cell, other = side // 4, one.copy()
    for y, x in product(range(0, side, cell), repeat=2):
        pixels = one[y : y + cell, x : x + cell].reshape(-1, 3)
        other[y : y + cell, x : x + cell] = pixels[::-1].reshape(cell, cell, 3)
    return one, other


@pytest.mark.parametrize("method", METHODS)
def test_no_more_than_sixteen_colours_of_a_region_survive(method: str) -> None:
    one, other = faces_that_differ()
    assert np.abs(one.astype(int) - other).mean() > 50
    street_one, street_other = street(90), street(90)
    street_one[100:132, 200:232], street_other[100:132, 200:232] = one, other
    region = Find("face", 200.0, 100.0, 232.0, 132.0, 0.9, "detected")
    hidden = covered(street_one, [region], method)
    assert np.array_equal(hidden, covered(street_other, [region], method))
    inside = hidden[100:132, 200:232].reshape(-1, 3)
    colours = len(np.unique(inside, axis=0))
    assert colours == {"fill": 1, "pixelate": 16}.get(method, colours)
    if method == "blur":  # smooth: no edge of a cell is to be seen
        steps = np.abs(np.diff(hidden[100:132, 200:232].astype(int), axis=0)).max()
        assert steps <= 2 + np.ptp(inside.astype(int), axis=0).max() / (32 / 4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (37, 5), (61, 90)])
def test_a_region_of_any_size_is_covered(method: str, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    region = Find("face", 10.0, 20.0, 10.0 + size[0], 20.0 + size[1], 0.9, "detected")
    hidden = covered(picture, [region], method)
    changed = np.any(hidden != picture, axis=2)
    changed[20 : 20 + size[1], 10 : 10 + size[0]] = False
    assert not changed.any()
    part = hidden[20 : 20 + size[1], 10 : 10 + size[0]].reshape(-1, 3)
    assert len(np.unique(part, axis=0)) <= 16 or method == "blur"


def test_a_small_region_within_a_large_one_leaves_nothing_of_its_own() -> None:
    """Whatever the order of the finds, the large one is averaged last."""
    picture = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    large, small = (
        Find("face", float(a), float(a), float(b), float(b), 0.9, "detected")
        for a, b in ((0, 80), (33, 53))
    )
    hidden = covered(picture, [large, small], "pixelate")
    assert np.array_equal(hidden, covered(picture, [small, large], "pixelate"))
    assert len(np.unique(hidden.reshape(-1, 3), axis=0)) <= 16


def test_a_plate_missed_between_two_frames_is_covered_there(tmp_path: Path) -> None:
    """It moves by 60 pixels a frame; in the middle one half of it is hidden."""
    before, middle, after = (street(60, 5) for _ in range(3))
    draw_plate(before, (300, 250), 160)
    box = draw_plate(middle, (360, 256), 160)
    draw_plate(after, (420, 262), 160)
    x1, y1, x2, y2 = map(int, box)
    half = np.s_[y1 - 9 : y2 + 9, x1 - 9 : x1 + 80]
    middle[half] = street(60, 5)[half]
    redactor = Redactor(privacy("plate", method="fill"), tmp_path)
    assert redactor.redact(middle).finds == []
    redacted = redactor.redact(middle, before, after)
    (held,) = redacted.finds
    assert (held.found, held.kind) == ("held", "plate")
    assert overlap(held, box) > 0.9
    stored = decode_jpeg(redacted.jpeg)[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4]
    assert stored.astype(float).std() < 2 < 10 < middle[y1:y2, x1:x2].std()


@pytest.mark.real
def test_a_face_missed_between_two_frames_is_covered_there(
    photos: list[np.ndarray[Any, Any]], finder: Path
) -> None:
    face = cv2.resize(photos[1][330:470, 440:570], (104, 112))  # hair to chin of one man
    before, middle, after = (street(110, 5, (640, 480)) for _ in range(3))
    for picture, x in ((before, 200), (middle, 240), (after, 280)):
        picture[180:292, x : x + 104] = face
    middle[190:285, 240:344] = np.random.default_rng(0).integers(0, 256, (95, 104, 3))
    redactor = Redactor(privacy("face", finder=finder), finder.parent)
    left, *_ = redactor.redact(before).finds
    right, *_ = redactor.redact(after).finds
    assert redactor.redact(middle).finds == []
    (held,) = redactor.redact(middle, before, after).finds
    assert held.found == "held"
    assert right.x1 - left.x1 == pytest.approx(80, abs=9)
    assert held.x1 == pytest.approx((left.x1 + right.x1) / 2, abs=1)
    assert overlap(held, (260.0, 195.0, 324.0, 280.0)) > 0.9


def test_a_plate_of_one_neighbour_alone_covers_its_own_place(tmp_path: Path) -> None:
    before, middle = street(60), street(60)
    box = draw_plate(before, (300, 250), 160)
    redactor = Redactor(privacy("plate"), tmp_path)
    for neighbours in ((before, None), (None, before), (before, street(60))):
        (held,) = redactor.redact(middle, *neighbours).finds
        assert (held.found, overlap(held, box) > 0.9) == ("held", True)


def test_a_neighbour_of_another_size_is_held_in_pixels_of_this_frame(tmp_path: Path) -> None:
    before = street(60, size=(1440, 810))
    draw_plate(before, (450, 375), 240)
    (held,) = Redactor(privacy("plate"), tmp_path).redact(street(60), before).finds
    assert overlap(held, (220.0, 233.0, 380.0, 267.0)) > 0.9


def test_what_is_found_in_the_frame_itself_is_not_held_again(tmp_path: Path) -> None:
    pictures = [street(60) for _ in range(3)]
    for number, picture in enumerate(pictures):
        draw_plate(picture, (300 + 4 * number, 250), 160)
    before, middle, after = pictures
    found = Redactor(privacy("plate"), tmp_path).redact(middle, before, after).finds
    assert [each.found for each in found] == ["detected"]


FACE, PLATE = "face", "plate"
# (kind, x1, y1, x2, y2) of the frame before, of the frame after, and of the one midway
CARRIED = {
    "nothing": ([], [], []),
    "moves": ([(FACE, 0, 0, 10, 10)], [(FACE, 20, 4, 30, 14)], [(FACE, 10, 2, 20, 12)]),
    "grows": ([(FACE, 0, 0, 10, 10)], [(FACE, 0, 0, 20, 20)], [(FACE, 0, 0, 15, 15)]),
    "leaves": ([(FACE, 0, 0, 10, 10)], [], [(FACE, 0, 0, 10, 10)]),
    "comes": ([], [(PLATE, 0, 0, 10, 10)], [(PLATE, 0, 0, 10, 10)]),
    "two kinds": (
        [(FACE, 0, 0, 10, 10)], [(PLATE, 4, 0, 14, 10)],
        [(FACE, 0, 0, 10, 10), (PLATE, 4, 0, 14, 10)],
    ),
    "too far": (
        [(FACE, 0, 0, 10, 10)], [(FACE, 90, 0, 100, 10)],
        [(FACE, 0, 0, 10, 10), (FACE, 90, 0, 100, 10)],
    ),
    "another size": (
        [(FACE, 0, 0, 10, 10)], [(FACE, 0, 0, 30, 30)],
        [(FACE, 0, 0, 10, 10), (FACE, 0, 0, 30, 30)],
    ),
    "two side by side": (
        [(FACE, 0, 0, 10, 10), (FACE, 20, 0, 30, 10)],
        [(FACE, 24, 0, 34, 10), (FACE, 4, 0, 14, 10)],
        [(FACE, 2, 0, 12, 10), (FACE, 22, 0, 32, 10)],
    ),
    "one of two is gone": (
        [(FACE, 0, 0, 10, 10), (FACE, 12, 0, 22, 10)], [(FACE, 14, 0, 24, 10)],
        [(FACE, 0, 0, 10, 10), (FACE, 13, 0, 23, 10)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CARRIED)
def test_finds_of_the_neighbours_are_carried_midway(name: str) -> None:
    before, after, midway = (
        [Find(kind, *map(float, box), 0.9, "detected") for kind, *box in each]
        for each in CARRIED[name]
    )
    found = carried(before, after)
    assert {each.found for each in found} <= {"held"}
    boxes = sorted((each.kind, each.x1, each.y1, each.x2, each.y2) for each in found)
    assert boxes == sorted((each.kind, each.x1, each.y1, each.x2, each.y2) for each in midway)


def test_a_frame_that_cannot_be_made_private_is_refused(tmp_path: Path) -> None:
    """A network that finds a face in whatever it is shown."""
    box = helper.make_tensor("boxe", TensorProto.FLOAT, [1, 1, 4], [0.1, 0.1, 0.3, 0.3])
    score = helper.make_tensor("score", TensorProto.FLOAT, [1, 1, 1], [0.9])
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}s"]) for name in ("score", "boxe")],
        "everywhere",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 240, 320])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 1]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 1, 4]),
        ],
        [score, box],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    path = tmp_path / "everywhere.onnx"
    path.write_bytes(model.SerializeToString())
    redactor = Redactor(privacy("face", finder=path), tmp_path)
    with pytest.raises(FootageError, match=r"can be made private, found 1 × face left after 6"):
        redactor.redact(street(90))


@pytest.mark.real
def test_what_the_stored_picture_still_shows_is_covered_too(
    photos: list[np.ndarray[Any, Any]], finder: Path
) -> None:
    """Without padding, pixelated faces of a crowd are found again."""
    asked = privacy("face", method="pixelate", finder=finder, padding=0.0)
    found = [each.found for each in Redactor(asked, finder.parent).redact(photos[0]).finds]
    assert found.count("checked") >= 3
    assert found == sorted(found, key=["detected", "held", "checked"].index)


@pytest.mark.real
def test_blurred_faces_that_look_like_a_larger_one_cost_no_large_part_of_the_picture(
    photos: list[np.ndarray[Any, Any]], finder: Path
) -> None:
    asked = privacy("face", finder=finder, tiles=2)
    finds = Redactor(asked, finder.parent).redact(photos[1]).finds
    largest = max((each.x2 - each.x1) * (each.y2 - each.y1) for each in finds)
    assert {each.found for each in finds} == {"detected", "checked"}
    assert largest < 0.1 * photos[1].shape[0] * photos[1].shape[1]


def digest_of(folder: Path, *kinds: str, **more: Any) -> str | None:
    return redactor_digest(privacy(*(kinds or ("face", "plate")), **more), folder)


def test_the_digest_changes_with_all_that_changes_the_result(tmp_path: Path) -> None:
    """The files are no models at all: the digest loads none."""
    for name in ("one.onnx", "two.onnx", "copy.onnx"):
        (tmp_path / name).write_text(name.replace("copy", "one"))
    found = [
        digest_of(tmp_path),
        digest_of(tmp_path, "face"),
        digest_of(tmp_path, "plate"),
        digest_of(tmp_path, method="fill"),
        digest_of(tmp_path, padding=0.3),
        digest_of(tmp_path, hold_s=0.1),
        digest_of(tmp_path, finder=tmp_path / "one.onnx"),
        digest_of(tmp_path, finder=tmp_path / "two.onnx"),
        digest_of(tmp_path, finder=tmp_path / "one.onnx", tiles=2),
    ]
    assert all(each is not None and len(each) == 16 and int(each, 16) >= 0 for each in found)
    assert len(set(found)) == len(found)
    assert digest_of(tmp_path, "plate", "face") == digest_of(tmp_path, "face", "plate")
    assert digest_of(tmp_path, finder=tmp_path / "copy.onnx") == found[6]
    assert digest_of(tmp_path, hold_s=0.5) == found[0]


def test_the_digest_is_that_of_the_redactor_and_of_another_process(tmp_path: Path) -> None:
    asked = privacy("plate")
    code = (
        "import sys; from pathlib import Path; from cityforge.cards.dataset import Privacy;"
        "from cityforge.footage.redact import redactor_digest;"
        "print(redactor_digest(Privacy.model_validate_json(sys.argv[1]), Path('.')))"
    )
    words = [sys.executable, "-c", code, asked.model_dump_json()]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    assert Redactor(asked, tmp_path).digest == redactor_digest(asked, tmp_path)
    assert other.stdout.strip() == redactor_digest(asked, tmp_path)


def test_nothing_asked_has_no_digest_and_no_redactor(tmp_path: Path) -> None:
    asked = Privacy(grade="public", lawful_basis="a test", redact=[], retention_days=1)
    assert redactor_digest(asked, tmp_path) is None
    with pytest.raises(CheckFailed, match="a card that asks for redaction, found none"):
        Redactor(asked, tmp_path)


def test_a_missing_and_a_changed_detector_are_named_by_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    path.write_text("one")
    asked = privacy("face", finder=path)
    path.write_text("another")
    digest = sha256(b"another").hexdigest()
    with pytest.raises(CheckFailed, match=f"found {digest}, in .*one.onnx: .*dataset.yaml"):
        redactor_digest(asked, tmp_path)
    path.unlink()
    with pytest.raises(CheckFailed, match=r"found no file, in .*one.onnx: put the file there"):
        redactor_digest(asked, tmp_path)
