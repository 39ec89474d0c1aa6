"""The table engine on GPUs: a look-up per product, for any table.

Each tap's terms with all output channels are laid side by side, rows[code, tap, output], in parts that stay in the
second-level cache; a position then reads one row per tap, without conflicts, and adds. Where positions are fewer than
codes the rows would not pay, and each product is looked up in the table itself.
"""

from __future__ import annotations

import torch

from carrysave.engines.gpu import costs
from carrysave.engines.gpu.dots import Call
from carrysave.engines.gpu.terms import INT32, Frame, Terms, scaled
from carrysave.engines.problem import Prepared, Problem, codes_of
from carrysave.quantizers import Quantizer

ROW_BYTES = 32 << 20  # of a part: an H100 has 50 MB of second-level cache, an A100 40
SAFE = 2.0**62
_TYPES = ((torch.int8, 2.0**7), (torch.int16, 2.0**15), (torch.int32, 2.0**31))


def prepare(problem: Problem) -> Prepared | str:
    """The engine, or why it cannot serve this problem."""
    if not problem.weights.numel():
        return "there are no weights"
    layer = _LookUps(problem)
    if layer.bound >= SAFE:
        return "sums might leave int64"
    return Prepared(layer.call, layer.how, cost=layer.cost, layer=layer.layer)


class _LookUps:
    """A conv or linear problem. The table is corrected, M(x, w) - zw (x - zx) - zx w, and centred for each weight code.
    Zeros that differ between channels stay out of it and are corrected with the sum of x - zx.
    """

    def __init__(self, problem: Problem):
        products, weights, zx = problem.products, problem.weights, problem.activation_zero
        device, zeros = weights.device, problem.weight_zero.to(weights.device).expand(len(weights))
        shared = bool((zeros == zeros[0]).all())
        x, w = torch.from_numpy(codes_of(products.activation)), torch.from_numpy(codes_of(products.weight))
        table = torch.from_numpy(products.table.copy()) - zx * w
        if shared:
            table -= int(zeros[0]) * (x - zx)[:, None]
        middle = (table.amax(0) + table.amin(0)) // 2
        table -= middle
        largest = float(table.abs().max())
        kind = next((t for t, limit in _TYPES if largest < limit), torch.int64)
        self._table = table.to(device, kind)
        index = weights - products.weight.low
        constant = middle.to(device)[index].reshape(len(weights), -1).sum(1) + problem.bias.to(device)
        self._frame = Frame(problem, constant, None if shared else (-zeros).contiguous())
        self._index = self._frame.by_group(index).to(torch.int32)
        self._largest = largest
        reach = float((x - zx).abs().max()) * float(zeros.abs().max()) * (not shared)
        self._sums = largest * self._frame.taps
        self.bound = self._sums + reach * self._frame.taps + float(constant.abs().max())

    @property
    def how(self) -> str:
        return f"Triton, {self._table.element_size()} bytes per look-up"

    @property
    def cost(self) -> float:
        return costs.LOOK_UP[self._table.element_size()]

    def call(self, codes: torch.Tensor) -> torch.Tensor:
        return self._sum(codes, Call())

    def layer(self, x: torch.Tensor, quantizer: Quantizer, scale: torch.Tensor) -> torch.Tensor:
        scales = scale.to(x.device).expand(len(self._frame.constant)).contiguous()
        return self._sum(x.detach(), Call(float(quantizer.scale), True, scales))

    def _sum(self, x: torch.Tensor, call: Call) -> torch.Tensor:
        size = (1, 1) if x.ndim == 2 else self._frame.window.output(x.shape[2], x.shape[3])
        taps, table = self._frame.taps, self._table
        if len(x) * size[0] * size[1] < len(table):
            terms = Terms("look-up", table, self._index, self._sums >= INT32, 0, taps, codes=table.shape[1])
            return self._frame(x, terms, call)
        step = max(1, ROW_BYTES // (len(table) * len(self._frame.constant) * table.element_size()))
        if step >= taps:
            return self._frame(x, self._rows(0, taps), call)
        bare = Call(call.scale, call.values)
        total = self._frame(x, self._rows(0, step), bare)
        rest = Frame(self._frame.problem, torch.zeros_like(self._frame.constant), self._frame.factor)
        for a in range(step, taps, step):
            total += rest(x, self._rows(a, min(taps, a + step)), bare)
        return total if call.scales is None else scaled(total, call.scales)

    def _rows(self, first: int, last: int) -> Terms:
        index = self._index[:, first:last]
        rows = self._table.index_select(1, index.reshape(-1))  # [codes, groups * (last - first) * outputs]
        return Terms("row", rows, index, self._largest * (last - first) >= INT32, first, last)
