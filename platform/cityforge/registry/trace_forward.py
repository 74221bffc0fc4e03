"""What rests on labels and frames: snapshots, versions, and what answers with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cityforge.dataset.lineage_lookup import integers
from cityforge.registry.answered import Answers, bentos_here, is_bento_of, served_here
from cityforge.registry.records import Named, Records
from cityforge.registry.trace_tree import Node, number_of

# Snapshot to the rows of the frames that are asked about; None: which ones is not on record.
Holds = Mapping[str, NDArray[Any] | None]


class Forward:
    """Walks from data to what was made of it."""

    def __init__(self, records: Records, full: bool) -> None:
        self._records = records
        self._full = full
        self._answers = Answers(records.project)
        self._served = served_here(records.project)
        self._bentos = bentos_here(records.project)

    def snapshots(self, holds: Holds) -> list[Node]:
        """Each snapshot that holds them, with the versions that were made of it."""
        found = []
        for snapshot, rows in holds.items():
            lineage = self._records.lineages.get(snapshot)
            known = self._records.held(snapshot)
            dataset = lineage.about["dataset"] if lineage else known[0] if known else ""
            versions = self._versions(snapshot, rows)
            frames = "" if rows is None else f", {number_of(len(rows), 'frame')} of them"
            node = Node(
                "snapshot", snapshot,
                f"snapshot {snapshot[:16]} of dataset '{dataset}'{frames}: "
                f"{number_of(len(versions), 'version')}",
                {"dataset": dataset, "frames": None if rows is None else len(rows)},
                forward=versions,
            )  # fmt: skip
            found.append(node)
        return sorted(found, key=lambda each: (-len(each.forward), each.id))

    def _versions(self, snapshot: str, rows: NDArray[Any] | None) -> list[Node]:
        found: dict[Named, Node] = {}
        for split in self._records.splits_of.get(snapshot, []):
            inside = self._inside(split, rows)
            for named in self._records.of_split[split]:
                found[named] = self.version(named, inside)
        for named in list(found):
            for heir in self._records.descendants(named):
                if heir not in found:
                    found[heir] = self.version(heir, None)
                    found[heir].text += f", began from {named[0]} version {named[1]}"
                    found[heir].facts["began_from"] = f"{named[0]}@{named[1]}"
        return sorted(found.values(), key=_first_the_champions)

    def _inside(self, split: str, rows: NDArray[Any] | None) -> dict[str, int] | None:
        """How many of the frames are in which subset; None where nobody knows."""
        subsets = self._records.subsets(split)
        if subsets is None or rows is None:
            return None
        return dict(Counter(each or "left out" for each in subsets.of(rows)))

    def version(self, named: Named, inside: dict[str, int] | None = None) -> Node:
        """A version, how it stands, and what answers with it.

        Args:
            inside: how many of the frames that are asked about are in which subset.
        """
        name, number = named
        state = self._records.versions[named]
        champion = self._records.standing(name).champion == number
        words = f"champion, {state.words()}" if champion else state.words()
        text = f"{name} version {number}: {words}"
        if inside:
            text += "; " + ", ".join(f"{key} {count:,}" for key, count in inside.items())
        body = state.register.body
        facts: dict[str, Any] = {
            "algorithm": name, "version": number, "champion": champion, "standing": words,
            "package_digest": body["package_digest"], "evidence_digest": body["evidence_digest"],
        }  # fmt: skip
        if inside is not None:
            facts["frames_by_subset"] = inside
        node = Node("version", f"{name}@{number}", text, facts)
        node.forward = self._answering(named, str(body["package_digest"]))
        return node

    def _answering(self, named: Named, package: str) -> list[Node]:
        name, number = named
        found = []
        served = self._served.get(name)
        if served and served[0] == number:
            why = f", barred: {served[1]}" if served[1] else ""
            found.append(Node("endpoint", name, f"endpoint of '{name}' on this machine{why}",
                              {"barred": served[1]}))  # fmt: skip
        for tag in self._bentos:
            if is_bento_of(tag, name, number, package):
                found.append(Node("bento", tag, f"Bento {tag}"))
        count = self._answers.counts[package]
        if count:
            facts: dict[str, Any] = {"answers": count}
            if self._full:
                facts["request_ids"] = self._answers.ids(package)
            found.append(
                Node("answers", package[:16], f"{number_of(count, 'answer')} on record", facts)
            )
        return found


def _first_the_champions(node: Node) -> tuple[bool, str, int]:
    return (not node.facts["champion"], str(node.facts["algorithm"]), -int(node.facts["version"]))


def rows_by_snapshot(found: Mapping[str, Any]) -> dict[str, NDArray[Any] | None]:
    """Rows of the frames that labels stand on, by snapshot.

    Args:
        found: snapshot to its labels.
    """
    return {
        snapshot: np.unique(integers(labels["frame"]))
        for snapshot, labels in found.items()
        if labels.num_rows
    }
