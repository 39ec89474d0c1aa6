"""Everything an operator must know about its layer besides the tensors, as one line of text.

The text is an operator's argument, so an exported program is complete: formats, calibrated scales, multiplier, engine
and gradient stand in it. (Of a multiplier that is a file of products the text has the name and a digest.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch

from carrysave.engines.problem import Products
from carrysave.formats import Format
from carrysave.quantizers import Quantizer, quantizer_of_weights
from carrysave.recipes import Arithmetic
from carrysave.slopes import GRADIENTS, Straight, Table, slope


@dataclass(frozen=True, eq=False)
class Setting:
    """A layer's arithmetic with its calibrated scales.

    Attributes:
        layer: the layer's name, for messages.
        activation: the activation's quantizer, one scale for the tensor.
        weight: the second operand's quantizer if that is calibrated too (a matmul) or stated by the model; else it is
            computed from the weights.
        engine: the engine's name; None leaves it to the plan.
        gradient: how gradients pass the multiplier (slopes.py).

    Raises:
        ValueError: if the gradient needs a table and the formats are too wide for one.
    """

    layer: str
    arithmetic: Arithmetic
    activation: Quantizer
    weight: Quantizer | None = None
    engine: str | None = None
    gradient: Straight | Table = Straight()

    def __post_init__(self) -> None:
        if isinstance(self.gradient, Table):
            try:
                self.slopes()
            except ValueError as error:
                raise ValueError(f"layer {self.layer!r}: {error}") from error

    @cached_property
    def products(self) -> Products:
        return Products(*self.arithmetic.parts)

    @cached_property
    def text(self) -> str:
        """One line of JSON; `parse` is its inverse."""
        multiplier, activation, weight = self.arithmetic.parts
        fields: dict[str, Any] = {
            "layer": self.layer,
            "multiplier": multiplier.spec,
            "activation": activation.spec,
            "weight": weight.spec,
            "ranges": str(self.arithmetic.ranges),
            "weight_scales": self.arithmetic.weight_scales,
            "activation_scale": float(self.activation.scale),
            "activation_zero": int(self.activation.zero),
            "gradient": GRADIENTS.spec(self.gradient),
        }
        if multiplier.key != multiplier.spec:
            fields["multiplier_key"] = multiplier.key
        if self.weight is not None:
            fields["weight_scale"], fields["weight_zero"] = self.weight.scale.tolist(), self.weight.zero.tolist()
        if self.engine is not None:
            fields["engine"] = self.engine
        return json.dumps(fields)

    @staticmethod
    def parse(text: str) -> Setting:
        """From `text`. Raises ValueError if it is no such text, or names what this carrysave does not have."""
        return _parsed(text)

    def slopes(self) -> tuple[Any, Any]:
        """The slopes beyond the exact ones, by the activation and by the weight; None for straight-through."""
        if isinstance(self.gradient, Straight):
            return None, None
        half = self.gradient.half_window
        return slope(self.products, half, 0), slope(self.products, half, 1)

    def quantizer(self, weight: torch.Tensor) -> Quantizer:
        """The quantizer of a layer's weights, on their device: unless it is stated, scales follow the weights."""
        found = self.weight
        if found is None:
            _, _, fmt = self.arithmetic.parts
            ranges: Any = self.arithmetic.ranges
            found = quantizer_of_weights(weight, fmt, ranges, self.arithmetic.weight_scales)
        return found.beside(weight)

    def check_finite(self, x: torch.Tensor, what: str) -> None:
        """Raises ValueError, naming the layer, where a value is not finite."""
        # a sum is infinite or NaN if a term is, and costs one pass; only then look closer
        if x.numel() and not bool(torch.isfinite(x.sum(dtype=torch.float64 if x.dtype == torch.float64 else None))):
            bad = int((~torch.isfinite(x)).sum())
            if bad:
                raise ValueError(f"layer {self.layer!r}: {what} is NaN or infinite ({bad} of {x.numel()} values)")


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Setting:
    try:
        given = json.loads(text)
        arithmetic = Arithmetic(
            given["activation"], given["weight"], given["multiplier"], given["ranges"], given["weight_scales"]
        )
        multiplier, activation, weight = arithmetic.parts
        key = given.get("multiplier_key", multiplier.spec)
        if multiplier.key != key:
            raise ValueError(f"{multiplier.spec} holds other products now ({multiplier.key}, expected {key})")
        second = None
        if "weight_scale" in given:
            second = _quantizer(weight, given["weight_scale"], given["weight_zero"])
        return Setting(
            given["layer"],
            arithmetic,
            _quantizer(activation, given["activation_scale"], given["activation_zero"]),
            second,
            given.get("engine"),
            GRADIENTS.parse(given["gradient"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"carrysave: an operator's setting cannot be used: {error!r}; it is {text!r}") from error


def _quantizer(fmt: Format, scale: float | list[float], zero: int | list[int]) -> Quantizer:
    return Quantizer(fmt, torch.tensor(scale, dtype=torch.float32), torch.tensor(zero, dtype=torch.int64))
