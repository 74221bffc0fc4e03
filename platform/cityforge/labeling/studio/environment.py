"""Label Studio's own virtual environment, and the empty database that it begins with.

Label Studio pins other versions of our libraries, so it never shares an environment with us.
Every site gets the packages of `requirements.txt`, by version and hash.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cityforge.errors import InputError, ServiceError
from cityforge.settings import Settings

VERSION = "1.23.2"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
MARKER = ".cityforge-complete"  # written last, holds the digest of the requirements
NEEDED_BYTES = 1_500_000_000  # 0.8 GB stay; the rest is for packages on their way in
REASONS = ("error", "caused by", "failed", "because", "request failed")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds Label Studio."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    @property
    def program(self) -> Path:
        """Its `label-studio` command."""
        return self.folder / "bin" / "label-studio"

    def version(self) -> str:
        """Version of Label Studio in it, read from the package's folder; "" without one."""
        found = sorted(self.folder.glob("lib/python*/site-packages/label_studio-*.dist-info"))
        return (
            found[0].name.removeprefix("label_studio-").removesuffix(".dist-info") if found else ""
        )


def studio_folder(work: Path) -> Path:
    """Where everything of the local server lies: `work` is the project's .cityforge."""
    return work / "label-studio"


def ensure_environment(work: Path, settings: Settings, say: Say) -> Environment:
    """The environment that the settings name, or our own, made when it is missing.

    Raises:
        InputError: the setting names a folder without Label Studio.
        ServiceError: no disk, or the packages cannot be had.
    """
    if settings.label_studio_env:
        return _named(Path(settings.label_studio_env).expanduser(), say)
    folder = studio_folder(work).resolve() / "venv"
    if not _is_complete(folder, REQUIREMENTS):
        _enough_disk(folder.parent)
        make_environment(folder, REQUIREMENTS, say)
    return Environment(folder)


def _named(folder: Path, say: Say) -> Environment:
    found = Environment(folder.resolve())
    if not found.program.is_file():
        raise InputError(
            "a virtual environment that holds Label Studio",
            found="no bin/label-studio",
            where=f"{folder} (CITYFORGE_LABEL_STUDIO_ENV)",
            do=f"install label-studio=={VERSION} into it, or unset the variable",
        )
    if found.version() != VERSION:
        say(f"Label Studio {found.version()} in {folder}: cityforge is tested with {VERSION}")
    return found


def _is_complete(folder: Path, requirements: Path) -> bool:
    marker = folder / MARKER
    return marker.is_file() and marker.read_text(encoding="utf-8") == _digest(requirements)


def _digest(requirements: Path) -> str:
    return hashlib.sha256(requirements.read_bytes()).hexdigest()


def make_environment(
    folder: Path, requirements: Path, say: Say, uv: str | None = "found"
) -> Environment:
    """Make a virtual environment with this very Python and install exactly `requirements`.

    What a killed try left in `folder` is removed. With uv where there is one (`uv` names it,
    "found" looks for it), else with pip.

    Raises:
        ServiceError: the packages cannot be had; all that was said stands in install.txt.
    """
    uv = find_uv() if uv == "found" else uv
    say(f"installing Label Studio {VERSION} with {'uv' if uv else 'pip'} (800 MB, once)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder.parent / "install.txt"
    log.write_text("", encoding="utf-8")
    bare = ["--without-pip"] if uv else []
    _run([sys.executable, "-m", "venv", *bare, str(folder)], log)
    made = Environment(folder)
    install = (
        [uv, "pip", "install", "--python", str(made.python)]
        if uv
        else [str(made.python), "-m", "pip", "install", "--disable-pip-version-check"]
    )
    _run([*install, "--require-hashes", "--requirement", str(requirements)], log)
    (folder / MARKER).write_text(_digest(requirements), encoding="utf-8")
    return made


def find_uv() -> str | None:
    """The uv beside our Python, or on the path."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _run(command: list[str], log: Path) -> None:
    with log.open("a", encoding="utf-8") as stream:
        done = subprocess.run(
            command,
            cwd=log.parent,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    if done.returncode:
        raise ServiceError(
            f"the packages of Label Studio {VERSION} from a package registry",
            found=_complaint(log),
            where=str(log),
            do="give this machine a registry (UV_DEFAULT_INDEX or PIP_INDEX_URL), or name an "
            "environment that holds it in CITYFORGE_LABEL_STUDIO_ENV",
        )


def _complaint(log: Path) -> str:
    """The first and the last of the reasons that uv or pip gave."""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip(" ├╰─▶×│") for line in text.splitlines()]
    said = [line[:160] for line in lines if line]
    reasons = [line for line in said if line.lower().startswith(REASONS)] or said[-1:]
    return "; ".join(dict.fromkeys([*reasons[:1], *reasons[-1:]])) or "no reason given"


def _enough_disk(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise ServiceError(
            "1.5 GB of free disk for Label Studio",
            found=f"{free / 1e9:.1f} GB",
            where=str(folder),
            do="free some, or name an environment in CITYFORGE_LABEL_STUDIO_ENV",
        )
