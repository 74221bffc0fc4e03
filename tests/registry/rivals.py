"""Processes that promote and roll back one algorithm at once, some of them killed now and then.

Run as a script (`python rivals.py FOLDER SECONDS`) on a store whose packages are made.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crash import APPROVER, NAME, City, register_package, wait, warm_up

RIVALS, PACKAGES, READY = 8, 24, 6
KILL_EVERY_S = 4.0


@dataclass
class Rival:
    """One process."""

    pid: int
    log: Path


def rival(city: City, log: Path, seed: int, until: float) -> None:
    """Register, approve and roll back at random; what was done goes into the log, synced."""
    draw = random.Random(seed)
    site = city.site()
    with log.open("a", encoding="utf-8") as stream:
        while time.time() < until:
            done = one_act(city, site, draw)
            stream.write(json.dumps(done) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def one_act(city: City, site: Any, draw: random.Random) -> dict[str, Any]:
    from cityforge.errors import RegistryError
    from cityforge.registry.approval import approve, rollback
    from cityforge.registry.versions import standing_of

    found = standing_of(site, NAME)
    fresh = [number for number, each in found.versions.items() if each.approval is None]
    old = [number for number, each in found.versions.items() if each.superseded]
    kind = draw.choice(["register", "approve", "approve", "rollback", "rollback"])
    try:
        if kind == "register" and len(found.versions) < PACKAGES:
            made = register_package(city, site, draw.randrange(1, PACKAGES + 1))
            return {"act": "register", "version": made.version}
        if kind == "approve" and fresh:
            _, record = approve(site, NAME, draw.choice(fresh), APPROVER, "better")
            return {"act": "approve", "entry": record.entry}
        if old:
            _, now = rollback(site, NAME, draw.choice(old), APPROVER, "worse")
            return {"act": "rollback", "version": now.version}
    except RegistryError as error:  # another was quicker
        return {"act": "refused", "why": str(error)}
    return {"act": "none"}


def reader(city: City, log: Path, until: float) -> None:
    """At every moment one champion; once MLflow was written to, its alias is that."""
    from cityforge.registry.projection import project_standing
    from cityforge.registry.standing import ACTS, standing

    site, looked = city.site(), 0
    while time.time() < until:
        head = site.journal.head_number()
        said = [each for each in project_standing(site, NAME) if "follow with the next" in each]
        with site.journal.turn() as turn:
            entries = turn.entries(acts=ACTS)
            found = standing(entries, NAME)
            crowns = [e for e in entries if e.act in ("approve", "rollback")]
            assert found.champion == crowns[-1].body["version"]
            if not said and head >= entries[-1].number:
                aliases = site.client.get_registered_model(NAME).aliases
                assert int(aliases["champion"]) == found.champion
                looked += 1
    log.write_text(str(looked), encoding="utf-8")


def started(work: Callable[[], None], log: Path) -> int:
    """The process id of a child that ends with 0, or leaves its traceback beside the log."""
    pid = os.fork()
    if pid:
        return pid
    code = 2
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001  # the test shows it
        import traceback

        log.with_suffix(".fault").write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(code)


def compete(city: City, seconds: float) -> dict[str, Any]:
    """Let them; every few seconds two are killed and others take their place."""
    until = time.time() + seconds
    logs = city.folder / "logs"
    logs.mkdir()

    def begin(number: int) -> Rival:
        log = logs / f"{number}.jsonl"
        return Rival(started(lambda: rival(city, log, number, until), log), log)

    running = [begin(number) for number in range(RIVALS)]
    watch = logs / "reader.txt"
    looking = started(lambda: reader(city, watch, until), watch)
    draw, killed, number = random.Random(1), 0, RIVALS
    while time.time() < until - KILL_EVERY_S:
        time.sleep(KILL_EVERY_S)  # the time between two kills is what is asked for
        for victim in draw.sample(running, 2):
            os.kill(victim.pid, signal.SIGKILL)
            killed += wait(victim.pid) == -signal.SIGKILL
            running.remove(victim)
            running.append(begin(number))
            number += 1
    codes = [wait(each.pid) for each in running] + [wait(looking)]
    faults = [each.read_text(encoding="utf-8") for each in logs.glob("*.fault")]
    return {"killed": killed, "codes": codes, "faults": faults, **judged(city, logs)}


def judged(city: City, logs: Path) -> dict[str, Any]:
    """What the journal and MLflow say in the end, held against what the rivals were told."""
    from cityforge.registry.projection import project_standing
    from cityforge.registry.standing import ACTS, standing
    from cityforge.trust.journal import faults_of

    site = city.site()
    entries = site.journal.entries(acts=ACTS)
    told = [
        json.loads(line)
        for path in logs.glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.endswith("}")
    ]
    approvals = {each.number for each in entries if each.act == "approve"}
    lost = [e for e in told if e["act"] == "approve" and e["entry"] not in approvals]
    crowns = [each for each in entries if each.act in ("approve", "rollback")]
    wrong = [
        each.number
        for each in crowns
        if each.body["champion_before"]
        != standing((e for e in entries if e.number < each.number), NAME).champion
    ]
    found = standing(entries, NAME)
    project_standing(site, NAME)
    alias = site.client.get_registered_model(NAME).aliases["champion"]
    registered = [each.body["package_digest"] for each in entries if each.act == "register"]
    acts = [each["act"] for each in told]
    return {
        "acts": {name: acts.count(name) for name in sorted(set(acts))},
        "looked": int((logs / "reader.txt").read_text()) if (logs / "reader.txt").exists() else 0,
        "lost": lost,
        "wrong_before": wrong,
        "twice": len(registered) - len(set(registered)),
        "champion": found.champion,
        "alias": int(alias),
        "audit": [vars(each) for each in faults_of(site.journal, site.settings)],
    }


def main(folder: str, seconds: str) -> None:
    """Begin with a few versions and a champion."""
    from store import bless, found_site

    warm_up(Path(folder) / "warm")
    city = City(Path(folder))

    def begin() -> None:
        from cityforge.registry.approval import approve

        site = city.site()
        found_site(site)
        bless(site, APPROVER, ["approve"])
        for number in range(1, READY + 1):
            register_package(city, site, number)
        approve(site, NAME, 1, APPROVER)

    assert wait(started(begin, city.folder / "begin.txt")) == 0
    out = city.folder / "found.json"

    def work() -> None:
        out.write_text(json.dumps(compete(city, float(seconds))), encoding="utf-8")

    code = wait(started(work, city.folder / "work.txt"))
    sys.stdout.write((out.read_text() if code == 0 else "{}") + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
