"""Models exchanged under load: no request fails, each answer is by the model that it names."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from sent_pictures import quick
from served_process import Running
from serving_load import under_load, upload
from signed_site import Site

from cityforge.inference.package import package_digest

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.alone]
TIMES = 20
SAID = re.compile(
    rb'"digest": ?"([0-9a-f]{64})".*?"request_id": ?"([0-9a-f]{16})-.*?"score": ?([0-9.]+)'
)


def test_models_are_switched_under_load(
    lasting_site: Site, release: Path, endpoint: Running
) -> None:
    other = lasting_site.release(2, score=0.6)
    scores = {
        package_digest(release / "package"): "0.9", package_digest(other / "package"): "0.6",
    }  # fmt: skip
    requests = [upload(endpoint.address, [quick()])]
    with under_load(endpoint.address, requests, 4, SAID) as (load, found):
        for number in range(TIMES):
            folder = release if number % 2 else other
            endpoint.publish(lasting_site, folder)
            _wait_for_digest(endpoint, package_digest(folder / "package"))
            so_far = len(load.rows)
            while len(load.rows) < so_far + 10:
                time.sleep(0.01)  # a few more answers
    seen = found[0]
    assert seen.counts() == {200: len(seen.status)}
    digests = []
    for said in seen.found:
        digest, begin, score = said.split()
        assert scores[digest] == score
        assert digest.startswith(begin)
        digests.append(digest)
    changes = sum(one != another for one, another in pairwise(digests))
    assert changes >= TIMES


def test_a_package_that_fails_its_check_is_refused_and_the_one_before_stays(
    lasting_site: Site, release: Path, endpoint: Running
) -> None:
    endpoint.publish(lasting_site, release)
    _wait_for_digest(endpoint, package_digest(release / "package"))
    broken = lasting_site.release(3, score=0.7)
    model = broken / "package/model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    requests = [upload(endpoint.address, [quick()])]
    with under_load(endpoint.address, requests, 4) as (_, found):
        endpoint.publish(lasting_site, broken)
        until = time.monotonic() + 20
        while not httpx.get(f"{endpoint.address}/info", timeout=20).json()["refused"]:
            assert time.monotonic() < until, "it was not refused"
            time.sleep(0.05)  # nothing tells when it is taken: asked again
    assert found[0].counts() == {200: len(found[0].status)}
    assert set(found[0].found) == {package_digest(release / "package")}


def _wait_for_digest(endpoint: Running, digest: str) -> None:
    until = time.monotonic() + 30
    while httpx.get(f"{endpoint.address}/info", timeout=20).json()["digest"] != digest:
        assert time.monotonic() < until, "what was published was not taken"
        time.sleep(0.02)  # nothing tells when it is taken: asked again
