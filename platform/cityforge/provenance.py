"""What a result was made from: the commit, the lock, the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GitState:
    """The commit that is checked out; `dirty` when tracked files differ from it."""

    commit: str
    dirty: bool


def git_state(root: Path) -> GitState:
    """The state of the checkout at `root`; commit `none` outside a checkout."""
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return GitState("none", True)
    return GitState(commit, bool(_git(root, "status", "--porcelain", "--untracked-files=no")))


def lock_digest(root: Path) -> str:
    """sha256 of requirements.lock; `none` where there is none."""
    path = root / "requirements.lock"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"


def device_name() -> str:
    """Processor and how many of its cores this process may use."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {len(os.sched_getaffinity(0))} cores"


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
