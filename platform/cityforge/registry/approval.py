"""Acts of people on model versions: approve, reject, and roll back. Each is a signed entry."""

from __future__ import annotations

from dataclasses import dataclass

from cityforge.errors import NotApproved, RegistryError
from cityforge.registry.field_failures import FAILURE_ACTS, unanswered
from cityforge.registry.projection import project_standing
from cityforge.registry.refusals import (
    lost,
    not_champion,
    refuse_alone,
    refuse_approval,
    refuse_as_target,
    refuse_nobody,
    refuse_reuse,
)
from cityforge.registry.registering import open_evaluated
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS, Standing, State, standing
from cityforge.registry.versions import (
    Version,
    approval_record,
    fetch_package,
    find_version,
    standing_of,
    versions_in,
)
from cityforge.registry.withdrawn_before import bring_lacking, with_withdrawals
from cityforge.trust.chain import read_chain, refuse_faults
from cityforge.trust.entries import Entry
from cityforge.trust.journal import remember, signer_of
from cityforge.trust.keys import Signer
from cityforge.trust.release import refuse_release


@dataclass(frozen=True)
class Approval:
    """Who approved what, when, on which evidence."""

    approver: str
    at: str  # ISO 8601, UTC
    reason: str
    package_digest: str
    evidence_digest: str
    override: bool  # under a gate, or without the comparison or an answer that it should have
    one_person: bool  # by the very person who trained it
    withdrawn_reason: str  # why, though data that it rests on was withdrawn
    entry: int  # its number in the journal
    key: str


def approve(
    site: Site,
    algorithm: str,
    version: int | None,
    who: str,
    reason: str = "",
    override: bool = False,
    despite_withdrawal: str = "",
) -> tuple[Version, Approval]:
    """Approve a version (the newest when None) and make it champion.

    Raises:
        RegistryError: it may not be approved; the line says why.
        TrustError: the approver's key, or the journal itself, does not hold.
        PackageError: its package is not what was registered and signed.
    """
    refuse_nobody(who)
    found = find_version(site, algorithm, version)
    alone = site.settings.one_person
    refuse_reuse(algorithm, _state(found), site.journal.chain().keys, is_one_person_site=alone)
    signer = signer_of(site.journal, site.settings, who)
    folder, _ = fetch_package(site, found)
    evidence = open_evaluated(folder, algorithm)[1]
    bring_lacking(site, (algorithm, found.version))
    _tell(site, algorithm)
    with site.journal.turn() as turn:
        chain = turn.chain()
        entries = turn.entries(acts=(*ACTS, *FAILURE_ACTS))
        now = standing(entries, algorithm)
        state = with_withdrawals(site, entries, now.versions[found.version])
        waived = refuse_approval(
            algorithm, now, state, evidence, chain, signer, reason,
            is_override=override, why_withdrawn=despite_withdrawal,
            is_one_person_site=alone,
            unanswered=unanswered(site, algorithm, entries, evidence),
        )  # fmt: skip
        body = {
            "version": found.version,
            "package_digest": state.register.body["package_digest"],
            "evidence_digest": evidence.digest(),
            "signature_digest": state.register.body["signature_digest"],
            "register": state.register.digest(),
            "champion_before": now.champion,
            "reason": reason,
            "override": bool(waived),
            "waived": waived,
            "one_person": _is_same_person(state.register, signer),
            "gates": [each.model_dump(mode="json") for each in evidence.gates],
            "withdrawn_reason": despite_withdrawal if state.open_withdrawals else "",
        }
        entry = turn.append(signer, "approve", algorithm, body)
    _done(site, algorithm, signer, entry)
    return find_version(site, algorithm, found.version), Approval(**approval_record(entry))


