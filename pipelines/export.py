"""Stage export: ONNX, held against torch."""

import os
from dataclasses import asdict

import numpy as np

from cityforge.dataset.snapshot import write_json
from cityforge.export.onnx import MODEL_FILE, export_onnx, open_network
from cityforge.export.parity import parity, refuse_apart
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.stage import run_stage, say
from cityforge.tasks.picture import decode_and_fit
from cityforge.training.data import open_training_data


def main(project: Project, settings: Settings, algorithm: str) -> None:
    card = project.algorithm(algorithm)
    params = project.algorithm_params(algorithm)
    build = project.build(algorithm)
    data = open_training_data(project, card)
    network = open_network(build / "train")
    out = build / "export"
    beside = out / f".{os.getpid()}.{MODEL_FILE}"
    export_onnx(network, params.data, params.export.opset, beside)
    ids = data.subset("val").frame_ids[: params.export.parity_frames]
    size = (params.data.input_width, params.data.input_height)
    pictures = np.stack([decode_and_fit(data.store.read(each), *size).canvas for each in ids])
    found = parity(network, beside, pictures, params.evaluate.score_floor)
    limits = (params.export.max_box_difference_px, params.export.max_score_difference)
    refuse_apart(found, *limits)
    write_json(out / "parity.json", asdict(found))
    beside.replace(out / MODEL_FILE)
    size_mb = (out / MODEL_FILE).stat().st_size / 1e6
    say(f"{MODEL_FILE} {size_mb:.1f} MB; parity {found.box_px:.1e} px, score {found.score:.1e}")


if __name__ == "__main__":
    run_stage(main)
