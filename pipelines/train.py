"""Stage train: Lightning, from the last checkpoint where one was cut short."""

from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.training.data import open_training_data
from cityforge.training.train import train


def main(project: Project, settings: Settings, algorithm: str) -> None:
    card = project.algorithm(algorithm)
    params = project.algorithm_params(algorithm)
    data = open_training_data(project, card)
    out = project.build(algorithm) / "train"
    outcome = train(project, settings, card, params, data, out, say)
    say(
        f"best score {outcome.best_score:.3f} in epoch {outcome.best_epoch} of {outcome.epochs}, "
        f"{outcome.seconds:.0f} s, {outcome.images_per_second:.1f} pictures/s"
    )


if __name__ == "__main__":
    run_stage(main)
