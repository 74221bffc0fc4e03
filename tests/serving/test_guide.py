"""Every example of the two pages for integrators, run against the real service."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from running_endpoint import SERVING, running_endpoint
from signed_site import signed_site

from cityforge.endpoint.feedback_route import MOST_BODY as MOST_FEEDBACK
from cityforge.endpoint.keeper import LEAST_FREE
from cityforge.endpoint.running import CLIPS_QUEUED
from cityforge.endpoint.schema import Analysis, Prediction, Problem, Thanks
from cityforge.endpoint.token_file import new_token
from cityforge.inference.analysis import MOST_DRAWN, MOST_FOUND, Asked

GUIDE, CLIENT = SERVING / "README.md", SERVING / "client/README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?:\n```json\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
RULES = [
    {"name": "stood still", "kind": "stopped", "seconds": 1.0},
    {"name": "in", "kind": "line_count", "line": "stop line"},
    {"name": "empty post", "kind": "absence", "zone": "post", "seconds": 1.0},
]
ENVELOPE = {
    "camera_height_m": [6.0, 18.0], "pitch_deg": [15.0, 50.0], "smallest_object_px": 10,
    "illumination": ["day", "dusk", "night"],
}  # fmt: skip
GREEN = (90, 150, 100)  # no infrared, which knows no colour
CAMERA = "name: north_gate\nsite: gate\nwidth: 1280\nheight: 720\nheight_m: 8\npitch_deg: 30\n"


def blocks(page: Path, kind: str) -> list[tuple[str, str]]:
    """Examples of a page: their text, and the JSON that stands right behind."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(text, answer) for name, text, answer in found if name == kind]


