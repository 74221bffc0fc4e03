"""What is kept where nobody named a place: beside what each start makes anew, never in it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from cityforge.endpoint import bundled
from cityforge.endpoint.bundle_state import PATHS, kept_in_container, places
from cityforge.endpoint.surroundings import Surroundings
from cityforge.errors import InputError


def surrounded(folder: Path, **given: str) -> dict[str, str]:
    """The environment of a bundle's endpoint, started with these CITYFORGE_*."""
    named = {f"CITYFORGE_{name.upper()}": value for name, value in given.items()}
    return bundled.environment(folder, bundled.Where(), named, lambda line: None)


def test_nothing_said_is_kept_beside_what_is_served(tmp_path: Path) -> None:
    found = surrounded(tmp_path)
    state = tmp_path / "state"
    assert {name: found[f"CITYFORGE_{name}"] for name in ("FEEDBACK", "ANSWERS", "SECRET")} == {
        "FEEDBACK": f"{state}/feedback", "ANSWERS": f"{state}/answers",
        "SECRET": f"{state}/request_ids.key",
    }  # fmt: skip
    assert found["CITYFORGE_CAMERAS"] == str(tmp_path / "cameras")
    assert "CITYFORGE_PUBLISHED" not in found


@pytest.mark.parametrize("name", sorted(PATHS))
def test_a_relative_path_is_the_callers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = surrounded(tmp_path / "site", **{name: "mine"})
    assert found[f"CITYFORGE_{name.upper()}"] == str(tmp_path / "here" / "mine")


def test_every_path_of_an_endpoint_is_known() -> None:
    assert {
        "published", "answers", "tokens", "cameras", "feedback", "capture", "privacy", "secret",
    } == PATHS  # fmt: skip


def test_an_empty_path_is_none(tmp_path: Path) -> None:
    assert surrounded(tmp_path, feedback="", tokens="") == surrounded(tmp_path)


@pytest.mark.parametrize("own", ["served/feedback", "code", "bundle/x", "cameras/../served"])
def test_what_the_next_start_would_remove_is_refused(own: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a place that stays.*CITYFORGE_FEEDBACK="):
        surrounded(tmp_path, feedback=str(tmp_path / own))


def in_container(home: Path, **said: Path) -> Surroundings:
    environment = {"BENTOML_CONTAINERIZED": "true", "BENTOML_HOME": f"{home}/"}
    return kept_in_container(Surroundings(**said), environment)


def test_a_container_keeps_the_same_below_its_home(tmp_path: Path) -> None:
    found = in_container(tmp_path, answers=tmp_path / "mine")
    named = {name: getattr(found, name) for name in places(tmp_path)}
    assert named == {**places(tmp_path), "answers": tmp_path / "mine"}
    assert not any(tmp_path.iterdir())


def test_elsewhere_nothing_is_added(tmp_path: Path) -> None:
    assert kept_in_container(Surroundings(), {"BENTOML_HOME": str(tmp_path)}) == Surroundings()


def test_a_container_that_cannot_be_written_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").touch()  # a folder that even root cannot write into
    with caplog.at_level(logging.WARNING):
        found = in_container(tmp_path)
    assert found == Surroundings()
    assert f"found none, in {tmp_path / 'state'}: mount one there" in caplog.text
