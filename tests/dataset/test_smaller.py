"""Frames as small as the input: the same whether they are kept or decoded anew."""

from __future__ import annotations

import os
import pickle
from typing import Any

import numpy as np
import pytest

from cityforge.dataset.smaller import SmallFrames
from cityforge.errors import DataError
from cityforge.footage.shards import FrameStore
from cityforge.tasks.picture import decode_and_fit

IDS = [f"f{n}-0" for n in range(6)]
SIZE = (128, 128)  # frames of 160 x 120 become 128 x 96


def counting(store: FrameStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the frames read from now on."""
    asked: list[str] = []
    read = store.read
    monkeypatch.setattr(store, "read", lambda name: asked.append(name) or read(name))
    return asked


def test_a_kept_frame_is_the_same_and_is_read_once(
    scenes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counting(scenes.store, monkeypatch)
    kept = SmallFrames(IDS, scenes.store, SIZE)
    never = SmallFrames(IDS, scenes.store, SIZE, kept_bytes=0)
    for index in (4, 1, 4, 0, 1):
        first, again = kept[index], never[index]
        assert first.image.shape == (96, 128, 3)
        assert (first.image == again.image).all()
        assert first.scale == again.scale == 0.8
    assert (asked.count("f4-0"), asked.count("f1-0"), asked.count("f0-0")) == (3, 3, 2)


def test_a_frame_is_what_the_endpoint_sees_less_its_margin(scenes: Any) -> None:
    small = SmallFrames(IDS, scenes.store, SIZE)[3]
    whole = decode_and_fit(scenes.store.read("f3-0"), *SIZE)
    assert (small.image == whole.canvas[:96]).all()
    assert small.scale == whole.scale


@pytest.mark.parametrize(("room", "reads"), [(6 * 128 * 128 * 3, 1), (6 * 128 * 128 * 3 - 1, 2)])
def test_all_frames_are_kept_or_none(
    scenes: Any, monkeypatch: pytest.MonkeyPatch, room: int, reads: int
) -> None:
    asked = counting(scenes.store, monkeypatch)
    frames = SmallFrames(IDS, scenes.store, SIZE, kept_bytes=room)
    assert (frames[2].image == frames[2].image).all()
    assert asked == ["f2-0"] * reads


def test_what_a_forked_process_decoded_is_kept_here(
    scenes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = SmallFrames(IDS, scenes.store, SIZE)
    child = os.fork()
    if not child:
        done = frames[5].scale == 0.8
        os._exit(0 if done else 1)
    assert os.waitpid(child, 0)[1] == 0
    asked = counting(scenes.store, monkeypatch)
    expected = SmallFrames(IDS, scenes.store, SIZE, kept_bytes=0)[5].image
    asked.clear()
    assert (frames[5].image == expected).all()
    assert asked == []


def test_frames_are_read_after_pickling(scenes: Any) -> None:
    frames = SmallFrames(IDS, scenes.store, SIZE)
    expected = frames[1].image.copy()
    assert np.array_equal(pickle.loads(pickle.dumps(frames))[1].image, expected)


def test_a_missing_frame_is_named(scenes: Any) -> None:
    with pytest.raises(DataError, match="'gone'"):
        SmallFrames(["gone"], scenes.store, SIZE)[0]
