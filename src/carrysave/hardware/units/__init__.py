"""Hardware units: pieces with ports, one file per family. A file here that registers a class is found by itself."""

import importlib
import pkgutil

from carrysave.hardware.units.base import UNITS, Register, Unit

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["UNITS", "Register", "Unit"]
