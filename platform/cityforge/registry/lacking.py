"""Versions of which this machine does not know what they rest on: named, and asked for again.

What a version was made from lies with the machine that made it, and with its run in MLflow.
"""

from __future__ import annotations

from collections.abc import Iterable

from cityforge.errors import CityforgeError
from cityforge.registry.lineage import fetch_lineage
from cityforge.registry.records import Named, Records
from cityforge.registry.site import Site


def lacking(records: Records, dataset: str, known: Iterable[str] = ()) -> dict[Named, str]:
    """Versions that may be of a dataset, and whose snapshot is not on this machine.

    Args:
        known: snapshots of which enough is on record without their lineage.

    Returns:
        Why nobody here knows what each rests on.
    """
    here = {*records.lineages, *known}
    found = {}
    for snapshot, splits in records.splits_of.items():
        if snapshot in here:
            continue
        for named in (each for split in splits for each in records.of_split[split]):
            stated = records.basis(named).dataset
            if stated == dataset or (not stated and _may_use(records, named[0], dataset)):
                found[named] = _why(snapshot)
    return found


def fetch_lacking(site: Site, records: Records, versions: Iterable[Named]) -> int:
    """Bring what versions rest on from MLflow, where it is not here; how many were brought.

    What cannot be fetched is said, and stays lacking. Read new `Records` afterwards.
    """
    brought = 0
    splits = {records.basis(each).split: each for each in versions}
    wanted = [
        named
        for named in splits.values()
        if named in records.versions and records.basis(named).snapshot not in records.lineages
    ]
    if not wanted or not has_registry(site):
        return 0
    import mlflow

    for named in wanted:
        run_id = str(records.versions[named].register.body["run_id"])
        try:
            brought += fetch_lineage(site, run_id)
        except (CityforgeError, mlflow.exceptions.MlflowException, OSError) as error:
            site.say(f"what {named[0]} version {named[1]} rests on is not fetched: {error}")
    return brought


def has_registry(site: Site) -> bool:
    """Whether there is an MLflow to ask; none is made on the way."""
    return bool(site.settings.tracking_uri) or (site.project.work / "mlflow.db").is_file()


def _why(snapshot: str) -> str:
    if not snapshot:
        return "nothing is on record of its snapshot"
    return f"what snapshot {snapshot[:16]} held is not on this machine: cityforge trace --fetch"


def _may_use(records: Records, algorithm: str, dataset: str) -> bool:
    """False when the algorithm's card names another dataset; without a card nobody knows."""
    try:
        return records.project.algorithm(algorithm).dataset == dataset
    except CityforgeError:
        return True
