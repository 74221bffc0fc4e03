"""Puts on record that a person has taken pictures out of a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cityforge.project import Project
    from cityforge.settings import Settings

MOST_IDS = 500  # named in one entry; `count` says how many there were


def record_retrieval(
    project: Project, settings: Settings, dataset: str, what: str, footage: Iterable[str], why: str
) -> None:
    """Say who has been shown pictures of which footage; before they are shown.

    Args:
        what: such as "contact sheet".
        footage: ids.
        why: the command, or the reason that was given.

    Raises:
        TrustError: the person has no key that this site trusts.
    """
    from cityforge.cli.model import login
    from cityforge.trust.holds import OF_DATASET
    from cityforge.trust.journal import act, open_journal, signer_of

    ids = sorted(set(footage))
    journal = open_journal(project, settings)
    signer = signer_of(journal, settings, settings.user or login())
    body = {"what": what, "ids": ids[:MOST_IDS], "count": len(ids), "why": why}
    act(journal, settings, signer, "retrieve", f"{OF_DATASET}{dataset}", body)
