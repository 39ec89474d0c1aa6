"""Emulated products as torch operators: opcheck, torch.compile, torch.export, DDP, copies, what is kept and when."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import carrysave as cs
from carrysave import operators, preparation
from carrysave.recipes import Arithmetic, Recipe, Rule
from carrysave.settings import Setting


def _lenet() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def _images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def lenet() -> Any:
    model = _lenet()
    return cs.emulate(model, cs.calibrate(model, _images(4)), multiplier="kulkarni")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.mix = nn.Linear(6, 6), nn.Parameter(torch.randn(6, 6))
        self.heads = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.query(x)
        y = torch.softmax(q @ x.transpose(1, 2), -1) @ x
        y = F.scaled_dot_product_attention(y, q, x, is_causal=True) + self.heads(x, x, x, need_weights=False)[0]
        return F.linear(y, self.mix)


def _attention() -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    model, x = nn.Sequential(Attention()).eval(), torch.randn(3, 5, 6)
    return cs.emulate(model, cs.calibrate(model, x), multiplier="kulkarni"), x


def _conv_arguments(gradient: str = "straight", **how: Any) -> tuple[Any, ...]:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 6, 3, (2, 1), (1, 0), groups=2, **how), torch.rand(2, 4, 7, 6)
    arithmetic = Arithmetic(multiplier="kulkarni", weight_scales="channel")
    net = cs.emulate(layer, cs.calibrate(layer, x), Recipe([Rule("*", arithmetic)]), gradient=gradient)
    return x, net.weight, net.bias, net.core.text, [2, 1], [1, 0], [1, 1], 2


def _linear_arguments() -> tuple[Any, ...]:
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3), torch.rand(2, 4, 5)
    net = cs.emulate(layer, cs.calibrate(layer, x), multiplier="kulkarni")
    return x, net.weight, net.bias, net.core.text


def _matmul_arguments() -> tuple[Any, ...]:
    class Product(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ x.mT

    x = torch.rand(2, 3, 4)
    net = cs.emulate(Product(), cs.calibrate(Product(), x), multiplier="kulkarni")
    (core,) = [c for h in net._forward_pre_hooks.values() for c in h.tracker.handler.cores.values()]
    return x, x.mT.contiguous(), core.text


def _check(operator: Any, *arguments: Any) -> None:
    given = [a.detach().clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments]
    results = torch.library.opcheck(operator, tuple(given))
    assert set(results.values()) == {"SUCCESS"} and len(results) == 4


def test_opcheck_of_convolutions() -> None:
    for gradient in ("straight", "table"):
        x, w, b, *rest = _conv_arguments(gradient)
        _check(operators.conv2d, x, w, b, *rest)
        _check(operators.conv2d, x.to(memory_format=torch.channels_last), w, None, *rest)
        grad = torch.rand(2, 6, 4, 4)
        with torch.no_grad():
            for operator in (operators.conv2d_input_gradient, operators.conv2d_weight_gradient):
                torch.library.opcheck(operator, (grad, x, w.detach(), *rest))
    x, w, b, *rest = _conv_arguments()
    _check(operators.conv2d, x.double(), w, b, *rest)


def test_opcheck_of_linear_layers_and_matmuls() -> None:
    x, w, b, text = _linear_arguments()
    _check(operators.linear, x, w, b, text)
    _check(operators.linear, x[0, 0], w, None, text)
    _check(operators.linear, x.half(), w, b, text)
    grad = torch.rand(2, 4, 3)
    for operator in (operators.linear_input_gradient, operators.linear_weight_gradient):
        torch.library.opcheck(operator, (grad, x, w.detach(), text))
    x, w, text = _matmul_arguments()
    _check(operators.matmul, x, w, text)
    _check(operators.matmul, x, x.mT, text)
    for operator in (operators.matmul_left_gradient, operators.matmul_right_gradient):
        torch.library.opcheck(operator, (torch.rand(2, 3, 3), x, w, text))


def _step(call: Any, net: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    net.zero_grad()
    y = call(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)]


def test_compiled_in_one_graph_forward_and_backward_are_the_same_bits(lenet: Any) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lenet, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch in (4, 7):
        x = _images(batch, seed=batch)
        expected, found = _step(lenet, lenet, x), _step(compiled, lenet, x)
        assert len(found) == 11 and all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    with torch.inference_mode():
        assert torch.equal(compiled(x), expected[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inductor's own, of torch.jit
def test_inductor_computes_the_same(lenet: Any) -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("inductor finds no working C++ compiler here")
    x = lenet[:6](_images(3, seed=9)).detach()
    expected = lenet[6:](x)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(lenet[6:], fullgraph=True)(x), expected)


LOADED = """
import sys, torch, carrysave.operators
program = torch.export.load(sys.argv[1]).module()
x, expected = torch.load(sys.argv[2], weights_only=True)
assert torch.equal(program(x), expected)
print("same bits")
"""


def test_an_exported_program_gives_the_same_bits_in_another_process(lenet: Any, tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(lenet, (_images(4),), dynamic_shapes=({0: batch},))
    targets = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    assert targets.count("carrysave.conv2d.default") == 2 and targets.count("carrysave.linear.default") == 3
    torch.export.save(program, tmp_path / "lenet.pt2")
    x = _images(9, seed=3)
    torch.save((x, lenet(x).detach()), tmp_path / "expected.pt")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, tmp_path / "lenet.pt2", tmp_path / "expected.pt"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path, env={**os.environ, "PYTHONPATH": _source()},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout == "same bits\n", done.stderr


def _source() -> str:
    return os.pathsep.join([str(Path(cs.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])


def test_functional_products_are_compiled_and_exported_too() -> None:
    net, x = _attention()
    expected = net(x)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    nodes = [n.args[-1] for n in program.graph.nodes if str(n.target).startswith("carrysave.")]
    assert [Setting.parse(str(text)).layer for text in nodes] == [r.name for r in net.replaced] and len(nodes) == 12
    other = torch.randn(4, 5, 6)
    assert torch.equal(program.module()(x), expected) and torch.equal(program.module()(other), net(other))
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for a, b in zip(_step(compiled, net, x), _step(net, net, x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about the hooks
def test_strict_export_would_miss_products_and_is_refused() -> None:
    net, x = _attention()
    torch._dynamo.reset()
    with pytest.raises(Exception, match="use strict=False, its default"):
        torch.export.export(net, (x,), strict=True)


def test_errors_in_compiled_code_name_the_layer(lenet: Any) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lenet, fullgraph=True, backend="aot_eager")
    x = _images(2)
    x[0, 0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match=r"layer '0': an activation is NaN or infinite \(1 of 1568 values\)"):
        compiled(x)
    with pytest.raises(Exception, match=r"layer '0': 1 input channels expected, got a tensor \(2, "):
        compiled(torch.rand(2, 3, 28, 28))


def _worker(rank: int, world: int, net: Any, x: torch.Tensor, folder: str) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world, init_method=meeting)
    parallel = nn.parallel.DistributedDataParallel(net)
    parallel(x[rank::world]).square().mean().backward()
    if rank == 0:
        torch.save([p.grad for p in net.parameters()], Path(folder) / "gradients.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_of_ddp_average_their_gradients(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    x = torch.rand(4, 1, 6, 6)
    net = cs.emulate(model, cs.calibrate(model, x), multiplier="drum:k=4")
    context = torch.multiprocessing.get_context("spawn")
    workers = [context.Process(target=_worker, args=(r, 2, net, x, str(tmp_path))) for r in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(90)
        if worker.is_alive():
            worker.kill()
            pytest.fail("a process of DDP did not end within 90 s")
    assert [w.exitcode for w in workers] == [0, 0]
    net.zero_grad()
    net(x).square().mean().backward()
    found = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for got, parameter in zip(found, net.parameters(), strict=True):
        assert torch.allclose(got, parameter.grad, atol=1e-6)


def test_a_setting_is_its_text() -> None:
    layer, x = nn.Linear(5, 3), torch.rand(4, 5)
    arithmetic = Arithmetic("affine:bits=7", "sign_magnitude", "drum:k=6", "percentile:99.9", "channel")
    how: dict[str, Any] = {"engine": "table", "gradient": "table:16"}
    setting = cs.emulate(layer, cs.calibrate(layer, x), Recipe([Rule("*", arithmetic)]), **how).core.setting
    again = Setting.parse(setting.text)
    assert (again.text, again.layer, again.arithmetic) == (setting.text, setting.layer, arithmetic)
    assert (again.engine, again.gradient.half_window) == ("table", 16)  # type: ignore[union-attr]
    assert torch.equal(again.activation.scale, setting.activation.scale)
    for text, why in [
        ("{}", "KeyError"),
        ("no JSON", "JSONDecodeError"),
        (setting.text.replace("drum", "drumm"), "did"),
    ]:
        with pytest.raises(ValueError, match=f"carrysave: an operator's setting cannot be used: .*{why}"):
            operators.linear(x, layer.weight, None, text)


def test_a_table_file_that_changed_is_noticed(tmp_path: Path) -> None:
    import numpy as np

    products = np.multiply.outer(np.arange(16), np.arange(16))
    np.save(tmp_path / "m.npy", products)
    layer, x = nn.Linear(5, 3), torch.rand(4, 5)
    text = cs.emulate(layer, cs.calibrate(layer, x), multiplier=f"table:{tmp_path / 'm.npy'}").core.text
    products[3, 3] = 7
    np.save(tmp_path / "m.npy", products)
    from carrysave.settings import _parsed

    _parsed.cache_clear()  # as in another process
    with pytest.raises(ValueError, match="holds other products now"):
        Setting.parse(text)


def _kept(net: Any) -> list[preparation.Preparations]:
    return [preparation.preparations_of(layer.core.text) for layer in net if hasattr(layer, "core")]


def test_engines_are_freed_with_their_layers() -> None:
    model = _lenet()
    net = cs.emulate(model, cs.calibrate(model, _images(2, seed=5)), multiplier="drum:k=4")
    texts = [layer.core.text for layer in net if hasattr(layer, "core")]
    assert all(text in preparation._of_layers for text in texts)
    twin = copy.deepcopy(net)
    del net
    gc.collect()
    assert all(text in preparation._of_layers for text in texts)
    del twin
    gc.collect()
    assert not any(text in preparation._of_layers for text in texts)


def test_copies_share_engines_and_training_keeps_one_for_each() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 4)), torch.rand(3, 6)
    net = cs.emulate(model, cs.calibrate(model, x), multiplier="kulkarni")
    (kept,) = _kept(net)
    copies = [net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    assert all(torch.equal(c(x), net(x)) for c in copies) and len(kept) == 1
    assert all(_kept(c)[0] is kept for c in copies)
    for step in range(2 * preparation.MOST_WEIGHTS):
        for i, each in enumerate(copies):
            each[0].weight.data.mul_(0.9 + 0.02 * i + 0.001 * step)
        results = [each(x) for each in copies]
        assert len(kept) == 3
        assert all(torch.equal(each(x), r) for each, r in zip(copies, results, strict=True)) and len(kept) == 3
    del copies[1:], each, results  # (results know their weights)
    gc.collect()
    net[0].weight.data.mul_(1.01)
    net(x)
    assert len(kept) == 1


def test_what_is_kept_is_bounded_and_weights_made_for_a_call_are_known_again() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 4)), torch.rand(3, 6)
    net = cs.emulate(model, cs.calibrate(model, x), multiplier="kulkarni")
    (kept,) = _kept(net)
    text, weights = net[0].core.text, [torch.rand(4, 6) for _ in range(3 * preparation.MOST_WEIGHTS)]
    for weight in weights:
        operators.linear(x, weight, None, text)
        assert len(kept) <= preparation.MOST_WEIGHTS
    ready = kept.of(weights[-1].clone(), None, operators.LINEAR)
    assert ready is kept.of(weights[-1].clone(), None, operators.LINEAR)


def test_programs_without_a_layer_keep_their_engines_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "MOST_PROGRAMS", 2)
    x, w, b, text = _linear_arguments()
    gc.collect()
    texts = [text.replace('"layer": ""', f'"layer": "{name}"') for name in "abcd"]
    for each in texts:
        operators.linear(x, w, b, each)
    assert [each in preparation._of_layers for each in texts] == [False, False, True, True]
    kept = preparation.preparations_of(texts[-1])
    assert len(kept) == 1
    operators.linear(x, w, b, texts[-1])
    assert len(kept) == 1 and preparation.preparations_of(texts[-1]) is kept
    del w
    gc.collect()
    preparation.preparations_of(texts[0])
    assert len(kept) == 0  # its weights are gone


def test_weights_in_training_keep_their_engine_and_settled_ones_choose_again(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(40, 4), torch.rand(3, 40)
    net = cs.emulate(layer, cs.calibrate(layer, x), multiplier="kulkarni")
    plans: list[Any] = []

    def spied(*arguments: Any) -> Any:
        plans.append(arguments)
        return planner(*arguments)

    planner = preparation.prepare
    monkeypatch.setattr(preparation, "prepare", spied)
    for _ in range(5):
        net.weight.data.mul_(0.97)
        net(x)
    assert plans == []
    results = [net(x) for _ in range(preparation.SETTLED + 2)]
    assert len(plans) == 1 and all(torch.equal(r, results[0]) for r in results)


def test_every_engine_is_the_same_operator() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4), torch.rand(3, 6)
    calibration = cs.calibrate(layer, x)
    nets = [cs.emulate(layer, calibration, multiplier="drum:k=4", engine=e) for e in (None, "factored", "table")]
    nets += [cs.emulate(layer, calibration, multiplier="drum:k=4", engine=e) for e in ("logarithmic", "vector")]
    programs = [torch.export.export(net, (x,)).module() for net in nets]
    expected = cs.emulate(layer, calibration, multiplier="drum:k=4", engine="reference")(x)
    assert all(torch.equal(program(x), expected) for program in programs)


def test_other_floating_types_and_empty_batches(lenet: Any) -> None:
    x = _images(2)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        y = lenet[0](x.to(dtype))
        assert y.dtype == dtype and torch.allclose(y.float(), lenet[0](x.to(dtype).float()), rtol=1e-2, atol=1e-2)
    given = x.double().requires_grad_()
    lenet[:4](given).sum().backward()
    assert given.grad is not None and given.grad.dtype == torch.float64
    assert lenet(x[:0]).shape == (0, 10)


def test_the_operators_are_registered_for_every_device() -> None:
    for name in ("conv2d", "linear", "matmul", "conv2d_input_gradient", "conv2d_weight_gradient"):
        qualified = f"carrysave::{name}"
        for key in ("CPU", "CUDA", "Meta", "AutogradCPU"):
            assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(qualified, key), key
    x, w, b, text = _linear_arguments()
    y = operators.linear(x.to("meta"), w.to("meta"), b.to("meta"), text)
    assert y.device.type == "meta" and y.shape == (2, 4, 3)
