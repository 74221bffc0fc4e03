"""What stays when something is refused: barred at once, tried again, and found at a start."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from signed_site import APPROVER, TRAINER, Site

from cityforge.endpoint.observed import Figures
from cityforge.endpoint.running import Running
from cityforge.endpoint.surroundings import Surroundings
from cityforge.errors import CityforgeError, PackageError
from cityforge.inference import served
from cityforge.inference.package import open_package
from cityforge.inference.served import Exchange, Published, Served, write_published


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def digest(folder: Path) -> str:
    return open_package(folder / "package").digest


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def damage(folder: Path) -> None:
    flip(folder / "package/model.onnx")


@pytest.mark.parametrize("harm", [lambda _: None, damage, remove])
def test_a_bar_comes_through_whatever_became_of_the_folder(
    site: Site, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    pointer, folder = tmp_path / "current.json", site.release(1)
    write_published(pointer, Published(str(folder), site.keys()))
    exchange = Exchange(folder, pointer)
    key = next(each for each in site.keys().values() if each.name == APPROVER)
    site.put(TRAINER, "key.revoke", key.key_id,
             {"key_id": key.key_id, "reason": "stolen", "compromised": True})  # fmt: skip
    harm(folder)
    write_published(pointer, Published(str(folder), site.keys(), "rejected"))
    exchange.look()
    assert (exchange.now.barred, exchange.refused) == ("rejected", "")


def test_what_stays_in_place_of_a_refused_one_may_be_barred_too(site: Site, tmp_path: Path) -> None:
    pointer = tmp_path / "current.json"
    first, second = site.release(1, score=0.9), site.release(2, score=0.4)
    write_published(pointer, Published(str(first), site.keys()))
    exchange = Exchange(first, pointer)
    damage(second)
    both = (digest(first), "of the second")
    write_published(pointer, Published(str(second), site.keys(), "", both))
    exchange.look()
    assert (exchange.now.release.version, exchange.now.barred) == (1, "")
    write_published(pointer, Published(str(second), site.keys(), "", both[1:]))
    exchange.look()
    assert exchange.now.barred == "version 1 of 'tiny' may not answer any more"
    write_published(pointer, Published(str(first), site.keys(), "", both))
    exchange.look()
    assert (exchange.now.barred, exchange.refused) == ("", "")
    write_published(pointer, Published(str(second), {}, "", both))
    exchange.look()
    assert "nobody trusts" in exchange.now.barred


def test_what_was_refused_is_tried_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(served, "time", SimpleNamespace(monotonic=lambda: now[0]))
    pointer = tmp_path / "current.json"
    first, second = site.release(1, score=0.9), site.release(2, score=0.4)
    write_published(pointer, Published(str(first), site.keys()))
    exchange = Exchange(first, pointer)
    tried: list[float] = []

    def take(_: Served) -> None:
        tried.append(now[0] - 1000.0)
        if len(tried) < 8:
            raise PackageError("a model that is ready within 120 s", found="none")

    exchange._take = take
    write_published(pointer, Published(str(second), site.keys()))
    while now[0] < 1000.0 + 4000:
        exchange.look()
        now[0] += 1.0
    assert tried == [0, 30, 90, 210, 450, 930, 1530, 2130]
    assert (exchange.now.release.version, exchange.refused) == (2, "")


def taken_first(site: Site, pointer: Path, first: Path) -> None:
    """An endpoint has answered with the first release."""
    write_published(pointer, Published(str(first), site.keys()))
    Exchange(first, pointer).remember()


def test_a_start_goes_back_to_what_answered_last(site: Site, tmp_path: Path) -> None:
    pointer = tmp_path / "current.json"
    first, second = site.release(1, score=0.9), site.release(2, score=0.4)
    told = Published(str(second), site.keys(), "", (digest(first), digest(second)))
    taken_first(site, pointer, first)
    damage(second)
    write_published(pointer, told)
    exchange = Exchange(first, pointer)
    assert exchange.now.release.version == 1
    assert "model.onnx" in exchange.refused
    assert not exchange.fall_back(PackageError("a model that loads", found="none"))


def barred(told: Published, first: Path) -> Published:
    return replace(told, barred="rejected")


def withdrawn(told: Published, first: Path) -> Published:
    return replace(told, holding=(told.holding or ())[1:])


def not_said(told: Published, first: Path) -> Published:
    return replace(told, holding=None)


def compromised(told: Published, first: Path) -> Published:
    return replace(told, trusted={})


def changed(told: Published, first: Path) -> Published:
    damage(first)
    return told


@pytest.mark.parametrize("change", [barred, withdrawn, not_said, compromised, changed])
def test_a_start_goes_back_to_nothing_that_may_not_answer(
    site: Site, tmp_path: Path, change: Callable[[Published, Path], Published]
) -> None:
    pointer = tmp_path / "current.json"
    first, second = site.release(1, score=0.9), site.release(2, score=0.4)
    told = Published(str(second), site.keys(), "", (digest(first), digest(second)))
    taken_first(site, pointer, first)
    damage(second)
    write_published(pointer, change(told, first))
    with pytest.raises(CityforgeError):
        Exchange(first, pointer)


def test_a_folder_that_cannot_be_written_keeps_nothing(site: Site, tmp_path: Path) -> None:
    pointer, folder = tmp_path / "current.json", site.release(1)
    write_published(pointer, Published(str(folder), site.keys()))
    exchange = Exchange(folder, pointer)
    (tmp_path / "taken.json").mkdir()  # so that no file can take its place
    exchange.remember()
    assert exchange.now.release.version == 1


def test_a_model_that_does_not_load_gives_way_at_a_start(site: Site, tmp_path: Path) -> None:
    pointer = tmp_path / "endpoint" / "current.json"
    first, second = site.release(1), site.release(2, input_width=32)
    taken_first(site, pointer, first)
    write_published(
        pointer, Published(str(second), site.keys(), "", (digest(first), digest(second)))
    )

    async def started() -> tuple[int, str, int]:
        told = Surroundings(published=pointer, compute=1)
        figures = Figures()
        running = Running(told, first, figures)
        await running.start()
        try:
            exchange = running.exchange
            return exchange.now.release.version, exchange.refused, running.pictures.alive()
        finally:
            await running.close(0)
            figures.forget()

    version, refused, alive = asyncio.run(started())
    assert (version, alive) == (1, 1)
    assert "a model that loads" in refused
    assert json.loads((tmp_path / "endpoint/taken.json").read_text()) == {"folder": str(first)}
