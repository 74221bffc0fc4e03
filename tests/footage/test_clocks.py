"""Clocks that run back, stand still or are missing, and rates that are odd or vary."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cityforge.cards.dataset import Sampling
from cityforge.footage.probe import probe
from cityforge.footage.sample import sample_film

Make = Callable[..., Path]
EVERY = Sampling(policy="every", seconds=0)


def test_films_one_behind_the_other_whose_clock_starts_anew(
    tmp_path: Path, make_film: Make
) -> None:
    """Two recordings put into one file, as recorders do that write on after a restart."""
    first = make_film(tmp_path / "a.ts", [40] * 30)
    second = make_film(tmp_path / "b.ts", [200] * 10)
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    found = probe(both)
    assert (found.frames, found.errors) == (40, 0)
    assert found.duration_s == pytest.approx(4.0, abs=0.3)
    assert any("clock" in note or "time" in note for note in found.notes)
    samples = [(each.milliseconds, each.bgr.mean()) for each in sample_film(both, EVERY)]
    moments = [moment for moment, _ in samples]
    assert len(moments) == 40
    assert moments == sorted(set(moments))
    assert [grey > 120 for _, grey in samples] == [False] * 30 + [True] * 10


@pytest.mark.parametrize("ending", [".mkv", ".ts"])
def test_a_clock_that_is_set_back_in_the_middle(
    tmp_path: Path, make_film: Make, ending: str
) -> None:
    """The packets of a whole film, with five seconds taken off from the middle on."""
    import av

    whole, back = make_film(tmp_path / "whole.mkv", [60] * 60), tmp_path / f"back{ending}"
    with av.open(str(whole)) as source, av.open(str(back), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is None:
                continue
            packet.stream = stream
            if number >= 30:
                packet.pts -= round(2.5 / packet.time_base)
                packet.dts = packet.pts
            with suppress(ValueError, av.FFmpegError):
                target.mux_one(packet)
    found = probe(back)
    assert found.frames >= 30
    moments = [each.milliseconds for each in sample_film(back, EVERY)]
    assert moments == sorted(set(moments))
    assert 0 < found.duration_s < 10
