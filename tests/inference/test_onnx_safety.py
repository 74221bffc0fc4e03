"""ONNX that reaches beyond its own bytes is refused, also where onnxruntime would open it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from onnx import ModelProto, StringStringEntryProto, TensorProto, helper

from cityforge.errors import PackageError
from cityforge.inference.onnx_safety import refuse_unsafe_onnx
from cityforge.inference.package_files import MODEL_FILE

WEIGHTS = "weights.bin"
FLOAT = TensorProto.FLOAT


def model(nodes: list[Any], **parts: Any) -> ModelProto:
    """`x` (2,) to `y` (2,)."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    opsets += [helper.make_opsetid(name, 1) for name in parts.pop("domains", ())]
    functions = parts.pop("functions", ())
    ends = [helper.make_tensor_value_info(name, FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], **parts)
    made: ModelProto = helper.make_model(
        graph, opset_imports=opsets, ir_version=9, functions=list(functions)
    )
    return made


def tensor(name: str = "w") -> TensorProto:
    found: TensorProto = helper.make_tensor(name, FLOAT, [2], [1.0, 2.0])
    return found


def outside(location: str, name: str = "w", key: str = "location") -> TensorProto:
    """A tensor whose values lie in another file."""
    found = tensor(name)
    found.ClearField("float_data")
    found.data_location = TensorProto.EXTERNAL
    found.external_data.append(StringStringEntryProto(key=key, value=location))
    return found


def add() -> Any:
    return helper.make_node("Add", ["x", "w"], ["y"])


def of_initialiser(weights: TensorProto) -> ModelProto:
    return model([add()], initializer=[weights])


def of_sparse_initialiser(weights: TensorProto) -> ModelProto:
    places = helper.make_tensor("places", TensorProto.INT64, [2], [0, 1])
    return model([add()], sparse_initializer=[helper.make_sparse_tensor(weights, places, [2])])


def of_sparse_places(weights: TensorProto) -> ModelProto:
    weights.data_type = TensorProto.INT64
    return model([add()], sparse_initializer=[helper.make_sparse_tensor(tensor(), weights, [2])])


def of_attribute(weights: TensorProto) -> ModelProto:
    return model([helper.make_node("Constant", [], ["w"], value=weights), add()])


def of_sparse_attribute(weights: TensorProto) -> ModelProto:
    places = helper.make_tensor("places", TensorProto.INT64, [2], [0, 1])
    sparse = helper.make_sparse_tensor(weights, places, [2])
    return model([helper.make_node("Constant", [], ["w"], sparse_value=sparse), add()])


def branch(weights: TensorProto) -> Any:
    inside = helper.make_node("Constant", [], ["inner"], value=weights)
    out = helper.make_tensor_value_info("inner", FLOAT, [2])
    return helper.make_graph([inside], "branch", [], [out])


def of_branch(weights: TensorProto) -> ModelProto:
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", 9, [], [True]))
    graphs = {"then_branch": branch(tensor()), "else_branch": branch(weights)}
    return model([yes, helper.make_node("If", ["yes"], ["w"], **graphs), add()])


def of_function(weights: TensorProto) -> ModelProto:
    inside = [helper.make_node("Constant", [], ["w"], value=weights), add()]
    opset = [helper.make_opsetid("", 18)]
    function = helper.make_function("com.microsoft", "Mine", ["x"], ["y"], inside, opset)
    node = helper.make_node("Mine", ["x"], ["y"], domain="com.microsoft")
    return model([node], functions=[function])


PLACES: list[Callable[[TensorProto], ModelProto]] = [
    of_initialiser, of_sparse_initialiser, of_sparse_places, of_attribute, of_sparse_attribute,
    of_branch, of_function,
]  # fmt: skip


