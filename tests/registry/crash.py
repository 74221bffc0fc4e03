"""An act on a prepared store, hit by strace at one system call; what is left, and what goes on.

Run as a script (`python crash.py FOLDER ACT COUNT|SHARE`) it imports everything once, then forks a
process for each blow: mlflow alone takes seconds to import.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Calls by which something comes to stand on a disk, or ceases to.
CALLS = (
    "write", "writev", "pwrite64", "pwritev", "sendfile", "copy_file_range", "fsync", "fdatasync",
    "ftruncate", "rename", "renameat", "renameat2", "unlink", "unlinkat",
)  # fmt: skip
BLOWS = ("signal=KILL", "error=EIO", "error=ENOSPC")
NAME = "bins"
TRAINER, APPROVER = "小红", "李雷"
FILM = "0123456789abcdef"  # in the snapshot that the tests' packages name


@dataclass(frozen=True)
class City:
    """A store at one address, brought back to what was prepared before each blow."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "city"

    @property
    def prepared(self) -> Path:
        return self.folder / "prepared"

    def restore(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.prepared, self.root)

    def site(self) -> Any:
        from cityforge.project import Project
        from cityforge.registry.site import Site
        from cityforge.settings import Settings

        settings = Settings(tracking_uri="", keys=str(self.root / "keys"))
        return Site(Project(self.root), settings)

    def package(self, number: int) -> Path:
        return self.root / f"made{number}" / "package"


def make_packages(city: City, make: Callable[..., Path], count: int = 2) -> None:
    """Packages, each of a run of its own, and nothing registered."""
    from cityforge.training.tracking import experiment_id

    city.root.mkdir(parents=True)
    site = city.site()
    experiment = experiment_id(site.client, site.project, site.settings, NAME)
    for number in range(1, count + 1):
        score = 0.9 + number / 1000
        run = site.client.create_run(experiment).info.run_id
        make(city.package(number), NAME, run, score)
        (city.package(number).parent / "predictions.parquet").write_bytes(b"rows" * 100)


def prepare(city: City, act: str) -> None:
    """People with keys, and as much registered and approved as the act needs."""
    from store import bless, found_site

    from cityforge.dataset.history import record_snapshot
    from cityforge.registry.approval import approve

    site = city.site()
    dataset = city.root / "datasets" / "streets"
    dataset.mkdir(parents=True)
    record_snapshot(dataset, "s", [FILM])
    found_site(site)
    bless(site, APPROVER, ["approve"])
    register_package(city, site, 1)
    approve(site, NAME, 1, APPROVER)
    if act != "register":
        register_package(city, site, 2)
    if act in ("rollback", "withdraw"):
        approve(site, NAME, 2, APPROVER)


def register_package(city: City, site: Any, number: int) -> Any:
    from cityforge.registry.registering import register

    package = city.package(number)
    return register(site, NAME, package, package.parent, who=TRAINER)


def register_second(city: City) -> None:
    register_package(city, city.site(), 2)


def approve_second(city: City) -> None:
    from cityforge.registry.approval import approve

    approve(city.site(), NAME, 2, APPROVER, "better")


def roll_back(city: City) -> None:
    from cityforge.registry.approval import rollback

    rollback(city.site(), NAME, 1, APPROVER, "worse")


def withdraw_film(city: City) -> None:
    """As `footage withdraw` puts it on record; both versions rest on the film."""
    from functools import partial

    from cityforge.registry.affected import by_footage, put_on_record
    from cityforge.registry.projection import project_standing

    site = city.site()
    rests = partial(by_footage, dataset="streets", ids=[FILM])
    put_on_record(site, "streets", "footage", [FILM], "asked for", TRAINER, rests)
    project_standing(site, NAME, is_own=True)


@dataclass(frozen=True)
class Act:
    """What is done, and how many versions and which champion there are before and after."""

    do: Callable[[City], None]
    before: tuple[int, int | None]
    after: tuple[int, int | None]


ACTS = {
    "register": Act(register_second, (1, 1), (2, 1)),
    "approve": Act(approve_second, (2, 1), (2, 2)),
    "rollback": Act(roll_back, (2, 2), (2, 1)),
    "withdraw": Act(withdraw_film, (2, 2), (2, None)),
}


def look(city: City, act: Act, *, is_done: bool) -> None:
    """Old state or new; lists and the audit work; the next command needs no repair."""
    from cityforge.registry.versions import list_versions, standing_of
    from cityforge.trust.journal import faults_of

    site = city.site()
    now = state_of(standing_of(site, NAME))
    assert now in (act.before, act.after), now
    assert not is_done or now == act.after, "it said that it was done"
    assert len(list_versions(site, NAME)) == now[0]
    assert faults_of(site.journal, site.settings) == []
    if now == act.before:
        act.do(city)
    again = city.site()
    project(again)
    assert state_of(standing_of(again, NAME)) == act.after
    assert faults_of(again.journal, again.settings) == []
    stored = again.client.search_model_versions(f"name = '{NAME}'")
    assert len({each.tags["cityforge.package_digest"] for each in stored}) == len(stored)
    aliases = {k: int(v) for k, v in again.client.get_registered_model(NAME).aliases.items()}
    assert aliases.get("champion") == act.after[1], aliases
    if act.after[1]:
        from cityforge.registry.approval import approved_version
        from cityforge.registry.versions import fetch_package

        fetch_package(again, approved_version(again, NAME, None))


def project(site: Any) -> None:
    from cityforge.registry.projection import project_standing

    project_standing(site, NAME)


def state_of(found: Any) -> tuple[int, int | None]:
    return len(found.versions), found.champion


