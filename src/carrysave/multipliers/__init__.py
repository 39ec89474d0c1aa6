"""Multipliers, one file per family. A new file in this folder that registers a class is found by itself."""

import dataclasses
import importlib
import pkgutil

from carrysave.multipliers.base import MULTIPLIERS, Multiplier

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def catalog() -> dict[str, str]:
    """Canonical spec string -> the name that papers use, for every named instance of every multiplier.

    A multiplier without named instances that needs no parameters stands under its own name.
    """
    names: dict[str, str] = {}
    for family in MULTIPLIERS.names():
        cls = MULTIPLIERS.get(family)
        needs = any(f.init and f.default is dataclasses.MISSING for f in dataclasses.fields(cls))
        named = cls.catalog or ({} if needs else {family: family})
        names.update({MULTIPLIERS.parse(spec).spec: name for name, spec in named.items()})
    return names


__all__ = ["MULTIPLIERS", "Multiplier", "catalog"]
