"""One training with one seed: it goes on where it was cut short, in the same MLflow run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cityforge.cards.algorithm import Algorithm
from cityforge.cards.params import AlgorithmParams, TrainParams
from cityforge.dataset.loader import LabelledFrames
from cityforge.dataset.snapshot import write_json
from cityforge.project import Project
from cityforge.provenance import device_name
from cityforge.settings import Settings
from cityforge.training.data import TrainingData
from cityforge.training.fit import Outcome, fit, make_learner
from cityforge.training.seeds import SeedResult
from cityforge.training.tracking import Run, open_run

WEIGHTS = "model.safetensors"
LAST = "last.ckpt"
# Beside the checkpoints of one seed.
RUN_NOTE = "mlflow_run_id"
DONE = "done.json"


@dataclass(frozen=True)
class Work:
    """What all seeds of one training share."""

    project: Project
    settings: Settings
    card: Algorithm
    params: AlgorithmParams
    data: TrainingData
    frames: LabelledFrames
    val_frames: LabelledFrames
    inputs: str  # digest of what goes into the weights
    folder: Path  # of this training's checkpoints, a folder in it for each seed
    say: Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A finished training: what train.json says of it, its outcome, its part in the spread."""

    about: dict[str, Any]
    outcome: Outcome
    result: SeedResult


def trained(work: Work, seed: int, parent: Run | None) -> Trained:
    """Train with this seed, or read what that came to when it was done before.

    Args:
        parent: the run that this one is nested in; None for a single seed.
    """
    folder = work.folder / str(seed)
    title = f"seed {seed}: " if parent else ""
    if (folder / DONE).is_file():
        work.say(f"{title}trained already")
    else:
        found = _train(work, seed, parent, title)
        write_json(
            folder / DONE,
            {
                "about": found.about,
                "outcome": asdict(found.outcome),
                "result": asdict(found.result),
            },
        )
    for checkpoint in folder.glob("*.ckpt"):
        checkpoint.unlink()
    kept = json.loads((folder / DONE).read_text(encoding="utf-8"))
    return Trained(kept["about"], Outcome(**kept["outcome"]), SeedResult(**kept["result"]))


