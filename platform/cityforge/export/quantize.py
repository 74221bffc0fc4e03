"""An INT8 model from the FP32 one: static quantisation with frames of train.

Weights are S8 a channel, activations as the processor multiplies them without loss
(onnxruntime, "Quantize ONNX Models": U8S8 with VNNI, reduced range without, S8S8 on Arm).
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cityforge.errors import DataError
from cityforge.provenance import processor_flags

Method = Literal["minmax", "entropy", "percentile"]
# Of the three, with the last layers left in float; see tests/benchmarks/export_figures.py.
METHOD: Method = "minmax"
# A chain of these stays in INT8; between them and the rest a number is turned back and forth.
QUANTISED = ("Conv", "Relu", "Add", "Resize")
WEIGHTED = ("Conv", "Gemm", "MatMul")


def quantised(
    model: bytes,
    canvases: Iterable[NDArray[Any]],
    method: Method = METHOD,
    *,
    tail_in_float: bool = True,
) -> bytes:
    """The INT8 model of an FP32 one, in one file.

    Args:
        canvases: (H, W, 3) uint8, fitted frames from which the ranges are taken.
        tail_in_float: the last layers, which give the answer, stay in float.

    Raises:
        DataError: the runtime cannot quantise this network.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    pictures = [np.ascontiguousarray(each[None]) for each in canvases]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        ready, out = Path(folder) / "ready.onnx", Path(folder) / "int8.onnx"
        try:
            # Fused and with known shapes; the symbolic ones are for transformers.
            quant_pre_process(onnx.load_from_string(model), str(ready), skip_symbolic_shape=True)
            nodes = onnx.load(str(ready)).graph.node
            quantize_static(
                str(ready),
                str(out),
                _reader(pictures),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=float_nodes(nodes, tail=tail_in_float),
                **_method(method),
                **_number_types(),
            )
        except Exception as error:  # it raises a dozen kinds, most of them plain
            raise DataError(
                "a network that can be quantised",
                found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
                where="model.onnx",
                do="set export.int8.offer to false",
            ) from error
        return out.read_bytes()


def float_nodes(nodes: Sequence[Any], *, tail: bool = True) -> list[str]:
    """Names of the nodes that stay in float: the first layers with weights, and the tail.

    The tail are the last layers with weights and all behind them: they say scores and edges in
    pixels, for which 256 steps are too coarse. Before an INT8 layer the runtime lays pictures
    out pixel by pixel, in which the normalisation takes ten times as long.
    """
    behind = _behind(nodes)
    weighted = {number for number, node in enumerate(nodes) if node.op_type in WEIGHTED}
    later = {each for number in weighted for each in behind[number]}
    kept = weighted - later
    if tail:
        for number in weighted:
            if not behind[number] & weighted:
                kept |= {number} | behind[number]
    return [nodes[number].name for number in sorted(kept)]


def _behind(nodes: Sequence[Any]) -> dict[int, set[int]]:
    """Each node: all nodes that its numbers reach."""
    users: dict[str, list[int]] = {}
    for number, node in enumerate(nodes):
        for tensor in node.input:
            users.setdefault(tensor, []).append(number)
    behind: dict[int, set[int]] = {}
    for number in reversed(range(len(nodes))):  # ONNX nodes stand in the order they run
        reached: set[int] = set()
        for tensor in nodes[number].output:
            for user in users.get(tensor, ()):
                reached |= {user} | behind[user]
        behind[number] = reached
    return behind


def _method(method: Method) -> dict[str, Any]:
    from onnxruntime.quantization import CalibrationMethod

    known = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    return {"calibrate_method": known[method]}


def _number_types() -> dict[str, Any]:
    from onnxruntime.quantization import QuantType

    flags = processor_flags()
    if {"avx512_vnni", "avx_vnni"} & flags:
        return {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    if "avx2" in flags:  # whose 16-bit sums overflow: weights take 7 bits
        return {
            "activation_type": QuantType.QUInt8,
            "weight_type": QuantType.QInt8,
            "reduce_range": True,
        }
    return {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}


def _reader(pictures: Sequence[NDArray[Any]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Pictures(CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[NDArray[Any]] = iter(pictures)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            found = next(self._left, None)
            return None if found is None else {"pictures": found}

    return Pictures()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that the quantiser prints, and logs at the root."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