def in_child(work: Callable[[], None], log: Path) -> int:
    """Run in a process of its own: 0 done, 1 refused in one line, 2 anything else, -9 killed."""
    pid = os.fork()
    if pid:
        return pid
    code = 2
    try:
        code = said_in_a_line(work, log)
    finally:
        os._exit(code)  # nothing of the process it was forked from is ended here


def said_in_a_line(work: Callable[[], None], log: Path) -> int:
    from cityforge.errors import line_of

    try:
        work()
    except Exception as error:  # noqa: BLE001  # which kind is what is looked at
        line = line_of(error)
        with suppress(OSError):  # where every write fails, this one does, too
            log.write_text(line or traceback.format_exc(), encoding="utf-8")
        return 2 if line is None else 1
    return 0


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def traced(city: City, act: Act, words: list[str]) -> tuple[int, str]:
    """Do an act under strace; its exit code, and what strace and the act said."""
    ready, go = os.pipe()
    log = city.folder / "said.txt"
    log.unlink(missing_ok=True)

    def work() -> None:
        os.close(go)
        os.read(ready, 1)
        act.do(city)

    pid = in_child(work, log)
    with subprocess.Popen(
        ["strace", "-f", "-qq", "-y", "-o", str(city.folder / "trace.txt"), *words, "-p", str(pid)],
        stderr=subprocess.PIPE, text=True,
    ) as strace:  # fmt: skip
        wait_until_traced(pid, strace)
        os.write(go, b"x")
        code = wait(pid)
        strace.wait(timeout=20)
    os.close(ready)
    os.close(go)
    return code, log.read_text(encoding="utf-8") if log.is_file() else ""


def wait_until_traced(pid: int, strace: subprocess.Popen[str]) -> None:
    import time

    due = time.monotonic() + 20
    while time.monotonic() < due and strace.poll() is None:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        if not re.search(r"TracerPid:\s+0\b", status):
            return
        time.sleep(0.002)  # nothing tells when a tracer is there: looked at again
    raise RuntimeError(f"strace did not attach: {strace.stderr.read() if strace.stderr else ''}")


def counted(city: City, act: Act) -> list[tuple[str, int, str]]:
    """The calls of an undisturbed act: name, which of that name by its thread, and its path."""
    city.restore()
    code, said = traced(city, act, ["-e", f"trace={','.join(CALLS)}"])
    assert code == 0, said
    seen: dict[tuple[str, str], int] = {}
    found = []
    for line in (city.folder / "trace.txt").read_text(encoding="utf-8").splitlines():
        match = re.match(r"(\d+)\s+(\w+)\((.*)", line)
        if not match or match[2] not in CALLS:
            continue
        thread, call, rest = match.groups()
        seen[thread, call] = seen.get((thread, call), 0) + 1
        paths = re.findall(r"[<\"](/[^>\"]*)", rest)
        found.append((call, seen[thread, call], paths[0] if paths else rest[:40]))
    return found


def blow(city: City, act: Act, call: str, number: int, kind: str) -> str:
    """Hit one call; returns what was wrong afterwards, or nothing."""
    city.restore()
    when = f"{number}+" if "ENOSPC" in kind else str(number)  # a full disk stays full
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:{kind}:when={when}"]
    code, said = traced(city, act, inject)
    if code not in (0, 1, -signal.SIGKILL):
        return f"unforeseen (exit {code}): {said[-600:]}"
    log = city.folder / "looked.txt"
    log.unlink(missing_ok=True)
    looked = wait(in_child(lambda: look(city, act, is_done=code == 0), log))
    return "" if looked == 0 else f"afterwards: {log.read_text(encoding='utf-8')[-900:]}"


def chosen(calls: list[tuple[str, int, str]], most: int) -> list[tuple[str, int, str]]:
    """All calls on the journal and those that sign; of the others (MLflow's) `most`, spread out."""
    own = [each for each in calls if "mlflow.db" not in each[2]]
    others = [each for each in calls if "mlflow.db" in each[2]]
    step = max(1, -(-len(others) // most)) if most else 1
    unique = dict.fromkeys((call, number) for call, number, _ in own + others[::step])
    paths = {(call, number): path for call, number, path in reversed(calls)}
    return [(call, number, paths[call, number]) for call, number in unique]


def warm_up(scratch: Path) -> None:
    """Import what acts import, and let MLflow open a store once: forks need not do it again."""
    from cityforge.project import Project
    from cityforge.registry.site import Site
    from cityforge.settings import Settings

    for each in ("evaluation.card", "registry.approval", "registry.registering"):
        importlib.import_module(f"cityforge.{each}")
    importlib.import_module("model_signing.signing")
    scratch.mkdir()
    assert Site(Project(scratch), Settings(tracking_uri="")).client.search_registered_models() == []


def main(folder: str, name: str, most: str) -> None:
    """Hit every call of an act (of MLflow's own database at most `most`); print what was found."""
    warm_up(Path(folder) / "warm")
    city, act = City(Path(folder)), ACTS[name]
    log = city.folder / "prepared.txt"
    code = wait(in_child(lambda: prepare(city, name), log))
    assert code == 0, log.read_text(encoding="utf-8")
    city.root.rename(city.prepared)
    calls = counted(city, act)
    picked = chosen(calls, int(most))
    wrong = []
    for call, number, path in picked:
        for kind in BLOWS:
            said = blow(city, act, call, number, kind)
            if said:
                wrong.append(f"{call} {number} ({path}), {kind}: {said}")
                sys.stderr.write(wrong[-1] + "\n")
    found = {"calls": len(calls), "hit": len(picked), "wrong": wrong}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