def _train(work: Work, seed: int, parent: Run | None, title: str) -> Trained:
    from cityforge.training.progress import Progress
    from cityforge.training.recorder import Recorder
    from cityforge.training.shots import Shots, choose
    from cityforge.training.stored import describing
    from cityforge.training.weights import SCRATCH, warm_start

    card, folder = work.card, work.folder / str(seed)
    params = work.params.train.model_copy(update={"seed": seed})
    learner = make_learner(card, params, work.project.algorithm_folder(card.name))
    origin = warm_start(
        learner.network, params.weights, card=card, loss=params.loss.model_dump(),
        project=work.project, settings=work.settings,
    )  # fmt: skip
    if (folder / LAST).is_file():
        work.say(f"{title}going on from {(folder / LAST).relative_to(work.project.root)}")
    elif params.weights != SCRATCH:
        work.say(f"{title}{origin.line()}")
    run = _open(work, params, f"seed {seed}" if parent else "train", parent)
    run.tags({"cityforge.weights": origin.source})
    recorder = Recorder(run)
    # The same frames for all seeds, so that their sheets compare.
    chosen = choose(work.val_frames, work.params.train.seed)
    try:
        outcome = fit(
            learner,
            train_frames=work.frames,
            val_frames=work.val_frames,
            store=work.data.store,
            data=work.params.data,
            train=params,
            checkpoints=folder,
            say=lambda line: work.say(f"{title}{line}"),
            callbacks=[
                Progress(params, work.say, title),
                recorder,
                Shots(chosen, card.task, card.classes, run.picture),
            ],
        )
        said = describing(
            task=card.task, network=card.network, classes=card.classes,
            snapshot_digest=work.data.digest,
        )  # fmt: skip
        save_weights(Path(outcome.best_checkpoint), folder / WEIGHTS, said)
    except BaseException as error:
        run.finish("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    run.log({"best_val_score": outcome.best_score}, outcome.best_epoch)
    run.finish()
    about = {
        **_about(work, params, outcome, run),
        **recorder.memory.figures(),
        "initial": asdict(origin),
        "notes": [*getattr(outcome, "notes", []), *run.complaints()],
    }
    return Trained(about, outcome, _result(outcome, seed, run))


def _open(work: Work, params: TrainParams, name: str, parent: Run | None) -> Run:
    """The run of this seed, or the one that it had before it was cut short."""
    run = noted_run(
        work, work.folder / str(params.seed), name, params, parent.run_id if parent else None
    )
    run.params(
        {
            "task": work.card.task,
            "network": work.card.network,
            "snapshot": work.data.digest,
            "train": params.model_dump(mode="json"),
            "data": work.params.data.model_dump(mode="json"),
            "frames": {"train": len(work.frames.frame_ids), "val": len(work.val_frames.frame_ids)},
            "labels": {"train": _labels(work.frames), "val": _labels(work.val_frames)},
        }
    )
    return run


def noted_run(
    work: Work, folder: Path, name: str, params: TrainParams, parent: str | None = None
) -> Run:
    """The run whose id is noted in `folder`, opened again; a new one, noted there, without."""
    note = folder / RUN_NOTE
    tags = {
        "algorithm": work.card.name,
        "snapshot_digest": work.data.digest,
        "inputs_digest": work.inputs,
        "device": device_in_use(params),
        "seed": params.seed,
    }
    known = note.read_text(encoding="utf-8") if note.is_file() else None
    run = open_run(work.project, work.settings, work.card, name, tags, parent, known)
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(run.run_id, encoding="utf-8")
    return run


def device_in_use(params: TrainParams) -> str:
    """The accelerators that the training takes, or the processor."""
    import torch

    if params.device == "cpu" or not torch.cuda.is_available():
        return device_name()
    return f"{params.devices} × {torch.cuda.get_device_name(0)}"


def _labels(frames: LabelledFrames) -> int:
    return sum(len(cls) for _, cls in frames.boxes)


def _result(outcome: Outcome, seed: int, run: Run) -> SeedResult:
    best = next((row for row in outcome.history if row["epoch"] == outcome.best_epoch), {})
    figures = {name: value for name, value in best.items() if name.startswith("val_")}
    seconds = round(outcome.seconds, 3)
    return SeedResult(seed, figures, outcome.best_epoch, outcome.epochs, seconds, run.run_id)


def _about(work: Work, params: TrainParams, outcome: Outcome, run: Run) -> dict[str, Any]:
    return {
        "algorithm": work.card.name,
        "task": work.card.task,
        "network": work.card.network,
        "classes": list(work.card.classes),
        "snapshot_digest": work.data.digest,
        "inputs_digest": work.inputs,
        "params": params.model_dump(mode="json"),
        "data": work.params.data.model_dump(mode="json"),
        "best_epoch": outcome.best_epoch,
        "val_score": outcome.best_score,
        "epochs": outcome.epochs,
        "seconds": round(outcome.seconds, 3),
        "images_per_second": round(outcome.images_per_second, 3),
        "device": device_in_use(params),
        "mlflow_run_id": run.run_id,
        "history": outcome.history,
    }


def save_weights(checkpoint: Path, to: Path, about: dict[str, str]) -> None:
    """Write the network of a Lightning checkpoint, its names without `network.`.

    Args:
        about: metadata, see `stored.describing`.
    """
    import torch
    from safetensors.torch import save_file

    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    weights = {
        name.removeprefix("network."): value.contiguous()
        for name, value in state.items()
        if name.startswith("network.")
    }
    beside = to.with_name(f".{to.name}.new")
    save_file(weights, beside, metadata=about)
    beside.replace(to)
