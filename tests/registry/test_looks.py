"""What a model makes of stored frames, held against torch and against the endpoint's own code."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cityforge.errors import PackageError
from cityforge.footage.shards import FrameStore, read_shard, write_shard
from cityforge.inference.looking import deepest_feature
from cityforge.inference.package import About, Package, open_package
from cityforge.inference.runtime import Model
from cityforge.registry.looks import doubt_of, look_at
from cityforge.tables import FRAMES
from cityforge.tasks.picture import decode_and_fit

Make = Callable[..., Path]
SIZE = 64, 64  # of the network's input


@pytest.fixture(scope="module")
def network() -> object:
    import torch

    from cityforge.tasks.detection.network import BLUEPRINTS, Detector

    torch.manual_seed(3)
    made = Detector(BLUEPRINTS["detection/nano"], 2).eval()
    with torch.no_grad():
        for head in made.heads:
            head.score.bias.fill_(-1.0)  # so that there is something to find
    return made


@pytest.fixture
def package(network: object, make_package: Make, tmp_path: Path) -> Package:
    from cityforge.cards.params import DataParams
    from cityforge.export.onnx import export_onnx

    about = open_package(make_package(tmp_path / "package", "tiny", "run", 0.9, True)).about
    path = tmp_path / "model.onnx"
    export_onnx(network, DataParams(input_width=64, input_height=64, workers=0), 18, path)
    fitting = {"input_width": 64, "input_height": 64, "classes": ["car", "巴士"]}
    digest = sha256(path.read_bytes()).hexdigest()
    made = About(**about.model_dump() | fitting | {"model_digest": digest})
    return Package(made, path.read_bytes(), "d" * 64)


@pytest.fixture
def store(make_picture: Make, tmp_path: Path) -> FrameStore:
    pictures = [make_picture(tmp_path / f"{n}.jpg", seed=n).read_bytes() for n in range(5)]
    write_shard(tmp_path / "a.tar", [(f"f-{n}.jpg", data) for n, data in enumerate(pictures)])
    rows = [
        {"frame_id": Path(each.name).stem, "shard": "a.tar", "offset": each.offset,
         "bytes": len(each.data)}
        for each in read_shard(tmp_path / "a.tar")
    ]  # fmt: skip
    columns = [field for field in FRAMES if field.name in rows[0]]
    return FrameStore(tmp_path, pa.Table.from_pylist(rows, pa.schema(columns)))


def test_embedding_is_the_mean_of_the_backbones_last_feature(
    network: object, package: Package, store: FrameStore
) -> None:
    import torch

    ids = [f"f-{number}" for number in range(5)]
    looks = look_at(package, store, ids, 0.05)
    canvas = np.stack([decode_and_fit(store.read(each), *SIZE).canvas for each in ids])
    with torch.inference_mode():
        x = network.normalise(torch.from_numpy(canvas))  # type: ignore[attr-defined]
        expected = network.backbone(x)[-1].mean((2, 3)).numpy()  # type: ignore[attr-defined]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert looks.embedding.shape == expected.shape == (5, 480)
    assert looks.embedding == pytest.approx(expected, abs=1e-4)


def test_finds_are_those_of_the_endpoint(package: Package, store: FrameStore) -> None:
    ids = [f"f-{number}" for number in range(5)]
    told: list[tuple[int, int]] = []
    looks = look_at(package, store, ids, 0.05, lambda done, whole: told.append((done, whole)))
    answers = Model(package).answer([store.read(each) for each in ids], 0.05)
    rows = looks.predictions.to_pylist()
    assert len(rows) == sum(len(each.score) for each in answers) > 5
    for frame_id, answer in zip(ids, answers, strict=True):
        mine = [row for row in rows if row["frame_id"] == frame_id]
        assert [row["rank"] for row in mine] == list(range(len(answer.score)))
        assert [row["score"] for row in mine] == pytest.approx(answer.score.tolist())
        boxes = [[row[edge] for edge in ("x1", "y1", "x2", "y2")] for row in mine]
        assert np.array(boxes) == pytest.approx(answer.xyxy, abs=1e-3)
    assert looks.expected.sum() == pytest.approx(sum(float(e.score.sum()) for e in answers), 1e-4)
    assert told[-1] == (5, 5)


def test_no_frames_are_no_looks(package: Package, store: FrameStore) -> None:
    looks = look_at(package, store, [], 0.05)
    assert (len(looks.embedding), looks.predictions.num_rows) == (0, 0)


@pytest.mark.parametrize("several", [False, True], ids=["one class", "several"])
def test_a_classifier_tells_what_it_is_unsure_of(
    make_package: Make, store: FrameStore, tmp_path: Path, several: bool
) -> None:
    import torch

    from cityforge.cards.params import DataParams
    from cityforge.export.onnx import export_onnx
    from cityforge.tasks.classification.network import build

    torch.manual_seed(3)
    network = build("classification/small", 2, several_labels=several).eval()
    data = DataParams(input_width=64, input_height=64, workers=0)
    export_onnx(network, data, 18, tmp_path / "model.onnx", "classification")
    folder = make_package(
        tmp_path / "p", "tiny", None, task="classification", several_labels=several,
        input_width=64, input_height=64,
    )  # fmt: skip
    model = (tmp_path / "model.onnx").read_bytes()
    looks = look_at(Package(open_package(folder).about, model, "d" * 64), store, ["f-0", "f-1"], 0)
    canvas = np.stack([decode_and_fit(store.read(f"f-{n}"), *SIZE).canvas for n in (0, 1)])
    with torch.inference_mode():
        scores = network(torch.from_numpy(canvas))[0].numpy()
    if several:
        expected = 1 - np.abs(2 * scores - 1).min(1)
    else:
        expected = 1 - np.abs(scores[:, 0] - scores[:, 1])
    assert looks.uncertainty == pytest.approx(expected, abs=1e-4)
    assert looks.embedding.shape == (2, 960)
    rows = looks.predictions.to_pylist()
    assert [(row["rank"], row["x2"], row["value"]) for row in rows] == [
        (0, 64, None),
        (1, 64, None),
    ] * 2
    assert [row["score"] for row in rows[:2]] == pytest.approx(np.sort(scores[0])[::-1], abs=1e-4)


@pytest.mark.parametrize(
    ("several", "scores", "doubt"),
    [
        (False, [0.5, 0.5], 1.0),
        (False, [0.9, 0.1], 0.2),
        (False, [1.0], 0.0),
        (True, [0.9, 0.5], 1.0),
        (True, [0.9, 0.8], 0.4),
        (True, [], 0.0),
    ],
)
def test_doubt_of_classes(
    make_package: Make, tmp_path: Path, several: bool, scores: list[float], doubt: float
) -> None:
    folder = make_package(
        tmp_path / "p", "tiny", None, task="classification", several_labels=several
    )
    assert doubt_of(open_package(folder).about, np.array(scores)) == pytest.approx(doubt)


def test_a_model_that_counts_is_refused_in_one_line(
    make_package: Make, store: FrameStore, tmp_path: Path
) -> None:
    package = open_package(make_package(tmp_path / "p", "crowd", None, task="density"))
    with pytest.raises(PackageError, match=r"found one of density, in algorithm 'crowd'.*another"):
        look_at(package, store, ["f-0"], 0.05)


def test_a_model_without_a_backbone_is_one_clear_line(make_package: Make, tmp_path: Path) -> None:
    model = open_package(make_package(tmp_path / "p", "tiny", "run", 0.9, True)).model
    with pytest.raises(PackageError, match="expected a model with a backbone, found none"):
        deepest_feature(model)
