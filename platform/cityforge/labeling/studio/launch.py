"""Launches Label Studio as a process of its own, and waits until it answers."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from cityforge.errors import InputError, ServiceError
from cityforge.labeling.studio.credentials import Credentials
from cityforge.labeling.studio.environment import Environment

LIMIT_S = 300.0
SHOWN_LINES = 4  # of the log, when the server did not start

# Variables of ours that Label Studio sees. It reads names as common as HOST, CI or PASSWORD,
# so nothing else is passed on but a site's own LABEL_STUDIO_*.
PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
)
# Label Studio asks a page of GitHub for tips whenever its start page is opened, and has no switch
# for it: requests that leave the machine end at a proxy that is not there.
NO_WAY_OUT = "http://127.0.0.1:9"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Where a local server listens and keeps its things."""

    host: str  # IPv4 address
    port: int
    data: Path  # database, uploads, secret key
    files: Path  # pictures that it serves
    log: Path

    @property
    def url(self) -> str:
        """Address for this machine."""
        return f"http://{LOOPBACK if self.host == '0.0.0.0' else self.host}:{self.port}"

    @property
    def is_open(self) -> bool:
        """Other machines can reach it."""
        return not self.host.startswith("127.")


def server_variables(
    place: Place, credentials: Credentials, environ: Mapping[str, str], *, offline: bool
) -> dict[str, str]:
    """Environment of the server: what a site set of its own stays, what keeps it quiet is ours."""
    found = {
        name: value
        for name, value in environ.items()
        if name in PASSED_ON
        or name.startswith("LABEL_STUDIO_")
        or (name in (*PROXIES, "NO_PROXY", "no_proxy") and not offline)
    }
    if not place.is_open:
        found.setdefault("LABEL_STUDIO_ALLOWED_HOSTS", "localhost,127.0.0.1")
    ours = {
        "BASE_DATA_DIR": str(place.data),
        "USERNAME": credentials.user,
        "PASSWORD": credentials.password.get_secret_value(),
        "USER_TOKEN": credentials.token.get_secret_value(),
        "ENABLE_LEGACY_API_TOKEN": "true",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LOCAL_FILES_SERVING_ENABLED": "true",
        "LOCAL_FILES_DOCUMENT_ROOT": str(place.files),
        "USE_NGINX_FOR_UPLOADS": "false",  # there is none: the server hands out its files itself
        "CORS_ALLOW_ALL_ORIGINS": "false",
    }
    if offline:
        ours |= {
            "COLLECT_ANALYTICS": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "LATEST_VERSION_CHECK": "false",
            "FEATURE_FLAGS_OFFLINE": "true",
        }
        found |= dict.fromkeys(PROXIES, NO_WAY_OUT)
        found["NO_PROXY"] = found["no_proxy"] = "localhost,127.0.0.1"
    found |= {f"LABEL_STUDIO_{name}": value for name, value in ours.items()}
    # What the server notes for itself stays in its data folder, not in somebody's home.
    home = place.data / "home"
    found |= {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA")}
    return found | {"PYTHONUNBUFFERED": "1"}


def ensure_port_is_free(host: str, port: int) -> None:
    """Raise unless we may listen there.

    Raises:
        InputError: no IPv4 address of this machine.
        ServiceError: another program listens there, or the port needs more rights.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise ServiceError(
                "a port that this account may use", found=str(port), do="choose one from 1024 on"
            ) from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServiceError(
                    f"port {port} to be free",
                    found="another program listening there",
                    where=host,
                    do="choose another with --port, or stop that program",
                ) from error
            raise InputError(
                "an IPv4 address of this machine", found=f"'{host}'", where="--host",
                do="127.0.0.1 for this machine alone, 0.0.0.0 for all its networks",
            ) from error  # fmt: skip


def launch(environment: Environment, place: Place, variables: Mapping[str, str]) -> int:
    """Start the server in a session of its own, so that no Ctrl-C reaches it; its process id."""
    for folder in (place.data, place.files):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if place.log.exists():
        place.log.replace(place.log.with_suffix(".1.txt"))
    command = [
        *(str(environment.python), str(environment.program), "start", "--no-browser"),
        *("--internal-host", place.host, "--port", str(place.port)),
    ]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        command[0],
        command,
        dict(variables),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(place.log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def wait_until_it_answers(
    url: str, log: Path, is_alive: Callable[[], bool], limit_s: float = LIMIT_S
) -> None:
    """Wait for /health.

    Raises:
        ServiceError: the server ended, or did not answer in time; with the end of its log.
    """
    import httpx

    end = time.monotonic() + limit_s
    with httpx.Client(trust_env=False, timeout=10) as client:
        while time.monotonic() < end:
            if not is_alive():
                raise _not_started("it ended", log)
            try:
                if client.get(f"{url}/health").json() == {"status": "UP"}:
                    return
            except (httpx.HTTPError, ValueError):
                pass
            time.sleep(0.2)  # its log says nothing when it is ready: asked again
    raise _not_started(f"none after {limit_s:.0f} s", log)


def token_works(url: str, token: SecretStr) -> bool:
    """True when the local server knows whose token this is."""
    import httpx

    headers = {"Authorization": f"Token {token.get_secret_value()}"}
    with httpx.Client(trust_env=False, timeout=60) as client:
        answer = client.get(f"{url}/api/current-user/whoami", headers=headers)
    return answer.status_code == 200


def renew_access(environment: Environment, variables: Mapping[str, str]) -> None:
    """Give our account on the server the password and token of `variables`.

    Raises:
        ServiceError: Label Studio would not.
    """
    script = Path(__file__).with_name("renew_access.py")
    done = subprocess.run(
        [str(environment.python), str(script)],
        env=dict(variables),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ServiceError(
            "Label Studio to take a new token", found=said[-1] if said else "no reason given"
        )


def end_of_log(log: Path) -> str:
    """The last lines that hold something."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "nothing logged"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(line[:200] for line in lines[-SHOWN_LINES:]) or "nothing logged"


def _not_started(what: str, log: Path) -> ServiceError:
    return ServiceError(
        "an answer of Label Studio", found=f"{what}: {end_of_log(log)}", where=str(log)
    )
