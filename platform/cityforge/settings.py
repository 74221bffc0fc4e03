"""Where services live: CITYFORGE_* variables, or a `.env` file at the project root."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from cityforge.errors import InputError

# What each library calls its own switch, and the value that keeps it quiet.
QUIET_SWITCHES = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "COLLECT_ANALYTICS": "false",  # Label Studio
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "HF_HUB_OFFLINE": "1",  # timm fetches weights through the hub
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "LIGHTNING_DISABLE_VERSION_CHECK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}

# Set for the stages of `cityforge run`, which write into a pipe: the terminal at its other end.
TERMINAL = "CITYFORGE_TERMINAL"


class Settings(BaseSettings):
    """The settings of one site; every one has a default that needs no server.

    `label_studio_env` names a virtual environment that holds Label Studio already (none: one is
    made below .cityforge); `label_studio_files` the folder of pictures that the server of this
    machine serves (none: .cityforge/label-studio/files).

    `journal` is the address of the journal that a city's machines share (none: a file below
    .cityforge); `keys` the folder of this person's keys (none: cityforge/keys below the login's
    configuration); `one_person` lets the trainer approve, which the record says; `audit_years` is
    how long entries of the journal are kept.

    Of endpoints: `hosts` are names, by commas, that callers know this machine by; `tls_cert` and
    `tls_key` files in PEM; `open_to_all` asks for no token; `capture_share` is the share of
    requests of which a picture is kept; `compute` the processes that answer (0: one a core);
    `endpoint_token` is what this person shows an endpoint that is asked.
    """

    model_config = SettingsConfigDict(env_prefix="CITYFORGE_", extra="ignore", frozen=True)

    offline: bool = True
    tracking_uri: str = ""
    label_studio_url: str = ""
    label_studio_token: SecretStr = SecretStr("")
    label_studio_env: str = ""
    label_studio_files: str = ""
    tuning_storage: str = ""
    ray_address: str = ""
    workers: int = 0
    user: str = ""
    journal: str = ""
    keys: str = ""
    key_passphrase: SecretStr = SecretStr("")
    one_person: bool = False
    audit_years: int = 10
    hosts: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    open_to_all: bool = False
    capture_share: float = Field(default=0.0, ge=0, le=1)
    compute: int = Field(default=0, ge=0, le=256)
    endpoint_token: SecretStr = SecretStr("")

    def worker_count(self) -> int:
        """Processes for heavy work: the setting, or the processors this process may use."""
        return self.workers or len(os.sched_getaffinity(0))


def load_settings(root: Path | None = None) -> Settings:
    """Read the settings of the project at `root`, or of the environment alone.

    Raises:
        InputError: a variable with a value it does not take.
    """
    try:
        return Settings(_env_file=root / ".env" if root else None)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors()[0]
        name = f"CITYFORGE_{first['loc'][0]}".upper()
        raise InputError(
            first["msg"].removeprefix("Input should be "),
            found=f"'{first['input']}'",
            where=f"{name} (the environment, or .env at the project's root)",
        ) from error


def stay_offline(settings: Settings, environment: MutableMapping[str, str]) -> None:
    """Turn off the telemetry and update checks of every library used.

    A switch that is already in `environment` is left as it is.
    """
    if settings.offline:
        for name, value in QUIET_SWITCHES.items():
            environment.setdefault(name, value)
