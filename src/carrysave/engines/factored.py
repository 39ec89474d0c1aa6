"""The factored engine: a table of rank r as one exact convolution with r times the input channels."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from carrysave.engines import costs, factoring
from carrysave.engines.exact import reach_of
from carrysave.engines.factoring import Factors
from carrysave.engines.fused import INT32, FusedLayer, Ingredients, fused, obstacle
from carrysave.engines.problem import Geometry, Prepared, Problem, Products
from carrysave.engines.sums import LIMITS, SumOfProducts

_KEPT = 256
_cache: OrderedDict[tuple[Products, bytes], Factors | None] = OrderedDict()


@dataclass(frozen=True)
class Factored:
    name: str = "factored"

    def refuses(self, problem: Problem) -> str | None:
        if not problem.products.has_table:
            return f"{problem.products.multiplier} with these formats is too wide for a table to factor"
        if factors_of(problem) is None:
            return f"the table has a rank above {factoring.MAX_RANK}"
        if problem.geometry.kind == "matmul" and _matmul_bound(problem, 1 << 16) > LIMITS[torch.float64]:
            return "the factors are too large to be multiplied exactly in float64"
        return None

    def prepare(self, problem: Problem) -> Prepared:
        if problem.geometry.kind == "matmul":
            return _matmul(problem)
        factors = factors_of(problem)
        assert factors is not None, "refuses() was not asked"
        layer = fused_of(problem, factors)
        if isinstance(layer, FusedLayer):
            return Prepared(layer.call, layer.how, layer.rank, layer.cost, layer.layer)
        plain = _Layer(problem)
        passes = plain.rank * plain.sum.parts
        return Prepared(plain, plain.sum.how, passes, costs.FLOAT32_PASS * passes)


def fused_of(problem: Problem, factors: Factors) -> FusedLayer | str:
    """On int8 convolutions, or why not. What is taken out of u and v to make them digits joins the box sum and the
    channels' constants: u v = u' v' + mv u + mu v'.
    """
    reason = obstacle(problem)
    if reason:
        return reason
    weights, products, zx = problem.weights, problem.products, problem.activation_zero
    zeros = problem.weight_zero.reshape(-1).unique()
    if len(zeros) > 1:
        return "weight zeros differ between channels"
    if not factors.rank:
        return "the products are a sum of two functions"
    index = (weights - products.weight.low).reshape(*weights.shape, *(1,) * (4 - weights.ndim))
    v = torch.from_numpy(factors.v)[:, index]
    u, least = factors.u.T, factors.u.min(0)
    x = np.arange(products.activation.low, products.activation.high + 1)
    q = torch.from_numpy(factors.q)[index] - zx * (index + products.weight.low)
    constant = q.sum((1, 2, 3)) + problem.bias
    found: list[FusedLayer] = []
    reason = ""
    for middle in _middles(v):
        digits = v - middle.reshape(-1, 1, 1, 1, 1)
        addend = factors.p + middle.numpy() @ u - int(zeros[0]) * (x - zx)
        moved = (torch.from_numpy(least.copy()).reshape(-1, 1, 1, 1, 1) * digits).sum((0, 2, 3, 4))
        layer = fused(problem, Ingredients(u - least[:, None], digits, addend, constant + moved))
        if isinstance(layer, str):
            reason = reason or layer
            continue
        found.append(layer)
        if layer.reach < INT32:
            break
    return min(found, key=lambda layer: layer.reach) if found else reason


def _middles(v: torch.Tensor) -> list[torch.Tensor]:
    """What to take out of each v: as little as lets it fit int8, and its median, which makes sums smallest."""
    flat = v.reshape(len(v), -1)
    lowest, highest = flat.amin(1), flat.amax(1)
    medians = flat.median(1).values
    return [torch.minimum(torch.maximum(m, highest - 127), lowest + 128) for m in (torch.zeros_like(medians), medians)]


def factors_of(problem: Problem) -> Factors | None:
    """Proved factors on the weight codes that occur in the problem (all of them in a matmul); None if the rank is high.

    Those of the whole table serve, restricted, unless fewer codes lower the rank.
    """
    products = problem.products
    whole = _remembered(products, np.ones(products.table.shape[1], bool))
    if problem.weight is None:
        return whole
    columns = np.zeros(products.table.shape[1], bool)
    columns[(problem.weights - products.weight.low).unique().cpu().numpy()] = True
    if whole is not None and factoring.rank(products.table, columns, whole.rank) >= whole.rank:
        return whole.restricted(columns)
    return _remembered(products, columns)


def _remembered(products: Products, columns: np.ndarray) -> Factors | None:
    key = (products, columns.tobytes())
    if key not in _cache:
        _cache[key] = factoring.factor(products.table, columns)
        if len(_cache) > _KEPT:
            _cache.popitem(last=False)
    _cache.move_to_end(key)
    return _cache[key]


class _Layer:
    """A conv or linear problem: look-ups u_k(x), one exact sum of products, box sums, a constant per channel."""

    def __init__(self, problem: Problem):
        factors = factors_of(problem)
        assert factors is not None, "refuses() was not asked"
        self.problem, self.geometry, self.rank = problem, problem.geometry, factors.rank
        weights = problem.weights
        self._low, self._index = problem.products.activation.low, weights - problem.products.weight.low
        x = (
            torch.arange(self._low, problem.products.activation.high + 1, device=weights.device)
            - problem.activation_zero
        )
        u = torch.from_numpy(factors.u.T.copy()).to(weights.device)
        v = torch.from_numpy(factors.v).to(weights.device)
        # constants out of u are constants of a channel; out of v they join p, as does a weight zero shared by all
        middle = (u.amax(1) + u.amin(1)) // 2
        self._u = (u - middle[:, None]).contiguous()
        offset, self.sum = self._smallest(v)
        zero = problem.weight_zero.to(weights.device)
        box = torch.from_numpy(factors.p).to(weights.device) + (offset[:, None] * self._u).sum(0)
        self._boxes: list[tuple[torch.Tensor, torch.Tensor]] = []
        if zero.ndim == 0:
            box = box - zero * x
        elif bool(zero.any()):
            self._boxes.append((x.to(torch.float64), -zero))
        if bool(box.any()):
            self._boxes.append((box.to(torch.float64), torch.ones((), dtype=torch.int64, device=weights.device)))
        q = torch.from_numpy(factors.q).to(weights.device) + (middle[:, None] * v).sum(0)
        taps = q[self._index] - problem.activation_zero * weights
        self._constant = taps.reshape(len(weights), -1).sum(1) + problem.bias.to(weights.device)

    def _smallest(self, v: torch.Tensor) -> tuple[torch.Tensor, SumOfProducts]:
        """v as it is or about its medians, whichever needs fewer parts to be exact."""
        none = torch.zeros(len(v), dtype=torch.int64, device=v.device)
        plain = self._sum(v)
        if plain.parts == 1 and plain.dtype == torch.float32:
            return none, plain
        medians = v[:, self._index.reshape(-1)].median(dim=1).values if len(v) else none
        centred = self._sum(v - medians[:, None])
        better = (centred.dtype.itemsize, centred.parts) < (plain.dtype.itemsize, plain.parts)
        return (medians, centred) if better else (none, plain)

    def _sum(self, v: torch.Tensor) -> SumOfProducts:
        factors = [row[self._index] for row in v] or [torch.zeros_like(self._index)]
        reach = self._u.abs().amax(1).repeat_interleave(self._index.shape[1])
        stacked = torch.cat(factors, dim=1)
        if not len(v):
            reach = torch.zeros(stacked.shape[1], dtype=torch.int64)
        g = self.geometry
        return SumOfProducts(Geometry(g.kind, g.stride, (0, 0), g.dilation, g.groups), stacked, reach)

    def __call__(self, codes: torch.Tensor) -> torch.Tensor:
        if self.geometry.kind == "conv":
            (py, px) = self.geometry.padding
            codes = F.pad(codes, (px, px, py, py), value=self.problem.activation_zero)
        index = codes - self._low
        total = self.sum(self._looked_up(index))
        shape = (-1, 1, 1) if self.geometry.kind == "conv" else (-1,)
        for values, factor in self._boxes:
            total += self._box(values[index]) * factor.reshape(shape)
        return total.add_(self._constant.reshape(shape))

    def _looked_up(self, index: torch.Tensor) -> torch.Tensor:
        tables = self._u.to(torch.int64 if self.sum.dtype == torch.int64 else self.sum.dtype)
        if not len(tables):
            return torch.zeros_like(index)
        if self.geometry.kind == "linear":
            return torch.cat([row[index] for row in tables], dim=1)
        n, c, h, w = index.shape
        grouped = index.reshape(n, self.geometry.groups, c // self.geometry.groups, h, w)
        return torch.cat([row[grouped] for row in tables], dim=2).reshape(n, len(tables) * c, h, w)

    def _box(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of `values` (float64 integers) over each output's taps, exact below 2^53: int64, per channel."""
        outputs = self._index.shape[0]
        if self.geometry.kind == "linear":
            return values.sum(1, keepdim=True).to(torch.int64)
        g = self.geometry
        n, c, h, w = values.shape
        depths = values.reshape(n, g.groups, c // g.groups, h, w).sum(2)
        ones = torch.ones((g.groups, 1, *self._index.shape[2:]), dtype=torch.float64, device=values.device)
        sums = F.conv2d(depths, ones, None, g.stride, (0, 0), g.dilation, g.groups).to(torch.int64)
        return sums if g.groups == 1 else sums.repeat_interleave(outputs // g.groups, dim=1)


def _matmul_bound(problem: Problem, depth: int) -> float:
    factors = factors_of(problem)
    assert factors is not None
    largest = np.abs(factors.u).max(axis=0, initial=0).astype(float) @ np.abs(factors.v).max(axis=1, initial=0)
    sides = np.abs(factors.p).max(initial=0) + np.abs(factors.q).max(initial=0)
    weight = problem.products.weight
    return depth * (largest + sides + float(reach_of(problem)) * max(abs(weight.low), abs(weight.high)) * 2)


def _matmul(problem: Problem) -> Prepared:
    factors = factors_of(problem)
    assert factors is not None
    low, weight_low = problem.products.activation.low, problem.products.weight.low
    zx, zw, bias = problem.activation_zero, int(problem.weight_zero), problem.bias
    u = torch.from_numpy(factors.u.T.astype(np.float64))
    v = torch.from_numpy(factors.v.astype(np.float64))
    x = np.arange(low, problem.products.activation.high + 1)
    w = np.arange(weight_low, problem.products.weight.high + 1)
    p = torch.from_numpy(factors.p - zw * x + zx * zw)
    q = torch.from_numpy(factors.q - zx * w)

    def call(codes: torch.Tensor, weight_codes: torch.Tensor) -> torch.Tensor:
        if _matmul_bound(problem, codes.shape[2]) > LIMITS[torch.float64]:
            raise OverflowError(f"factored: a matmul over {codes.shape[2]} terms may leave float64's exact integers")
        rows, columns = (codes - low).long(), (weight_codes - weight_low).long()
        place = codes.device
        total = p.to(place)[rows].sum(2, keepdim=True) + q.to(place)[columns].sum(1, keepdim=True) + bias.to(place)
        if not len(u):
            return total
        left = torch.cat([row.to(place)[rows] for row in u], dim=2)
        right = torch.cat([row.to(place)[columns] for row in v], dim=1)
        return total + (left @ right).to(torch.int64)

    return Prepared(call, "float64", factors.rank, 2 * costs.FLOAT32_PASS * factors.rank)


FACTORED = Factored()