@pytest.mark.parametrize("make", PLACES)
@pytest.mark.parametrize(
    "location", [WEIGHTS, f"../{WEIGHTS}", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"]
)
def test_a_tensor_in_another_file_is_refused_wherever_it_stands(
    make: Callable[[TensorProto], ModelProto], location: str
) -> None:
    refuse_unsafe_onnx(make(tensor()).SerializeToString(), "m")  # the same with its values inside
    with pytest.raises(PackageError, match="in another file") as caught:
        refuse_unsafe_onnx(make(outside(location)).SerializeToString(), "a/model.onnx")
    assert location in str(caught.value)
    assert "a/model.onnx" in str(caught.value)


@pytest.mark.parametrize("key", ["location", "LOCATION", "Location", "offset", ""])
def test_the_key_may_be_written_in_any_way(key: str) -> None:
    with pytest.raises(PackageError, match="in another file"):
        refuse_unsafe_onnx(of_initialiser(outside("x", key=key)).SerializeToString(), "m")


def test_either_mark_alone_is_enough() -> None:
    only_said, only_named = outside("x"), outside("x")
    del only_said.external_data[:]
    only_named.data_location = TensorProto.DEFAULT
    for each in (only_said, only_named):
        with pytest.raises(PackageError, match="in another file"):
            refuse_unsafe_onnx(of_initialiser(each).SerializeToString(), "m")


def linked(kind: str, folder: Path) -> None:
    target = folder.parent / "secret.bin"
    target.write_bytes(bytes(8))
    beside = folder / WEIGHTS
    if kind == "plain":
        beside.write_bytes(bytes(8))
    elif kind == "symbolic":
        beside.symlink_to(target)
    elif kind == "hard":
        beside.hardlink_to(target)
    else:  # sparse: 4 GiB that take no disk
        with beside.open("wb") as stream:
            stream.truncate(4 << 30)


@pytest.mark.parametrize("kind", ["plain", "symbolic", "hard", "sparse"])
def test_it_is_refused_before_the_runtime_opens_it(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    linked(kind, folder)
    data = of_initialiser(outside(WEIGHTS)).SerializeToString()
    (folder / MODEL_FILE).write_bytes(data)
    with pytest.raises(PackageError, match="in another file"):
        refuse_unsafe_onnx(data, str(folder / MODEL_FILE))
    opened = opens(folder / MODEL_FILE)
    # It asks itself only about links that lead out of the folder: a hard link looks like a file.
    assert opened is (kind != "symbolic")


def opens(path: Path) -> bool:
    onnxruntime.set_default_logger_severity(4)
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001
        return False
    return True


def of_domain(name: str) -> ModelProto:
    """A function of the model's own, in a domain of its own: onnxruntime opens it."""
    opset = [helper.make_opsetid("", 18)]
    inside = [helper.make_node("Identity", ["x"], ["y"])]
    function = helper.make_function(name, "Mine", ["x"], ["y"], inside, opset)
    node = helper.make_node("Mine", ["x"], ["y"], domain=name)
    return model([node], functions=[function], domains=[name])


@pytest.mark.parametrize("name", ["custom", "com.microsoft.extensions", "ai.onnx.contrib", " "])
def test_an_operator_of_a_custom_library_is_refused(tmp_path: Path, name: str) -> None:
    made = of_domain(name)
    with pytest.raises(PackageError, match=f"custom library '{name}'"):
        refuse_unsafe_onnx(made.SerializeToString(), "m")
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    assert opens(path)
    made.functions.pop()  # the operator alone
    with pytest.raises(PackageError, match=f"custom library '{name}'"):
        refuse_unsafe_onnx(made.SerializeToString(), "m")


def test_what_quantisation_needs_is_let_through(tmp_path: Path) -> None:
    made = model([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")])
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    assert opens(path)
    refuse_unsafe_onnx(path.read_bytes(), "m")


def test_an_operator_that_loads_a_file_is_refused() -> None:
    node = helper.make_node(
        "EPContext", ["x"], ["y"], domain="com.microsoft", embed_mode=0,
        ep_cache_context="../engine.bin", source="x",
    )  # fmt: skip
    with pytest.raises(PackageError, match="EPContext, which reaches beyond"):
        refuse_unsafe_onnx(model([node]).SerializeToString(), "m")


@pytest.mark.parametrize(
    "data",
    [b"", b"no model", b"\0\0\0\0ORTM" + bytes(64), ModelProto().SerializeToString(),
     of_initialiser(tensor()).SerializeToString()[:-9]],
)  # fmt: skip
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(PackageError, match="an ONNX model"):
        refuse_unsafe_onnx(data, "m")
