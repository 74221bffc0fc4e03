"""The registry of one site: the journal decides, MLflow keeps the files and follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.trust.journal import Journal, open_journal


def _unheard(_: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Site:
    """What acts on versions need; `say` is told what a person should know, a line each."""

    project: Project
    settings: Settings
    say: Callable[[str], None] = _unheard

    @cached_property
    def journal(self) -> Journal:
        """Who registered, approved, rejected and withdrew what."""
        return open_journal(self.project, self.settings)

    @cached_property
    def client(self) -> Any:
        """An MlflowClient, made when it is first asked for: importing mlflow takes seconds.

        Raises:
            ServiceError: the server does not answer.
        """
        from cityforge.training.tracking import tracking_client

        return tracking_client(self.project, self.settings)


def acting(site: Site) -> str:
    """The person who acts where nobody is named: the user of the settings, or the login."""
    import getpass

    return site.settings.user or getpass.getuser()
