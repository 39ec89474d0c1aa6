"""ONNX operators against ONNX's own reference cases, and against ONNX Runtime where those are slow to make."""

from __future__ import annotations

import importlib
import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carrysave.onnx_import import OnnxError, OnnxNetwork, load
from carrysave.onnx_import.dtypes import tensor_of
from carrysave.onnx_import.expansion import EXPANSIONS
from carrysave.onnx_import.operators import OPERATORS
from onnx_models import node, onnx, random, runtime, written

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
KINDS = sorted({kind for domain, kind in (*OPERATORS, *EXPANSIONS) if domain == ""} | {"Conv", "Gemm", "MatMul"})
# torch has hardly an operator for the wider unsigned integers; 8-bit floats and 4-bit integers are refused when read
TYPES = {1, 2, 3, 5, 6, 7, 9, 10, 11}
# making the reference of these takes seconds: test_pooling has them
SLOW = {"AveragePool", "MaxPool"}
MODULES = {"Range": "rangeop"}
# an extremum of nothing is an infinity to ONNX and an error to torch
EMPTY = {"test_reduce_max_empty_set", "test_reduce_max_empty_set_bool", "test_reduce_min_empty_set"}


def cases_of(kind: str) -> list[Any]:
    """The reference cases of an operator that the onnx package makes, in types that are supported."""
    package = importlib.import_module("onnx.backend.test.case.node")
    names = {path.stem.replace("_", ""): path.stem for path in Path(package.__path__[0]).glob("*.py")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its references divide by zero on purpose
        importlib.import_module(f"{package.__name__}.{MODULES.get(kind) or names[kind.lower()]}")
    return [case for case in package._NodeTestCases if _is_meant(case, kind)]


def _is_meant(case: Any, kind: str) -> bool:
    graph = case.model.graph
    if len(graph.node) != 1 or graph.node[0].op_type != kind or "training" in case.name or case.name in EMPTY:
        return False
    types = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    return types <= TYPES


def read(path: Path, model: Any) -> OnnxNetwork:
    path.write_bytes(model.SerializeToString())
    return load(path, [value.name for value in model.graph.output])


def check(net: OnnxNetwork, model: Any, inputs: Any, outputs: Any, rtol: float, atol: float) -> None:
    """Values, shapes and types. Inputs that the graph does not read are left out."""
    wanted = {value.name for value in net.inputs}
    named = zip([value.name for value in model.graph.input], inputs, strict=False)
    given = [torch.from_numpy(_array(x)) for name, x in named if name in wanted]
    with torch.no_grad():
        found = net(*given)
    for mine, theirs in zip(found if isinstance(found, tuple) else (found,), map(_array, outputs), strict=True):
        assert mine.shape == theirs.shape and mine.numpy().dtype == theirs.dtype
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=rtol, atol=max(atol, 1e-6))


def _array(value: Any) -> np.ndarray:
    return tensor_of(value).numpy() if isinstance(value, onnx.TensorProto) else np.array(value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SLOW])
def test_reference_cases(kind: str, tmp_path: Path) -> None:
    compared = 0
    for case in cases_of(kind):
        try:
            net = read(tmp_path / "case.onnx", case.model)
        except OnnxError as error:  # statistics beside the result, which only training asks for
            assert "is used, which is not computed" in str(error), case.name
            continue
        for inputs, outputs in case.data_sets:
            check(net, case.model, inputs, outputs, case.rtol, case.atol)
            compared += 1
    assert compared, f"no case of {kind} was compared"


@pytest.mark.parametrize("kind", ["simple", "pytorch-converted", "pytorch-operator"])
def test_models_of_the_onnx_package(kind: str) -> None:
    """Every model with supported operators gives the outputs beside it; the others name what is not supported."""
    compared, refused = 0, set()
    for folder in sorted(path.parent for path in (DATA / kind).glob("*/model.onnx")):
        model = onnx.load(folder / "model.onnx")
        try:
            net = load(folder / "model.onnx", [value.name for value in model.graph.output])
        except OnnxError as error:
            assert "not supported" in str(error)
            refused.add(folder.name.rstrip("0123456789"))
            continue
        data = folder / "test_data_set_0"
        inputs = [_tensor(data / f"input_{i}.pb") for i in range(len(list(data.glob("input_*.pb"))))]
        outputs = [_tensor(data / f"output_{i}.pb") for i in range(len(list(data.glob("output_*.pb"))))]
        check(net, model, inputs, outputs, 1e-3, 1e-5)
        compared += 1
    assert compared >= {"simple": 7, "pytorch-converted": 80, "pytorch-operator": 34}[kind]
    known = ("test_gradient", "test_sequence", "test_strnorm", "test_ConvTranspose", "test_operator_convtranspose")
    assert all(name.startswith(known) for name in refused)


