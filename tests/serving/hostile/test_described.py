"""The service asked by its own description: schemathesis makes requests that fit it, and do not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sent_pictures import refuse_another_answer
from served_process import Running

pytestmark = [pytest.mark.services, pytest.mark.slow]
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
EXAMPLES = 60
ROUTES = {"/predict", "/analyze", "/info", "/feedback"}


def test_what_it_describes_is_what_it_does(endpoint: Running, tmp_path: Path) -> None:
    described = httpx.get(f"{endpoint.address}/openapi.json", timeout=20).json()
    assert set(described["paths"]) >= ROUTES
    where = urlsplit(endpoint.address)
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run",
        f"http://{where.hostname}:{where.port}/openapi.json", "--checks", ",".join(CHECKS),
        "--header", f"Authorization: Bearer {where.password}",
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES),
        "--seed", "7", "--no-shrink", "--request-timeout", "30", "--continue-on-failure",
        "--suppress-health-check", "all", "--warnings", "off",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    made = re.search(r"(\d+) generated", done.stdout)
    assert made
    assert int(made[1]) > 200
    assert re.search(rf"Tested: {len(described['paths'])}\b", done.stdout)
    refuse_another_answer(endpoint.address)
