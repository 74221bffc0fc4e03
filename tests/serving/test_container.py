"""The service as a container has it: nothing said, and what is to stay below its home."""

from __future__ import annotations

import io
import json

import httpx
import pytest
from PIL import Image
from running_endpoint import running_endpoint
from signed_site import Site

from cityforge.endpoint.bundle_state import places
from cityforge.endpoint.token_file import SCOPES, new_token

pytestmark = pytest.mark.services


def test_a_container_keeps_what_it_answers_and_hears(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = site.release(1)
    kept = places(release.parent / "bentoml")  # BENTOML_HOME of what runs
    _, token = new_token(kept["tokens"], "first", SCOPES, rate=50, burst=100, days=1)
    headers = {"Authorization": f"Bearer {token}"}
    picture = io.BytesIO()
    Image.new("RGB", (64, 48)).save(picture, "PNG")
    monkeypatch.setenv("BENTOML_CONTAINERIZED", "true")
    with running_endpoint(release) as address:
        files = {"images": ("a.png", picture.getvalue())}
        answer = httpx.post(f"{address}/predict", files=files, headers=headers, timeout=60).json()
        said = {"request_id": answer["request_id"], "right": True}
        thanks = httpx.post(f"{address}/feedback", json=said, headers=headers, timeout=60)
        assert thanks.status_code == 200, thanks.text
    assert (kept["feedback"] / "feedback.sqlite").is_file()
    assert kept["secret"].stat().st_mode & 0o777 == 0o600
    (log,) = kept["answers"].glob("*.jsonl")
    logged = [json.loads(line)["request_id"] for line in log.read_text().splitlines()]
    assert answer["request_id"] in logged
