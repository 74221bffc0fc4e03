"""Lets the tests of detection share their boxes."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # last: each folder has a conftest
