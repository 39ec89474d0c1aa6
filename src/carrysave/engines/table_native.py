"""The table engine on the native kernel.

The table is corrected first, M(x, w) - zw (x - zx) - zx w, and has a column for each weight code, or pair of weight
code and weight zero, that occurs in the layer.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from carrysave import native
from carrysave.engines.images import Window, image_of, result_of
from carrysave.engines.problem import Prepared, Problem, codes_of
from carrysave.engines.table_torch import MatmulInTorch
from carrysave.quantizers import Quantizer

MOST_COLUMNS = 1 << 14  # a row has up to 1024 bytes: beyond, they would crowd the activations out of the caches
SAFE = 2.0**62
DEEPEST = 1 << 20  # of a matmul, whose depth is not known before the call


def prepare(problem: Problem) -> Prepared | str:
    """The engine, or why the native kernel cannot serve this problem."""
    if not native.available:
        return "the native module is not installed"
    if problem.weight is not None and problem.weight.device.type != "cpu":
        return f"the layer is on {problem.weight.device}"
    table = _Corrected(problem)
    if not 0 < table.count <= MOST_COLUMNS:
        return f"{table.count} pairs of weight code and weight zero occur"
    spans = table.columns.max(0).astype(float) - table.columns.min(0)
    if spans.max() >= 2.0**32:
        return "the products of one weight code span 2^32 or more"
    depth = DEEPEST if problem.weight is None else problem.weights[0].numel()
    if float(np.abs(table.columns).max()) * depth + float(problem.bias.abs().max()) >= SAFE:
        return "sums might leave int64"
    if problem.geometry.kind == "matmul":
        return Prepared(_Matmul(problem, table))
    layer = _Layer(problem, table)
    return Prepared(layer.call, layer.how, layer=layer.layer)


class _Corrected:
    """The corrected table and, for each weight, its column."""

    def __init__(self, problem: Problem):
        self._problem = problem
        self._codes = codes_of(problem.products.weight)
        if problem.weight is None:
            self._used, self.places = np.arange(len(self._codes)), None
            self._zeros = np.asarray([int(problem.weight_zero)])
        else:
            index = (problem.weights - problem.products.weight.low).numpy().reshape(len(problem.weights), -1)
            self._zeros, which = np.unique(problem.weight_zero.numpy().reshape(-1), return_inverse=True)
            pairs = index + which.reshape(-1, 1) * len(self._codes)
            self._used, places = np.unique(pairs, return_inverse=True)
            self.places = places.reshape(index.shape)

    @property
    def count(self) -> int:
        return len(self._used)

    @cached_property
    def columns(self) -> np.ndarray:
        """int64 [activation codes, columns]."""
        problem = self._problem
        zx = problem.activation_zero
        x = codes_of(problem.products.activation)[:, None]
        code, zero = self._used % len(self._codes), self._zeros[self._used // len(self._codes)]
        return problem.products.table[:, code] - zero * (x - zx) - zx * self._codes[code]


class _Layer:
    def __init__(self, problem: Problem, table: _Corrected):
        from carrysave._native import TableWeights

        assert table.places is not None
        self._geometry, self._window = problem.geometry, Window.of(problem.geometry, problem.weights)
        self._zero, self._low = problem.activation_zero, problem.products.activation.low
        self._code = _code_type(problem)
        self._weights = TableWeights(np.ascontiguousarray(table.columns), table.places.astype(np.uint16))
        self._channels = len(problem.weights)
        self._constant = problem.bias.expand(self._channels).contiguous().numpy()
        bytes_ = self._weights.planes
        self.how = f"native, {bytes_} byte{'s' * (bytes_ != 1)} per look-up"

    def call(self, codes: torch.Tensor) -> torch.Tensor:
        from carrysave._native import table_conv

        image = image_of((codes - self._low).to(self._code), self._geometry)
        out = self._empty(image, torch.int64)
        if out.numel():
            table_conv(
                self._weights, image.numpy(), out.numpy(), *self._window.arguments(), self._zero - self._low,
                self._constant, torch.get_num_threads(),
            )  # fmt: skip
        return result_of(out, self._geometry, codes)

    def layer(self, x: torch.Tensor, quantizer: Quantizer, scale: torch.Tensor) -> torch.Tensor:
        from carrysave._native import table_layer

        image = image_of(x.detach(), self._geometry)
        out = self._empty(image, torch.float32)
        fmt = quantizer.format
        if out.numel():
            table_layer(
                self._weights, image.numpy(), out.numpy(), *self._window.arguments(), float(quantizer.scale),
                self._zero, fmt.low, fmt.high, self._constant, scale.expand(self._channels).contiguous().numpy(),
                torch.get_num_threads(),
            )  # fmt: skip
        return result_of(out, self._geometry, x)

    def _empty(self, image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        height, width = self._window.output(image.shape[2], image.shape[3])
        return torch.empty((image.shape[0], self._channels, height, width), dtype=dtype)


class _Matmul:
    """Both operands come with the call. The batch is a convolution's groups, each with weights of its own."""

    def __init__(self, problem: Problem, table: _Corrected):
        self._problem, self._code = problem, _code_type(problem)
        self._table = np.ascontiguousarray(table.columns)

    def __call__(self, codes: torch.Tensor, weight_codes: torch.Tensor) -> torch.Tensor:
        from carrysave._native import TableWeights, table_conv

        if codes.device.type != "cpu" or codes.shape[2] > DEEPEST:
            return MatmulInTorch(self._problem)(codes, weight_codes)
        batch, rows, depth = codes.shape
        outputs = weight_codes.shape[2]
        out = torch.full((1, batch * outputs, 1, rows), int(self._problem.bias), dtype=torch.int64)
        if out.numel() and depth:
            columns = (weight_codes.mT - self._problem.products.weight.low).to(torch.int16).contiguous()
            weights = TableWeights(self._table, columns.numpy().view(np.uint16).reshape(-1, depth), once=True)
            low = self._problem.products.activation.low
            image = (codes.mT - low).to(self._code).reshape(1, batch * depth, 1, rows).contiguous()
            table_conv(
                weights, image.numpy(), out.numpy(), *Window((1, 1), (1, 1), (0, 0), (1, 1), batch).arguments(), 0,
                np.full(batch * outputs, int(self._problem.bias)), torch.get_num_threads(),
            )  # fmt: skip
        return out.reshape(batch, outputs, rows).mT.contiguous()


def _code_type(problem: Problem) -> Any:
    fmt = problem.products.activation
    return torch.uint8 if fmt.high - fmt.low < 256 else torch.uint16
