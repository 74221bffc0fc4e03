"""The locked wheels of an endpoint for this platform, fetched once and held against the lock."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cityforge.endpoint.pins import Pinned, normalised, read_pins
from cityforge.errors import DataError, ServiceError
from cityforge.registry.beside import folder_beside

HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
PIP = "pip"  # its wheel goes along, so that the other machine needs none
Advance = Callable[[int, int], None]


def locked_wheels(root: Path, kept: Path, advance: Advance) -> Path:
    """Folder with the wheel of every distribution that `serving/requirements.txt` locks.

    Args:
        root: of the project; where its `requirements.lock` has hashes, what comes must have them.
        kept: where wheels are kept between builds.
        advance: told (done, all) in distributions.

    Raises:
        DataError: the lock has no hash of a distribution.
        ServiceError: no registry answers, or one has no wheel for this platform.
    """
    path = root / "serving" / "requirements.txt"
    pins, pip = read_pins(path), Pinned(PIP, _pip_version())
    wanted = _with_hashes(pins, root / "requirements.lock")
    digest = hashlib.sha256(f"{wanted}{pip}{sys.version_info[:2]}".encode()).hexdigest()[:16]
    folder = kept / digest
    if not folder.is_dir():
        with folder_beside(folder) as beside:
            listed = beside / "requirements.txt"
            listed.write_text(wanted, encoding="utf-8")
            _download(listed, pip, beside / "wheels", len(pins) + 1, advance)
            _refuse_missing(beside / "wheels", [*pins, pip])
            (beside / "wheels").replace(folder)
    advance(len(pins) + 1, len(pins) + 1)
    return folder


def hashes_of(lock: Path) -> dict[str, list[str]]:
    """The hashes that a lock has for each NAME==VERSION; none where there is no lock.

    Raises:
        OSError: it cannot be read.
    """
    if not lock.is_file():
        return {}
    found: dict[str, list[str]] = {}
    name = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line and not line[0].isspace() and "==" in line:
            name, _, version = line.split(maxsplit=1)[0].partition("==")
            name = f"{normalised(name)}=={version.rstrip(';')}"
            found[name] = []
        if name:
            found[name] += HASH.findall(line)
    return found


def _with_hashes(pins: Sequence[Pinned], lock: Path) -> str:
    """Requirements for pip, with the lock's hashes where there is a lock."""
    if not lock.is_file():
        return "".join(f"{each.name}=={each.version}\n" for each in pins)
    known, lines = hashes_of(lock), []
    for each in pins:
        digests = known.get(f"{each.name}=={each.version}")
        if not digests:
            raise DataError(f"hashes of {each.name}=={each.version}", found="none",
                            where=str(lock), do="make lock writes both files")  # fmt: skip
        lines.append(" ".join([f"{each.name}=={each.version}", *map("--hash={}".format, digests)]))
    return "\n".join(lines) + "\n"


def _download(listed: Path, pip: Pinned, out: Path, count: int, advance: Advance) -> None:
    own = listed.with_name("pip.txt")  # in no lock, and pip wants hashes for all or for none
    own.write_text(f"{pip.name}=={pip.version}\n", encoding="utf-8")
    said: list[str] = []
    done = 0
    for each in (own, listed):
        command = [
            sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
            "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
            "--dest", str(out), "--requirement", str(each),
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            for line in process.stdout or ():
                said.append(line.strip())
                done += line.startswith("Collecting ")
                advance(min(done, count), count)
        if process.returncode != 0:
            raise ServiceError(
                "the wheels of serving/requirements.txt from a package registry",
                found=_complaint(said), do="try again with a network, or build with --no-wheels",
            )  # fmt: skip


def _complaint(said: Sequence[str]) -> str:
    errors = [line.removeprefix("ERROR:").strip() for line in said if line.startswith("ERROR:")]
    return (errors[0] if errors else said[-1] if said else "silence")[:300]


def _refuse_missing(folder: Path, pins: Sequence[Pinned]) -> None:
    found = {normalised(each.name.split("-")[0]) for each in folder.glob("*.whl")}
    missing = [each.name for each in pins if each.name not in found]
    if missing:
        raise DataError("a wheel for each locked distribution", found=f"none for {missing[0]}",
                        where=str(folder))  # fmt: skip


def _pip_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PIP)
    except PackageNotFoundError as error:
        raise ServiceError("pip in this environment", found="none",
                           do=f"{sys.executable} -m ensurepip") from error  # fmt: skip
