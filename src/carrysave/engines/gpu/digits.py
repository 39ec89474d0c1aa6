"""Exact, factored and separable layers as sums of products of int8 digits, which tensor cores add exactly.

    acc[o] = sum over s of 256^s sum over taps and planes of u[x] v[o, tap]
             + sum over taps of addend[x] + constant[o]

The taps include the padding, whose code is the activation's zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from carrysave.engines.exact import EXACT
from carrysave.engines.factored import factors_of
from carrysave.engines.factoring import digits as digits_in
from carrysave.engines.logarithmic_native import coded
from carrysave.engines.problem import Problem, codes_of
from carrysave.formats import Format

MOST_CODE_BITS = 16  # of an activation: its digits are looked up
MOST_PLANES = 64
SAFE = 2.0**62


@dataclass(frozen=True, eq=False)
class Planes:
    """Products of one weight, 256^place.

    Attributes:
        u: int8 [planes, activation codes].
        v: int8 [planes, O, C / groups, kh, kw].
        bound: the largest magnitude that the sum of one output can reach.
    """

    place: int
    u: torch.Tensor
    v: torch.Tensor
    bound: float


@dataclass(frozen=True, eq=False)
class Digits:
    """A layer in the words above.

    Attributes:
        addend: int64 [activation codes]; None if it is 0 everywhere.
        constant: int64 [O].
        bound: the largest magnitude that an accumulator, or any part of it, can reach.
    """

    places: list[Planes]
    addend: torch.Tensor | None
    constant: torch.Tensor
    bound: float

    @property
    def planes(self) -> int:
        return sum(len(p.u) for p in self.places)


@dataclass(frozen=True, eq=False)
class _Sum:
    """sum over taps and k of u[k][x] v[k][o, tap] + sum over taps of addend[x] + constant[o], all int64."""

    u: torch.Tensor
    v: torch.Tensor
    addend: torch.Tensor
    constant: torch.Tensor


def digits_of(problem: Problem) -> Digits | str:
    """The layer as digits, or why it cannot be: for problems that the exact, factored or logarithmic engine takes."""
    fmt = problem.products.activation
    if (fmt.high - fmt.low).bit_length() > MOST_CODE_BITS:
        return f"the activation's codes, {fmt}, are wider than {MOST_CODE_BITS} bits"
    if not problem.weights.numel():
        return "there are no weights"
    if EXACT.refuses(problem) is None:
        return _split(_of_exact(problem))
    if problem.products.has_table and factors_of(problem) is not None:
        return _split(_of_factors(problem))
    return _split(_of_numbers(problem))


def _of_exact(problem: Problem) -> _Sum:
    """(x - zx) (w - zw), its second factor in two parts where that saves a digit."""
    weights, zeros, x = _weights(problem), _zeros(problem), _offsets(problem)
    centred = weights - zeros
    if digits_in(_span(centred)) > digits_in(_span(weights)):
        return _Sum(torch.stack([x, x]), torch.stack([weights, (-zeros).expand_as(weights)]), 0 * x, _bias(problem))
    return _Sum(x[None], centred[None], 0 * x, _bias(problem))


def _of_factors(problem: Problem) -> _Sum:
    factors = factors_of(problem)
    assert factors is not None, "refuses() was not asked"
    device, index = problem.weights.device, _weights(problem) - problem.products.weight.low
    u, v, p, q = (torch.from_numpy(a.copy()).to(device) for a in (factors.u.T, factors.v, factors.p, factors.q))
    return _corrected(problem, u, v[:, index], p, q[index].sum((1, 2, 3)))


def _of_numbers(problem: Problem) -> _Sum:
    products, weights = problem.products, _weights(problem)
    values, which = weights.unique(return_inverse=True)
    u = _numbers(problem, products.activation, codes_of(products.activation))
    v = _numbers(problem, products.weight, values.cpu().numpy())[which]
    return _corrected(problem, u[None], v[None], 0 * u, torch.zeros_like(v[:, 0, 0, 0]))


def _corrected(problem: Problem, u: torch.Tensor, v: torch.Tensor, p: torch.Tensor, q: torch.Tensor) -> _Sum:
    """The sum of u v + p(x), and q[o], with the zero corrections: - zw (x - zx) - zx w + bias."""
    weights, zeros, x = _weights(problem), _zeros(problem), _offsets(problem)
    constant = q - problem.activation_zero * weights.sum((1, 2, 3)) + _bias(problem)
    first = zeros.reshape(-1)[0]
    if bool((zeros == first).all()):
        return _Sum(u, v, p - first * x, constant)
    # zeros of the channels' own: one more factor
    return _Sum(torch.cat([u, x[None]]), torch.cat([v, (-zeros).expand_as(weights)[None]]), p, constant)


def _split(total: _Sum) -> Digits | str:
    """Each factor as int8 digits: what moves a factor into their range joins the addend and the constants."""
    addend, constant = total.addend, total.constant
    found: dict[int, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    bound = 0.0
    for u, v in zip(total.u, total.v, strict=True):
        v, moved = _narrowed(v)
        addend = addend + moved * u
        u, moved = _narrowed(u)
        constant = constant + moved * v.sum((1, 2, 3))
        bound += float(u.abs().max()) * _largest_sum(v) + float(abs(moved)) * _largest_sum(v)
        for i, digit in enumerate(_digits(u)):
            for j, other in enumerate(_digits(v)):
                us, vs = found.setdefault(i + j, ([], []))
                us.append(digit)
                vs.append(other)
    if not found:  # rank 0: the products are a sum of two functions, and all is box sums and constants
        found[0] = ([addend * 0], [total.v.new_zeros(total.v.shape[1:])])
    taps = total.v.shape[2:].numel()
    bound += float(addend.abs().max()) * taps + float(constant.abs().max())
    places = [_planes(place, torch.stack(us), torch.stack(vs)) for place, (us, vs) in sorted(found.items())]
    bound = max(bound, sum(p.bound * 256.0**p.place for p in places))
    if bound >= SAFE:
        return "sums might leave int64"
    digits = Digits(places, addend if bool(addend.any()) else None, constant, bound)
    if digits.planes > MOST_PLANES:
        return f"{digits.planes} products of digits are too many"
    return digits


def _planes(place: int, u: torch.Tensor, v: torch.Tensor) -> Planes:
    reach = u.abs().amax(1).to(torch.float64).reshape(-1, 1, 1, 1, 1)
    bound = float((v.abs().to(torch.float64) * reach).sum((0, 2, 3, 4)).max())
    return Planes(place, u.to(torch.int8), v.to(torch.int8), bound)


def _narrowed(values: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Values less what makes them fit the fewest digits, and what that was, as little as will do."""
    low, high = int(values.min()), int(values.max())
    ones = sum(256**i for i in range(digits_in(_span(values))))  # n digits are -128 to 127 of these
    moved = min(max(0, high - 127 * ones), low + 128 * ones)
    return values - moved, moved


