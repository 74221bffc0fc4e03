"""The cameras an endpoint has a card of: `serving/cameras/<name>.yaml`, followed while it runs."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

from cityforge.cards.camera import CameraCard
from cityforge.cards.yaml_files import read_card
from cityforge.errors import CityforgeError, InputError, on_one_line, suggest

LOOK_EVERY_S = 0.5
SHARE = 20  # a look may take one part of so many: of thousands of cards it is taken less often
SHOWN = 12  # names in a refusal

logger = logging.getLogger(__name__)
Mark = tuple[int, int, int]  # inode, time of change, bytes


@dataclass(frozen=True)
class _File:
    """What a file said when it was read; a card that was whole stays when its file is not."""

    mark: Mark
    card: CameraCard | None
    fault: str


class Cameras:
    """Finds the card of a camera by its name.

    Args:
        folder: of the cards; None: no camera is known.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._cards: dict[str, CameraCard] = {}
        self.faults: tuple[str, ...] = ()  # why a card is not followed, a line each
        if folder:
            self.look()
            threading.Thread(
                target=_watch, args=[weakref.ref(self)], daemon=True, name="cameras"
            ).start()

    def names(self) -> list[str]:
        """Of every camera that is known, sorted."""
        return sorted(self._cards)

    def find(self, name: str) -> CameraCard:
        """The card of a camera.

        Raises:
            InputError: none has this name; names the nearest, and those there are.
        """
        cards = self._cards
        if name in cards:
            return cards[name]
        names = sorted(cards)
        near = suggest(name, names)
        if near.startswith("did you mean"):
            near += f" known: {', '.join(names[:SHOWN])}" + (", …" if len(names) > SHOWN else "")
        raise InputError("a camera that has a card here", found=f"'{name[:200]}'", do=near)

    def look(self) -> None:
        """Read what is new or has changed; a faulty card is told, the others stay."""
        if self._folder is None:
            return
        try:
            marks = _marks(self._folder)
        except FileNotFoundError:  # no camera has a card yet
            marks = {}
        except OSError as error:
            self._tell((f"expected camera cards, found {error.strerror}, in {self._folder}",))
            return
        self._files = {
            name: self._file(self._folder / name, mark) for name, mark in sorted(marks.items())
        }
        cards: dict[str, CameraCard] = {}
        faults = [each.fault for each in self._files.values() if each.fault]
        for file, each in self._files.items():
            if each.card is None:
                continue
            if each.card.name in cards:
                where = self._folder / file
                faults.append(f"expected one card a camera, found '{each.card.name}' twice, "
                              f"in {where}: remove one")  # fmt: skip
                continue
            cards[each.card.name] = each.card
        self._cards = cards
        self._tell(tuple(map(on_one_line, faults)))

    def _file(self, path: Path, mark: Mark) -> _File:
        before = self._files.get(path.name)
        if before and before.mark == mark:
            return before
        try:
            return _File(mark, read_card(CameraCard, path), "")
        except (CityforgeError, OSError, RecursionError, ValueError) as error:
            lines = (str(error) or repr(error)).splitlines()
            more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
            fault = lines[0] if isinstance(error, CityforgeError) else f"{lines[0]}, in {path}"
            return _File(mark, before.card if before else None, fault + more)

    def _tell(self, faults: tuple[str, ...]) -> None:
        for each in faults:
            if each not in self.faults:
                logger.warning("a camera's card is refused: %s", each)
        self.faults = faults


def _watch(held: weakref.ref[Cameras]) -> None:
    """Look now and then, as long as somebody holds the cameras."""
    took = 0.0
    while True:
        time.sleep(max(LOOK_EVERY_S, SHARE * took))  # nothing tells that a card was changed
        cameras = held()
        if cameras is None:
            return
        begun = time.monotonic()
        cameras.look()
        took = time.monotonic() - begun
        del cameras


def _marks(folder: Path) -> dict[str, Mark]:
    """Every card's file, by its name."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".yaml", ".yml")) and not entry.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                    if entry.is_file():
                        known = entry.stat()
                        found[entry.name] = (known.st_ino, known.st_mtime_ns, known.st_size)
    return found
