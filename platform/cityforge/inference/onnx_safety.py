"""Refuses ONNX that reaches beyond its own bytes, before the runtime opens it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cityforge.errors import PackageError

# com.microsoft is onnxruntime's own, which quantised models need; any other is a custom library.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
# Operators of com.microsoft that load a file, or run code of their own.
REACHING = frozenset({"EPContext", "PyOp", "PythonOp", "ExternalOp"})
ORT_FORMAT = b"ORTM"  # onnxruntime's own format, which it tells by these bytes at offset 4


def refuse_unsafe_onnx(data: bytes, where: str) -> None:
    """Refuse a model that is no ONNX in one piece.

    A tensor may name a file beside the model (`external_data`), an absolute one, one above it,
    or an address in memory: none may, wherever the tensor stands. Every message of the model is
    looked at, so that no place is forgotten: initialisers, sparse ones, attributes of nodes,
    sub-graphs, functions.

    Args:
        where: the file, for the words of an error.

    Raises:
        PackageError: unreadable, external data, or an operator of a custom library.
    """
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        if data[4:8] == ORT_FORMAT:
            raise DecodeError("onnxruntime's own format")
        model.ParseFromString(data)
    except DecodeError as error:
        raise _refused("what is no ONNX", where, "an ONNX model") from error
    if not model.graph.node:
        raise _refused("a model without a node", where, "an ONNX model")
    for message in _messages(model):
        _refuse_message(message, where)


def _refuse_message(message: Any, where: str) -> None:
    kind = message.DESCRIPTOR.name
    if kind == "TensorProto":
        if message.external_data or message.data_location != 0:
            named = {each.key.lower(): each.value for each in message.external_data}
            location = named.get("location", "no location")
            raise _refused(f"tensor '{message.name}' in another file: '{location}'", where)
    elif kind in ("NodeProto", "FunctionProto"):
        if message.domain not in DOMAINS:
            raise _refused(f"'{message.name}' of the custom library '{message.domain}'", where)
        if kind == "NodeProto" and message.op_type in REACHING:
            raise _refused(f"operator {message.op_type}, which reaches beyond the model", where)


def _messages(message: Any) -> Iterator[Any]:
    """A message and all within it, the bytes of tensors left alone."""
    waiting = [message]
    while waiting:
        one = waiting.pop()
        yield one
        for field in one.DESCRIPTOR.fields:
            if field.message_type is None:
                continue
            value = getattr(one, field.name)
            if field.is_repeated:
                waiting += list(value)
            elif one.HasField(field.name):
                waiting.append(value)


def _refused(found: str, where: str, wanted: str = "an ONNX model in one file") -> PackageError:
    return PackageError(wanted, found=found, where=where, do="do not use it; export it anew")
