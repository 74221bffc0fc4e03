"""Withdrawals of what a version rests on, though they do not name it.

Who registers a version has what it was made from; who approves it, perhaps on another machine,
is told what was found then, and what nobody can tell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cityforge.footage.withdrawals import WITHDRAW
from cityforge.registry.affected import perhaps_withdrawn_from, withdrawn_from
from cityforge.registry.lacking import fetch_lacking
from cityforge.registry.records import Named, Records
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS, State
from cityforge.trust.entries import Entry


def withdrawn_at(
    site: Site, algorithm: str, entries: list[Entry], body: dict[str, Any]
) -> list[int]:
    """Numbers of the entries that withdrew what a version rests on that is about to be registered.

    Args:
        entries: of the journal, at least those of `standing.ACTS`.
        body: of the entry that will register it.
    """
    if not any(each.act == WITHDRAW for each in entries):
        return []
    last = max(each.number for each in entries)
    itself = Entry(last + 1, "", "", "register", algorithm, body, "", "")
    records = Records(site.project, [*entries, itself])
    found = withdrawn_from(records, (algorithm, int(body["version"])))
    for each in found:
        site.say(
            f"version {body['version']} of '{algorithm}' rests on {_said(each)}; rebuild without it"
        )
    return [each.number for each in found]


def bring_lacking(site: Site, named: Named) -> None:
    """Fetch what a version rests on where that decides whether it was withdrawn."""
    records = Records(site.project, site.journal.entries(acts=ACTS))
    if _perhaps(records, named):
        fetch_lacking(site, records, [named])


def with_withdrawals(site: Site, entries: list[Entry], state: State) -> State:
    """A state that knows of withdrawals from before its registration, too, which name it not.

    What may rest on withdrawn data for all that is known here is said.
    """
    named = (state.register.about, state.version)
    records = Records(site.project, entries)
    told = {*state.register.body.get("withdrawn", ())}  # by the machine that registered it
    found = withdrawn_from(records, named)
    found += [each for each in entries if each.act == WITHDRAW and each.number in told]
    every = {each.number: each for each in (*state.withdrawn, *found)}
    for each in _perhaps(records, named):
        if each.number not in every:
            site.say(
                f"version {state.version} of '{named[0]}' perhaps rests on {_said(each)}: "
                "what it was made from is not on record here"
            )
    return replace(state, withdrawn=tuple(every[number] for number in sorted(every)))


def _perhaps(records: Records, named: Named) -> list[Entry]:
    """Withdrawals that neither this machine nor the registration can hold against a version."""
    register = records.versions[named].register
    knew = {"withdrawn", "lineage"} <= {*register.body}
    return [
        each
        for each in perhaps_withdrawn_from(records, named)
        if not (knew and each.number < register.number)
    ]


def _said(entry: Entry) -> str:
    return f"{entry.body['kind']} withdrawn by {entry.by}: {entry.body['reason']}"
