"""`cityforge model parity`: a registered version, its weights, and a live endpoint of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import small_project
from small_frames import labelled
from store import APPROVER, TRAINER, bless, found_site
from typer.testing import CliRunner

from cityforge.cards.params import DataParams
from cityforge.cli.main import app as commands
from cityforge.endpoint.app import create_app
from cityforge.endpoint.observed import Figures
from cityforge.endpoint.running import Running
from cityforge.endpoint.surroundings import Surroundings
from cityforge.errors import CityforgeError, DataError, ServiceError
from cityforge.evaluation.evidence import read_evidence
from cityforge.export.endpoint import endpoint_parity, served_by
from cityforge.export.onnx import export_onnx
from cityforge.export.sides import onnx_way, refuse_far
from cityforge.inference.package import (
    EVIDENCE_FILE,
    MODEL_FILE,
    About,
    open_package,
    write_about,
)
from cityforge.inference.runtime import Model
from cityforge.registry.approval import approve
from cityforge.registry.registering import register
from cityforge.registry.site import Site
from cityforge.registry.versions import fetch_package, find_version
from cityforge.settings import Settings
from cityforge.tasks.kinds import build_network
from cityforge.training.tracking import experiment_id
from cityforge.trust.chain import KEY_ACTS
from cityforge.trust.release import write_release

SIDE, NAME = 64, small_project.NAME
LIMITS = {"scores": 1e-4, "boxes": 0.01}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_package: Callable[..., Path]) -> Site:
    """A project whose version 1 is a network from scratch, registered with its weights."""
    project = small_project.make_project(tmp_path_factory.mktemp("parity") / "project")
    (project.root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")  # marks a project
    site = Site(project, Settings(tracking_uri=""))
    found_site(site)
    bless(site, APPROVER, ["approve"])
    experiment = experiment_id(site.client, project, site.settings, NAME)
    run = site.client.create_run(experiment).info.run_id
    trained = project.build(NAME) / "train"
    package = make_real_package(project.root / "made", make_package, run, trained)
    register(site, NAME, package, package.parent, trained, who=TRAINER)
    approve(site, NAME, 1, APPROVER, reason="good")
    return site


def make_real_package(
    folder: Path, make_package: Callable[..., Path], run: str, trained: Path
) -> Path:
    """A package of a network from scratch, and what the train stage leaves of it."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(7)
    network = build_network("detection", "detection/nano", 2, loss={}).eval()
    trained.mkdir(parents=True)
    save_file(network.state_dict(), trained / "model.safetensors")
    about = {
        "task": "detection", "network": "detection/nano", "classes": ["汽车", "bus"],
        "params": {"loss": {}}, "mlflow_run_id": run, "algorithm": NAME,
    }  # fmt: skip
    (trained / "train.json").write_text(json.dumps(about), encoding="utf-8")
    data = DataParams(input_width=SIDE, input_height=SIDE, workers=0)
    export_onnx(network, data, 18, trained / MODEL_FILE)
    model = (trained / MODEL_FILE).read_bytes()
    package = make_package(folder / "package", NAME, run)
    evidence = read_evidence(package / EVIDENCE_FILE)
    digests = {
        "model_digest": hashlib.sha256(model).hexdigest(), "snapshot_digest": small_project.DIGEST
    }  # fmt: skip
    source = evidence.created_from.model_copy(update=digests)
    evidence = evidence.model_copy(update={"created_from": source})
    answers = {
        "input_width": SIDE, "input_height": SIDE, "score_floor": 0.001,
        "score_threshold": a_threshold(model), "max_boxes": 50,
        "evidence_digest": evidence.digest(),
    }  # fmt: skip
    opened = open_package(package).about.model_copy(update={**digests, **answers})
    (package / MODEL_FILE).write_bytes(model)
    (package / EVIDENCE_FILE).write_text(evidence.to_json(), encoding="utf-8")
    write_about(package, opened)
    return package


def a_threshold(model: bytes) -> float:
    """Between two scores of a network from scratch, so that some boxes are over it."""
    grey = np.full((1, SIDE, SIDE, 3), 90, np.uint8)
    scores = np.sort(onnx_way(model, "detection")(grey)[0].ravel())
    return float(scores[-12:-10].mean())


