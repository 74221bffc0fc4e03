"""Stage split: train, val and test, and the digest of the snapshot with its split."""

from dataclasses import asdict

from cityforge.dataset.digests import digest_of, digest_of_lines
from cityforge.dataset.history import record_split
from cityforge.dataset.snapshot import open_snapshot, write_json
from cityforge.dataset.splits import SUBSETS, refuse_unproven, split
from cityforge.footage.catalogue import read_catalogue
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.tables import SPLIT, write_table


def main(project: Project, settings: Settings, algorithm: str) -> None:
    card = project.algorithm(algorithm)
    params = project.algorithm_params(algorithm)
    folder = project.dataset_folder(card.dataset)
    about, frames, labels = open_snapshot(folder / "snapshot")
    table = split(params.split, frames, read_catalogue(folder))
    refuse_unproven(table, labels, card.classes, f"algorithm '{algorithm}'")
    rows = table.to_pylist()
    lines = digest_of_lines(f"{row['frame_id']} {row['subset']}" for row in rows)
    counts = {name: sum(row["subset"] == name for row in rows) for name in SUBSETS}
    out = project.build(algorithm) / "split"
    write_table(table, SPLIT, out / "split.parquet")
    digest = digest_of({"dataset": about.digest, "split": lines})
    write_json(
        out / "snapshot.json", {"digest": digest, "frames": counts, "dataset": asdict(about)}
    )
    record_split(folder, digest, algorithm, about.digest)
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    say(f"{shown}; snapshot {digest[:16]}")


if __name__ == "__main__":
    run_stage(main)
