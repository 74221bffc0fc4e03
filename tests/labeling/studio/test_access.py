"""Who gets in: accounts, tokens and their file; the configured server."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import httpx
import pytest
from people import log_in
from pydantic import SecretStr

from cityforge.errors import InputError
from cityforge.labeling.studio.credentials import (
    credentials_path,
    make_credentials,
    read_credentials,
)
from cityforge.labeling.studio.environment import studio_folder
from cityforge.labeling.studio.server import access, files_folder, start, status
from cityforge.settings import Settings


def test_credentials_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    assert read_credentials(tmp_path) is None
    made = make_credentials(tmp_path)
    path = credentials_path(tmp_path)
    path.chmod(0o644)
    assert read_credentials(tmp_path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.token.get_secret_value() not in repr(made)
    assert len(made.token.get_secret_value()) == 40
    for broken in ("", "{", "[]", json.dumps({"user": "a"})):
        path.write_text(broken, encoding="utf-8")
        assert read_credentials(tmp_path) is None


def test_configured_server_is_reached_and_never_started(tmp_path: Path) -> None:
    remote = Settings(
        label_studio_url="https://labels.city.example/", label_studio_token=SecretStr("secret")
    )
    reached = access(tmp_path, remote)
    assert (reached.url, reached.token) == ("https://labels.city.example", SecretStr("secret"))
    with pytest.raises(InputError, match="CITYFORGE_LABEL_STUDIO_URL: push and pull use that"):
        start(tmp_path, remote)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("https://labels.city.example", "", "found none, in CITYFORGE_LABEL_STUDIO_TOKEN"),
        ("labels.city.example", "t", "http:// or https://, found 'labels.city.example'"),
        ("file:///etc", "t", "http:// or https://, found 'file:///etc'"),
    ],
)
def test_configured_server_needs_an_address_and_a_token(
    url: str, token: str, said: str, tmp_path: Path
) -> None:
    settings = Settings(label_studio_url=url, label_studio_token=SecretStr(token))
    with pytest.raises(InputError, match=said):
        access(tmp_path, settings)


def test_configured_server_that_is_down_is_a_status(tmp_path: Path) -> None:
    remote = Settings(label_studio_url="http://127.0.0.1:1", label_studio_token=SecretStr("t"))
    found = status(tmp_path, remote)
    assert (found.running, found.configured) == (False, True)
    assert "expected Label Studio to answer" in found.problem


def test_files_folder_is_the_settings_or_our_own(tmp_path: Path) -> None:
    work = tmp_path / ".cityforge"
    table = {
        "": work / "label-studio" / "files",
        "pictures": tmp_path / "pictures",
        "/srv/pictures": Path("/srv/pictures"),
    }
    for stated, folder in table.items():
        assert files_folder(work, Settings(label_studio_files=stated)) == folder


@pytest.mark.services
def test_its_secrets_are_its_owners_alone(label_studio) -> None:
    folder = studio_folder(label_studio.work)
    for path in (folder / "access.json", folder / "server.json", folder / "log.txt"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    command = Path(f"/proc/{label_studio.server.pid}/cmdline").read_bytes().decode()
    kept = (folder / "server.json").read_text("utf-8") + (folder / "log.txt").read_text("utf-8")
    assert "label-studio" in command
    for secret in (label_studio.token, label_studio.password):
        assert secret not in command
        assert secret not in kept


@pytest.mark.services
def test_server_lets_in_who_knows_password_or_token_and_nobody_else(label_studio) -> None:
    live = label_studio
    head = {"Authorization": f"Token {live.token}"}
    found = httpx.get(f"{live.url}/api/current-user/whoami", headers=head, trust_env=False)
    assert found.json()["email"] == live.user
    assert httpx.get(f"{live.url}/api/projects", trust_env=False).status_code == 401
    assert log_in(live.url, live.user, live.password).status_code == 302
    assert log_in(live.url, live.user, "wrong").status_code == 200  # the form again
    with httpx.Client(base_url=live.url, trust_env=False) as stranger:
        stranger.get("/user/signup/")
        sent = {"email": "a@b.example", "password": "12345678"}
        token = {"csrfmiddlewaretoken": stranger.cookies["csrftoken"]}
        assert stranger.post("/user/signup/", data=sent | token).status_code == 403
