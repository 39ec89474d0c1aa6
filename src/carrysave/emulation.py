"""A copy of a model in which chosen layers compute with chosen arithmetic; what was replaced, what left, and why."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from carrysave import layers
from carrysave.engines.plan import Plan, engine_named
from carrysave.engines.problem import Geometry
from carrysave.functional import Handler, Tracker
from carrysave.layers import EmulatedConv2d, EmulatedLinear, Emulation
from carrysave.multipliers import Multiplier
from carrysave.recipes import Arithmetic, Recipe, Rule
from carrysave.settings import Setting
from carrysave.slopes import GRADIENTS, Straight, Table

if TYPE_CHECKING:
    from carrysave.calibration import Calibration, LayerRecord

MODULES: dict[type[nn.Module], Any] = {nn.Conv2d: EmulatedConv2d, nn.Linear: EmulatedLinear}
FUNCTIONS = ("matmul", "linear", "conv2d")


@dataclass(frozen=True)
class Replaced:
    """One layer that is emulated: its name, class or function, arithmetic, and the engine's plan."""

    name: str
    kind: str
    arithmetic: Arithmetic
    plan: Plan


@dataclass(frozen=True)
class Left:
    """One layer that stays float, and why."""

    name: str
    why: str


def emulate(
    model: nn.Module,
    calibration: Calibration,
    recipe: Recipe | None = None,
    *,
    multiplier: Multiplier | str | None = None,
    engine: str | None = None,
    gradient: Straight | Table | str = "straight",
) -> Any:
    """A copy of `model` whose layers compute as `recipe` says; it has `.replaced` and `.left`.

    Args:
        recipe: which layer gets which arithmetic. Without it every layer that can gets `multiplier` (exact without
            that, too) with its natural formats.
        engine: the engine for all layers; each layer's plan chooses without it.
        gradient: how gradients pass the multipliers in training: "straight" as if they were exact; "table" by the slope
            of their tables, smoothed over 4 codes on either side, or "table:16" over 16 (slopes.py); formats of up to
            12 bits.

    Raises:
        ValueError: if a rule names a layer that cannot be emulated, or an arithmetic, engine or gradient cannot serve a
            layer.
    """
    if recipe is not None and multiplier is not None:
        raise ValueError("emulate: give a recipe or a multiplier, not both; a recipe's arithmetics name theirs")
    if engine is not None:
        engine_named(engine)
    if recipe is None:
        recipe = Recipe([Rule("*", Arithmetic.natural("exact" if multiplier is None else multiplier))])
    return _Builder(copy.deepcopy(model), calibration, recipe, engine, GRADIENTS.parse(gradient)).build()


