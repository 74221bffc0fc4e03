"""How a training was led around what went wrong, and what can be done about an error."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

import torch

from cityforge.cards.params import DataParams
from cityforge.errors import DataError

# How torch says that a loader's process is gone; the cause may say of what.
WORKER_GONE, WORKER_KILLED = "exited unexpectedly", "killed by signal: Killed"
# How torch, its libraries and the system say that memory is used up.
OUT_OF_MEMORY = (
    "can't allocate memory",  # torch's allocator on processors
    "out of memory",  # CUDA
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "could not create a memory object",  # oneDNN
    "std::bad_alloc",
    "Insufficient memory",  # OpenCV
    "Cannot allocate memory",  # fork
    WORKER_KILLED,  # by the kernel
    "out of shared memory",  # the same, where /dev/shm is full
)


@dataclass
class Course:
    """What was changed on the way; it is kept in the training's checkpoints."""

    parts: int = 1  # into how many a step's frames are parted, one after another
    rate: float = 1.0  # of `train.learning_rate`
    notes: list[str] = field(default_factory=list)

    def meet(self, error: Exception, frames: int, epoch: int, data: DataParams) -> str:
        """Change the course after an error, and say how in a line.

        Args:
            frames: a step, on one device.

        Raises:
            DataError: nothing can be changed any more.
            Exception: the error itself, where it is of another kind.
        """
        if is_out_of_memory(error):
            line = self._take_smaller_parts(frames, data, error)
        elif isinstance(error, FloatingPointError):
            line = self._take_smaller_steps(error, epoch)
        else:
            raise error
        self.notes.append(line)
        return line

    def meet_kill(self, frames: int, data: DataParams) -> str:
        """Change the course after the system killed the training for memory, and say how.

        Args:
            frames: a step, on one device.

        Raises:
            DataError: it had only one frame at once.
        """
        line = self._take_smaller_parts(frames, data, how=" (the system killed the training)")
        self.notes.append(line)
        return line

    def _take_smaller_parts(
        self, frames: int, data: DataParams, error: Exception | None = None, how: str = ""
    ) -> str:
        more = next_parts(frames, self.parts)
        if more is None:
            raise DataError(
                "memory for one frame at a time", where="training",
                found=f"too little for {data.input_width}x{data.input_height} pixels",
                do="lower data.input_width and data.input_height, or take a smaller network",
            ) from error  # fmt: skip
        before, self.parts = frames // self.parts, more
        return (
            f"memory was too short for {before} frames at once{how}: "
            f"taken {frames // more} at a time, {frames} a step as before"
        )

    def _take_smaller_steps(self, error: FloatingPointError, epoch: int) -> str:
        if self.rate < 1:
            raise DataError(
                "a finite loss", found=f"{error}, with half the learning rate, too",
                where="training", do="lower train.learning_rate",
            ) from error  # fmt: skip
        self.rate = 0.5
        return f"learning rate halved in epoch {epoch} ({error})"


def next_parts(frames: int, parts: int) -> int | None:
    """Into how many equal parts a step is taken next: half as large, or a little less.

    >>> [next_parts(16, 1), next_parts(16, 2), next_parts(6, 2), next_parts(7, 1)]
    [2, 4, 6, 7]
    >>> next_parts(6, 6) is None
    True
    """
    wanted = [each for each in range(2 * parts, frames + 1) if frames % each == 0]
    if wanted:
        return wanted[0]
    return frames if parts < frames else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was used up, on a device or the machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error)
    if said.endswith(WORKER_GONE):
        said = str(error.__cause__ or "") or WORKER_KILLED
    return any(text in said for text in OUT_OF_MEMORY)
