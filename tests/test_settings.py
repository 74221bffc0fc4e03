"""Settings: CITYFORGE_* variables, the project's .env, and the offline switch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cityforge.errors import InputError
from cityforge.settings import QUIET_SWITCHES, Settings, load_settings, stay_offline


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("CITYFORGE_")]:
        monkeypatch.delenv(name)


def test_defaults_need_no_server() -> None:
    settings = load_settings()
    assert settings.offline is True
    assert (settings.tracking_uri, settings.label_studio_url, settings.ray_address) == ("", "", "")
    assert settings.worker_count() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("CITYFORGE_OFFLINE", "0", "offline", False),
        ("CITYFORGE_TRACKING_URI", "http://127.0.0.1:5000", "tracking_uri", None),
        ("CITYFORGE_LABEL_STUDIO_URL", "http://127.0.0.1:8080", "label_studio_url", None),
        ("CITYFORGE_TUNING_STORAGE", "sqlite:///x.db", "tuning_storage", None),
        ("CITYFORGE_RAY_ADDRESS", "127.0.0.1:6379", "ray_address", None),
        ("CITYFORGE_WORKERS", "3", "workers", 3),
        ("CITYFORGE_USER", "李雷", "user", None),
    ],
)
def test_variable_sets_its_field(
    variable: str, text: str, field: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(load_settings(), field) == (text if value is None else value)


def test_file_at_the_root_is_read_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("CITYFORGE_USER=韩梅梅\nOTHER=1\n", encoding="utf-8")
    below = tmp_path / "datasets"
    below.mkdir()
    (below / ".env").write_text("CITYFORGE_USER=somebody\n", encoding="utf-8")
    monkeypatch.chdir(below)
    assert load_settings(tmp_path).user == "韩梅梅"


def test_variable_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("CITYFORGE_WORKERS=2\n", encoding="utf-8")
    monkeypatch.setenv("CITYFORGE_WORKERS", "5")
    assert load_settings(tmp_path).worker_count() == 5


def test_bad_value_is_one_line_with_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYFORGE_WORKERS", "many")
    with pytest.raises(InputError, match=r"found 'many', in CITYFORGE_WORKERS") as caught:
        load_settings()
    assert len(str(caught.value).splitlines()) == 1


def test_token_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYFORGE_LABEL_STUDIO_TOKEN", "s3cret-token")
    settings = load_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "s3cret" not in shown
    assert settings.label_studio_token.get_secret_value() == "s3cret-token"


def test_offline_sets_every_switch() -> None:
    environment: dict[str, str] = {}
    stay_offline(Settings(offline=True), environment)
    assert environment == QUIET_SWITCHES
    assert len(environment) >= 14


def test_offline_leaves_what_is_set() -> None:
    environment = {"HF_HUB_OFFLINE": "0", "PATH": "/bin"}
    stay_offline(Settings(offline=True), environment)
    assert environment == {**QUIET_SWITCHES, "HF_HUB_OFFLINE": "0", "PATH": "/bin"}


def test_online_sets_nothing() -> None:
    environment: dict[str, str] = {}
    stay_offline(Settings(offline=False), environment)
    assert environment == {}
