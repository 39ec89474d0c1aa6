"""Engines that are ready, kept beside the operators: found again by the very weights, freed with the layer.

An operator sees tensors and a setting's text, nothing else. What was prepared for a text is kept while a layer with
that text is alive; for an exported program, which has no such layer, the last ones are. A change of the weights through
`.data` leaves no trace but the values, so every weight is looked at in every call: one pass over the weights.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
import xxhash

from carrysave.engines.plan import ENGINES, Plan, prepare
from carrysave.engines.problem import Geometry, Prepared, Problem
from carrysave.quantizers import Quantizer
from carrysave.retraining import prepared_again
from carrysave.settings import Setting

LARGEST_BIAS = 2.0**62
MOST_WEIGHTS = 4  # of one text: copies of a model that are used by turns
MOST_PROGRAMS = 256  # texts without a layer
SETTLED = 8  # calls with the same weights after which they count as trained, and the engine is chosen anew


class Fingerprint:
    """Knows a tensor's values again, -0 and 0 apart.

    On the CPU by a 128-bit hash of all of them, which reads the weights once and keeps no copy (XXH3 of 44 MB: 2 ms,
    a comparison with a copy: 7 ms); weights that change by accident or training do not meet in it. Elsewhere by a copy.
    """

    def __init__(self, values: torch.Tensor):
        self._kind = values.shape, values.dtype, values.device
        self._copy = self._hash = None
        if values.device.type == "cpu":
            flat = values.contiguous().reshape(-1)
            octets: Any = flat.view(torch.uint8).numpy()
            self._hash = xxhash.xxh3_128_digest(octets)
        else:
            self._copy = values.clone(memory_format=torch.contiguous_format)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fingerprint) or self._kind != other._kind:
            return False
        if self._copy is None or other._copy is None:
            return self._hash == other._hash
        return torch.equal(self._copy, other._copy)


@dataclass(eq=False)
class Ready:
    """An engine prepared for one set of weights.

    Attributes:
        weight, bias: fingerprints of what it was prepared for; None in a matmul, and where there is no bias.
        memory: what holds the weights, to know them again after a change; it is not kept alive by this.
        quantizer: of the weights.
        scale: the layer's output scale, float32, [] or [O].
        calls: how often it was asked for.
        hasty: True if the engine was not chosen but taken over from the weights before these.
    """

    geometry: Geometry
    device: torch.device
    engine: Prepared
    quantizer: Quantizer
    scale: torch.Tensor
    weight: Fingerprint | None = None
    bias: Fingerprint | None = None
    memory: weakref.ref[Any] | None = None
    calls: int = 0
    hasty: bool = False

    def fits(self, weight: Fingerprint, bias: Fingerprint | None) -> bool:
        return weight == self.weight and bias == self.bias


class Preparations:
    """All that is ready for one setting.

    Attributes:
        plan: of the last engine that was chosen; None before the first.
    """

    def __init__(self, setting: Setting):
        self.setting, self.plan = setting, None
        self._ready: list[Ready] = []
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._ready)

    def of(self, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry) -> Ready:
        """The engine for these very weights. Raises ValueError, naming the layer, where none can be prepared."""
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        seen = Fingerprint(weight), None if bias is None else Fingerprint(bias)
        with self._lock:
            before = None
            for ready in self._candidates(weight, geometry):
                if ready.fits(*seen):
                    ready.calls += 1
                    if not ready.hasty or ready.calls < SETTLED:
                        return ready
                if _holds(ready, weight):
                    before = ready
            found = self._prepared(weight, bias, geometry, before, *seen)
            self._ready = [r for r in self._ready if r is not before and (r.memory is None or r.memory() is not None)]
            self._ready = [*self._ready[1 - MOST_WEIGHTS :], found]
            return found

    def matmul(self, device: torch.device) -> Ready:
        """The engine for two operands that both come with the call."""
        weight, activation = self.setting.weight, self.setting.activation
        assert weight is not None
        with self._lock:
            for ready in self._ready:
                if ready.device == device:
                    return ready
            geometry = Geometry("matmul")
            problem = Problem(self.setting.products, geometry, None, int(activation.zero), weight.zero)
            engine = self._planned(problem)
            found = Ready(geometry, device, engine, weight, (activation.scale * weight.scale).to(device))
            self._ready.append(found)
            return found

    def quantizer(self, weight: torch.Tensor, geometry: Geometry) -> Quantizer:
        """The weights' quantizer, as it is if an engine is ready for them."""
        weight = weight.detach()
        seen = Fingerprint(weight)
        with self._lock:
            for ready in self._candidates(weight, geometry):
                if ready.weight == seen:
                    return ready.quantizer
        return self.setting.quantizer(weight)

    def sweep(self) -> None:
        """Lets go of what no tensor can ask for any more."""
        with self._lock:
            self._ready = [r for r in self._ready if r.memory is None or r.memory() is not None]

    def _candidates(self, weight: torch.Tensor, geometry: Geometry) -> list[Ready]:
        found = [r for r in self._ready if r.geometry == geometry and r.device == weight.device]
        return sorted(found, key=lambda r: not _holds(r, weight))

    def _prepared(
        self, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry, before: Ready | None,
        weight_seen: Fingerprint, bias_seen: Fingerprint | None,
    ) -> Ready:  # fmt: skip
        setting = self.setting
        setting.check_finite(weight, "a weight")
        quantizer = setting.quantizer(weight)
        scale = setting.activation.scale.to(weight.device) * quantizer.scale
        integers = torch.zeros((), dtype=torch.int64, device=weight.device)
        if bias is not None:
            integers = self._integers(bias, scale)
        problem = Problem(
            setting.products, geometry, quantizer.codes(weight), int(setting.activation.zero), quantizer.zero, integers
        )
        hasty = before is not None and before.calls < SETTLED
        return Ready(
            geometry,
            weight.device,
            self._taken_over(problem) if hasty else self._planned(problem),
            quantizer,
            scale,
            weight_seen,
            bias_seen,
            weakref.ref(weight.untyped_storage()),
            1,
            hasty,
        )

    def _integers(self, bias: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        self.setting.check_finite(bias, "a bias")
        units = torch.round(bias.to(torch.float64) / scale.to(torch.float64))
        largest = float(units.abs().max()) if units.numel() else 0.0
        if largest >= LARGEST_BIAS:
            raise ValueError(
                f"layer {self.setting.layer!r}: a bias is {largest:.3g} times the product of the scales, more than the"
                " accumulator holds; calibrate with the data that the layer will see"
            )
        return units.to(torch.int64)

    def _planned(self, problem: Problem) -> Prepared:
        try:
            self.plan, engine = prepare(problem, self.setting.engine)
        except ValueError as error:
            raise ValueError(f"layer {self.setting.layer!r}: {error}") from error
        return engine

    def _taken_over(self, problem: Problem) -> Prepared:
        """Weights in training change with every call: an engine like the last, if it serves, without a plan."""
        plan: Plan | None = self.plan
        if plan is not None and plan.engine in ("exact", "factored"):
            again = prepared_again(problem)
            if again is not None:
                return again
        if plan is None or ENGINES[plan.engine].refuses(problem) is not None:
            return self._planned(problem)
        return ENGINES[plan.engine].prepare(problem)


_of_layers: weakref.WeakValueDictionary[str, Preparations] = weakref.WeakValueDictionary()
_of_programs: OrderedDict[str, Preparations] = OrderedDict()
_lock = threading.Lock()


def preparations_of_layer(setting: Setting) -> Preparations:
    """What is ready for `setting`; it is kept as long as the caller keeps it."""
    with _lock:
        return _of_layers.setdefault(setting.text, Preparations(setting))


def preparations_of(text: str) -> Preparations:
    """What is ready for a setting's text, whether a layer with it is alive or not."""
    with _lock:
        found = _of_layers.get(text)
        if found is None:
            for kept in _of_programs.values():
                kept.sweep()
            found = Preparations(Setting.parse(text))
            _of_layers[text] = _of_programs[text] = found
            while len(_of_programs) > MOST_PROGRAMS:
                _of_programs.popitem(last=False)
        return found


def _holds(ready: Ready, weight: torch.Tensor) -> bool:
    return ready.memory is not None and ready.memory() is weight.untyped_storage()
