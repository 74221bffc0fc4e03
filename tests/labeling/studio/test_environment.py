"""Label Studio's own environment: named, made, half made, and where no package can be had."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cityforge.errors import InputError, ServiceError
from cityforge.labeling.studio.environment import (
    MARKER,
    REQUIREMENTS,
    VERSION,
    Environment,
    _is_complete,
    ensure_environment,
    find_uv,
    make_environment,
)
from cityforge.settings import Settings

NO_REGISTRY = {
    "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
    "UV_NO_CONFIG": "1",
    "UV_HTTP_RETRIES": "0",
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_RETRIES": "0",
}


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """Requirements that ask for no package."""
    path = tmp_path / "requirements.txt"
    path.write_text("# nothing\n", encoding="utf-8")
    return path


def test_requirements_are_exact_versions_with_hashes_and_name_no_address() -> None:
    text = REQUIREMENTS.read_text(encoding="utf-8")
    pins = re.findall(r"^(\S+)==(\S+)", text, re.MULTILINE)
    assert len(pins) > 120
    assert ("label-studio", VERSION) in pins
    asked = [line for line in text.splitlines() if line[:1].isalnum()]
    assert len(asked) == len(pins)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) > len(pins)
    assert not re.search(r"https?:|index|find-links|file:", text)
    assert f"label-studio=={VERSION}" in REQUIREMENTS.with_suffix(".in").read_text("utf-8")


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_environment_is_made_once(installer: str, tmp_path: Path, nothing: Path) -> None:
    said: list[str] = []
    uv = find_uv() if installer == "uv" else None
    assert (uv is None) == (installer == "pip")
    made = make_environment(tmp_path / "venv", nothing, said.append, uv)
    assert said == [f"installing Label Studio {VERSION} with {installer} (800 MB, once)"]
    assert _is_complete(made.folder, nothing)
    prefix = subprocess.run(
        [made.python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
    )
    assert prefix.stdout.strip() == str(tmp_path / "venv")
    assert made.version() == ""


def test_other_requirements_make_it_anew(tmp_path: Path, nothing: Path) -> None:
    made = make_environment(tmp_path / "venv", nothing, print)
    nothing.write_text("# another version\n", encoding="utf-8")
    assert not _is_complete(made.folder, nothing)


def test_half_made_environment_is_made_anew(tmp_path: Path, nothing: Path) -> None:
    left = tmp_path / "venv" / "bin" / "label-studio"
    left.parent.mkdir(parents=True)
    left.write_text("half", encoding="utf-8")
    assert not _is_complete(tmp_path / "venv", nothing)
    make_environment(tmp_path / "venv", nothing, print)
    assert not left.exists()
    assert (tmp_path / "venv" / MARKER).is_file()


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_without_a_registry_one_line_says_so(
    installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NO_REGISTRY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    wanted = tmp_path / "requirements.txt"
    wanted.write_text(f"label-studio=={VERSION} --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    uv = find_uv() if installer == "uv" else None
    with pytest.raises(ServiceError) as caught:
        make_environment(tmp_path / "venv", wanted, print, uv)
    line = str(caught.value)
    assert "\n" not in line
    assert "from a package registry, found " in line
    assert "no reason given" not in line
    assert "CITYFORGE_LABEL_STUDIO_ENV" in line
    assert not (tmp_path / "venv" / MARKER).exists()
    assert (tmp_path / "install.txt").stat().st_size > 0


def test_named_environment_must_hold_label_studio(tmp_path: Path) -> None:
    settings = Settings(label_studio_env=str(tmp_path))
    with pytest.raises(InputError, match=r"no bin/label-studio, in .*CITYFORGE_LABEL_STUDIO_ENV"):
        ensure_environment(tmp_path / ".cityforge", settings, print)
    assert not (tmp_path / ".cityforge").exists()


def test_named_environment_of_another_version_is_said(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "label-studio").touch()
    (tmp_path / "lib/python3.11/site-packages/label_studio-1.99.0.dist-info").mkdir(parents=True)
    (tmp_path / "lib/python3.11/site-packages/label_studio_sdk-2.1.2.dist-info").mkdir()
    said: list[str] = []
    found = ensure_environment(tmp_path, Settings(label_studio_env=str(tmp_path)), said.append)
    assert found == Environment(tmp_path)
    assert found.version() == "1.99.0"
    assert len(said) == 1
    assert f"tested with {VERSION}" in said[0]
