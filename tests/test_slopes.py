"""Slopes of multiplier tables, and the gradients of layers by them, against plain loops and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import carrysave as cs
from carrysave.engines.problem import Products, codes_of
from carrysave.formats import FORMATS
from carrysave.recipes import Arithmetic, Recipe, Rule
from carrysave.slopes import GRADIENTS, error_slope, slope


def _products(multiplier: str, fmt: str = "affine") -> Products:
    return Products(cs.multiplier(multiplier), FORMATS.parse(fmt), FORMATS.parse(fmt))


def _by_loops(products: Products, half: int, axis: int, x: int, w: int) -> float:
    """The slope of the smoothed table at codes (x, w), from its definition."""

    def error(a: int, b: int) -> int:
        a = min(max(a, products.activation.low), products.activation.high)
        b = min(max(b, products.weight.low), products.weight.high)
        return int(products.table[a - products.activation.low, b - products.weight.low]) - a * b

    def smoothed(step: int) -> float:
        moves = [step + t for t in range(-half, half + 1)]
        return float(np.mean([error(x + m, w) if axis == 0 else error(x, w + m) for m in moves]))

    return (w if axis == 0 else x) + (smoothed(1) - smoothed(-1)) / 2


@pytest.mark.parametrize("half", [0, 1, 4, 300])
@pytest.mark.parametrize("spec, fmt", [("kulkarni", "affine"), ("drum:k=4,signed=true", "fixed"), ("exact", "affine")])
def test_slopes_and_their_factors_are_those_of_the_definition(spec: str, fmt: str, half: int) -> None:
    products = _products(spec, fmt)
    x, w = codes_of(products.activation), codes_of(products.weight)
    for axis in (0, 1):
        exact = np.broadcast_to(w[None] if axis == 0 else x[:, None], products.table.shape)
        table = exact + error_slope(products, half, axis)
        for i, j in [(0, 0), (255, 255), (3, 200), (254, 1), (130, 77), (128, 64), (1, 255), (40, 128)]:
            assert table[i, j] == pytest.approx(_by_loops(products, half, axis, int(x[i]), int(w[j])), abs=1e-9)
        factors = slope(products, half, axis)
        rebuilt = (factors.u.T.double() @ factors.v.double()).numpy() + exact
        assert np.abs(rebuilt - table).max() <= 4e-6 * max(1.0, float(np.abs(table).max()))
        assert factors.rank == 0 if spec == "exact" else 0 < factors.rank < 20


def test_in_the_middle_the_slope_is_the_smoothed_difference_of_the_products_themselves() -> None:
    products, half = _products("kulkarni"), 4
    table, slopes = products.table.astype(float), error_slope(products, half, 0)
    for x, w in [(100, 33), (64, 255), (200, 7)]:
        mean = [table[x + s - half : x + s + half + 1, w].mean() for s in (-1, 1)]
        assert slopes[x, w] + w == pytest.approx((mean[1] - mean[0]) / 2)


def _layer(kind: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    if kind == "linear":
        return nn.Linear(5, 3), torch.rand(4, 5)
    return nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 1), groups=2), torch.rand(2, 4, 5, 4)


def _emulated(layer: nn.Module, x: torch.Tensor, multiplier: str, **how: Any) -> Any:
    arithmetic = Arithmetic(multiplier=multiplier, weight_scales=how.pop("weight_scales", "tensor"))
    return cs.emulate(layer, cs.calibrate(layer, x), Recipe([Rule("*", arithmetic)]), **how)


def _taps(layer: Any, x_codes: torch.Tensor, zero: int) -> Any:
    """(n, c, y, x) of the input or None in the padding, output index, weight index: of every product of the layer."""
    if isinstance(layer, nn.Linear):
        for n in range(len(x_codes)):
            for o in range(layer.out_features):
                for k in range(layer.in_features):
                    yield (n, k), (n, o), (o, k)
        return
    outputs, depth, kh, kw = layer.weight.shape
    (sy, sx), (py, px) = layer.stride, layer.padding
    n, c, h, w = x_codes.shape
    for i in np.ndindex(n, outputs, (h + 2 * py - kh) // sy + 1, (w + 2 * px - kw) // sx + 1):
        for d, a, b in np.ndindex(depth, kh, kw):
            channel = i[1] // (outputs // layer.groups) * depth + d
            y, z = i[2] * sy + a - py, i[3] * sx + b - px
            inside = 0 <= y < h and 0 <= z < w
            yield (i[0], channel, y, z) if inside else None, i, (i[1], d, a, b)


@pytest.mark.parametrize("scales", ["tensor", "channel"])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_gradients_by_the_table_are_those_of_a_loop_over_all_products(kind: str, scales: str) -> None:
    layer, x = _layer(kind)
    emulated = _emulated(layer, x, "kulkarni", gradient="table:2", weight_scales=scales)
    core, x = emulated.core, x.requires_grad_()
    y = emulated(x)
    seed = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y * seed).sum().backward()
    geometry = emulated.geometry() if kind == "conv" else cs.engines.problem.Geometry("linear")
    quantizer = core.prepared(emulated.weight, emulated.bias, geometry)[1]
    x_codes, w_codes = core.activation.codes(x.detach()), quantizer.codes(emulated.weight.detach())
    zx, zw = int(core.activation.zero), quantizer.zero.expand(len(w_codes)).tolist()
    sx, sw = float(core.activation.scale), quantizer.scale.expand(len(w_codes)).tolist()
    grad_x, grad_w = torch.zeros(x.shape, dtype=torch.float64), torch.zeros(w_codes.shape, dtype=torch.float64)
    by_x, by_w = (error_slope(core.products, 2, axis) for axis in (0, 1))
    for source, target, tap in _taps(layer, x_codes, zx):
        a, b, o, g = zx if source is None else int(x_codes[source]), int(w_codes[tap]), tap[0], float(seed[target])
        if source is not None:
            grad_x[source] += g * sw[o] * (b - zw[o] + by_x[a, b])
        grad_w[tap] += g * sx * (a - zx + by_w[a, b])
    assert x.grad is not None
    assert torch.allclose(x.grad.double(), grad_x, atol=2e-6 * float(grad_x.abs().max()) + 1e-6)
    assert torch.allclose(emulated.weight.grad.double(), grad_w, atol=2e-6 * float(grad_w.abs().max()) + 1e-6)
    assert torch.allclose(emulated.bias.grad, seed.sum([d for d in range(seed.ndim) if d != 1]), atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_gradients_by_the_table_are_finite_differences_of_the_layer_itself(kind: str) -> None:
    layer, x = _layer(kind)
    with torch.no_grad():  # codes away from the ends, where products exist on both sides
        x = 0.3 + 0.4 * x
    low, high = torch.zeros_like(x[:1]), torch.ones_like(x[:1])
    calibration = cs.calibrate(layer, torch.cat([x, low, high]))
    half = 2
    net = cs.emulate(layer, calibration, multiplier="kulkarni", gradient=f"table:{half}")
    step = float(net.core.activation.scale)
    x = net.core.activation(x).requires_grad_()  # on the grid, so a step is a code
    y = net(x)
    seed = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y * seed).sum().backward()
    assert x.grad is not None

    def loss(place: tuple[int, ...], codes: int) -> float:
        moved = x.detach().clone()
        moved[place] += codes * step
        with torch.no_grad():
            return float((net(moved).double() * seed.double()).sum())

    for place in list(np.ndindex(*x.shape))[::7]:
        means = [np.mean([loss(place, s + t) for t in range(-half, half + 1)]) for s in (-1, 1)]
        assert float(x.grad[place]) == pytest.approx((means[1] - means[0]) / (2 * step), rel=1e-3, abs=1e-3)


def _gradients(net: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    net(x).square().sum().backward()
    return [t.grad for t in (x, *net.parameters()) if t.grad is not None]


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_of_the_exact_multiplier_both_gradients_are_the_same(kind: str) -> None:
    layer, x = _layer(kind)
    for multiplier, equal in (("exact", True), ("kulkarni", False)):
        found = [_gradients(_emulated(layer, x, multiplier, gradient=g), x) for g in ("straight", "table")]
        assert len(found[0]) == 3
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True)) == equal


class Product(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x.mT


def test_gradients_of_a_matmul_by_the_table() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 4)
    net = cs.emulate(Product(), cs.calibrate(Product(), x), multiplier="drum:k=4", gradient="table:1")
    (core,) = [c for h in net._forward_pre_hooks.values() for c in h.tracker.handler.cores.values()]
    quantizer, products = core.activation, core.products
    assert torch.equal(core.setting.weight.scale, quantizer.scale)
    codes, zero, scale = quantizer.codes(x).numpy(), int(quantizer.zero), float(quantizer.scale)
    by_left, by_right = (error_slope(products, 1, axis) for axis in (0, 1))
    seed = np.random.default_rng(0).normal(size=(2, 3, 3))
    expected = np.zeros(x.shape)
    for n, i, j, k in np.ndindex(2, 3, 3, 4):
        a, b = codes[n, i, k], codes[n, j, k]
        expected[n, i, k] += seed[n, i, j] * scale * (b - zero + by_left[a, b])
        expected[n, j, k] += seed[n, i, j] * scale * (a - zero + by_right[a, b])
    x.requires_grad_()
    (net(x) * torch.from_numpy(seed).float()).sum().backward()
    assert x.grad is not None and np.allclose(x.grad.numpy(), expected, atol=1e-5)


def test_saturated_values_have_no_gradient_by_the_table_either() -> None:
    layer = nn.Linear(2, 1)
    net = _emulated(layer, torch.tensor([[0.0, 1.0]]), "kulkarni", gradient="table")
    x = torch.tensor([[0.5, 3.0]], requires_grad=True)
    net(x).sum().backward()
    assert x.grad is not None and x.grad[0, 0] != 0 and x.grad[0, 1] == 0


def test_errors_say_what_gradients_there_are() -> None:
    layer, x = _layer("linear")
    calibration = cs.calibrate(layer, x)
    with pytest.raises(
        ValueError, match=r"unknown gradient 'tabel' \(did you mean 'table'\?\); known: straight, table"
    ):
        cs.emulate(layer, calibration, gradient="tabel")
    with pytest.raises(ValueError, match="table: half_window=-1; it is 0 .no smoothing. or more codes"):
        cs.emulate(layer, calibration, gradient="table:-1")
    with pytest.raises(ValueError, match="layer '': gradient 'table': mitchell:n=16 .* is too wide for a table; use "):
        cs.emulate(layer, calibration, multiplier="mitchell:n=16", gradient="table")
    assert GRADIENTS.spec(GRADIENTS.parse("table:half_window=16")) == "table:16"
