"""Groups of frames that go to one subset together: joined where their pictures are near."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Units:
    """Groups, joined into units; a unit has one subset, or none yet.

    Args:
        groups: names of all groups.
        given: subset of the groups that have one; it is never changed.
    """

    def __init__(self, groups: Iterable[str], given: Mapping[str, str]) -> None:
        self._unit = {group: [group] for group in sorted(groups)}
        self._subset = dict(given)

    def subset_of(self, group: str) -> str | None:
        """Subset of a group's unit; None: it has none yet."""
        return self._subset.get(group)

    def join(self, one: str, other: str) -> bool:
        """Make one unit of two groups' units; False: their subsets differ, and they stay apart.

        A camera that is to stay unseen joins nothing.
        """
        if self._unit[one] is self._unit[other]:
            return True
        subsets = {self._subset[each] for each in (one, other) if each in self._subset}
        if len(subsets) > 1 or "unseen" in subsets:
            return False
        whole = sorted(self._unit[one] + self._unit[other])
        for group in whole:
            self._unit[group] = whole
            self._subset |= dict.fromkeys([group], *subsets) if subsets else {}
        return True

    def free(self) -> list[list[str]]:
        """Units without a subset, each sorted, in the order of their first groups."""
        return [
            unit
            for group, unit in self._unit.items()
            if group not in self._subset and unit[0] == group
        ]

    def give(self, groups: Iterable[str], subset: str) -> None:
        """Give the units of these groups a subset, where they have none yet."""
        for group in groups:
            if group not in self._subset:
                self._subset |= dict.fromkeys(self._unit[group], subset)

    def fill(self, subset: str, wanted: int, order: Iterable[list[str]]) -> None:
        """Take units in this order until a subset has about so many groups.

        A unit is passed over where the number is met more nearly without it; a subset that
        would stay empty takes the smallest one.
        """
        units = list(order)
        there = sum(found == subset for found in self._subset.values())
        taken: list[list[str]] = []
        for unit in units:
            missing = wanted - there - sum(map(len, taken))
            if abs(missing - len(unit)) < missing:
                taken.append(unit)
        if wanted and units and not there and not taken:
            taken = [min(units, key=len)]
        self.give((unit[0] for unit in taken), subset)
