"""Why a version may not be approved or used: each reason in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cityforge.errors import NotApproved, RegistryError, TrustError
from cityforge.evaluation.evidence import Evidence, GateResult
from cityforge.registry.standing import Standing, State
from cityforge.trust.chain import Chain, TrustedKey
from cityforge.trust.entries import Entry
from cityforge.trust.keys import Signer
from cityforge.trust.release import refuse_release, was_of_one_person

DROP = "drop from the champion"  # what a gate against the champion is of


def refuse_nobody(who: str) -> None:
    """Refuse an act that names nobody."""
    if not who.strip():
        raise RegistryError(
            "an approver", found="no name", do="name one with --by, or set CITYFORGE_USER"
        )


def refuse_reuse(
    algorithm: str, state: State, keys: Mapping[str, TrustedKey], *, is_one_person_site: bool
) -> None:
    """Refuse a version on which people have decided, or that was never signed.

    An approval that is not believed decides nothing: another one takes its place.
    """
    approval = state.approval
    if state.rejected:
        raise RegistryError(
            "a version that nobody rejected",
            found=f"version {state.version}, rejected by {state.rejected.by}: "
            f"{state.rejected.body['reason']}",
            do=f"register another: cityforge run {algorithm}",
        )
    if approval and state.holds and is_believed(state, keys, is_one_person_site=is_one_person_site):
        raise RegistryError(
            f"a version of '{algorithm}' that is not approved yet",
            found=f"version {state.version}, approved by {approval.by} at {approval.at}",
            do=f"cityforge model list {algorithm} shows the others; rollback goes back to one",
        )
    if not state.is_signed:
        raise RegistryError(
            "a signed package",
            found=f"version {state.version} of an older cityforge, which is not signed",
            do=f"its trainer signs it with cityforge model adopt {algorithm} {state.version}",
        )


def refuse_approval(
    algorithm: str, now: Standing, state: State, evidence: Evidence, chain: Chain,
    signer: Signer, reason: str, *, is_override: bool, why_withdrawn: str,
    is_one_person_site: bool, unanswered: Sequence[Entry] = (),
) -> list[str]:  # fmt: skip
    """Refuse what may not be approved as things stand now.

    Args:
        unanswered: confirmed failures that the evidence does not answer; see `field_failures`.

    Returns:
        What an override waives: gates, failures, the comparison with the champion.

    Raises:
        RegistryError: decided already, under a gate, of withdrawn data, measured against another
            champion, without an answer to a failure, or by its own trainer.
        TrustError: a key that does not hold.
    """
    refuse_reuse(algorithm, state, chain.keys, is_one_person_site=is_one_person_site)
    _refuse_key(chain, signer)
    register = state.register
    key = chain.keys.get(register.key)
    why = key.doubt(register) if key else f"signed by key {register.key}, which nobody trusts"
    if why:
        raise TrustError("a registration that can be believed", found=why,
                         where=f"version {state.version} of '{algorithm}'",
                         do="register it anew, with another key: "
                         f"dvc repro -s -f register@{algorithm}")  # fmt: skip
    if evidence.digest() != register.body["evidence_digest"]:
        raise RegistryError("the evidence that was registered", found=evidence.digest()[:16])
    same = register.by == signer.name or register.key == signer.key_id
    if same and not is_one_person_site:
        raise RegistryError(
            "an approver who is not the trainer",
            found=f"{signer.name}, who registered version {state.version}",
            do="another person approves; a site of one person sets CITYFORGE_ONE_PERSON=true",
        )
    if state.open_withdrawals and not why_withdrawn.strip():
        last = state.open_withdrawals[-1]
        raise RegistryError(
            "data that nobody withdrew",
            found=f"{len(last.body['ids'])} of {last.body['kind']} withdrawn by {last.by}: "
            f"{last.body['reason']}",
            where=f"the data of version {state.version}",
            do="rebuild without it; or --despite-withdrawal REASON, which stays on record",
        )
    found = {
        "gates": _under_gate(state.version, evidence),
        "failures": _unanswered(algorithm, state.version, unanswered),
        "champion": _other_champion(algorithm, now, evidence),
    }
    waived = {what: error for what, error in found.items() if error}
    for error in waived.values():
        if not (is_override and reason.strip()):
            raise error
    return list(waived)


def refuse_alone(
    approve: Entry, keys: Mapping[str, TrustedKey], *, is_one_person_site: bool
) -> None:
    """Refuse an approval by the trainer, unless this site is, or was then, of one person.

    Raises:
        NotApproved: others could have approved it, and this site asks for another person.
    """
    alone = approve.body.get("one_person") and not is_one_person_site
    if alone and not was_of_one_person(approve, keys):
        raise NotApproved(
            f"a version of '{approve.about}' approved by another person than its trainer",
            found=f"version {approve.body['version']}, approved by {approve.by}, who trained it",
            do=f"another person runs cityforge model approve {approve.about} "
            f"{approve.body['version']}; a site of one person sets CITYFORGE_ONE_PERSON=true",
        )


def is_believed(state: State, keys: Mapping[str, TrustedKey], *, is_one_person_site: bool) -> bool:
    """Whether a version has an approval that this site may rest on."""
    if state.approval is None:
        return False
    try:
        refuse_release(state.register, state.approval, keys)
        refuse_alone(state.approval, keys, is_one_person_site=is_one_person_site)
    except (NotApproved, TrustError):
        return False
    return True


def refuse_as_target(algorithm: str, now: Standing, state: State) -> Entry:
    """The approval that a rollback rests on.

    Raises:
        NotApproved: there is none that holds.
        RegistryError: it is champion.
    """
    number = state.version
    if not now.crowned:
        raise RegistryError(f"a champion of '{algorithm}'", found="none", do="approve a version")
    if state.approval is None:
        raise NotApproved(
            "an approved version",
            found=f"version {number}, never approved",
            do=f"cityforge model approve {algorithm} {number}",
        )
    if not state.holds:
        raise NotApproved("a version whose approval holds",
                          found=f"version {number}, {state.words()}")  # fmt: skip
    if number == now.champion:
        raise RegistryError("another version than the champion", found=f"version {number}")
    return state.approval


def not_champion(algorithm: str, now: Standing, state: State) -> NotApproved:
    """Why a version that was named is not given out."""
    number = state.version
    if state.holds:
        return NotApproved(
            "the champion",
            found=f"version {number}, approved once and superseded by version {now.champion}",
            do=f"roll back to it first: cityforge model rollback {algorithm} {number}",
        )
    if state.approval is None and state.rejected is None:
        return NotApproved(
            "an approved version",
            found=f"version {number}, not approved",
            do=f"cityforge model approve {algorithm} {number}",
        )
    return NotApproved("an approved version", found=f"version {number}, {state.words()}")


def lost(now: Standing) -> str:
    """Why the last champion is champion no more."""
    state = now.versions[now.crowned[-1]]
    return "was rejected" if state.rejected else "rests on data that was withdrawn"


def _refuse_key(chain: Chain, signer: Signer) -> None:
    why = chain.bar(signer.key_id, "approve")
    if why:
        raise TrustError(
            "a key that may approve", found=why, where=str(signer.path),
            do=f"an admin trusts it with cityforge key trust {signer.name}.pub.pem --role approve",
        )  # fmt: skip


def _under_gate(version: int, evidence: Evidence) -> RegistryError | None:
    if evidence.passed:
        return None
    held = ", ".join(_said(each) for each in evidence.gates if not each.passed)
    return RegistryError(
        "every gate of the card passed",
        found=f"version {version} under a gate ({held or 'the card has none'})",
        do="train a better one; or --override with --reason, which stays on record",
    )


def _said(gate: GateResult) -> str:
    """Such as `map50 0.200, floor 0.500`."""
    limit = f"ceiling {gate.ceiling:.3f}" if gate.floor is None and gate.ceiling is not None else (
        f"floor {gate.floor:.3f}" if gate.floor is not None else ""
    )  # fmt: skip
    value = f"{gate.value:.3f}" if gate.value is not None else "not measured"
    name = " ".join(filter(None, (gate.name, gate.of)))
    return ", ".join(filter(None, (f"{name} {value}", limit, gate.why)))


def _unanswered(algorithm: str, version: int, unanswered: Sequence[Entry]) -> RegistryError | None:
    """What to say of failures on record that an evaluation did not ask."""
    if not unanswered:
        return None
    named = [f"{each.body['failure_id']} ({each.body['reason']})" for each in unanswered]
    return RegistryError(
        "an answer to each confirmed failure",
        found=f"none to {', '.join(named)}",
        where=f"the evidence of version {version} of '{algorithm}'",
        do=f"evaluate anew: git pull, cityforge run {algorithm}; or an approver takes it back: "
        f"cityforge model failure remove {algorithm} {unanswered[0].body['failure_id']} --reason",
    )


def _other_champion(algorithm: str, now: Standing, evidence: Evidence) -> RegistryError | None:
    """What to say of evidence that compares with what is not champion (any more)."""
    if now.champion is None:
        return None
    digest = str(now.versions[now.champion].register.body["package_digest"])
    against = evidence.against
    asked = any(DROP in each.of for each in evidence.gates)
    if (against is None and not asked) or (against and against.package_digest == digest):
        return None
    found = f"version {against.version}" if against else "no champion"
    return RegistryError(
        f"a comparison with the champion, version {now.champion}",
        found=f"one with {found}",
        where=f"the evidence of '{algorithm}'",
        do=f"cityforge run {algorithm} --stage evaluate, then cityforge run {algorithm}",
    )
