"""Stage ingest: originals to frames in shards."""

from cityforge.footage.catalogue import read_catalogue
from cityforge.footage.ingest import ingest
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say


def main(project: Project, settings: Settings, dataset: str) -> None:
    card = project.dataset(dataset)
    folder = project.dataset_folder(dataset)
    footage = read_catalogue(folder)
    frames = ingest(card, folder, footage, folder / "frames", settings.worker_count())
    size = sum(frames.column("bytes").to_pylist()) / 1e6
    say(f"{frames.num_rows} frames of {footage.num_rows} files, {size:.1f} MB")


if __name__ == "__main__":
    run_stage(main)
