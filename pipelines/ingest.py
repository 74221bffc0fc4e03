"""Stage ingest: originals to private frames in shards."""

from cityforge.footage.ingest import ingest
from cityforge.footage.seals import read_with_seals
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say, showing


def main(project: Project, settings: Settings, dataset: str) -> None:
    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    footage = read_with_seals(folder)
    with showing("shards") as progress:
        done = ingest(card, folder, footage, folder / "frames", settings.worker_count(), progress)
    size = sum(done.frames.column("bytes").to_pylist()) / 1e6
    say(f"{done.frames.num_rows} frames of {footage.num_rows} files, {size:.1f} MB")
    if done.duplicates:
        say(f"{done.duplicates} near-duplicates left out")
    if done.barred:
        say(f"{len(done.barred)} withdrawn or expired files left out")
    if done.refused.num_rows:
        say(f"{done.refused.num_rows} frames could not be made private: see frames/refused.parquet")


if __name__ == "__main__":
    run_stage(main)
