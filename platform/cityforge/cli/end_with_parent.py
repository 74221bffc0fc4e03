"""Runs a command that is told to end when the process that asked for it is gone.

python -m cityforge.cli.end_with_parent PARENT COMMAND...
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent dies


def main(parent: int, command: list[str]) -> None:
    """Become the command, unless the parent is gone already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:
        os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
