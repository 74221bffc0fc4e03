"""Confirmed field failures as the journal holds them, and which of them evidence does not answer.

A file that is deleted lifts no gate: what was put on record is asked until a signed act ends it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from cityforge.errors import CityforgeError
from cityforge.evaluation.evidence import Evidence
from cityforge.footage.withdrawals import WITHDRAW
from cityforge.registry.site import Site
from cityforge.trust.entries import Entry

ADD, REMOVE = "failure", "failure.remove"
FAILURE_ACTS = (ADD, REMOVE)


def failures_in_force(entries: Iterable[Entry], algorithm: str) -> dict[str, Entry]:
    """Failures that were put on record and not taken back since, by their id, in order."""
    found: dict[str, Entry] = {}
    for each in entries:
        if each.about == algorithm and each.act == ADD:
            found[str(each.body["failure_id"])] = each
        elif each.about == algorithm and each.act == REMOVE:
            found.pop(str(each.body["failure_id"]), None)
    return found


def unanswered(
    site: Site, algorithm: str, entries: Iterable[Entry], evidence: Evidence
) -> list[Entry]:
    """Failures in force that an evaluation did not ask.

    Those of footage that may not be used any more are excused: an evaluation leaves them out.

    Args:
        entries: of the journal, at least those of FAILURE_ACTS and `withdraw`.
    """
    listed = list(entries)
    answered = {each.failure_id for each in evidence.failures}
    in_force = failures_in_force(listed, algorithm)
    left = [each for name, each in in_force.items() if name not in answered]
    if not left:
        return []
    shut = {
        str(each)
        for entry in listed
        if entry.act == WITHDRAW and entry.body["kind"] == "footage"
        for each in entry.body["ids"]
    } | _shut_here(site, algorithm)
    footage = _footage_here(site, algorithm)
    return [each for each in left if _footage_id(each, footage) not in shut]


def _footage_id(entry: Entry, here: dict[str, str]) -> str:
    """Of what a failure was taken from; older entries leave that to the file."""
    told = entry.body.get("footage_id")
    return str(told) if told else here.get(str(entry.body["failure_id"]), "")


def _footage_here(site: Site, algorithm: str) -> dict[str, str]:
    """Footage by failure, as the files of this machine say."""
    from cityforge.evaluation.failures import FOLDER, read_failures

    found = read_failures(site.project.algorithm_folder(algorithm) / FOLDER)
    return {
        each.failure_id: each.footage_id or (each.frame_id or "").partition("-")[0]
        for each in found
    }


def _shut_here(site: Site, algorithm: str) -> set[str]:
    """Footage that is withdrawn or past its retention, by the catalogue here, if any."""
    from cityforge.footage.lawful import barred
    from cityforge.footage.seals import read_with_seals

    try:
        dataset = site.project.algorithm(algorithm).dataset
        footage = read_with_seals(site.project.dataset_folder(dataset))
    except CityforgeError:  # a machine without the card or the catalogue: the journal alone says
        return set()
    return {*barred(footage, datetime.now(UTC))}