def rollback(
    site: Site, algorithm: str, version: int | None, who: str, reason: str
) -> tuple[Version | None, Version]:
    """Make an earlier approved version champion again; by default the one before this one.

    Returns:
        The version that was champion, and the one that is now.

    Raises:
        RegistryError: there is no champion before, or another process was quicker.
        NotApproved: the version named was never approved, or its approval does not hold.
    """
    refuse_nobody(who)
    before = standing_of(site, algorithm)
    number = _before(before, algorithm) if version is None else version
    target = find_version(site, algorithm, number)
    refuse_as_target(algorithm, before, _state(target))
    signer = signer_of(site.journal, site.settings, who)
    fetch_package(site, target)
    _tell(site, algorithm)
    with site.journal.turn() as turn:
        chain = turn.chain()
        now = standing(turn.entries(acts=ACTS), algorithm)
        if version is None and now.champion != before.champion:
            raise RegistryError(
                f"version {before.champion} as champion still",
                found=f"version {now.champion}, since a moment ago",
                do="look, and run it again",
            )
        state = now.versions[number]
        approval = refuse_as_target(algorithm, now, state)
        refuse_release(state.register, approval, chain.keys)
        refuse_alone(approval, chain.keys, is_one_person_site=site.settings.one_person)
        body = {
            "version": number,
            "package_digest": state.register.body["package_digest"],
            "approve": approval.digest(),
            "champion_before": now.champion,
            "reason": reason,
        }
        entry = turn.append(signer, "rollback", algorithm, body)
    _done(site, algorithm, signer, entry)
    was = {each.version: each for each in versions_in(now, algorithm)}
    return was.get(now.champion or 0), find_version(site, algorithm, number)


def reject(site: Site, algorithm: str, version: int, who: str, reason: str) -> Version:
    """Put on record that a version must not be used; a champion is champion no more.

    Raises:
        RegistryError: no reason, or it is rejected already.
    """
    refuse_nobody(who)
    if not reason.strip():
        raise RegistryError("a reason, which stays on record", found="none", do="--reason TEXT")
    found = find_version(site, algorithm, version)
    signer = signer_of(site.journal, site.settings, who)
    _tell(site, algorithm)
    with site.journal.turn() as turn:
        turn.chain()
        state = standing(turn.entries(acts=ACTS), algorithm).versions[version]
        if state.rejected:
            raise RegistryError(
                f"a version of '{algorithm}' that is not rejected yet",
                found=f"version {version}, rejected by {state.rejected.by} at {state.rejected.at}",
            )
        body = {"version": version, "package_digest": state.register.body["package_digest"],
                "reason": reason}  # fmt: skip
        entry = turn.append(signer, "reject", algorithm, body)
    _done(site, algorithm, signer, entry)
    return find_version(site, algorithm, found.version)


def approved_version(site: Site, algorithm: str, version: int | None) -> Version:
    """The champion by the journal, which is checked; a version that is named must be it.

    Raises:
        NotApproved: there is none, the version named is not champion, or its trainer alone
            approved it where others could.
        TrustError: the journal does not hold, or a key of the champion was compromised.
    """
    entries = site.journal.entries()
    chain = read_chain(entries)
    refuse_faults(chain, site.journal.where)
    now = standing(entries, algorithm)
    if version is not None:
        state = _state(find_version(site, algorithm, version))
        if now.champion != version:
            raise not_champion(algorithm, now, state)
    if now.champion is None:
        newest = find_version(site, algorithm, None)
        raise NotApproved(
            f"an approved version of '{algorithm}'",
            found=f"{len(now.versions)} versions, none approved"
            if not now.crowned
            else f"no champion: version {now.crowned[-1]} {lost(now)}",
            do=f"cityforge model approve {algorithm} {newest.version}",
        )
    state = now.versions[now.champion]
    if state.approval:
        refuse_release(state.register, state.approval, chain.keys)
        alone = site.settings.one_person
        refuse_alone(state.approval, chain.keys, is_one_person_site=alone)
    return next(each for each in versions_in(now, algorithm) if each.version == now.champion)


def _state(version: Version) -> State:
    if version.state is None:  # made by hand: every version read from the journal has one
        raise RegistryError("a version of the journal", found=f"version {version.version}")
    return version.state


def _before(now: Standing, algorithm: str) -> int:
    """The champion before this one's first time: a second rollback goes further back."""
    if not now.crowned:
        raise RegistryError(f"a champion of '{algorithm}'", found="none", do="approve a version")
    past = now.crowned
    current = now.champion
    earlier = past[: past.index(current)] if current is not None else past
    good = [each for each in earlier if now.versions[each].holds]
    if not good:
        which = f"version {current}" if current is not None else "the last one"
        raise RegistryError(f"a champion of '{algorithm}' before {which}", found="none")
    return good[-1]


def _is_same_person(register: Entry, signer: Signer) -> bool:
    return register.by == signer.name or register.key == signer.key_id


def _tell(site: Site, algorithm: str) -> None:
    for line in project_standing(site, algorithm):
        site.say(line)


def _done(site: Site, algorithm: str, signer: Signer, entry: Entry) -> None:
    """After an act: its signer remembers it, and MLflow follows."""
    remember(site.settings, signer, entry, site.journal)
    for line in project_standing(site, algorithm, is_own=True):
        site.say(line)
