"""Which of the benchmarks pytest leaves alone, and where those it looks at find one another."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

collect_ignore = ["serving_litserve.py"]  # runs in an environment of its own, with LitServe