class _Builder:
    def __init__(
        self,
        model: nn.Module,
        calibration: Calibration,
        recipe: Recipe,
        engine: str | None,
        gradient: Straight | Table,
    ):
        self.model, self.calibration, self.recipe = model, calibration, recipe
        self.engine, self.gradient = engine, gradient
        self.replaced: list[Replaced] = []
        self.left: list[Left] = []
        self.functions: dict[str, Emulation] = {}

    def build(self) -> nn.Module:
        for rule in self.recipe.rules:
            self._check_named(rule)
        for name, module in list(self.model.named_modules()):
            self._module(name, module)
        for record in self.calibration.records.values():
            if not record.module:
                self._function(record)
        model: Any = self.model
        if self.functions:
            Tracker(_Functions(self.functions)).attach(model)
        model.replaced, model.left = self.replaced, self.left
        return model

    def _check_named(self, rule: Rule) -> None:
        modules = dict(self.model.named_modules())
        named = rule.pattern in modules or rule.pattern in self.calibration.records
        kinds = {type(m).__name__ for m in modules.values()} | {r.kind for r in self.calibration.records.values()}
        if named or rule.pattern in kinds or any(c in rule.pattern for c in "*?["):
            return
        known = ", ".join(self.calibration.layers)
        raise ValueError(f"recipe: no layer is called {rule.pattern!r}, by name or by class; layers: {known}")

    def _module(self, name: str, module: nn.Module) -> None:
        kind = type(module).__name__
        rule = self.recipe.rule(name, kind)
        obstacle = self._obstacle(name, module)
        if rule is None or rule.arithmetic is None:
            if self._is_listed(name, module):
                self._leave(name, "no rule matches" if rule is None else f"rule {rule.pattern!r} leaves it float")
            return
        if obstacle:
            if rule.names(name, kind):
                raise ValueError(f"layer {name!r} ({kind}): rule {rule.pattern!r} names it, but {obstacle}")
            if self._is_listed(name, module):
                self._leave(name, obstacle)
            return
        core = self._core(self.calibration[name], rule.arithmetic)
        emulated = MODULES[type(module)].of(module, core)
        geometry = emulated.geometry() if isinstance(emulated, EmulatedConv2d) else Geometry("linear")
        core.prepared(emulated.weight, emulated.bias, geometry)
        self._set(module, emulated)
        self._replace(name, kind, core)

    def _is_listed(self, name: str, module: nn.Module) -> bool:
        """Layers are modules with parameters of their own; those used by functional calls are listed as such."""
        if not list(module.parameters(recurse=False)):
            return False
        calls = (r for r in self.calibration.records.values() if not r.module)
        return not any(
            r.name.startswith(f"{name}." if name else "") and "." not in r.name[len(name) + 1 :] for r in calls
        )

    def _obstacle(self, name: str, module: nn.Module) -> str | None:
        """Why this module cannot be emulated, with the way out; None if it can."""
        kind = type(module).__name__
        if isinstance(module, nn.Conv2d | nn.Linear) and name not in self.calibration.records:
            return (
                "it did not run during calibration; calibrate with data that reach it"
                " (if a function call uses its weights, that call is listed by itself)"
            )
        if type(module) in MODULES:
            return None
        if isinstance(module, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm):
            return f"{kind} has no array of multipliers; it stays float"
        if isinstance(module, nn.Conv2d | nn.Linear):
            return f"{kind} is a subclass, whose forward may differ; use a plain nn.Conv2d or nn.Linear"
        return f"a {kind} cannot be emulated; write it with Conv2d, Linear or matrix products"

    def _function(self, record: LayerRecord) -> None:
        rule = self.recipe.rule(record.name, record.kind)
        if rule is None or rule.arithmetic is None:
            self._leave(record.name, "no rule matches" if rule is None else f"rule {rule.pattern!r} leaves it float")
            return
        if record.kind not in FUNCTIONS:
            why = f"{record.kind} cannot be emulated; write it with torch.matmul, F.linear or F.conv2d"
            if rule.names(record.name, record.kind):
                raise ValueError(f"layer {record.name!r}: rule {rule.pattern!r} names it, but {why}")
            self._leave(record.name, why)
            return
        core = self._core(record, rule.arithmetic)
        if record.kind == "matmul":
            core.prepared_matmul()
        else:
            assert record.weight is not None
            core.prepared(torch.from_numpy(record.weight), None, _recorded_geometry(record))
        self.functions[record.name] = core
        self._replace(record.name, record.kind, core)

    def _core(self, record: LayerRecord, arithmetic: Arithmetic) -> Emulation:
        arithmetic = self.calibration.arithmetic(record.name, arithmetic)
        activation, weight = self.calibration.quantizers(record.name, arithmetic)
        stated = record.given is not None and record.given.weight is not None
        second = weight if stated or record.second is not None else None
        return Emulation(Setting(record.name, arithmetic, activation, second, self.engine, self.gradient))

    def _set(self, module: nn.Module, emulated: nn.Module) -> None:
        """Everywhere: a layer may be used in several places."""
        if module is self.model:
            self.model = emulated
        for parent in self.model.modules():
            for name, child in list(parent._modules.items()):
                if child is module:
                    parent._modules[name] = emulated

    def _replace(self, name: str, kind: str, core: Emulation) -> None:
        assert core.plan is not None
        self.replaced.append(Replaced(name, kind, core.arithmetic, core.plan))

    def _leave(self, name: str, why: str) -> None:
        self.left.append(Left(name, why))


class _Functions(Handler):
    """Computes the named functional products in integers; the others as they are."""

    def __init__(self, cores: dict[str, Emulation]):
        self.cores = cores

    def matmul(self, name: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        core = self.cores.get(name)
        return torch.matmul(x, w) if core is None else layers.matmul(core, x, w)

    def linear(self, name: str, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        core = self.cores.get(name)
        return F.linear(x, weight, bias) if core is None else layers.linear(core, x, weight, bias)

    def conv2d(
        self, name: str, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, **how: Any
    ) -> torch.Tensor:
        core = self.cores.get(name)
        if core is None:
            return F.conv2d(x, weight, bias, **how)
        x, geometry = layers.call_geometry(x, weight, **how)
        return layers.conv2d(core, x, weight, bias, geometry)


def _recorded_geometry(record: LayerRecord) -> Geometry:
    if record.kind == "linear":
        return Geometry("linear")
    g = record.geometry
    return Geometry("conv", tuple(g["stride"]), (0, 0), tuple(g["dilation"]), g["groups"])
