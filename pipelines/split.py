"""Stage split: train, val and test, and the digest of the snapshot with its split."""

from dataclasses import asdict

from cityforge.dataset.digests import digest_of, digest_of_lines
from cityforge.dataset.frozen import read_frozen, write_frozen
from cityforge.dataset.history import record_split
from cityforge.dataset.leaks import refuse_leak
from cityforge.dataset.snapshot import open_snapshot, write_json
from cityforge.dataset.splits import SUBSETS, UNSEEN, refuse_unproven, split
from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.shards import FrameStore
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.tables import SPLIT, write_table


def main(project: Project, settings: Settings, algorithm: str) -> None:
    card = project.algorithm(algorithm)
    params = project.algorithm_params(algorithm)
    folder = project.dataset_folder(card.dataset)
    about, frames, labels = open_snapshot(folder / "snapshot")
    store = FrameStore(folder / "frames", frames)
    frozen, note = read_frozen(project.algorithm_folder(algorithm), params.split)
    found = split(params.split, frames, read_catalogue(folder), store.read, frozen)
    where = f"algorithm '{algorithm}'"
    refuse_leak(found.leak, params.split.most_leak, where)
    refuse_unproven(found.table, labels, card.classes, where, card.task)
    rows = found.table.to_pylist()
    lines = digest_of_lines(f"{row['frame_id']} {row['subset']}" for row in rows)
    digest = digest_of({"dataset": about.digest, "split": lines})
    counts = {name: sum(row["subset"] == name for row in rows) for name in (*SUBSETS, UNSEEN)}
    out = project.build(algorithm) / "split"
    write_table(found.table, SPLIT, out / "split.parquet")
    stated = {"digest": digest, "frames": counts, "dataset": asdict(about), **found.stated()}
    write_json(out / "snapshot.json", stated)
    write_frozen(project.algorithm_folder(algorithm), found.frozen)
    record_split(folder, digest, algorithm, about.digest)
    if note:
        say(note)
    shown = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    if found.left_out:
        shown += f", left out {len(found.left_out)} (near frames of another subset)"
    say(f"{shown}; leak {found.leak.share:.1%}, nearest {found.leak.nearest:.3f}")
    say(f"snapshot {digest[:16]}")


if __name__ == "__main__":
    run_stage(main)
