"""Boxes of many frames as flat arrays: what decoding, metrics and evaluation pass around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cityforge.errors import DataError


@dataclass(frozen=True)
class Boxes:
    """The boxes of many frames, one row a box; truth and detections alike.

    Attributes:
        frame: (N,) int64, index of the frame in its table.
        cls: (N,) int64, index of the class in the algorithm's list.
        xyxy: (N, 4) float32 or float64, pixels of the stored frame.
        score: (N,) float32, 0 to 1; ones for truth.
    """

    frame: npt.NDArray[np.int64]
    cls: npt.NDArray[np.int64]
    xyxy: npt.NDArray[np.floating]
    score: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.frame)
        shapes = {"frame": (n,), "cls": (n,), "xyxy": (n, 4), "score": (n,)}
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise DataError(f"'{name}' of shape {shape}", found=f"shape {found}", where="Boxes")

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def empty(cls) -> Boxes:
        """No boxes at all.

        >>> len(Boxes.empty())
        0
        """
        none = np.zeros(0, np.int64)
        return cls(none, none, np.zeros((0, 4), np.float64), np.zeros(0, np.float32))

    def where(self, mask: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Boxes:
        """Return the boxes of a boolean mask (N,) or of indices, in that order."""
        return Boxes(self.frame[mask], self.cls[mask], self.xyxy[mask], self.score[mask])

    def of_frame(self, i: int) -> Boxes:
        """Return the boxes of the frame with index `i`."""
        return self.where(self.frame == i)

    def above(self, threshold: float) -> Boxes:
        """Return the boxes whose score is at least `threshold`."""
        return self.where(self.score >= np.float32(threshold))

    def area(self) -> npt.NDArray[np.float64]:
        """Return the area of each box in square pixels, (N,); 0 for a box turned inside out."""
        xyxy = self.xyxy.astype(np.float64)
        sides = np.clip(xyxy[:, 2:] - xyxy[:, :2], 0, None)  # (N, 2) width, height
        return np.asarray(sides[:, 0] * sides[:, 1], dtype=np.float64)
