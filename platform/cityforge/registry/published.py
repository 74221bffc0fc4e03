"""What an endpoint is to answer with: a release folder, and a file that names it.

`cityforge serve` looks at the journal and publishes; the endpoint's processes watch the file and
check for themselves what it names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cityforge.errors import CityforgeError, NotApproved, TrustError
from cityforge.inference.release import checked_package, open_release
from cityforge.inference.served import PACKAGE, Published, write_published
from cityforge.registry.refusals import refuse_alone
from cityforge.registry.site import Site
from cityforge.registry.standing import Standing, State
from cityforge.registry.versions import fetch_package, find_version, standing_of
from cityforge.trust.chain import KEY_ACTS
from cityforge.trust.release import refuse_release, write_release


def serving_folder(site: Site, algorithm: str) -> Path:
    """Where the releases lie that this machine serves of an algorithm."""
    return site.project.work / "serving" / algorithm


def pointer_path(site: Site, algorithm: str) -> Path:
    """The file that an endpoint watches."""
    return serving_folder(site, algorithm) / "current.json"


def release_folder(site: Site, state: State) -> Path:
    """The release of an approved version on this machine, made when it is not there yet.

    Raises:
        NotApproved: the version is not approved, or by its trainer where others could.
        PackageError, TrustError: it is not what was registered, signed and approved.
    """
    algorithm = state.register.about
    if state.approval is None:
        raise NotApproved(
            "an approved version", found=f"version {state.version}, never approved",
            do=f"cityforge model approve {algorithm} {state.version}",
        )  # fmt: skip
    keys = site.journal.chain().keys
    refuse_alone(state.approval, keys, is_one_person_site=site.settings.one_person)
    name = f"v{state.version}-{state.approval.digest()[:12]}"
    folder = serving_folder(site, algorithm) / name
    if not folder.is_dir():
        _make(site, state, folder)
    checked_package(folder / PACKAGE, open_release(folder, keys))
    return folder


def _make(site: Site, state: State, folder: Path) -> None:
    package, _ = fetch_package(site, find_version(site, state.register.about, state.version))
    write_into = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(write_into, ignore_errors=True)
    try:
        shutil.copytree(package, write_into / PACKAGE)
        if state.approval:
            keys = site.journal.entries(acts=KEY_ACTS)
            write_release(write_into, state.register, state.approval, keys)
        if not folder.is_dir():
            write_into.replace(folder)
    finally:
        shutil.rmtree(write_into, ignore_errors=True)


class Publisher:
    """Publishes the champion of an algorithm, or one version, as the journal goes on.

    Args:
        version: this one whoever is champion; None follows the champion.
        say: told what changes, a line each.
    """

    def __init__(
        self, site: Site, algorithm: str, version: int | None, say: Callable[[str], None]
    ) -> None:
        self._site, self._algorithm, self._fixed, self._say = site, algorithm, version, say
        self._head = -1
        self._served = 0
        self._published: Published | None = None
        self._said = ""

    def first(self) -> Path:
        """Publish before anything answers; the release's folder.

        Raises:
            NotApproved: no version may be served, or the one that is asked for may not any more.
            PackageError, TrustError: see `release_folder`.
        """
        self._head = self._site.journal.head_number()
        found = standing_of(self._site, self._algorithm)
        number = found.champion if self._fixed is None else self._fixed
        if number is None or number not in found.versions:
            raise NotApproved(
                f"an approved version of '{self._algorithm}'",
                found=f"{len(found.versions)} versions, none approved",
                do=f"cityforge model approve {self._algorithm}",
            )
        state = found.versions[number]
        if not state.holds:
            raise NotApproved(
                f"a version of '{self._algorithm}' that may answer",
                found=f"version {number}, {state.words()}",
                do=f"cityforge serve {self._algorithm}, which takes the champion",
            )
        folder = release_folder(self._site, state)
        self._publish(folder, state, "", found)
        return folder

    def look(self) -> None:
        """Publish what the journal says now; what fails leaves everything as it was, and is said.

        A failure is tried again at each look.
        """
        try:
            head = self._site.journal.head_number()
            if head != self._head:
                self._follow()
                self._head = head
                self._said = ""
        except (CityforgeError, OSError) as error:
            if str(error) != self._said:
                self._said = str(error)
                self._say(f"version {self._served} stays: {error}")

    def _follow(self) -> None:
        found = standing_of(self._site, self._algorithm)
        number = found.champion if self._fixed is None else self._fixed
        state = found.versions[self._served if number is None else number]
        if state.version == self._served and self._bar_served(found):
            return
        try:
            self._publish(release_folder(self._site, state), state, "", found)
        except (CityforgeError, OSError):
            self._bar_served(found)  # the version before stays, unless it may not
            raise

    def _bar_served(self, found: Standing) -> bool:
        """Publish why what is served may not answer any more; False when it may.

        No file of its release is read: one that is damaged or gone is barred, too.
        """
        state = found.versions[self._served]
        barred = self._bar(state)
        if barred and self._published:
            self._publish(Path(self._published.folder), state, barred, found)
        return bool(barred)

    def _bar(self, state: State) -> str:
        """Why a version may not answer any more; empty when it may."""
        may_not = f"version {state.version} of '{self._algorithm}' may not answer"
        if state.approval is None or not state.holds:
            return f"{may_not}: {state.words()}"
        keys = self._site.journal.chain().keys
        try:
            refuse_release(state.register, state.approval, keys)
        except TrustError as error:
            return f"{may_not}: {error}"
        return ""

    def _publish(self, folder: Path, state: State, barred: str, found: Standing) -> None:
        holding = tuple(
            str(each.register.body["package_digest"])
            for each in found.versions.values()
            if each.holds
        )
        now = Published(str(folder), self._site.journal.chain().keys, barred, holding)
        if now == self._published:
            return
        write_published(pointer_path(self._site, self._algorithm), now)
        before = self._published.barred if self._published else ""
        if barred and barred != before:
            self._say(barred)
        elif not barred and self._served not in (0, state.version):
            self._say(f"version {state.version} of '{self._algorithm}' answers from now on")
        self._served, self._published = state.version, now
