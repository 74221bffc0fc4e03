"""A connected site takes what timm publishes; the hub here is one of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from warm_starts import (
    BEFORE,
    card_of,
    network_of,
)


def with_timm(root: Path, hub: str) -> tuple[str, str]:
    """What a connected site says after `weights: timm`, and its errors; `hub` is the address."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from cityforge.errors import CityforgeError
from cityforge.settings import Settings
from warm_starts import BEFORE, card_of, started
try:
    card = card_of("detection", BEFORE)
    network, _, origin = started(Path({str(root)!r}), card, "timm", Settings(offline=False))
    print(origin.source, len(origin.digest), origin.matched, len(network.backbone.state_dict()))
    print(float(network.backbone.conv_stem.weight.sum()))
except CityforgeError as error:
    print(error)
"""
    address = {"HF_ENDPOINT": hub, "HF_HOME": str(root / "hub"), "HF_HUB_OFFLINE": "0"}
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **address, **quiet},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.stdout, done.stderr


class Hub(BaseHTTPRequestHandler):
    """Answers as a model hub does, with one file for whatever is asked."""

    content = b""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", '"' + "b" * 64 + '"')
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_connected_site_takes_what_timm_publishes(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save

    about = network_of(card_of("detection", BEFORE), 1).backbone.pretrained_cfg
    state = timm.create_model(about["architecture"], pretrained=False).state_dict()
    Hub.content = save(state)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said, errors = with_timm(tmp_path, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    lines = said.splitlines()
    assert len(lines) == 2, said + errors
    name, digest, matched, tensors = lines[0].split()
    assert name == f"timm/{about['architecture']}.{about['tag']}"
    assert (int(digest), int(matched)) == (64, int(tensors))
    assert float(lines[1]) == pytest.approx(float(state["conv_stem.weight"].sum()))


@pytest.mark.slow
def test_a_model_hub_that_does_not_answer_is_a_line(tmp_path: Path) -> None:
    said, errors = with_timm(tmp_path, "http://127.0.0.1:9")
    assert len(said.splitlines()) == 1, errors
    assert said.startswith("expected timm's weights of mobilenet")
