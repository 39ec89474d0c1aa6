"""The vector engine: every product evaluated by the multiplier's own definition. Any width, no table, and slow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from carrysave.engines.problem import Prepared, Problem
from carrysave.engines.sums import check_accumulator, image, patches

CHUNK = 1 << 20  # products at a time


@dataclass(frozen=True)
class Vector:
    name: str = "vector"

    def refuses(self, problem: Problem) -> str | None:
        return None

    def prepare(self, problem: Problem) -> Prepared:
        if problem.geometry.kind == "matmul":
            return Prepared(lambda codes, weights: _matmul(problem, codes, weights))
        weights, geometry = problem.weights, problem.geometry
        zeros, bias = problem.weight_zero.expand(len(weights)), problem.bias.expand(len(weights))
        if geometry.kind == "linear":
            return Prepared(lambda codes: _rows(problem, codes, weights, zeros, bias))
        kernel, groups = (weights.shape[2], weights.shape[3]), geometry.groups
        taps, zeros, bias = (t.reshape(groups, len(weights) // groups, -1) for t in (weights, zeros, bias))

        def call(codes: torch.Tensor) -> torch.Tensor:
            inputs = patches(codes, kernel, geometry, pad=problem.activation_zero)
            rows = [_rows(problem, inputs[g], taps[g], zeros[g, :, 0], bias[g, :, 0]) for g in range(groups)]
            return image(torch.stack(rows), codes, kernel, geometry)

        return Prepared(call)


def _matmul(problem: Problem, codes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    zero, bias = problem.weight_zero, problem.bias
    shape = (codes.shape[0], codes.shape[1], weights.shape[2])
    rows = [_rows(problem, x, w.T, zero, bias) for x, w in zip(codes, weights, strict=True)]
    return torch.stack(rows) if rows else torch.zeros(shape, dtype=torch.int64)


def _rows(problem: Problem, x: torch.Tensor, w: torch.Tensor, zw: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """[positions, O] from codes [positions, K] and [O, K]."""
    positions, weights = x.cpu().numpy().astype(np.int64), w.cpu().numpy().astype(np.int64)
    zeros, zero = zw.cpu().numpy().reshape(-1, 1), problem.activation_zero
    step = max(1, CHUNK // max(1, weights.size))
    parts = [np.zeros((0, len(weights)), np.int64)]
    for i in range(0, len(positions), step):
        rows = positions[i : i + step, None]
        products = problem.products.multiply(rows, weights)
        check_accumulator(torch.from_numpy(products.sum(2, dtype=np.float64)))
        parts.append((products - zeros * (rows - zero) - zero * weights).sum(2))
    return torch.from_numpy(np.concatenate(parts)).to(x.device) + bias.to(x.device)


VECTOR = Vector()
