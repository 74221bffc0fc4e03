"""Holds answers against their trace: back to labels and film, and forward again to the answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cityforge.registry.records import Records
from cityforge.registry.trace import trace


@dataclass
class Checked:
    """How much was looked at."""

    requests: int = 0
    labels: set[str] = field(default_factory=set)  # drawn one an answer, and traced forward
    films: set[str] = field(default_factory=set)
    versions: set[str] = field(default_factory=set)


class Checker:
    """Traces answers of one project; what many of them share is traced once."""

    def __init__(self, records: Records, seed: int = 0) -> None:
        self._records = records
        self._draw = random.Random(seed)
        self._back: dict[str, dict[str, Any]] = {}  # version's id to its basis
        self._forward: dict[str, dict[str, Any]] = {}
        self.seen = Checked()

    def check(self, request_id: str) -> None:
        """Raise AssertionError unless the answer leads to labels and films, and they to it."""
        (version,) = self._traced_request(request_id)
        held = self._basis(version)
        learnt = [at for at, subset in enumerate(held["subset"]) if subset == "train"]
        assert learnt, f"{request_id}: nothing that it learnt from"
        at = self._draw.choice(learnt)
        row = {name: values[at] for name, values in held.items()}
        assert row["frame_id"] == f"{row['footage_id']}-{round(row['pts_s'] * 1000)}"
        for text in (f"label:{row['label_id']}", f"film:{row['footage_id']}"):
            assert request_id in self._answers(text, version), f"{text} does not lead to it"
        label = self._forward[f"label:{row['label_id']}"]
        for name in ("frame_id", "footage_id", "pts_s", "annotator", "annotation_id"):
            assert label[name] == row[name], (request_id, name)
        self.seen.requests += 1
        self.seen.labels.add(row["label_id"])
        self.seen.films.add(row["footage_id"])
        self.seen.versions.add(version)

    def _traced_request(self, request_id: str) -> list[str]:
        """The version that answered, by its id; the basis is kept."""
        package = request_id.partition("-")[0]
        if package not in self._back:
            node = trace(self._records, request_id, full=True).as_dict()
            self._back[package] = {each["id"]: each for each in node["back"]}
        return list(self._back[package])

    def _basis(self, version: str) -> dict[str, list[Any]]:
        node = next(each[version] for each in self._back.values() if version in each)
        snapshot = next(each for each in node["back"] if each["kind"] == "snapshot")
        held: dict[str, list[Any]] = snapshot["held"]
        return held

    def _answers(self, text: str, version: str) -> set[str]:
        """Ids of the answers of a version that something leads to."""
        if text not in self._forward:
            self._forward[text] = trace(self._records, text, full=True).as_dict()
        found: set[str] = set()
        for snapshot in self._forward[text]["forward"]:
            for each in snapshot.get("forward", ()):
                if each["id"] == version:
                    for answers in each.get("forward", ()):
                        found |= set(answers.get("request_ids", ()))
        return found


def check_requests(records: Records, request_ids: Sequence[str], seed: int = 0) -> Checked:
    """Check every answer; how much was looked at."""
    checker = Checker(records, seed)
    for each in request_ids:
        checker.check(each)
    return checker.seen
