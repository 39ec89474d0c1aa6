"""What an exploration asks: a network, its data, and the candidates, one for each row of the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from carrysave.calibration import Calibration
from carrysave.data import Batches
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.recipes import Arithmetic, Recipe, Rule
from carrysave.results import Kind
from carrysave.study import Formats, RecipeFile, Study

if TYPE_CHECKING:
    from carrysave.hardware.library import Library

Effort = Literal["quick", "normal"]


@dataclass(frozen=True)
class Candidate:
    """One row to be: a recipe under a name; float has none."""

    name: str
    kind: Kind
    recipe: Recipe | None

    @property
    def arithmetics(self) -> tuple[Arithmetic, ...]:
        rules = self.recipe.rules if self.recipe else ()
        return tuple(rule.arithmetic for rule in rules if rule.arithmetic is not None)

    @property
    def multipliers(self) -> tuple[Multiplier, ...]:
        """The distinct multipliers, in the rules' order."""
        return tuple(dict.fromkeys(arithmetic.parts[0] for arithmetic in self.arithmetics))


@dataclass(frozen=True)
class Question:
    """Everything that an exploration needs to start; `source` is the hash of the files that the model comes from."""

    title: str
    network: str
    model: nn.Module
    data: str
    test: Batches
    calibration: Calibration | Batches
    candidates: tuple[Candidate, ...]
    library: Library
    effort: Effort = "normal"
    frequency_ghz: float = 1.0
    samples: int = 512
    seed: int = 0
    notes: tuple[str, ...] = ()
    source: str = ""

    @property
    def multipliers(self) -> dict[str, Multiplier]:
        return {m.spec: m for candidate in self.candidates for m in candidate.multipliers}


def candidates_of(
    multipliers: Iterable[str | Multiplier],
    recipes: Mapping[str, Recipe],
    formats: Formats | None = None,
    ranges: str = "minmax",
) -> tuple[Candidate, ...]:
    """Float, exact, and one candidate per further multiplier and recipe; the first exact one listed is the baseline."""
    chosen = list(dict.fromkeys(MULTIPLIERS.parse(spec) for spec in multipliers))
    exact = next((m for m in chosen if m.name == "exact"), MULTIPLIERS.parse("exact"))
    ordered = [exact, *(m for m in chosen if m != exact)]
    rows = [Candidate("float", "float", None)]
    for m in ordered:
        recipe = Recipe([Rule("*", arithmetic_for(m, formats or Formats(), ranges))])
        rows.append(Candidate(m.spec, "exact" if m is exact else "multiplier", recipe))
    return (*rows, *(Candidate(name, "recipe", recipe) for name, recipe in recipes.items()))


def arithmetic_for(m: Multiplier | str, formats: Formats, ranges: str = "minmax") -> Arithmetic:
    """A multiplier with the given formats, or its usual ones where none are given."""
    _, activation, weight = Arithmetic.natural(m).parts
    return Arithmetic(formats.activation or activation, formats.weight or weight, m, ranges, formats.weight_scales)


def study_recipe(study: Study | RecipeFile, rules: Iterable[Any]) -> Recipe:
    """A recipe from the rules of a study's or a recipe file's table."""
    made = []
    for rule in rules:
        own = {key: getattr(rule, key) or getattr(study.formats, key) for key in ("activation", "weight")}
        formats = Formats(**own, weight_scales=study.formats.weight_scales)
        ranges = rule.ranges or study.calibration.ranges
        made.append(
            Rule(rule.layers, None if rule.float else arithmetic_for(rule.multiplier or "exact", formats, ranges))
        )
    return Recipe(made)
