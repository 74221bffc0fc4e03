"""What a training runs on: how many devices of which kind, and in which precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from cityforge.cards.params import TrainParams
from cityforge.errors import DataError

# Compiling takes a minute or two; from so many steps on it is won back.
STEPS_WORTH_COMPILING = 2000


@dataclass(frozen=True)
class Hardware:
    """In the words of Lightning's Trainer."""

    accelerator: str  # cpu or gpu
    devices: int
    precision: str

    @property
    def is_gpu(self) -> bool:
        return self.accelerator == "gpu"


def hardware_of(train: TrainParams) -> Hardware:
    """What `train.device`, `train.devices` and `train.precision` come to on this machine.

    Raises:
        DataError: a GPU was asked for and none is there, or fewer than `train.devices`.
    """
    # The count by NVML alone: it starts no CUDA in this process.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    on_gpu = train.device == "gpu" or (train.device == "auto" and found > 0)
    if on_gpu and found < train.devices:
        seen = f"{found} ({_why_none()})" if not found else str(found)
        raise DataError(
            f"{train.devices} GPU" + ("s" if train.devices > 1 else ""), found=seen,
            where="train.device and train.devices",
            do="set train.device to cpu or auto" if not found else f"set train.devices to {found}",
        )  # fmt: skip
    accelerator = "gpu" if on_gpu else "cpu"
    return Hardware(accelerator, train.devices, precision_of(train.precision, on_gpu))


def _why_none() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built for processors only"
    return "torch sees no CUDA device"


def precision_of(wanted: str, on_gpu: bool | None = None) -> str:
    """Lightning's name of the precision that this machine does quickly."""
    if wanted == "float32":
        return "32-true"
    if wanted == "bfloat16":
        return "bf16-mixed"
    if torch.cuda.is_available() if on_gpu is None else on_gpu:
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    # AVX-512 alone is slower in bfloat16: 38.6 against 30.2 ms a picture of detection/small.
    return "bf16-mixed" if torch.cpu._is_amx_tile_supported() else "32-true"


@contextmanager
def prepared(learner: Any, hardware: Hardware, deterministic: bool, steps: int) -> Iterator[None]:
    """Set torch up for one fit of so many steps, and leave it as it was."""
    strict = torch.are_deterministic_algorithms_enabled()
    matmul = torch.get_float32_matmul_precision()
    try:
        if hardware.is_gpu and not deterministic:
            torch.set_float32_matmul_precision("high")
            if steps >= STEPS_WORTH_COMPILING:
                compile_network(learner.network)
        yield
    finally:
        learner.network.__dict__.pop("raw", None)
        torch.use_deterministic_algorithms(strict)
        torch.set_float32_matmul_precision(matmul)


def compile_network(network: Any, backend: str = "inductor") -> None:
    """Compile what the loss calls; where the compiler fails, the network runs as it is."""
    import torch._dynamo

    torch._dynamo.config.suppress_errors = True
    network.raw = torch.compile(network.raw, backend=backend)
