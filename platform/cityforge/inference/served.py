"""The release that an endpoint answers with: checked before it answers, exchanged while it runs.

`cityforge serve` publishes which release is to be served in a small file; each process of the
endpoint watches it. A request that has begun ends with the model it began with.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cityforge.errors import CityforgeError, PackageError, TrustError
from cityforge.inference.package import About
from cityforge.inference.release import Release, checked_package, open_release
from cityforge.trust.chain import TrustedKey, key_from
from cityforge.trust.release import refuse_release

LOOK_EVERY_S = 0.5
PACKAGE = "package"  # beside release.json
TAKEN = "taken.json"  # beside the pointer: the last release that answered
AGAIN_S, MOST_AGAIN_S = 30.0, 600.0  # until what was refused is tried again; each time twice that
REFUSALS = (CityforgeError, OSError, ValueError, KeyError, TypeError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """What `cityforge serve` asks an endpoint to answer with."""

    folder: str  # holds package/ and release.json
    trusted: dict[str, TrustedKey]  # keys of the site as they stand, by their id
    barred: str = ""  # why it may not be answered any more
    holding: tuple[str, ...] | None = (
        None  # digests of all packages that may answer; None: not said
    )


@dataclass(frozen=True)
class Served:
    """A release that was checked and may be answered with."""

    about: About
    digest: str  # of the package
    package: str  # its folder
    release: Release
    barred: str = ""


def write_published(path: Path, published: Published) -> None:
    """Write what is to be served beside `path`, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, asdict(published))


def read_published(path: Path) -> Published:
    """Read what `write_published` wrote."""
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    keys = {each["key_id"]: key_from(each) for each in stored["trusted"].values()}
    holding = stored.get("holding")
    return Published(
        stored["folder"], keys, stored["barred"], None if holding is None else tuple(holding)
    )


def open_served(published: Published | None, built_in: Path) -> Served:
    """Check a release.

    Args:
        published: what the site asks for; None serves what lies in `built_in`, by its own keys.

    Raises:
        PackageError, TrustError: unsigned, changed, unapproved, or by a key that is not trusted.
    """
    folder = Path(published.folder) if published else built_in
    release = open_release(folder, published.trusted if published else None)
    package = checked_package(folder / PACKAGE, release)
    barred = published.barred if published else ""
    return Served(package.about, package.digest, str(folder / PACKAGE), release, barred)


class Exchange:
    """Holds what is served, and exchanges it when something else is published.

    What answered is remembered beside the pointer, where that can be written: a start goes back
    to it when what is published is refused and it may still answer.

    Raises:
        PackageError, TrustError: what is to be served first is refused.
    """

    def __init__(self, built_in: Path, pointer: Path | None) -> None:
        self._built_in, self._pointer = built_in, pointer
        self._seen = self._mark()
        self._again_at, self._pause_s = float("inf"), AGAIN_S
        self.refused = ""  # why the newest release published is not the one that answers
        self._take: Callable[[Served], None] = lambda _: None
        self._ended = threading.Event()
        published = read_published(pointer) if pointer else None
        try:
            self.now = open_served(published, built_in)
        except REFUSALS as error:
            if not self.fall_back(error):
                raise

    def fall_back(self, error: Exception) -> bool:
        """At a start, go back to the last release that answered; False where none may.

        It passes every check of a start: its files, the site's keys, and that the site still
        lets it answer.

        Args:
            error: why what is published cannot answer.
        """
        if self.refused or self._pointer is None:
            return False
        try:
            self.now = _open_taken(self._pointer, read_published(self._pointer))
        except REFUSALS as lacking:
            logger.error("no release before it may answer: %s", lacking)
            return False
        self._refuse(error)
        return True

    def remember(self) -> None:
        """Keep on disk that what answers now was taken; a folder that is read-only stays so."""
        if self._pointer is None or self.now.barred:
            return
        try:
            _write(self._pointer.with_name(TAKEN), {"folder": str(Path(self.now.package).parent)})
        except OSError as error:
            logger.info("which release answers is not kept for the next start: %s", error)

    def watch(self, take: Callable[[Served], None]) -> None:
        """Look at what is published from now on, in a thread of its own.

        Args:
            take: loads the model of a release before it answers; a CityforgeError refuses it.
        """
        self._take = take
        if self._pointer:
            threading.Thread(target=self._watch, daemon=True, name="exchange").start()

    def look(self) -> None:
        """Take what is published now, if it is another; one that fails its check is refused.

        What was refused is tried again now and then: memory or time may have been short.
        """
        mark = self._mark()
        is_new = mark != self._seen
        if self._pointer is None or not (is_new or time.monotonic() >= self._again_at):
            return
        self._seen = mark
        if is_new:
            self._pause_s = AGAIN_S
        try:
            found = self._taken(read_published(self._pointer))
        except REFUSALS as error:
            self._refuse(error)
            return
        self.refused, self._again_at = "", float("inf")
        self.now = found
        self.remember()
        said = f"may not answer: {found.barred}" if found.barred else "answers from now on"
        logger.info("version %s %s", found.release.version, said)

    def _taken(self, published: Published) -> Served:
        """What is to answer, checked and loaded; of what may not answer nothing is read."""
        if published.barred:
            return replace(self.now, barred=published.barred)
        try:
            found = open_served(published, self._built_in)
            if found.digest != self.now.digest:
                self._take(found)
        except REFUSALS:
            barred = _bar(self.now, published)  # it stays, unless it may not either
            self.now = replace(self.now, barred=self.now.barred or barred)
            raise
        return found

    def _refuse(self, error: Exception) -> None:
        self.refused = str(error)
        self._again_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, MOST_AGAIN_S)
        logger.error("what was published is refused, the model before it stays: %s", error)

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Exception:  # a thread that ends would follow nothing any more, in silence
                logger.exception("what is published could not be looked at")

    def _mark(self) -> tuple[int, int]:
        """Which file is published: a rename gives another."""
        if self._pointer is None:
            return (0, 0)
        try:
            found = self._pointer.stat()
        except OSError:
            return (0, 0)  # reading it says why, once
        return (found.st_ino, found.st_mtime_ns)


def _open_taken(pointer: Path, published: Published) -> Served:
    """Check the last release that answered as any other, and that it may answer still."""
    told = json.loads(pointer.with_name(TAKEN).read_text(encoding="utf-8"))["folder"]
    if published.barred or told == published.folder:
        raise PackageError("another release than the one refused", found="none", where=str(pointer))
    found = open_served(replace(published, folder=told), Path(told))
    if published.holding is None or found.digest not in published.holding:
        raise PackageError(
            "a release that the site lets answer", found=f"version {found.release.version}",
            where=told,
        )  # fmt: skip
    return found


def _bar(served: Served, published: Published) -> str:
    """Why a release may not answer any more, by what was published since; empty when it may."""
    try:
        refuse_release(served.release.register, served.release.approve, published.trusted)
    except TrustError as error:
        return str(error)
    if published.holding is None or served.digest in published.holding:
        return ""
    release = served.release
    return f"version {release.version} of '{release.algorithm}' may not answer any more"


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write beside, then rename."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    beside.replace(path)
