"""What an endpoint answers with: refused at the start, exchanged while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from signed_site import APPROVER, TRAINER, Site

from cityforge.errors import CityforgeError
from cityforge.inference.answers import AnswerLog, AnswerRow
from cityforge.inference.served import Exchange, Published, open_served, write_published


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def unsigned(site: Site, folder: Path) -> None:
    (folder / "package/model.sig").unlink()


def unapproved(site: Site, folder: Path) -> None:
    (folder / "release.json").unlink()


def approved_as_another(site: Site, folder: Path) -> None:
    other = site.release(2, score=0.5)
    content, lent = (json.loads((each / "release.json").read_text()) for each in (folder, other))
    (folder / "release.json").write_text(json.dumps({**content, "approve": lent["approve"]}))


def revoked(site: Site, folder: Path) -> None:
    key = next(each for each in site.keys().values() if each.name == APPROVER)
    body = {"key_id": key.key_id, "reason": "stolen", "compromised": True}
    site.put(TRAINER, "key.revoke", key.key_id, body)


def changed(name: str) -> Callable[[Site, Path], None]:
    return lambda site, folder: flip(folder / name)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (unsigned, "model.sig"),
        (unapproved, "a release as it was written"),
        (approved_as_another, "an approval of this very version"),
        (revoked, "revoked as compromised"),
        (changed("package/model.onnx"), "digest"),
        (changed("package/package.json"), "."),
        (changed("package/evidence.json"), "."),
        (changed("package/model.sig"), "."),
        (changed("release.json"), "."),
    ],
)
def test_what_is_not_as_it_was_approved_is_not_opened(
    site: Site, break_it: Callable[[Site, Path], None], said: str
) -> None:
    folder = site.release(1)
    published = Published(str(folder), site.keys())
    assert open_served(published, folder).release.version == 1
    break_it(site, folder)
    with pytest.raises(CityforgeError, match=said):
        open_served(replace(published, trusted=site.keys()), folder)


def test_keys_of_the_site_outweigh_those_built_in(site: Site, tmp_path: Path) -> None:
    folder = site.release(1)
    assert open_served(None, folder).release.trust == "built in"
    published = Published(str(folder), {})
    with pytest.raises(CityforgeError, match="nobody trusts"):
        open_served(published, folder)


def test_a_newer_release_answers_from_then_on(site: Site, tmp_path: Path) -> None:
    pointer = tmp_path / "current.json"
    first, second = site.release(1, score=0.9), site.release(2, score=0.4)
    write_published(pointer, Published(str(first), site.keys()))
    exchange = Exchange(first, pointer)
    before = exchange.now
    exchange.look()
    assert exchange.now is before
    write_published(pointer, Published(str(second), site.keys()))
    exchange.look()
    assert exchange.now.release.version == 2
    assert exchange.now.digest != before.digest


def test_a_release_that_fails_its_check_leaves_the_one_before(site: Site, tmp_path: Path) -> None:
    pointer = tmp_path / "current.json"
    first, second = site.release(1, score=0.9), site.release(2, score=0.4)
    write_published(pointer, Published(str(first), site.keys()))
    exchange = Exchange(first, pointer)
    flip(second / "package/model.onnx")
    write_published(pointer, Published(str(second), site.keys()))
    exchange.look()
    assert exchange.now.release.version == 1
    assert "model.onnx" in exchange.refused
    write_published(pointer, Published(str(first), site.keys()))
    exchange.look()
    assert exchange.refused == ""


def test_a_release_may_be_barred_and_freed(site: Site, tmp_path: Path) -> None:
    pointer, folder = tmp_path / "current.json", site.release(1)
    write_published(pointer, Published(str(folder), site.keys()))
    exchange = Exchange(folder, pointer)
    write_published(pointer, Published(str(folder), site.keys(), "its data was withdrawn"))
    exchange.look()
    assert exchange.now.barred == "its data was withdrawn"
    write_published(pointer, Published(str(folder), site.keys()))
    exchange.look()
    assert exchange.now.barred == ""


def test_a_log_that_cannot_be_written_counts_what_it_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    row = AnswerRow("r", "2026-03-01T00:00:00+00:00", "tiny", 1, "d", 1, 2.0)
    log = AnswerLog(tmp_path / "file")
    log.write(row)
    log.write(row)
    assert log.lost == 2
    good = AnswerLog(tmp_path / "answers")
    good.write(row)
    good.write(row)
    lines = (tmp_path / "answers/2026-03-01.jsonl").read_text().splitlines()
    assert [json.loads(each)["request_id"] for each in lines] == ["r", "r"]
