"""Subsets that stay: which group went where, kept in git, so that added data moves no frame."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cityforge.cards.params import SplitParams
from cityforge.dataset.digests import digest_of
from cityforge.dataset.snapshot import write_json
from cityforge.errors import DataError

SUBSETS_FILE = "subsets.json"
# What says which pairs are near and how much leak is borne moves no group that has its subset.
NO_RULE = {"near", "most_leak"}


@dataclass(frozen=True)
class Frozen:
    """The subset of every group that ever had one.

    Args:
        rule: digest of the parameters that the subsets were given by.
        rounds: group to subset; each split that met new groups added a round.
    """

    rule: str
    rounds: list[dict[str, str]] = field(default_factory=list)

    @property
    def subset_of(self) -> dict[str, str]:
        """Subset of each group."""
        return {group: subset for each in self.rounds for group, subset in each.items()}

    @property
    def since(self) -> dict[str, int]:
        """Round in which each group got its subset, from 0."""
        return {group: number for number, each in enumerate(self.rounds) for group in each}

    def with_new(self, subset_of: Mapping[str, str]) -> Frozen:
        """These and, as one more round, the groups that are new."""
        known = self.subset_of
        new = {group: subset_of[group] for group in sorted(subset_of) if group not in known}
        return Frozen(self.rule, [*self.rounds, new]) if new else self


def rule_of(params: SplitParams) -> str:
    """Digest of what decides a group's subset."""
    return digest_of(params.model_dump(mode="json", exclude=NO_RULE))


def read_frozen(folder: Path, params: SplitParams) -> tuple[Frozen, str]:
    """The subsets kept in an algorithm's folder, and a line where they are made anew.

    Raises:
        DataError: the file is not what a split wrote.
    """
    path, rule = folder / SUBSETS_FILE, rule_of(params)
    if not path.is_file():
        return Frozen(rule), ""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        found = Frozen(str(stored["rule"]), [dict(each) for each in stored["rounds"]])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            "the subsets of a split",
            found=f"{type(error).__name__}: {error}",
            where=str(path),
            do="git checkout it; or remove it: every group gets its subset anew",
        ) from error
    if found.rule != rule:
        return Frozen(rule), f"params split changed: every group gets its subset anew ({path.name})"
    return found, ""


def write_frozen(folder: Path, frozen: Frozen) -> None:
    """Write the subsets beside, then rename; a file that says the same is left as it is."""
    path = folder / SUBSETS_FILE
    content = {"rule": frozen.rule, "rounds": frozen.rounds}
    if path.is_file():
        try:
            if json.loads(path.read_text(encoding="utf-8")) == content:
                return
        except ValueError:
            pass
    write_json(path, content)