def _tensor(path: Path) -> np.ndarray:
    proto = onnx.TensorProto()
    proto.ParseFromString(path.read_bytes())
    return tensor_of(proto).numpy()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling(rank: int, tmp_path: Path) -> None:
    """All settings that can be combined, as ONNX Runtime computes them."""
    x = random(2, 3, *(7, 6, 5)[:rank])
    choices = itertools.product(
        ("MaxPool", "AveragePool"), (2, 3), (1, 2, 3), ((0, 0), (1, 1), (0, 1)), (1, 2), (0, 1), (0, 1)
    )
    compared = 0
    for kind, kernel, stride, (before, behind), dilation, ceil, counted in choices:
        if max(before, behind) >= kernel or (kind == "MaxPool" and counted):
            continue
        how: dict[str, Any] = {"count_include_pad": counted} if kind == "AveragePool" else {}
        pool = node(
            kind, ["x"], kernel_shape=[kernel] * rank, strides=[stride] * rank, dilations=[dilation] * rank,
            pads=[before] * rank + [behind] * rank, ceil_mode=ceil, **how,
        )  # fmt: skip
        file = written(tmp_path / "pool.onnx", [pool], {"x": x.shape})
        np.testing.assert_allclose(load(file)(x).numpy(), runtime(file, x), rtol=1e-5, atol=1e-6, err_msg=str(pool))
        compared += 1
    assert compared > 80


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_that_depends_on_the_size(auto: str, tmp_path: Path) -> None:
    for size, kernel, stride in itertools.product((6, 7, 9), (2, 3, 4), (1, 2, 3)):
        x, w = random(2, 3, size, size + 1), random(4, 3, kernel, kernel, seed=1)
        nodes = [
            node("Conv", ["x", "w"], ["c"], auto_pad=auto, strides=[stride] * 2),
            node("MaxPool", ["c"], auto_pad=auto, kernel_shape=[1, 2], strides=[1, 1]),
        ]
        file = written(tmp_path / "auto.onnx", nodes, {"x": ["n", 3, "h", "w"]}, stored={"w": w.numpy()})
        np.testing.assert_allclose(load(file)(x).detach().numpy(), runtime(file, x), rtol=1e-4, atol=1e-5)


def test_convolutions_of_every_kind(tmp_path: Path) -> None:
    """One to three dimensions of space, groups, dilations, uneven borders, computed weights, biases that follow."""
    for rank, groups, dilation, pads in itertools.product((1, 2, 3), (1, 2), (1, 2), ((0, 0), (1, 1), (2, 0))):
        x, w = random(2, 4, *[9] * rank), random(6, 4 // groups, *[3] * rank, seed=1)
        bias = random(6, seed=2).reshape(-1, *[1] * rank)
        how: dict[str, Any] = {
            "group": groups,
            "dilations": [dilation] * rank,
            "pads": [pads[0]] * rank + [pads[1]] * rank,
        }
        nodes = [node("Conv", ["x", "w"], ["c"], name="c", **how), node("Add", ["b", "c"])]
        file = written(tmp_path / "conv.onnx", nodes, {"x": x.shape}, stored={"w": w.numpy(), "b": bias.numpy()})
        net = load(file)
        layer: Any = net.get_submodule("c")
        assert len(net.steps) == 1 and torch.equal(layer.bias, bias.reshape(-1))
        np.testing.assert_allclose(net(x).detach().numpy(), runtime(file, x), rtol=1e-4, atol=1e-4)
        if rank < 3:
            computed = [node("Abs", ["v"], ["w"]), *nodes]
            file = written(
                tmp_path / "computed.onnx", computed, {"x": x.shape, "v": w.shape}, stored={"b": bias.numpy()}
            )
            np.testing.assert_allclose(load(file)(x, w).detach().numpy(), runtime(file, x, w), rtol=1e-4, atol=1e-4)


def test_gemm_of_every_kind(tmp_path: Path) -> None:
    """Transposed, scaled, with a bias of any shape, stored or computed."""
    x, w = random(5, 7), random(7, 4, seed=1)
    biases = {"none": None, "vector": random(4, seed=2), "row": random(1, 4), "number": random(1), "full": random(5, 4)}
    for (name, bias), left, right, alpha, stored in itertools.product(
        biases.items(), (0, 1), (0, 1), (1.0, 0.5), (True, False)
    ):
        a, b = x.T.contiguous() if left else x, w.T.contiguous() if right else w
        names = ["x", "w"] if bias is None else ["x", "w", "b"]
        gemm = node("Gemm", names, transA=left, transB=right, alpha=alpha, beta=2.0)
        known = {"w": b.numpy()} if stored else {}
        known |= {} if bias is None else {"b": bias.numpy()}
        inputs = {"x": a.shape} if stored else {"x": a.shape, "w": b.shape}
        file = written(tmp_path / "gemm.onnx", [gemm], inputs, stored=known)
        given = (a,) if stored else (a, b)
        found = load(file)(*given).detach().numpy()
        np.testing.assert_allclose(found, runtime(file, *given), rtol=1e-4, atol=1e-5, err_msg=name)


def test_softmax_before_and_after_opset_13(tmp_path: Path) -> None:
    x = random(2, 3, 4)
    for opset, axis, kind in itertools.product((11, 13), (0, 1, 2, -1), ("Softmax", "LogSoftmax")):
        file = written(tmp_path / "s.onnx", [node(kind, ["x"], axis=axis)], {"x": x.shape}, opset=opset)
        np.testing.assert_allclose(load(file)(x).numpy(), runtime(file, x), rtol=1e-5, atol=1e-6)
