"""Run in an environment of its own, which has Ultralytics: trains yolo11n and prints one JSON line.

python ultralytics_side.py DATA_YAML OUT_FOLDER SIZE EPOCHS HOURS
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


class Clock:
    """What a training shows by the epoch, and the seconds that it trained."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.begun = time.monotonic()
        self.training = 0.0
        self._epoch_begun = 0.0

    def epoch_starts(self, trainer: Any) -> None:
        self._epoch_begun = time.monotonic()

    def epoch_trained(self, trainer: Any) -> None:
        self.training += time.monotonic() - self._epoch_begun

    def epoch_judged(self, trainer: Any) -> None:
        figures = trainer.metrics
        self.rows.append(
            {
                "epoch": trainer.epoch + 1,
                "seconds": time.monotonic() - self.begun,
                "map50": figures["metrics/mAP50(B)"],
                "map50_95": figures["metrics/mAP50-95(B)"],
            }
        )


def main(data: str, out: str, size: str, epochs: str, hours: str) -> None:
    from ultralytics import YOLO, settings  # no dependency of ours: only that environment has it

    settings.update({"sync": False})
    model = YOLO("yolo11n.yaml")  # from scratch: a .yaml brings no weights
    clock = Clock()
    model.add_callback("on_train_epoch_start", clock.epoch_starts)
    model.add_callback("on_train_epoch_end", clock.epoch_trained)
    model.add_callback("on_fit_epoch_end", clock.epoch_judged)
    limits = {"time": float(hours)} if float(hours) else {"epochs": int(epochs)}
    model.train(
        data=data, imgsz=int(size), device="cpu", project=out, name="run", exist_ok=True, **limits
    )
    frames = len(list((Path(data).parent / "train" / "images").iterdir()))
    judged = [row for row in clock.rows if row["map50"] is not None]
    result = {
        "rows": judged,
        "seconds": judged[-1]["seconds"],
        "images_per_second": frames * len({row["epoch"] for row in judged}) / clock.training,
        "best_map50": max(row["map50"] for row in judged),
        "best_map50_95": max(row["map50_95"] for row in judged),
    }
    sys.stdout.write("\nRESULT " + json.dumps(result) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:6])
