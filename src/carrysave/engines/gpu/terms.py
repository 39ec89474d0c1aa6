"""Layers whose products are added one by one: what the table, logarithmic and wide engines on GPUs have in common.

One program adds up a tile of positions and output channels, a tap at a time: the tap's codes are read, or quantised,
once for all outputs of the tile, and the corrections with weight zeros are a sum along the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from carrysave.engines.gpu.dots import Call
from carrysave.engines.gpu.images import UNFUSED, blocks, empty_result, image_of, kernels, on, power_of_two
from carrysave.engines.images import Window
from carrysave.engines.problem import Problem

INT32 = 2.0**31  # what a sum of terms of 32 bits stays below
ELEMENTS = 1 << 30  # of an image or a result at a time: offsets are 32-bit
TILE, MOST_POSITIONS, OUTPUTS = 8192, 1024, 64  # of a program; half as many sums, and outputs, of 64 bits


@dataclass(frozen=True, eq=False)
class Terms:
    """What the kernel adds up (add_terms has the words).

    Attributes:
        kind: "row", "look-up", "logarithm" or "product".
        table: of the terms, words or numbers; in the shape of the image if `coded`.
        weights: [groups, taps, outputs], unused for rows.
        wide: whether the sum of the terms of one output needs int64.
        first, last: the taps, of C / groups * kh * kw.
        codes: the length of a row of the table in a look-up.
        pad_word: what the padding is coded as.
    """

    kind: str
    table: torch.Tensor
    weights: torch.Tensor
    wide: bool
    first: int
    last: int
    codes: int = 0
    signed: bool = False
    complement: bool = False
    coded: bool = False
    pad_word: int = 0


@dataclass(frozen=True, eq=False)
class Frame:
    """All of a layer but its terms.

    Attributes:
        constant: int64 [O].
        factor: int64 [O], of the sum of x - zx over the taps; None if it is 0.
    """

    problem: Problem
    constant: torch.Tensor
    factor: torch.Tensor | None
    window: Window = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", Window.of(self.problem.geometry, self.problem.weights))

    @property
    def taps(self) -> int:
        return self.problem.weights[0].numel()

    @property
    def outputs(self) -> int:
        """Of a group."""
        return len(self.problem.weights) // self.window.groups

    def by_group(self, weights: torch.Tensor) -> torch.Tensor:
        """Weights in the kernel's order, [groups, taps, outputs]."""
        return weights.reshape(self.window.groups, self.outputs, self.taps).mT.contiguous()

    def __call__(self, x: torch.Tensor, terms: Terms, call: Call) -> torch.Tensor:
        geometry = self.problem.geometry
        image = image_of(x, geometry)
        size = self.window.output(*image.shape[2:])
        out, as_image = empty_result(image, len(self.problem.weights), size, geometry, call.dtype)
        if not out.numel():
            return out
        words = image_of(terms.table, geometry) if terms.coded else terms.table
        step = max(1, ELEMENTS // max(image[0].numel(), as_image[0].numel()))
        with on(image.device):
            for i in range(0, len(image), step):
                part = words[i : i + step] if terms.coded else words
                self._chunk(image[i : i + step], part, as_image[i : i + step], terms, call)
        return out

    def _chunk(self, image: torch.Tensor, words: torch.Tensor, out: torch.Tensor, terms: Terms, call: Call) -> None:
        w, fmt, zero = self.window, self.problem.products.activation, self.problem.activation_zero
        positions = len(image) * out.shape[2] * out.shape[3]
        wide = 1 + terms.wide
        outputs = min(OUTPUTS // wide, power_of_two(self.outputs))
        # 128 threads share fewer positions less well: each thread would read codes of its own
        rows = min(TILE // wide // outputs, MOST_POSITIONS, max(16, power_of_two(positions)))
        nothing: Any = self.constant
        kernels("term_kernels").add_terms[(blocks(positions, rows), blocks(self.outputs, outputs), w.groups)](
            image, words, terms.weights, nothing if self.factor is None else self.factor, self.constant,
            nothing if call.scales is None else call.scales, out,
            positions, *out.shape[2:], *image.shape[2:], self.problem.weights.shape[1], w.kernel[0] * w.kernel[1],
            terms.first, terms.last, terms.codes, self.outputs, w.groups,
            call.scale, zero, fmt.low, fmt.high, terms.pad_word, *image.stride(),
            *w.stride, *w.padding, *w.dilation, *out.stride(),
            KERNEL_X=w.kernel[1], TERM=terms.kind, SIGNED=terms.signed, COMPLEMENT=terms.complement,
            CODED=terms.coded, BOX=self.factor is not None, VALUES=call.values, SCALED=call.scales is not None,
            WIDE=terms.wide, POSITIONS=rows, OUTPUTS=outputs,
            num_warps=4, **UNFUSED,
        )  # fmt: skip


def scaled(total: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Accumulators as a layer gives them: rounded once to float32, times the channels' scales."""
    return total.to(torch.float32) * scales.reshape(-1, *(1,) * (total.ndim - 2))


def corrections(problem: Problem) -> Frame:
    """The frame with the zero corrections, - zw (x - zx) - zx w + bias, for terms that are bare products."""
    weights, zeros = problem.weights, problem.weight_zero.to(problem.weights.device).expand(len(problem.weights))
    constant = problem.bias.to(weights.device) - problem.activation_zero * weights.reshape(len(weights), -1).sum(1)
    return Frame(problem, constant.contiguous(), (-zeros).contiguous() if bool(zeros.any()) else None)
