"""Multipliers, one file per family. A new file in this folder that registers a class is found by itself."""

import importlib
import pkgutil

from carrysave.multipliers.base import MULTIPLIERS, Multiplier

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["MULTIPLIERS", "Multiplier"]
