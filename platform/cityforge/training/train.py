"""The training itself: goes on where a killed one stopped, and is tracked in MLflow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams, TrainParams
from cityforge.dataset.digests import digest_of
from cityforge.dataset.snapshot import write_json
from cityforge.errors import DataError
from cityforge.project import Project
from cityforge.settings import Settings
from cityforge.training.data import TrainingData
from cityforge.training.fit import Outcome, fit, make_learner
from cityforge.training.tracking import experiment_id, tracking_client, tracking_uri
from cityforge.training.tune import read_best

WEIGHTS = "model.safetensors"
ABOUT = "train.json"


def tuned(params: TrainParams, best: dict[str, float]) -> TrainParams:
    """The training's parameters with what tuning found in their place."""
    return params.model_copy(update=best)


def train(
    project: Project,
    settings: Settings,
    card: Algorithm,
    params: AlgorithmParams,
    data: TrainingData,
    out: Path,
    say: Callable[[str], None],
) -> Outcome:
    """Train, and write the best weights and how they came about into `out`.

    Checkpoints under way lie in the project's work folder, named by what goes into the
    training; run again with the same inputs, it goes on from the last whole epoch.

    Raises:
        DataError: no frame to train on, or none to validate on.
    """
    train_params = tuned(params.train, read_best(project.build(card.name) / "tune"))
    frames, val_frames = data.subset("train"), data.subset("val")
    for name, subset in (("train", frames), ("val", val_frames)):
        if not any(len(cls) for _, cls in subset.boxes):
            raise DataError(
                f"a labelled box in {name}", found="none", where=f"algorithm '{card.name}'"
            )
    inputs = digest_of(
        {
            "snapshot": data.digest,
            "train": train_params.model_dump(),
            "data": params.data.model_dump(exclude={"workers"}),
            "network": card.network,
            "classes": list(card.classes),
        }
    )
    work = project.work / "training" / f"{card.name}-{inputs[:16]}"
    if (work / "last.ckpt").is_file():
        say(f"going on from {(work / 'last.ckpt').relative_to(project.root)}")
    logger = _logger(project, settings, card, work)
    logger.log_hyperparams(
        {f"train.{k}": v for k, v in train_params.model_dump().items()}
        | {"network": card.network, "snapshot": data.digest, "frames.train": len(frames.frame_ids)}
    )
    outcome = fit(
        make_learner(card, train_params),
        train_frames=frames,
        val_frames=val_frames,
        store=data.store,
        data=params.data,
        train=train_params,
        checkpoints=work,
        logger=logger,
        say=say,
    )
    _write(out, outcome, card, data, train_params, inputs, logger.run_id)
    shutil.rmtree(work)
    return outcome


def _write(
    out: Path,
    outcome: Outcome,
    card: Algorithm,
    data: TrainingData,
    params: TrainParams,
    inputs: str,
    run_id: str,
) -> None:
    import torch
    from safetensors.torch import save_file

    state = torch.load(outcome.best_checkpoint, map_location="cpu", weights_only=False)
    weights = {
        name.removeprefix("network."): value.contiguous()
        for name, value in state["state_dict"].items()
        if name.startswith("network.")
    }
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_file(weights, beside / WEIGHTS)
    about: dict[str, Any] = {
        "algorithm": card.name,
        "network": card.network,
        "classes": list(card.classes),
        "snapshot_digest": data.digest,
        "inputs_digest": inputs,
        "params": params.model_dump(mode="json"),
        "best_epoch": outcome.best_epoch,
        "val_map50": outcome.best_map50,
        "epochs": outcome.epochs,
        "seconds": round(outcome.seconds, 3),
        "images_per_second": round(outcome.images_per_second, 3),
        "mlflow_run_id": run_id,
        "history": outcome.history,
    }
    write_json(beside / ABOUT, about)
    shutil.rmtree(out, ignore_errors=True)
    beside.replace(out)


def _logger(project: Project, settings: Settings, card: Algorithm, work: Path) -> Any:
    from pytorch_lightning.loggers import MLFlowLogger

    client = tracking_client(project, settings)
    experiment_id(client, project, settings, card.name)
    work.mkdir(parents=True, exist_ok=True)
    note = work / "mlflow_run_id"
    run_id = note.read_text() if note.is_file() else None
    logger = MLFlowLogger(
        experiment_name=card.name,
        tracking_uri=tracking_uri(project, settings),
        run_id=run_id,
        run_name="train",
    )
    note.write_text(str(logger.run_id))
    return logger
