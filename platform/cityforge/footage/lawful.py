"""Which footage may be used at a moment: neither withdrawn nor past its retention."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

_TIME = pa.timestamp("us", tz="UTC")


def usable(footage: pa.Table, now: datetime) -> pa.Table:
    """The rows of table FOOTAGE that may be used at `now` (with its zone)."""
    return footage.filter(pc.invert(_shut(footage, now)))


def barred(footage: pa.Table, now: datetime) -> dict[str, str]:
    """Footage ids that may not be used at `now`, each with the reason a person reads."""
    rows = footage.filter(_shut(footage, now)).select(
        ["footage_id", "withdrawn_at", "withdrawn_reason", "retain_until"]
    )
    return {
        str(row["footage_id"]): (
            f"withdrawn {row['withdrawn_at']:%Y-%m-%d}: {row['withdrawn_reason']}"
            if row["withdrawn_at"]
            else retention_ended(row["retain_until"])
        )
        for row in rows.to_pylist()
    }


def expiring(footage: pa.Table, now: datetime, within: timedelta = timedelta()) -> pa.Table:
    """Rows whose retention has ended at `now`, or ends `within`; the first to end first.

    What was withdrawn is sealed already and is not among them.
    """
    due = _ended(footage, now + within)
    left = pc.and_(due, pc.is_null(footage.column("withdrawn_at")))
    return footage.filter(left).sort_by([("retain_until", "ascending"), ("name", "ascending")])


def retention_ended(retain_until: datetime) -> str:
    """The reason that stands with footage that was kept as long as it may be."""
    return f"retention ended {retain_until:%Y-%m-%d}"


def footage_of(frame_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The footage id in each frame id, which is footage_id-milliseconds.

    >>> footage_of(pa.chunked_array([["00c66ade1f52f103-1500"]])).to_pylist()
    ['00c66ade1f52f103']
    """
    return pc.list_element(pc.split_pattern(frame_ids, "-", max_splits=1), 0)


def _shut(footage: pa.Table, now: datetime) -> pa.ChunkedArray:
    return pc.or_(pc.is_valid(footage.column("withdrawn_at")), _ended(footage, now))


def _ended(footage: pa.Table, at: datetime) -> pa.ChunkedArray:
    """True where retain_until lies at or before `at`; a row without one never ends."""
    ended = pc.less_equal(footage.column("retain_until"), pa.scalar(at, _TIME))
    return pc.fill_null(ended, False)
