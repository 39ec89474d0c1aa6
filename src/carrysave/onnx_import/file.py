"""An ONNX file, read and checked: parsed, never executed. Needs the extra `onnx`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrysave.onnx_import.dtypes import tensor_of
from carrysave.onnx_import.node import Node

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

MAX_FILE_BYTES = (1 << 31) - 1  # what protobuf takes
MAX_EXTERNAL_BYTES = 1 << 34


class MissingExtra(ImportError):
    """A package that an extra of carrysave brings is not installed."""


class OnnxError(ValueError):
    """A file that is no ONNX graph, is damaged, or asks for what cannot be given."""


def read(path: str | Path) -> ModelProto:
    """The checked model in a file, external data and all, its local functions inlined.

    External data are read only from files in the model's own folder, or below it.

    Raises:
        OnnxError: for damaged bytes, what onnx's checker refuses, and external data that are missing or elsewhere.
        MissingExtra: without the package onnx. OSError: for a file that cannot be read.
    """
    onnx = _onnx()
    file = Path(path)
    size = file.stat().st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise OnnxError(f"{file}: {size:,} bytes; an ONNX file has 1 to {MAX_FILE_BYTES:,} (weights may be beside it)")
    content = file.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors have no common class
        raise OnnxError(f"{file}: not an ONNX file, or damaged ({error})") from None
    if not model.graph.node and not model.graph.output:
        raise OnnxError(f"{file}: not an ONNX file, or damaged (it holds no graph)")
    if any(isinstance(text, bytes) for text in _texts(model)):
        raise OnnxError(f"{file}: damaged: a name in it is not UTF-8 text")
    _read_external(onnx, model, file)
    if model.functions:
        from onnx.inliner import inline_local_functions

        try:
            model = inline_local_functions(model)
        except Exception as error:
            raise OnnxError(f"{file}: its local functions cannot be inlined: {error}") from None
    return model


def check(model: ModelProto, path: str | Path) -> None:
    """onnx's own checker. Raises OnnxError with what it says."""
    onnx = _onnx()
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # ValidationError, and UnicodeDecodeError, among others
        text = " ".join(str(error).split())
        raise OnnxError(f"{path}: onnx's checker refuses it: {text}") from None


def nodes_of(model: ModelProto) -> list[Node]:
    """The graph's nodes in the file's order, with names that differ; an unnamed one is named after its output."""
    versions = {"" if part.domain == "ai.onnx" else part.domain: part.version for part in model.opset_import}
    taken: set[str] = set()
    found = []
    for proto in model.graph.node:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        name = proto.name or f"{proto.op_type}_{proto.output[0] if proto.output else ''}"
        while name in taken:
            name += "_"
        taken.add(name)
        attributes = {a.name: _attribute(a) for a in proto.attribute}
        found.append(
            Node(
                name,
                proto.op_type,
                domain,
                versions.get(domain, 1),
                tuple(proto.input),
                tuple(proto.output),
                attributes,
            )
        )
    return found


def _attribute(proto: Any) -> Any:
    """A number, string, list or tensor; a graph and what else there is stays as it is, for no operator here has one."""
    from onnx import AttributeProto, helper

    if proto.type == AttributeProto.TENSOR:
        try:
            return tensor_of(proto.t)
        except ValueError:
            return proto.t  # its use is refused, and names the node
    value = helper.get_attribute_value(proto)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
    except ImportError as error:
        raise MissingExtra(
            f"ONNX files need the package onnx ({error}); install it with: pip install 'carrysave[onnx]'"
        ) from None
    return onnx


def _texts(model: ModelProto) -> Iterator[Any]:
    """Every name in the graph; protobuf gives bytes where it is no text."""
    graph = model.graph
    yield from (part.domain for part in model.opset_import)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    yield from (tensor.name for tensor in graph.initializer)
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (size.dim_param for size in value.type.tensor_type.shape.dim)


def _read_external(onnx: Any, model: ModelProto, file: Path) -> None:
    """Tensors whose bytes lie in files beside the model's. Every one of these is checked before any is read."""
    folder = file.resolve().parent
    total = 0
    outside = [tensor for tensor in _tensors(model.graph) if onnx.external_data_helper.uses_external_data(tensor)]
    for tensor in outside:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        where = f"{file}: the data of tensor {tensor.name!r}"
        place = (folder / entries.get("location", "")).resolve()
        if not place.is_relative_to(folder):
            raise OnnxError(f"{where} lie outside the model's folder, in {entries.get('location')!r}")
        if not place.is_file():
            raise OnnxError(f"{where} are missing: no file {place}")
        try:
            offset = int(entries.get("offset", 0))
            length = int(entries.get("length", place.stat().st_size - offset))
        except ValueError:
            raise OnnxError(f"{where} have a damaged place: {entries}") from None
        if offset < 0 or length < 0 or offset + length > place.stat().st_size:
            raise OnnxError(f"{where}: bytes {offset} to {offset + length} lie beyond the end of {place}")
        total += length
        if total > MAX_EXTERNAL_BYTES:
            raise OnnxError(f"{file}: its external data are more than {MAX_EXTERNAL_BYTES >> 30} GiB")
    for tensor in outside:
        try:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except Exception as error:
            raise OnnxError(f"{file}: the data of tensor {tensor.name!r} cannot be read: {error}") from None
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor in a graph and in those that its nodes hold."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)


def initializers_of(model: ModelProto, names: Iterable[str]) -> dict[str, Any]:
    """The stored tensors among `names`."""
    wanted = set(names)
    return {proto.name: tensor_of(proto) for proto in model.graph.initializer if proto.name in wanted}
