"""Stage export: ONNX and INT8, held against torch."""

from cityforge.export.onnx import open_network
from cityforge.export.stage import Trained, export
from cityforge.footage.catalogue import read_catalogue
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.training.data import open_training_data
from cityforge.training.picked import with_trained_input


def main(project: Project, settings: Settings, algorithm: str) -> None:
    card = project.algorithm(algorithm)
    build = project.build(algorithm)
    params = with_trained_input(project.algorithm_params(algorithm), build / "train")
    data = open_training_data(project, card)
    trained = Trained(
        card,
        open_network(build / "train", project.algorithm_folder(algorithm)),
        params.data,
        params.evaluate,
        data.subset("train"),
        data.subset("val"),
        data.store,
        data.several_labels,
    )
    footage = read_catalogue(project.dataset_folder(card.dataset))
    export(
        trained, params.export, frames=data.frames, footage=footage, out=build / "export", say=say
    )


if __name__ == "__main__":
    run_stage(main)
