"""The slow truth: plain loops over Python integers. Any multiplier, any width; what every other engine must equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from carrysave.engines.problem import Prepared, Problem


@dataclass(frozen=True)
class Reference:
    name: str = "reference"

    def refuses(self, problem: Problem) -> str | None:
        return None

    def prepare(self, problem: Problem) -> Prepared:
        return Prepared({"conv": _conv, "linear": _linear, "matmul": _matmul}[problem.geometry.kind](problem))


class _Multiplier:
    """The products that occur in one call, each computed once, as Python integers."""

    def __init__(self, problem: Problem, x: np.ndarray, w: np.ndarray):
        xs = np.unique(np.append(x, problem.activation_zero))
        ws = np.unique(w)
        grid = problem.products.multiply(xs[:, None], ws[None, :])
        self._row = {int(value): i for i, value in enumerate(xs)}
        self._column = {int(value): i for i, value in enumerate(ws)}
        self._grid = grid.tolist()
        self._zero = problem.activation_zero

    def term(self, x: int, w: int, zw: int) -> int:
        zx = self._zero
        return self._grid[self._row[x]][self._column[w]] - zw * x - zx * w + zx * zw


def _per_channel(values: torch.Tensor, channels: int) -> list[int]:
    return values.expand(channels).tolist()


def _conv(problem: Problem) -> Callable[..., torch.Tensor]:
    geometry, weight = problem.geometry, problem.weights.cpu().numpy()
    outputs, depth, kh, kw = weight.shape
    zeros, biases = _per_channel(problem.weight_zero, outputs), _per_channel(problem.bias, outputs)
    (sy, sx), (py, px), (dy, dx) = geometry.stride, geometry.padding, geometry.dilation

    def call(codes: torch.Tensor) -> torch.Tensor:
        x = codes.cpu().numpy()
        batch, _, height, width = x.shape
        rows = (height + 2 * py - dy * (kh - 1) - 1) // sy + 1
        columns = (width + 2 * px - dx * (kw - 1) - 1) // sx + 1
        multiplier = _Multiplier(problem, x, weight)
        result = torch.zeros((batch, outputs, rows, columns), dtype=torch.int64)
        for n, o, i, j in np.ndindex(batch, outputs, rows, columns):
            first = o // (outputs // geometry.groups) * depth
            acc = biases[o]
            for c, a, b in np.ndindex(depth, kh, kw):
                y, z = i * sy - py + a * dy, j * sx - px + b * dx
                inside = 0 <= y < height and 0 <= z < width
                code = int(x[n, first + c, y, z]) if inside else problem.activation_zero
                acc += multiplier.term(code, int(weight[o, c, a, b]), zeros[o])
            result[n, o, i, j] = acc
        return result.to(codes.device)

    return call


def _linear(problem: Problem) -> Callable[..., torch.Tensor]:
    weight = problem.weights.cpu().numpy()
    zeros, biases = _per_channel(problem.weight_zero, len(weight)), _per_channel(problem.bias, len(weight))

    def call(codes: torch.Tensor) -> torch.Tensor:
        x = codes.cpu().numpy()
        multiplier = _Multiplier(problem, x, weight)
        result = torch.zeros((len(x), len(weight)), dtype=torch.int64)
        for m, o in np.ndindex(*result.shape):
            acc = biases[o]
            for k in range(x.shape[1]):
                acc += multiplier.term(int(x[m, k]), int(weight[o, k]), zeros[o])
            result[m, o] = acc
        return result.to(codes.device)

    return call


def _matmul(problem: Problem) -> Callable[..., torch.Tensor]:
    zw, bias = int(problem.weight_zero), int(problem.bias)

    def call(codes: torch.Tensor, weight_codes: torch.Tensor) -> torch.Tensor:
        x, w = codes.cpu().numpy(), weight_codes.cpu().numpy()
        multiplier = _Multiplier(problem, x, w)
        result = torch.zeros((x.shape[0], x.shape[1], w.shape[2]), dtype=torch.int64)
        for b, m, o in np.ndindex(*result.shape):
            acc = bias
            for k in range(x.shape[2]):
                acc += multiplier.term(int(x[b, m, k]), int(w[b, k, o]), zw)
            result[b, m, o] = acc
        return result.to(codes.device)

    return call


REFERENCE = Reference()
