"""What the detector finds before is not found after, and nothing of it is left to be read."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, checker, helper
from private_scenes import METHODS, draw_plate, overlap, privacy, shrunk, street

from cityforge.cards.dataset import Privacy
from cityforge.errors import FootageError
from cityforge.footage.detectors import CascadeFinder, Find, open_detectors
from cityforge.footage.redact import Redactor, covered, decode_jpeg
from cityforge.footage.stills import encode_jpeg


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