def write_film(path: Path) -> None:
    """Three seconds of green, 16:9, ten frames a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for number in range(30):
            pixels = np.full((36, 64, 3), GREEN, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gate")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "city.pem").write_bytes(made.public_bytes(encoding))
    (folder / "city.key").write_bytes(key.private_bytes(encoding, form, plain))
    return folder / "city.pem", folder / "city.key"


@dataclass(frozen=True)
class Reader:
    """Somebody who tries the examples: in a folder, with a token."""

    folder: Path
    token: str
    plain: str
    tls: str

    def run(self, *command: str) -> str:
        """What an example prints; its addresses are those of the running service."""
        *start, text = command
        for written, real in (
            ("http://127.0.0.1:3000", self.plain),
            ("https://127.0.0.1:3443", self.tls),
        ):
            text = text.replace(written, real)
        done = subprocess.run(
            [*start, text],
            cwd=self.folder,
            env={**os.environ, "TOKEN": self.token, "PYTHONPATH": str(SERVING / "client")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def reader(
    make_package: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    from PIL import Image

    folder = tmp_path_factory.mktemp("guide")
    release = signed_site(make_package, folder).release(1, events=RULES, envelope=ENVELOPE)
    for name in ("frame.jpg", "one.jpg", "two.jpg"):
        Image.new("RGB", (64, 36), GREEN).save(folder / name)
    write_film(folder / "clip.mp4")
    (scene,) = [text for text, _ in blocks(GUIDE, "json") if '"zones"' in text]
    (folder / "scene.json").write_text(scene, encoding="utf-8")
    (folder / "notes.txt").write_text("no picture" * 200)
    (folder / "cameras").mkdir()
    (folder / "cameras/north_gate.yaml").write_text(CAMERA)
    scopes = ["predict", "feedback"]
    token = new_token(folder / "tokens.json", "me", scopes, rate=500, burst=500, days=1)[1]
    named = {
        "tokens": str(folder / "tokens.json"), "cameras": str(folder / "cameras"),
        "feedback": str(folder / "feedback"),
    }  # fmt: skip
    certificate, key = write_certificate(folder)
    options = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    with (
        running_endpoint(release, **named) as plain,
        running_endpoint(release, *options, **named) as tls,
    ):
        yield Reader(folder, token, plain, tls)


def keys_of(value: Any) -> Any:
    """The shape of JSON: keys, and of a list its first element."""
    if isinstance(value, dict):
        return {key: keys_of(each) for key, each in value.items()}
    return [keys_of(each) for each in value[:1]] if isinstance(value, list) else None


def without(shape: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: each for key, each in shape.items() if key not in names}


def test_the_answers_in_the_guide_are_as_the_schema_says() -> None:
    kinds = [Prediction, Analysis, Thanks, Problem]
    shown = [json.loads(answer) for _, answer in blocks(GUIDE, "sh") if answer]
    assert len(shown) == len(kinds)
    for kind, answer in zip(kinds, shown, strict=True):
        kind.model_validate(answer)
        assert set(answer) == set(kind.model_fields)


def test_every_command_of_the_guide_runs_and_answers_what_it_shows(reader: Reader) -> None:
    examples = blocks(GUIDE, "sh")
    assert len(examples) == 8
    for text, shown in examples:
        printed = reader.run("bash", "-euo", "pipefail", "-c", text)
        if not shown:
            continue
        answer, expected = keys_of(json.loads(printed)), keys_of(json.loads(shown))
        may_be_empty = {"totals"}  # nobody crosses the line here
        assert without(answer, may_be_empty) == without(expected, may_be_empty), text


@pytest.mark.parametrize(("page", "count"), [(GUIDE, 4), (CLIENT, 4)])
def test_every_program_of_the_pages_runs(reader: Reader, page: Path, count: int) -> None:
    programs = blocks(page, "python")
    assert len(programs) == count
    for text, _ in programs:
        assert reader.run(sys.executable, "-c", text).strip(), text


def test_the_evidence_of_the_example_is_a_picture(reader: Reader) -> None:
    from PIL import Image

    (program,) = [text for text, _ in blocks(GUIDE, "python") if "b64decode" in text]
    assert reader.run(sys.executable, "-c", program).split("\n")[0].startswith("0.0 stood still")
    with Image.open(reader.folder / "stopped-0.jpg") as picture:
        assert picture.format == "JPEG"


def test_a_certificate_nobody_trusts_is_not_asked_twice(reader: Reader) -> None:
    with pytest.raises(httpx.ConnectError) as caught:
        httpx.get(f"{reader.tls}/readyz", verify=ssl.create_default_context())
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    program = (
        "import time; from cityforge_client import Client, Unreachable; begun = time.monotonic()\n"
        "try:\n    Client('https://127.0.0.1:3443', 'x').info()\n"
        "except Unreachable as error:\n    print(time.monotonic() - begun < 0.2, error)"
    )
    said = reader.run(sys.executable, "-c", program)
    assert said.startswith("True expected an endpoint, found: [SSL: CERTIFICATE_VERIFY_FAILED]")


def test_a_section_asks_the_port_that_its_command_serves_on() -> None:
    checked = 0
    for section in GUIDE.read_text(encoding="utf-8").split("\n## "):
        lines = re.findall(r"^    (cityforge serve .*)$", section, re.MULTILINE)
        ports = {match[1] for line in lines if (match := re.search(r"--port (\d+)", line))}
        asked = set(re.findall(r"https?://127\.0\.0\.1:(\d+)", section))
        assert asked <= (ports or {"3000"}), section[:40]
        checked += len(asked)
    assert checked >= 7


def test_every_limit_in_the_guide_is_the_real_one(reader: Reader) -> None:
    limits = httpx.get(
        f"{reader.plain}/info", headers={"Authorization": f"Bearer {reader.token}"}
    ).json()["limits"]
    text = GUIDE.read_text(encoding="utf-8")
    rows = {
        "pictures in one request": f"{limits['pictures']:.0f}",
        "one picture": f"{limits['picture_bytes'] / 2**20:.0f} MiB",
        "pictures of one request together": f"{limits['body_bytes'] / 2**20:.0f} MiB",
        "one clip": f"{limits['clip_bytes'] / 2**30:.0f} GiB",
        "film looked at": f"{limits['clip_seconds'] / 3600:.0f} hour",
        "time for pictures, from the last byte sent": f"{limits['seconds']:.0f} s",
        "time for a clip": f"{limits['analyze_seconds']:.0f} s",
        "boxes, classes or counts of one clip": f"{MOST_FOUND:,}",
        "events of one clip": f"{Asked().most_events:,}",
        "drawn frames of one clip": f"{MOST_DRAWN}",
        "feedback": f"{MOST_FEEDBACK >> 10} KiB",
        "clips received, waiting or read": f"{CLIPS_QUEUED}, and one for each clip process",
        "free disk that clips leave": f"{LEAST_FREE / 2**30:.0f} GiB",
    }
    assert f", {Asked().most_frames:,} frames |" in text
    for what, most in rows.items():
        assert f"| {what} | {most}" in text, what
