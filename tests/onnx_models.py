"""ONNX files for tests, and what ONNX Runtime, an independent implementation, computes with them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx", reason="needs the extra onnx: pip install 'carrysave[onnx]'")
ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime, the independent implementation")


def session(file: Path | str, optimised: bool = True) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def runtime(file: Path | str, *inputs: torch.Tensor, output: str | None = None, optimised: bool = True) -> np.ndarray:
    """ONNX Runtime's first output, or the one named."""
    opened = session(file, optimised)
    names = [value.name for value in opened.get_inputs()]
    fed = {name: x.numpy() for name, x in zip(names, inputs, strict=False)}
    return opened.run(None if output is None else [output], fed)[0]


def exported(path: Path, model: nn.Module, x: torch.Tensor, dynamo: bool = False, **how: Any) -> Path:
    """`model` as torch writes it, with a batch of any size; `how` goes to the newer exporter (dynamo)."""
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("n")},)
            how = {"dynamic_shapes": shapes, "external_data": False, "verbose": False, **how}
            torch.onnx.export(model, (x,), path, dynamo=True, **how)
        else:
            axes = {"x": {0: "n"}}
            torch.onnx.export(model, (x,), path, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes)
    return path


def written(
    path: Path,
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str] = ("y",),
    stored: Mapping[str, Any] | None = None,
    opset: int = 21,
    kinds: tuple[int, int] = (1, 1),
    domains: Sequence[str] = (),
) -> Path:
    """A file of these nodes; inputs by shape. Element types of inputs and of outputs are float32 (1) unless given."""
    helper = onnx.helper
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, kinds[0], list(shape)) for name, shape in inputs.items()],
        [onnx.ValueInfoProto(name=name, type=onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor(elem_type=kinds[1])))
         for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in (stored or {}).items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    try:
        model = onnx.shape_inference.infer_shapes(model)
    except (ValueError, RuntimeError):
        pass  # a file that is wrong on purpose
    for value in model.graph.output:  # the checker wants a shape of every output
        if not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.dim.add()
    path.write_bytes(model.SerializeToString())
    return path


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, list(inputs), list(outputs), **attributes)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