def _digits(values: torch.Tensor) -> list[torch.Tensor]:
    """Digits of -128 to 127, lowest first, that are the values with weights 1, 256, 256^2, ..."""
    found = []
    while True:
        digit = (values + 128) % 256 - 128
        found.append(digit)
        values = (values - digit) // 256
        if not bool(values.any()):
            return found


def _span(values: torch.Tensor) -> int:
    return int(values.max() - values.min())


def _largest_sum(v: torch.Tensor) -> float:
    return float(v.abs().to(torch.float64).sum((1, 2, 3)).max())


def _weights(problem: Problem) -> torch.Tensor:
    """[O, C / groups, kh, kw]"""
    weights = problem.weights
    return weights.reshape(*weights.shape, *(1,) * (4 - weights.ndim))


def _zeros(problem: Problem) -> torch.Tensor:
    return problem.weight_zero.to(problem.weights.device).expand(len(problem.weights)).reshape(-1, 1, 1, 1)


def _bias(problem: Problem) -> torch.Tensor:
    return problem.bias.to(problem.weights.device).expand(len(problem.weights))


def _offsets(problem: Problem) -> torch.Tensor:
    """x - zx of all activation codes."""
    codes = torch.from_numpy(codes_of(problem.products.activation)).to(problem.weights.device)
    return codes - problem.activation_zero


def _numbers(problem: Problem, fmt: Format, codes: np.ndarray) -> torch.Tensor:
    """int64, signed: what the multiplier's parts make of each code."""
    found, negative = coded(problem.products, fmt, codes)
    numbers = np.where(negative, -found.number, found.number)
    return torch.from_numpy(numbers).to(problem.weights.device)
