"""What the champion finds in frames that people are about to label: their pre-filled boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cityforge.evaluation.predictions import predict_frames
from cityforge.footage.shards import FrameStore
from cityforge.inference.package import Package
from cityforge.inference.runtime import Model
from cityforge.labeling.studio.tasks import Prefill
from cityforge.registry.site import Site
from cityforge.registry.versions import Version, champion, fetch_package
from cityforge.tables import PREDICTIONS, read_table, write_table

BATCH = 64  # frames between two words on how far it is
KEPT_EACH = 16  # batches between two times that the finds are written
FLOOR = 0.05  # finds under it are not kept; those under the package's threshold are not shown


@dataclass(frozen=True)
class Champion:
    """The approved model of an algorithm."""

    version: Version
    package: Package

    @property
    def name(self) -> str:
        """What stands with its boxes in Label Studio."""
        return f"{self.version.algorithm} v{self.version.version}"


def find_champion(site: Site, algorithm: str) -> Champion | None:
    """The champion of an algorithm, with its package on this machine."""
    version = champion(site, algorithm)
    return Champion(version, fetch_package(site, version)[1]) if version else None


def prefills(
    model: Champion,
    store: FrameStore,
    frame_ids: Sequence[str],
    kept: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Prefill]:
    """The boxes of frames; what this model has found before is not looked for again.

    Args:
        kept: table PREDICTIONS of the current model; frames that are new to it are added.
        progress: told (frames looked at, all frames to look at).
    """
    known = _known(model.package, kept)
    there = set(known["frame_id"].to_pylist())
    missing = [each for each in frame_ids if each not in there]
    if missing:
        known = _look(model, store, missing, known, kept, progress)
    found = known.filter(pc.is_in(known["frame_id"], pa.array(frame_ids, pa.string())))
    return shown(model.name, found, model.package.about.score_threshold)


def shown(name: str, found: pa.Table, threshold: float) -> dict[str, Prefill]:
    """Finds that people are shown, by frame; its score is the mean of theirs."""
    found = found.filter(pc.greater_equal(found["score"], threshold))
    boxes: dict[str, list[tuple[str, float, float, float, float, float]]] = {}
    for row in found.sort_by([("frame_id", "ascending"), ("rank", "ascending")]).to_pylist():
        edges = row["x1"], row["y1"], row["x2"], row["y2"]
        boxes.setdefault(row["frame_id"], []).append((row["class"], *edges, row["score"]))
    return {
        frame_id: Prefill(name, sum(each[5] for each in rows) / len(rows), tuple(rows))
        for frame_id, rows in boxes.items()
    }


def _known(package: Package, kept: Path) -> pa.Table:
    """What this very model found before; nothing where the table is of another."""
    if not kept.is_file():
        return PREDICTIONS.empty_table()
    table = read_table(PREDICTIONS, kept)
    return table.filter(pc.equal(table["model_digest"], package.digest))


def _look(
    model: Champion,
    store: FrameStore,
    frame_ids: Sequence[str],
    known: pa.Table,
    kept: Path,
    progress: Callable[[int, int], None] | None,
) -> pa.Table:
    """Look at frames; what is found is written now and then, so that a kill costs little."""
    runtime = Model(model.package)
    tables = [known]
    for number, start in enumerate(range(0, len(frame_ids), BATCH), start=1):
        ids = frame_ids[start : start + BATCH]
        tables.append(_signed(predict_frames(runtime, store, ids, FLOOR, _unheard), model.package))
        if number % KEPT_EACH == 0 or start + BATCH >= len(frame_ids):
            tables = [pa.concat_tables(tables)]
            write_table(tables[0], PREDICTIONS, kept)
        if progress:
            progress(min(start + BATCH, len(frame_ids)), len(frame_ids))
    return tables[0]


def _signed(found: pa.Table, package: Package) -> pa.Table:
    at = found.schema.get_field_index("model_digest")
    digests = pa.array([package.digest] * found.num_rows, pa.string())
    return found.set_column(at, PREDICTIONS.field("model_digest"), digests)


def _unheard(_: str) -> None:
    """`predict_frames` says of each batch what the progress says already."""
