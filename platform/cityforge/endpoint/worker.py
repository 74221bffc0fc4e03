"""A compute process of an endpoint: decodes, runs the network, writes the JSON.

Started by the front (`pool.py`), it ends with it. The front says which models stay loaded, so
that requests end with the model they began with.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cityforge.cards.camera import CameraCard, Scene
from cityforge.endpoint.shown import as_json, shown_picture
from cityforge.endpoint.wire import Buffer, Message, receive, send
from cityforge.errors import CityforgeError, InputError
from cityforge.inference.package import open_package
from cityforge.inference.runtime import Answer, Model, answer_of
from cityforge.tasks.picture import Fitted, decode_and_fit

BATCH = 8  # pictures that are tried at once, to see whether that pays
PAYS = 0.8  # of the time that they take one by one
DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
Reply = tuple[dict[str, Any], list[Buffer]]


class Worker:
    """Holds the models, and answers messages."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._models: dict[str, Model] = {}

    def answer(self, message: Message) -> Reply:
        """The reply to one message; a fault of the input is a reply, too."""
        known: dict[str, Callable[[Message], Reply]] = {
            "load": self._load, "pictures": self._pictures, "clip": self._clip,
            "capture": _capture,
        }  # fmt: skip
        return known[message.head["op"]](message)

    def _load(self, message: Message) -> Reply:
        """Load a model and forget those that the message does not name in `keep`."""
        folder, digest = Path(message.head["folder"]), message.head["digest"]
        model = self._models.get(digest)
        if model is None:
            model = Model(open_package(folder, expected_digest=digest), self._threads)
        batch = message.head["batch"] or _best_batch(model)
        kept = {old: each for old, each in self._models.items() if old in message.head["keep"]}
        self._models = {**kept, digest: model}
        return {"batch": batch}, []

    def _pictures(self, message: Message) -> Reply:
        """Answer pictures of one or several requests: `jobs` says what each is."""
        model = self._models[message.head["digest"]]
        jobs, start = message.head["jobs"], 0
        fitted: list[Fitted | InputError] = []
        for job in jobs:
            data = message.body[start : start + job["bytes"]]
            start += job["bytes"]
            fitted.append(_fitted(model, bytes(data), job["name"]))
        whole = [each for each in fitted if isinstance(each, Fitted)]
        answers = iter(model.answer_fitted(whole))
        replies, bodies = [], []
        for job, each in zip(jobs, fitted, strict=True):
            if isinstance(each, InputError):
                replies.append({"status": 400, "error": str(each)})
                continue
            shown, marked = _shown(model, job, each, next(answers))
            replies.append({"status": 200, "bytes": len(shown), "marked": marked})
            bodies.append(shown)
        return {"jobs": replies}, list(bodies)

    def _clip(self, message: Message) -> Reply:
        from cityforge.inference.analysis import Asked, analyse

        head = message.head
        model = self._models[head["digest"]]
        scene, camera = head.get("scene"), head.get("camera")
        asked = Asked(
            scene=Scene.model_validate(scene) if scene else None,
            camera=CameraCard.model_validate(camera) if camera else None,
            fps=head["fps"],
            evidence=head["evidence"],
            most_s=head["most_s"],
        )
        try:
            found = analyse(model, Path(head["path"]), head["name"], asked)
        except CityforgeError as error:
            return {"status": 400, "error": _named(error, head["name"])}, []
        frames = found["clip"]["frames"]
        return {"status": 200, "frames": frames, "marked": bool(found["outside"])}, [as_json(found)]


def _capture(message: Message) -> Reply:
    from cityforge.endpoint.captures import keep_in

    return {"state": keep_in(message.head, bytes(message.body))}, []


def _named(error: CityforgeError, name: str) -> str:
    """The error with the name that the caller knows the file by."""
    return str(type(error)(error.expected, found=error.found, where=name))


def _fitted(model: Model, data: bytes, name: str) -> Fitted | InputError:
    about = model.about
    try:
        return decode_and_fit(data, about.input_width, about.input_height)
    except InputError as error:
        return InputError(error.expected, found=error.found, where=name)


def _shown(model: Model, job: dict[str, Any], fitted: Fitted, answer: Answer) -> tuple[bytes, bool]:
    from cityforge.inference.envelope import marks_of

    camera = CameraCard.model_validate(job["camera"]) if job.get("camera") else None
    outside = marks_of(model.about, fitted, answer, camera)
    found = shown_picture(model.about, job["name"], answer, outside, bool(job.get("map")))
    return as_json(found), bool(outside)


def _best_batch(model: Model) -> int:
    """How many pictures at once: BATCH where that is much quicker than one by one, else 1.

    The first answers of a model are slow ones, so this also warms it.
    """
    about = model.about
    canvas = np.zeros((about.input_height, about.input_width, 3), np.uint8)
    one = [Fitted(canvas, 1.0, about.input_width, about.input_height)]
    answer_of(about, [each[0] for each in model.raw(one)], one[0], None)
    alone = min(_seconds(lambda: model.raw(one)) for _ in range(3))
    if alone > 0.1:
        return 1
    together = min(_seconds(lambda: model.raw(one * BATCH)) for _ in range(2))
    return BATCH if together < PAYS * alone * BATCH else 1


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _prepare(nice: int) -> None:
    import ctypes
    import signal

    import cv2

    cv2.setNumThreads(1)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
        os.nice(nice)
    # The front decides when this process ends; a Ctrl-C goes to the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def main() -> None:
    """Answer until the front is gone: `python -m cityforge.endpoint.worker FD THREADS NICE`."""
    descriptor, threads, nice = map(int, sys.argv[1:4])
    _prepare(nice)
    worker = Worker(threads)
    with socket.socket(fileno=descriptor) as connection:
        while (message := receive(connection)) is not None:
            try:
                head, bodies = worker.answer(message)
            except CityforgeError as error:
                head, bodies = {"refused": str(error)}, []
            except MemoryError:
                head, bodies = {"fault": "expected enough memory, found none left"}, []
            except Exception as error:  # noqa: BLE001 - a fault of ours is told, and ends nothing
                traceback.print_exc()  # into the endpoint's own log
                head, bodies = {"fault": repr(error)}, []
            try:
                send(connection, head, bodies)
            except (BrokenPipeError, ConnectionResetError):
                return


if __name__ == "__main__":
    main()
