"""Stage tune: Optuna's search over the training's parameters."""

from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.training.data import open_training_data
from cityforge.training.tune import tune


def main(project: Project, settings: Settings, algorithm: str) -> None:
    card = project.algorithm(algorithm)
    params = project.algorithm_params(algorithm)
    data = open_training_data(project, card)
    tune(project, settings, card, params, data, project.build(algorithm) / "tune", say)


if __name__ == "__main__":
    run_stage(main)
