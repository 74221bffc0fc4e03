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
    return f"{processor_name()}, {core_count()} cores"


def processor_name() -> str:
    """The processor as it calls itself."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def processor_flags() -> set[str]:
    """What the processor can do, such as `avx2`; empty where Linux does not say."""
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _cpuinfo(key: str) -> str:
    """The first value of a key in /proc/cpuinfo (proc_cpuinfo(5)); "" without it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith(key)), "")


def birth_of(pid: int) -> str:
    """Boot and clock tick at which a process began; "" for one that is gone or only a zombie.

    Field 22 of /proc/PID/stat (proc_pid_stat(5)), which unlike a time of day never moves.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = after_name.rpartition(")")[2].split()
    threads = int(fields[17])  # its files stay open until the last of them has ended
    if fields[0] in "ZX" and threads <= 1:
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {fields[19]}"


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
