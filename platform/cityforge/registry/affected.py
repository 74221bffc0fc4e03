"""Which snapshots, versions and endpoints rest on footage or labels.

A withdrawal is put on record here, with the versions that it touches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cityforge.dataset.lineage_lookup import Lineage, integers
from cityforge.footage.withdrawals import WITHDRAW, about
from cityforge.labeling.withdrawn import Withdrawn
from cityforge.registry.lacking import fetch_lacking, lacking
from cityforge.registry.projection import project_standing
from cityforge.registry.records import Named, Records
from cityforge.registry.site import Site
from cityforge.registry.standing import ACTS
from cityforge.registry.trace_forward import Forward
from cityforge.trust.entries import Entry
from cityforge.trust.journal import remember, signer_of


@dataclass(frozen=True)
class Touched:
    """One version that rests on what is asked about."""

    algorithm: str
    version: int
    split: str  # digest that it names
    standing: str
    champion: bool
    answering: tuple[str, ...]  # endpoint and Bentos on this machine
    certain: bool = True  # False: nobody here knows what its snapshot held
    began_from: str = ""  # it rests on it through the weights of this version
    why: str = ""  # it is not certain


@dataclass(frozen=True)
class Affected:
    """All that rests on footage or labels of a dataset."""

    dataset: str
    snapshots: tuple[str, ...]
    versions: tuple[Touched, ...] = ()
    rows: dict[str, NDArray[Any] | None] = field(default_factory=dict, compare=False, repr=False)

    @property
    def certain(self) -> list[Touched]:
        """Versions that are on record to rest on it."""
        return [each for each in self.versions if each.certain]

    @property
    def algorithms(self) -> list[str]:
        """Their algorithms, those with a champion among them first."""
        ordered = sorted(self.certain, key=lambda each: (not each.champion, each.algorithm))
        return list(dict.fromkeys(each.algorithm for each in ordered))


def by_footage(
    records: Records, dataset: str, ids: Iterable[str], added_at: datetime | None = None
) -> Affected:
    """What rests on films or photographs; perhaps what is of a snapshot that is not known here.

    Args:
        added_at: when the first of them came into the dataset; what is older cannot hold it.
    """
    asked = set(ids)
    holds: dict[str, NDArray[Any] | None] = {}
    for digest, lineage in _of_dataset(records, dataset).items():
        rows = [integers(lineage.frames_of(each)["row"]) for each in sorted(asked)]
        if any(len(each) for each in rows):
            holds[digest] = np.concatenate(rows)
    known = {
        digest: held.footage
        for digest, held in records.histories.get(dataset, {}).items()
        if not held.algorithm and digest not in records.lineages
    }
    holds |= {digest: None for digest, films in known.items() if asked & films}
    return _affected(records, dataset, holds, lacking(records, dataset, known), added_at)


def by_labels(records: Records, dataset: str, withdrawn: Withdrawn) -> Affected:
    """What rests on labels; perhaps what is of a snapshot whose labels are not known here."""
    holds: dict[str, NDArray[Any] | None] = {}
    for digest, lineage in _of_dataset(records, dataset).items():
        labels = _labels(lineage, withdrawn)
        if labels.num_rows:
            holds[digest] = np.unique(integers(labels["frame"]))
    return _affected(records, dataset, holds, lacking(records, dataset), None)


def put_on_record(
    site: Site,
    dataset: str,
    kind: str,
    ids: Sequence[str],
    reason: str,
    who: str,
    affected_of: Callable[[Records], Affected],
) -> tuple[Entry, Affected]:
    """Append a withdrawal to the journal, unless one stands there that says all of it.

    The versions are counted while nobody else may write, so that none slips by. What other
    machines made them from is fetched before, where that is to be had.

    Args:
        kind: footage or label.
        affected_of: `by_footage` or `by_labels`, of what is withdrawn.

    Returns:
        The first entry that withdrew it, and what rests on it.

    Raises:
        TrustError: nobody trusts that person's key.
        ServiceError: the journal does not answer; nothing was changed.
    """
    known = Records(site.project, site.journal.entries(acts=ACTS))
    fetch_lacking(site, known, lacking(known, dataset))
    with site.journal.turn() as turn:
        entries = turn.entries(acts=ACTS)
        affected = affected_of(Records(site.project, entries))
        earlier = [
            each
            for each in entries
            if (each.act, each.about) == (WITHDRAW, about(dataset))
            and each.body["kind"] == kind
            and {*ids} <= {*each.body["ids"]}
        ]
        named = {(e["algorithm"], e["version"]) for each in earlier for e in each.body["versions"]}
        new = [e for e in affected.certain if (e.algorithm, e.version) not in named]
        if earlier and not new:
            return earlier[0], affected
        signer = signer_of(site.journal, site.settings, who)
        body = {
            "kind": kind,
            "ids": sorted({*ids}),
            "reason": reason,
            "snapshots": sorted(affected.snapshots),
            "versions": [{"algorithm": e.algorithm, "version": e.version} for e in new],
        }
        entry = turn.append(signer, WITHDRAW, about(dataset), body)
    remember(site.settings, signer, entry, site.journal)
    for algorithm in {each.algorithm for each in new}:
        for line in project_standing(site, algorithm, is_own=True):
            site.say(line)
    return (earlier or [entry])[0], affected


def withdrawn_from(records: Records, named: Named) -> list[Entry]:
    """Withdrawals of what a version rests on, whether they name it or not.

    A version that was registered after a withdrawal, of a snapshot from before it, is not named.
    """
    return [entry for entry, is_certain in _withdrawals_of(records, named) if is_certain]


def perhaps_withdrawn_from(records: Records, named: Named) -> list[Entry]:
    """Withdrawals that nobody here can hold against what a version rests on.

    `fetch_lacking` may bring that; else whoever approves the version has to know.
    """
    return [entry for entry, is_certain in _withdrawals_of(records, named) if not is_certain]


def _withdrawals_of(records: Records, named: Named) -> Iterator[tuple[Entry, bool]]:
    for entry in records.entries:
        if entry.act != WITHDRAW:
            continue
        dataset = entry.about.removeprefix(about(""))
        ids = [str(each) for each in entry.body["ids"]]
        if entry.body["kind"] == "footage":
            touched = by_footage(records, dataset, ids)
        else:
            touched = by_labels(records, dataset, Withdrawn(frozenset(ids)))
        for each in touched.versions:
            if (each.algorithm, each.version) == named:
                yield entry, each.certain


def _of_dataset(records: Records, dataset: str) -> dict[str, Lineage]:
    return {
        digest: each
        for digest, each in records.lineages.items()
        if each.about["dataset"] == dataset
    }


def _labels(lineage: Lineage, withdrawn: Withdrawn) -> pa.Table:
    """Labels of a snapshot that are among those withdrawn."""
    if withdrawn.annotators:
        whole = lineage.labels()
        return whole.filter(withdrawn.rows_of(whole))
    parts = [lineage.labels_with(each) for each in sorted(withdrawn.labels | withdrawn.annotations)]
    found = pa.concat_tables(parts)
    return found.filter(pc.fill_null(withdrawn.rows_of(found), False))


def _affected(
    records: Records,
    dataset: str,
    holds: dict[str, NDArray[Any] | None],
    unknown: dict[Named, str],
    added_at: datetime | None,
) -> Affected:
    forward = Forward(records, full=False)
    found: dict[Named, Touched] = {}
    for snapshot in holds:
        for split in records.splits_of.get(snapshot, []):
            for named in records.of_split[split]:
                found[named] = _touched(forward, records, named)
    for named in list(found):
        for heir in records.descendants(named):
            through = f"{named[0]}@{named[1]}"
            found.setdefault(heir, _touched(forward, records, heir, began_from=through))
    for named, why in unknown.items():
        made = datetime.fromisoformat(records.versions[named].register.body["created_at"])
        if named in found or (added_at is not None and made < added_at):
            continue
        found[named] = _touched(forward, records, named, why=why)
        for heir in records.descendants(named):
            through = f"{named[0]}@{named[1]}"
            if heir not in found and heir not in unknown:
                found[heir] = _touched(forward, records, heir, began_from=through, why=why)
    ordered = sorted(found.values(), key=lambda e: (not e.champion, e.algorithm, -e.version))
    return Affected(dataset, tuple(sorted(holds)), tuple(ordered), holds)


def _touched(
    forward: Forward, records: Records, named: Named, *, began_from: str = "", why: str = ""
) -> Touched:
    node = forward.version(named)
    answering = tuple(each.text for each in node.forward if each.kind in ("endpoint", "bento"))
    split = str(records.versions[named].register.body["snapshot_digest"])
    return Touched(
        *named, split, node.facts["standing"], node.facts["champion"], answering, not why,
        began_from, why,
    )  # fmt: skip
