"""A project in a folder of its own, for tests that run the real pipeline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
# What a checkout holds, less what it made.
PARTS = (
    "dvc.yaml",
    "params.yaml",
    "requirements.lock",
    ".gitignore",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
)
FOLDERS = ("platform", "pipelines", "serving", "algorithms", "datasets")
MADE = (
    "build",
    "footage",
    "labels",
    "frames",
    "snapshot",
    "checks",
    "history",
    "subsets.json",
    "sealed",
    "__pycache__",
    "*.dvc",
)


def copy_project(to: Path) -> Path:
    """Copy the checkout as git has it into `to`, and make it a git repository."""
    to.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        (to / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / part, to / part)
    for folder in FOLDERS:
        top = ROOT / folder

        def made(here: str, names: list[str], top: Path = top) -> set[str]:
            ignored = shutil.ignore_patterns("__pycache__")(here, names)
            inside = Path(here).relative_to(ROOT).parts
            if inside[0] in ("algorithms", "datasets") and len(inside) == 2:
                ignored |= shutil.ignore_patterns(*MADE)(here, names)
            return set(ignored)

        shutil.copytree(top, to / folder, ignore=made)
    git(to, "init", "--quiet")
    git(to, "add", "--all")
    git(to, "commit", "--quiet", "--message", "start")
    return to


def git(root: Path, *words: str) -> str:
    """Run git with an author of its own."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    done = subprocess.run(
        ["git", "-C", str(root), *who, *words], capture_output=True, text=True, check=True
    )
    return done.stdout


def cityforge(
    root: Path, *words: str, timeout: float = 600, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, in its own process."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "cityforge"), *words],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def trust_approver(root: Path, name: str) -> None:
    """Give a person a key, and let the project's admin (who ran first) trust it to approve."""
    public = Path(os.environ["CITYFORGE_KEYS"]) / f"{name}.pub.pem"
    words = ["key", "trust", str(public)] if public.is_file() else ["key", "new", name]
    done = cityforge(root, *words, "--role", "approve")
    assert done.returncode == 0, done.stderr


def dvc(root: Path, *words: str) -> str:
    """Run DVC at the project's root."""
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=root,
        env={**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def wait_until_ready(address: str, process: subprocess.Popen[str]) -> str:
    """The address of an endpoint, once it answers."""
    due = time.monotonic() + 120
    while time.monotonic() < due and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz", timeout=2).status_code == 200:
                return address
        except httpx.TransportError:
            time.sleep(0.3)  # nothing tells when a port is open: asked again
    raise AssertionError(f"the endpoint did not come up: {process.poll()}")
