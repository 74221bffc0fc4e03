"""What is on record of versions and of what they rest on, each part read when it is asked for.

Versions come from the journal, what a snapshot held from its lineage, and where that is not on
this machine, from `datasets/*/history`, which names the films alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from cityforge.dataset.history import Held, read_history
from cityforge.dataset.lineage import lineage_root, split_path
from cityforge.dataset.lineage_lookup import Lineage, Subsets
from cityforge.errors import DataError
from cityforge.project import Project
from cityforge.registry.lineage import basis_path, lineages_here
from cityforge.registry.standing import Standing, State, standing
from cityforge.trust.entries import Entry

WEIGHTS_OF = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>\d+)")
Named = tuple[str, int]  # algorithm, version


@dataclass(frozen=True)
class Basis:
    """What a version rests on; "" is what nobody says."""

    split: str  # digest that the version names
    snapshot: str
    dataset: str
    source: str = ""  # of its first weights: models:/NAME/NUMBER, a file; "" from scratch
    source_split: str = ""  # digest that those weights were trained on


class Records:
    """The journal's versions, and what this machine knows of their descent.

    Args:
        entries: of the journal, at least those of `standing.ACTS`.
    """

    def __init__(self, project: Project, entries: Sequence[Entry]) -> None:
        self.project = project
        self.entries = entries
        self.standing = lru_cache(maxsize=None)(self._standing)
        self.basis = lru_cache(maxsize=None)(self._basis)
        self.subsets = lru_cache(maxsize=None)(self._subsets)

    @cached_property
    def algorithms(self) -> list[str]:
        """Every algorithm that has a version."""
        return sorted({each.about for each in self.entries if each.act == "register"})

    @cached_property
    def versions(self) -> dict[Named, State]:
        """Every version, the newest of an algorithm first."""
        return {
            (name, number): found.versions[number]
            for name in self.algorithms
            for found in [self.standing(name)]
            for number in sorted(found.versions, reverse=True)
        }

    @cached_property
    def lineages(self) -> dict[str, Lineage]:
        """Lineages on this machine, by the digest of their snapshot."""
        return lineages_here(self.project)

    @cached_property
    def histories(self) -> dict[str, dict[str, Held]]:
        """Snapshots and splits that the datasets' history names, by dataset and digest."""
        folders = sorted(path for path in self.project.root.glob("datasets/*") if path.is_dir())
        return {path.name: read_history(path) for path in folders}

    @cached_property
    def of_split(self) -> dict[str, list[Named]]:
        """Versions by the digest that they name."""
        found: dict[str, list[Named]] = {}
        for named, state in self.versions.items():
            found.setdefault(str(state.register.body["snapshot_digest"]), []).append(named)
        return found

    @cached_property
    def splits_of(self) -> dict[str, list[str]]:
        """Digests that versions name, by their snapshot; "" holds those of unknown ones."""
        found: dict[str, list[str]] = {}
        for split, (named, *_) in self.of_split.items():
            found.setdefault(self.basis(named).snapshot, []).append(split)
        return found

    @cached_property
    def heirs(self) -> dict[Named, list[Named]]:
        """Versions whose training began from the weights of a version."""
        found: dict[Named, list[Named]] = {}
        for named in self.versions:
            for parent in self.parents(named):
                found.setdefault(parent, []).append(named)
        return found

    def held(self, digest: str) -> tuple[str, Held] | None:
        """Dataset and history of a snapshot or split."""
        for dataset, history in self.histories.items():
            if digest in history:
                return dataset, history[digest]
        return None

    def parents(self, named: Named) -> list[Named]:
        """The versions from whose weights a version began; a file is told by what it learnt of."""
        basis = self.basis(named)
        found = WEIGHTS_OF.fullmatch(basis.source)
        if found:
            return [(found["name"], int(found["version"]))]
        return [each for each in self.of_split.get(basis.source_split, []) if each != named][-1:]

    def descendants(self, named: Named) -> Iterator[Named]:
        """Versions that began from this one's weights, and from theirs."""
        waiting, seen = list(self.heirs.get(named, [])), {named}
        while waiting:
            heir = waiting.pop(0)
            if heir not in seen:
                seen.add(heir)
                yield heir
                waiting += self.heirs.get(heir, [])

    def snapshot_of(self, split: str) -> tuple[str, str]:
        """Dataset and digest of the snapshot that a split is of; "" and "" when nobody says."""
        subsets = self.subsets(split)
        if subsets:
            return subsets.about["dataset"], subsets.about["snapshot"]
        known = self.held(split)
        return (known[0], known[1].snapshot) if known else ("", "")

    def _standing(self, algorithm: str) -> Standing:
        return standing(self.entries, algorithm)

    def _basis(self, named: Named) -> Basis:
        state = self.versions.get(named)
        if state is None:
            return Basis("", "", "")
        body = state.register.body
        split = str(body["snapshot_digest"])
        told = body.get("lineage") or self._told(str(body["run_id"]))
        told = told if told.get("split") == split else {}  # of another build than the package
        dataset, snapshot = (told.get("dataset", ""), told.get("snapshot", ""))
        if not snapshot:
            dataset, snapshot = self.snapshot_of(split)
        initial: dict[str, Any] = told.get("initial") or {}
        return Basis(
            split, snapshot, dataset, initial.get("source", ""), initial.get("snapshot", "")
        )

    def _told(self, run_id: str) -> dict[str, Any]:
        path = basis_path(self.project, run_id)
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DataError(
                "what a version rests on",
                found=str(error),
                where=str(path),
                do="remove it; cityforge trace --fetch brings it again",
            ) from error
        return found

    def _subsets(self, split: str) -> Subsets | None:
        path = split_path(lineage_root(self.project), split)
        return Subsets(path) if split and path.is_file() else None
