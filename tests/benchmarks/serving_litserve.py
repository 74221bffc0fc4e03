"""The peer: LitServe (Apache-2.0) with the same model, threads and decoding.

    $CITYFORGE_LITSERVE_ENV/bin/python serving_litserve.py PACKAGE PORT PROCESSES

Runs in an environment of its own: litserve with what serving/requirements.txt pins.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import cv2
import litserve
from fastapi import File

from cityforge.inference.package import open_package
from cityforge.inference.runtime import Model

THREADS = 1


class Detection(litserve.LitAPI):  # type: ignore[misc]
    """Answers one uploaded picture as the endpoint does."""

    def __init__(self, package: Path) -> None:
        super().__init__()
        self._package = package

    def setup(self, device: str) -> None:
        cv2.setNumThreads(1)
        self._model = Model(open_package(self._package), THREADS)

    def decode_request(self, request: Annotated[bytes, File(alias="images")]) -> bytes:
        return request

    def predict(self, data: bytes) -> Any:
        return self._model.answer([data])[0]

    def encode_response(self, answer: Any) -> dict[str, Any]:
        names = self._model.about.classes
        boxes = []
        rows = zip(answer.cls.tolist(), answer.score.tolist(), answer.xyxy.tolist(), strict=True)
        for cls, score, box in rows:
            x1, y1, x2, y2 = (round(each, 3) for each in box)
            name, sure = names[cls], round(score, 5)
            boxes.append(
                {"class_name": name, "score": sure, "x1": x1, "y1": y1, "x2": x2, "y2": y2}
            )
        shown = {"width": answer.width, "height": answer.height, "boxes": boxes}
        return {"digest": self._model.digest, "pictures": [shown]}


def main() -> None:
    package, port, processes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    server = litserve.LitServer(
        Detection(package), accelerator="cpu", workers_per_device=processes, timeout=60
    )
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error",
               access_log=False)  # fmt: skip


if __name__ == "__main__":
    main()
