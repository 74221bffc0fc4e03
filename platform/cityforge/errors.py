"""Every error that cityforge raises on purpose.

    CityforgeError
    ├── CardError          a card or parameter file does not say what it must
    ├── InputError         what a person handed in cannot be used
    │   ├── FootageError   a file that is no footage, or is broken
    │   ├── LabelError     a label file that cannot be read
    │   └── NameUnknown    a name that nothing carries; suggests the nearest
    ├── DataError          tables or snapshots that contradict each other
    │   ├── TableError     a table with another schema
    │   └── CheckFailed    a data check of the card was not met
    ├── PackageError       a model package that is incomplete or was changed
    ├── TrustError         a key, a signature or a journal that does not hold
    ├── RegistryError      the model registry refuses
    │   └── NotApproved    an act that needs an approved version
    └── ServiceError       something outside is missing: disk, port, server

Each carries four short texts, printed as one line:
what was expected, what was found, where, and what to do.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class CityforgeError(Exception):
    """One line for a person: expected, found, where, what to do."""

    def __init__(self, expected: str, *, found: str = "", where: str = "", do: str = "") -> None:
        self.expected = expected
        self.found = found
        self.where = where
        self.do = do
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [f"expected {self.expected}"]
        if self.found:
            parts.append(f"found {self.found}")
        if self.where:
            parts.append(f"in {self.where}")
        line = ", ".join(parts)
        return on_one_line(f"{line}: {self.do}" if self.do else line)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.expected, self.found, self.where, self.do)


def on_one_line(text: str) -> str:
    r"""Line breaks and other signs that do not print, as a file's name may hold, are spelt out.

    >>> on_one_line("found no film, in a\nb.mp4")
    'found no film, in a\\nb.mp4'
    """
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _rebuild(
    kind: type[CityforgeError], expected: str, found: str, where: str, do: str
) -> CityforgeError:
    error = kind.__new__(kind)
    CityforgeError.__init__(error, expected, found=found, where=where, do=do)
    return error


class CardError(CityforgeError):
    """A card or parameter file with one or more faults, all listed, one a line."""

    def __init__(
        self,
        expected: str,
        *,
        found: str = "",
        where: str = "",
        do: str = "",
        faults: tuple[str, ...] = (),
    ) -> None:
        self.faults = faults
        super().__init__(expected, found=found, where=where, do=do)

    def __str__(self) -> str:
        return "\n".join(self.faults) if self.faults else super().__str__()

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_card, (self.expected, self.found, self.where, self.do, self.faults)


def _rebuild_card(
    expected: str, found: str, where: str, do: str, faults: tuple[str, ...]
) -> CardError:
    return CardError(expected, found=found, where=where, do=do, faults=faults)


class InputError(CityforgeError):
    """What a person handed in cannot be used."""


class FootageError(InputError):
    """A file that is no footage, or is broken."""


class LabelError(InputError):
    """A label file that cannot be read."""


class NameUnknown(InputError):
    """A name that nothing carries; the nearest known names are suggested."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        names = sorted(known)
        super().__init__(f"{kind}", found=f"'{name}'", where=where, do=suggest(name, names))


class DataError(CityforgeError):
    """Tables or snapshots that contradict each other."""


class TableError(DataError):
    """A table with another schema than its step expects."""


class CheckFailed(DataError):
    """A data check that the dataset's card asks for was not met."""


class PackageError(CityforgeError):
    """A model package that is incomplete or was changed."""


class TrustError(CityforgeError):
    """A key, a signature or a journal that does not hold."""


class RegistryError(CityforgeError):
    """The model registry refuses."""


class NotApproved(RegistryError):
    """An act that needs an approved model version."""


class ServiceError(CityforgeError):
    """Something outside is missing: disk, port, server."""


def line_of(error: Exception) -> str | None:
    """What a person reads of a failure that was foreseen; None for one that was not.

    Beside this tree, these are the failures of the machine that any step can meet.
    """
    if isinstance(error, CityforgeError):
        return str(error)
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "the disk"
        return f"expected free disk, found none, in {where}: free some and run it again"
    if isinstance(error, PermissionError):
        return f"expected the right to use {error.filename}, found none: change its owner or mode"
    if error.filename:
        return f"expected to read or write {error.filename}, found {error.strerror}"
    return None


def suggest(name: str, known: Iterable[str]) -> str:
    """Say what to do about a name that is not known.

    >>> suggest("train.epoch", ["train.epochs", "train.lr"])
    "did you mean 'train.epochs'?"
    >>> suggest("x", ["car", "bus"])
    'known: bus, car'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if not names:
        return "there is none yet"
    shown = ", ".join(names[:12])
    return f"known: {shown}" + (", …" if len(names) > 12 else "")
