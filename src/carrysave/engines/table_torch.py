"""The table engine in torch, for other devices and where the native module is missing or a table too large for it:

Row sums. For output positions enough to pay for it, each tap's products with all output channels become the rows
E[(tap, code), :], corrections included, and an output position is the sum of one row per tap: torch's embedding_bag,
whose inner loop runs along the output channels. Float32 sums are exact below 2^24, so taps are split into parts by the
bound of their centred products.

Gather. One index per product, in bounded chunks, summed as int64: where positions are few or entries too large.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from carrysave.engines.problem import Problem
from carrysave.engines.sums import LIMITS, image, patches

ROW_BYTES = 8 << 20  # the rows of one part: about what a core's caches hold
KEPT_BYTES = 64 << 20  # the rows that a layer keeps; larger ones are built part by part in each call
CHUNK = 1 << 22  # look-ups at a time


class LayerInTorch:
    """A conv or linear problem.

    The table is first corrected, M(x, w) - zw x - zx w + zx zw, and centred for each weight code, which halves the
    bound of a sum; what the centring took out is a constant per channel. Zeros that differ between channels stay out
    of it and are corrected with the sum of x - zx.
    """

    def __init__(self, problem: Problem):
        weights, products, geometry = problem.weights, problem.products, problem.geometry
        place, groups = weights.device, geometry.groups
        self.problem, self.geometry = problem, geometry
        self._kernel = (weights.shape[2], weights.shape[3]) if weights.ndim == 4 else (1, 1)
        self._low, self._zero = products.activation.low, problem.activation_zero
        x = torch.arange(self._low, products.activation.high + 1, device=place) - self._zero
        w = torch.arange(products.weight.low, products.weight.high + 1, device=place)
        zeros = problem.weight_zero.to(place)
        self._zeros = zeros.expand(len(weights)).reshape(groups, -1) if zeros.ndim else None
        table = torch.from_numpy(products.table.T.copy()).to(place) - self._zero * w[:, None]
        table = table if zeros.ndim else table - zeros * x
        middle = (table.amax(1) + table.amin(1)) // 2
        self._table = table - middle[:, None]  # [weight codes, activation codes]
        self._reach = self._table.abs().amax(1).to(torch.float64)
        self._weights = (weights - products.weight.low).reshape(groups, len(weights) // groups, -1)
        self._constant = middle[self._weights].sum(2) + problem.bias.to(place).expand(len(weights)).reshape(groups, -1)
        self._kept: dict[int, list[tuple[int, int, torch.Tensor]]] = {}

    def __call__(self, codes: torch.Tensor) -> torch.Tensor:
        index = codes - self._low
        if self.geometry.kind == "linear":
            return self._group(0, index)
        taps = patches(index, self._kernel, self.geometry, pad=self._zero - self._low)
        rows = torch.stack([self._group(g, taps[g]) for g in range(self.geometry.groups)])
        return image(rows, codes, self._kernel, self.geometry)

    def _group(self, group: int, taps: torch.Tensor) -> torch.Tensor:
        """Accumulators [positions, outputs] from code indices [positions, K]."""
        outputs, depth = self._weights.shape[1:]
        codes = self._table.shape[1]
        total = self._constant[group].expand(len(taps), outputs).clone()
        if self._zeros is not None:
            total -= (taps + (self._low - self._zero)).sum(1, keepdim=True) * self._zeros[group]
        small = 4 * codes * self._weights.numel() <= KEPT_BYTES
        if float(self._reach.max()) > LIMITS[torch.float32] or not (small or len(taps) >= codes):
            return self._gather(total, group, taps)
        if small and group not in self._kept:
            self._kept[group] = list(self._rows(group))
        for a, b, rows in self._kept.get(group) or self._rows(group):
            places = torch.arange(b - a, device=taps.device) * codes
            total += F.embedding_bag(taps[:, a:b] + places, rows, mode="sum").to(torch.int64)
        return total

    def _rows(self, group: int) -> Iterator[tuple[int, int, torch.Tensor]]:
        """Parts of the taps, first, last, and their rows E [(taps, codes), outputs], that float32 sums exactly."""
        weights = self._weights[group]
        outputs, depth = weights.shape
        table = self._table.to(torch.float32)
        share = self._reach[weights]
        widest = max(1, ROW_BYTES // (4 * outputs * table.shape[1]))
        a = 0
        while a < depth:
            fitting = int((share[:, a : a + widest].cumsum(1).amax(0) <= LIMITS[torch.float32]).sum())
            b = min(depth, a + max(1, fitting))
            # embedding_bag is fifty times slower unless a row's entries lie side by side
            yield a, b, table[weights[:, a:b].T].transpose(1, 2).contiguous().reshape(-1, outputs)
            a = b

    def _gather(self, total: torch.Tensor, group: int, taps: torch.Tensor) -> torch.Tensor:
        flat, places = self._table.reshape(-1), self._weights[group] * self._table.shape[1]
        step = max(1, CHUNK // max(1, places.numel()))
        for i in range(0, len(taps), step):
            total[i : i + step] += flat[taps[i : i + step, None] + places].sum(2)
        return total


class MatmulInTorch:
    def __init__(self, problem: Problem):
        self.problem = problem
        self._table = torch.from_numpy(problem.products.table.copy())
        x = torch.arange(len(self._table)) + problem.products.activation.low
        w = torch.arange(self._table.shape[1]) + problem.products.weight.low
        zx, zw = problem.activation_zero, int(problem.weight_zero)
        self._table = self._table - (zw * (x - zx))[:, None] - zx * w

    def __call__(self, codes: torch.Tensor, weight_codes: torch.Tensor) -> torch.Tensor:
        products, flat = self.problem.products, self._table.to(codes.device).reshape(-1)
        rows = (codes.long() - products.activation.low) * self._table.shape[1]
        columns = (weight_codes.long() - products.weight.low).mT.contiguous()  # [B, O, K]
        result = torch.empty(
            (codes.shape[0], codes.shape[1], weight_codes.shape[2]), dtype=torch.int64, device=codes.device
        )
        step = max(1, CHUNK // max(1, columns.shape[1] * columns.shape[2]))
        for b in range(codes.shape[0]):
            for i in range(0, codes.shape[1], step):
                chosen = rows[b, i : i + step, None] + columns[b]
                result[b, i : i + step] = flat[chosen].sum(2)
        return result + self.problem.bias.to(codes.device)