@pytest.fixture(scope="module")
def served(made: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The routes of an endpoint over the release of version 1, on a port."""
    import uvicorn

    folder = tmp_path_factory.mktemp("served")
    version = find_version(made, NAME, 1)
    shutil.copytree(fetch_package(made, version)[0], folder / "package")
    state = version.state
    assert state is not None
    assert state.approval is not None
    write_release(folder, state.register, state.approval, made.journal.entries(acts=KEY_ACTS))
    app, figures = create_app(), Figures()
    app.state.endpoint = Running(Surroundings(compute=1), folder, figures)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        until = time.monotonic() + 60
        while not server.started and time.monotonic() < until:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)
    figures.forget()


def ask(site: Site, *words: str) -> Any:
    root = str(site.project.root)
    return CliRunner().invoke(commands, ["--project", root, "model", "parity", NAME, *words])


def test_every_side_and_the_endpoint_answer_alike(made: Site, served: str) -> None:
    found = ask(made, "--endpoint", served, "--json")
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert (said["version"], said["subset"], said["figure"], said["frames"]) == (
        1,
        "test",
        "map50",
        4,
    )
    torch, onnx = said["sides"]
    assert (torch["name"], onnx["name"], onnx["score"]) == ("torch", "onnx", torch["score"])
    assert onnx["box_px"] <= 0.01
    assert onnx["answer"] <= 1e-4
    assert set(torch["slices"]) == {"lighting day", "lighting night", "camera 北门"}
    ours, live = said["endpoint"]["sides"]
    assert (live["name"], live["unmatched"], live["score"]) == ("endpoint", 0, ours["score"])
    assert 0 < live["box_px"] <= 0.0006  # it rounds to a thousandth of a pixel
    assert 0 < live["answer"] <= 6e-6


def test_the_table_names_sides_and_slices(made: Site) -> None:
    found = ask(made, "--frames", "2")
    assert found.exit_code == 0, found.output
    assert f"{NAME} version 1 on 2 frames of test" in found.stdout
    for word in ("torch", "onnx", "map50", "box px", "unmatched", "camera 北门"):
        assert word in found.stdout


def test_an_endpoint_of_another_package_is_refused(made: Site) -> None:
    info = {"model": "other", "version": 1, "digest": "f" * 64}
    with answering({"/info": info}) as address:
        found = ask(made, "--endpoint", address)
    assert isinstance(found.exception, DataError)
    assert "found version 1 of 'other', package ffffffffffffffff" in str(found.exception)


def answer(**changes: Any) -> dict[str, Any]:
    box = {"class_name": "汽车", "score": 0.9, "x1": 8.0, "y1": 6.0, "x2": 40.0, "y2": 30.0}
    return {
        "pictures": [{"name": "0.jpg", "width": 64, "height": 48, "boxes": [{**box, **changes}]}]
    }


@contextlib.contextmanager
def answering(pages: dict[str, Any]) -> Iterator[str]:
    """A server of another make, which answers these paths with this JSON."""

    class Pages(BaseHTTPRequestHandler):
        known: ClassVar[dict[str, Any]] = pages

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            self.send_response(200 if path in self.known else 404)
            self.end_headers()
            self.wfile.write(json.dumps(self.known.get(path)).encode())

        do_POST = do_GET  # noqa: N815 (as http.server calls it)

        def log_message(self, *words: Any) -> None:
            del words

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def constant(make_package: Callable[..., Path], tmp_path: Path) -> tuple[About, Model, bytes]:
    """A package that finds one car at (8, 6, 40, 30) in any picture of 64×48."""
    package = open_package(make_package(tmp_path / "package", "tiny", None))
    return package.about, Model(package), package.model


def compared(constant: tuple[About, Model, bytes], content: Any) -> Any:
    about, _, model = constant
    frames = labelled([((8, 6, 40, 30), 0)])
    with answering({"/predict": content}) as address:
        return endpoint_parity(
            about, frames, lambda _: small_project.jpeg(90), onnx_way(model, "detection"), address
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"x1": 8.009, "score": 0.90009}, ""),
        ({"x1": 8.02}, "endpoint within 0.01 of onnx in a box edge, pixels"),
        ({"score": 0.8998}, "endpoint within 0.0001 of onnx in an answer"),
        ({"x2": 10.0}, "endpoint within 0.0001 of onnx in map50"),
    ],
)
def test_an_endpoint_that_answers_otherwise_is_refused(
    constant: tuple[About, Model, bytes], changes: dict[str, Any], said: str
) -> None:
    found = compared(constant, answer(**changes))
    if not said:
        refuse_far(constant[0], found, LIMITS, 1e-4)
        return
    with pytest.raises(DataError, match=said):
        refuse_far(constant[0], found, LIMITS, 1e-4)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ({"pictures": []}, ServiceError, "expected 1 answers, found 0"),
        ({"error": "busy"}, ServiceError, "answers to 1 pictures"),
        (answer(class_name="tram"), DataError, "with the package's classes"),
        ({"pictures": [{"width": 32, "height": 48, "boxes": []}]}, DataError, "64×48, found 32×48"),
    ],
)
def test_what_no_endpoint_of_ours_says_is_an_error_in_one_line(
    constant: tuple[About, Model, bytes], content: Any, error: type[CityforgeError], said: str
) -> None:
    with pytest.raises(error, match=said) as found:
        compared(constant, content)
    assert len(str(found.value).splitlines()) == 1


def test_an_address_without_an_endpoint_is_named() -> None:
    with answering({"/info": {"name": "something"}}) as address:
        with pytest.raises(ServiceError, match="an endpoint of cityforge"):
            served_by(address)
        with pytest.raises(ServiceError, match=address):
            served_by(f"{address}/elsewhere")
    with pytest.raises(ServiceError, match="an endpoint"):
        served_by("http://127.0.0.1:9")
