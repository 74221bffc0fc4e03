"""Which stored frames may be seen and used: of lawful footage, redacted as the card asks now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.cards.dataset import Dataset
from cityforge.footage.lawful import usable
from cityforge.footage.redact import redactor_digest
from cityforge.footage.seals import FRAMES_FILE, read_with_seals
from cityforge.tables import FRAMES, read_table


@dataclass(frozen=True)
class LawfulFrames:
    """The stored frames of a dataset, parted by whether they may be used."""

    footage: pa.Table  # FOOTAGE; what is sealed is withdrawn
    frames: pa.Table  # FRAMES that may be used
    barred: pa.Table  # FRAMES of footage that is withdrawn, expired or not in the catalogue
    unredacted: pa.Table  # FRAMES that did not pass the redactor as it is now

    @property
    def note(self) -> str:
        """One line on what is left out; empty when nothing is."""
        said = []
        if self.barred.num_rows:
            files = len(self.barred["footage_id"].unique())
            kind = f"{files} withdrawn, expired or unknown files"
            said.append(f"{self.barred.num_rows} frames of {kind}")
        if self.unredacted.num_rows:
            said.append(f"{self.unredacted.num_rows} frames that did not pass the card's redaction")
        return f"{' and '.join(said)} left out" if said else ""


def lawful_frames(card: Dataset, folder: Path, now: datetime) -> LawfulFrames:
    """The stored frames of the dataset in `folder` that may be used at `now` (with its zone).

    Raises:
        TableError: no frames are stored.
        CheckFailed: a detector that the card names is missing or is another one.
    """
    frames = read_table(FRAMES, folder / "frames" / FRAMES_FILE)
    redactor = redactor_digest(card.privacy, folder) if frames.num_rows else None
    return part(card, read_with_seals(folder), frames, now, redactor)


def part(
    card: Dataset, footage: pa.Table, frames: pa.Table, now: datetime, redactor: str | None
) -> LawfulFrames:
    """Part FRAMES into those that may be used and those that may not.

    Args:
        footage: table FOOTAGE; see `footage.seals.read_with_seals`.
        redactor: digest of the card's redaction as it is now; see `redact.redactor_digest`.
    """
    ids = usable(footage, now)["footage_id"].combine_chunks()
    open_to_use = pc.is_in(frames["footage_id"], value_set=ids)
    lawful, barred = frames.filter(open_to_use), frames.filter(pc.invert(open_to_use))
    if not card.privacy.redact:
        return LawfulFrames(footage, lawful, barred, lawful.slice(0, 0))
    ours = pa.scalar(redactor, pa.string())  # a null is equal to nothing
    passed = pc.fill_null(pc.equal(lawful["redacted_by"], ours), False)
    return LawfulFrames(footage, lawful.filter(passed), barred, lawful.filter(pc.invert(passed)))
