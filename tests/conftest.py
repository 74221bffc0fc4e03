"""What several folders of tests need: a dataset's card, small pictures and films, real data."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cityforge.cards.dataset import Dataset
from cityforge.cards.yaml_files import check

REPOSITORY = Path(__file__).parents[1]
CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
SIZE = (64, 48)  # width, height of the pictures and films made here


@pytest.fixture(autouse=True)
def scheduling_stays_ordinary() -> Iterator[None]:
    """No test leaves this process in another scheduling class, which later ones inherit."""
    yield
    found = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    assert found == os.SCHED_OTHER


@pytest.fixture(autouse=True, scope="session")
def own_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys that tests make are not those of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYFORGE_KEYS", str(tmp_path_factory.mktemp("keys")))
        yield


@pytest.fixture
def make_card() -> Callable[..., Dataset]:
    """Card of a dataset with two classes and two cameras; `changes` replace whole keys."""

    def make(**changes: object) -> Dataset:
        content: dict[str, Any] = {
            "name": "tiny",
            "title": "小 · Tiny",
            "classes": [
                {"name": "汽车", "definition": "A car."},
                {"name": "bus", "definition": "A bus."},
            ],
            "cameras": [
                {"name": "北门", "site": "North gate"},
                {"name": "harbour", "site": "Old harbour"},
            ],
            "privacy": {
                "grade": "public", "lawful_basis": "made here", "redact": [],
                "retention_days": 30,
            },
            "licence": "Apache-2.0",
            "sampling": {"policy": "every", "seconds": 0.5},
            "checks": {
                "min_frames": 1, "min_boxes_per_class": 1, "min_box_px": 2,
                "max_rejected_share": 0.1,
            },
        }  # fmt: skip
        return check(Dataset, {**content, **changes}, Path("dataset.yaml"))

    return make


@pytest.fixture
def make_picture() -> Callable[..., Path]:
    """Write a still: light on top, dark below, with seeded noise so that no two are alike."""

    def make(
        path: Path,
        seed: int = 0,
        size: tuple[int, int] = SIZE,
        format_name: str = "JPEG",
        orientation: int = 1,
        taken: str = "",
    ) -> Path:
        from PIL import Image

        pixels = np.random.default_rng(seed).integers(0, 40, (size[1], size[0], 3))
        pixels[: size[1] // 2] += 200
        image = Image.fromarray(pixels.astype(np.uint8))
        exif = image.getexif()
        if orientation != 1:
            exif[0x0112] = orientation
        if taken:
            exif[0x0132] = taken
        stream = io.BytesIO()
        image.save(stream, format_name, exif=exif)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue())
        return path

    return make


@pytest.fixture
def make_film() -> Callable[..., Path]:
    """Write a film whose frame number i is a flat grey of `greys[i]`; sound where it is asked."""

    def make(
        path: Path,
        greys: Sequence[int] = tuple(range(20, 220, 10)),
        rate: int = 10,
        options: dict[str, str] | None = None,
        moments: Sequence[int] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Path:
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", options=options or {}) as container:
            container.metadata.update(metadata or {})
            stream = container.add_stream("libx264", rate=rate, options={"g": "5", "bf": "0"})
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            stream.codec_context.time_base = Fraction(1, rate)
            for number, grey in enumerate(greys):
                pixels = np.full((SIZE[1], SIZE[0], 3), grey, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = moments[number] if moments else number
                frame.time_base = Fraction(1, rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def launch_chromium() -> Callable[[Any], Any]:
    """Starts a real browser by playwright; without one the test is skipped, and fails in CI."""
    if not CHROMIUM.exists():
        message = f"no Chromium in {CHROMIUM}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return lambda play: play.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)


@pytest.fixture
def run_here(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run `cityforge` in this process: exit code, what it printed, what it complained of.

    Importing mlflow anew for each command would take minutes. The environment is put back.
    """
    from cityforge.cli.main import main

    before = dict(os.environ)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cityforge", *words])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capfd.readouterr()

    yield run
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Folder of a part of the real data; without it the test is skipped, and fails in CI."""

    def find(part: str) -> Path:
        stated = os.environ.get("CITYFORGE_REAL_DATA")
        folder = (Path(stated) if stated else REPOSITORY.parent / "shared" / "data") / part
        if folder.is_dir():
            return folder
        message = f"no real data in {folder}: set CITYFORGE_REAL_DATA to the folder that holds it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)

    return find


@pytest.fixture(scope="session")
def make_package() -> Callable[..., Path]:
    """Write a package of two classes for pictures of 64×48; see `MODELS` for what it answers."""

    def make(
        folder: Path,
        algorithm: str,
        run_id: str | None,
        score: float = 0.9,
        passed: bool = True,
        task: str = "detection",
        **changes: object,
    ) -> Path:
        from cityforge.inference.package import EVIDENCE_FILE, MODEL_FILE, About, write_about

        folder.mkdir(parents=True)
        model, needed = MODELS[task]
        made = model(score)
        digest = sha256(made).hexdigest()
        snapshot = str(changes.get("snapshot_digest", "s"))
        evidence = bare_evidence(algorithm, run_id, score, passed, snapshot, digest)
        (folder / MODEL_FILE).write_bytes(made)
        (folder / EVIDENCE_FILE).write_text(evidence.to_json(), encoding="utf-8")
        (folder.parent / "report.html").write_text("<p>report</p>", encoding="utf-8")
        about = {
            "format": "cityforge.package/1", "algorithm": algorithm, "title": "小 · Tiny",
            "space": "road_traffic", "task": task, "classes": ["汽车", "bus"],
            "input_width": SIZE[0], "input_height": SIZE[1], "envelope": {},
            "model_digest": digest, "evidence_digest": evidence.digest(),
            "snapshot_digest": "s", "git_commit": "c", "git_dirty": False, "lock_digest": "l",
            "params_digest": "p", "parity": {},
        }  # fmt: skip
        write_about(folder, About.model_validate({**about, **needed, **changes}))
        return folder

    return make


def constant_model(score: float) -> bytes:
    """`scores` (N, 1, 2) and `boxes` (N, 1, 4): one object at (8, 6, 40, 30) in any picture."""
    from onnx import TensorProto, helper

    answers = {"scores": [score, 0.0], "boxes": [8.0, 6.0, 40.0, 30.0]}
    nodes = [helper.make_node("Shape", ["pictures"], ["count"], start=0, end=1)]
    constants = []
    for name, values in answers.items():
        width = len(values)
        constants += [
            helper.make_tensor(f"{name}_one", TensorProto.FLOAT, [1, 1, width], values),
            helper.make_tensor(f"{name}_rest", TensorProto.INT64, [2], [1, width]),
        ]
        nodes += [
            helper.make_node("Concat", ["count", f"{name}_rest"], [f"{name}_shape"], axis=0),
            helper.make_node("Expand", [f"{name}_one", f"{name}_shape"], [name]),
        ]
    return onnx_model(nodes, {"scores": [1, 2], "boxes": [1, 4]}, constants)


def brightness_model(_: float) -> bytes:
    """`scores` (N, 2): how bright a picture is, 0 to 1, and how dark."""
    from onnx import TensorProto, helper

    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("flat", TensorProto.INT64, [2], [-1, 1]),
    ]
    nodes = [
        helper.make_node("Cast", ["pictures"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"]),
        helper.make_node("Reshape", ["mean", "flat"], ["column"]),
        helper.make_node("Div", ["column", "white"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Concat", ["bright", "dark"], ["scores"], axis=1),
    ]
    return onnx_model(nodes, {"scores": [2]}, constants)


def cells_model(_: float) -> bytes:
    """`density` (N, 2, 6, 8): the brightness of each cell of 8×8 pixels, 0 to 1; of bus none."""
    from onnx import TensorProto, helper

    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    ]
    nodes = [
        helper.make_node("Cast", ["pictures"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["planes", "axes"], ["grey"]),
        helper.make_node("AveragePool", ["grey"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Div", ["cells", "white"], ["some"]),
        helper.make_node("Mul", ["some", "zero"], ["none"]),
        helper.make_node("Concat", ["some", "none"], ["density"], axis=1),
    ]
    return onnx_model(nodes, {"density": [2, SIZE[1] // 8, SIZE[0] // 8]}, constants)


# Task: its model, and what its package says besides.
MODELS: dict[str, tuple[Callable[[float], bytes], dict[str, object]]] = {
    "detection": (
        constant_model,
        {"score_threshold": 0.5, "score_floor": 0.01, "overlap": 0.6, "max_boxes": 10},
    ),
    "classification": (
        brightness_model,
        {"score_threshold": 0.25, "score_floor": 0.01, "several_labels": False},
    ),
    "density": (cells_model, {"score_threshold": 0.0, "score_floor": 0.0}),
}


def onnx_model(nodes: list[Any], outputs: dict[str, list[int]], constants: list[Any]) -> bytes:
    """ONNX from `pictures` (N, 48, 64, 3) uint8 to float outputs, each (N, *shape)."""
    from onnx import TensorProto, checker, helper

    pictures = helper.make_tensor_value_info(
        "pictures", TensorProto.UINT8, ["n", SIZE[1], SIZE[0], 3]
    )
    given = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
        for name, shape in outputs.items()
    ]
    graph = helper.make_graph(nodes, "tiny", [pictures], given, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def bare_evidence(
    algorithm: str, run_id: str | None, score: float, passed: bool, snapshot: str, model: str
) -> Any:
    """Evidence with one figure and one gate."""
    from cityforge.evaluation import evidence as e

    return e.Evidence(
        algorithm=algorithm, title="小 · Tiny", space="road_traffic", task="detection",
        subset="test", classes=["汽车", "bus"], frame_count=4, box_count=4, score_threshold=0.5,
        created_from=e.CreatedFrom(
            snapshot_digest=snapshot, git_commit="c", git_dirty=False, lock_digest="l",
            model_digest=model, mlflow_run_id=run_id,
        ),
        metrics={"map50": score, "map50_95": score / 2}, per_class=[], slices=[],
        curves=e.Curves(recall=[], precision={}, threshold=[], f1={}, f1_mean=[]),
        confusion=e.Confusion(labels=[], matrix=[[]]), training=[], latency=None,
        gates=[e.GateResult(name="map50", floor=0.5, value=score, passed=passed)],
        best_frames=[], worst_frames=[],
    )  # fmt: skip
