"""carrysave: with which low-cost arithmetic does a network still work, and what does it save?"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> module; a verb is fetched from its module on first use, so `import carrysave` stays light
_PUBLIC = {
    "calibrate": "carrysave.calibration",
    "Calibration": "carrysave.calibration",
    "emulate": "carrysave.emulation",
    "Arithmetic": "carrysave.recipes",
    "Recipe": "carrysave.recipes",
    "Rule": "carrysave.recipes",
    "evaluate": "carrysave.evaluation",
    "train": "carrysave.training",
    "explore": "carrysave.exploration",
    "cost": "carrysave.hardware.cost",
    "table": "carrysave.tables",
    "multiply": "carrysave.tables",
}
_MODULES = ("data", "networks", "multipliers", "formats", "errors", "hardware", "engines", "methods", "onnx_import")


def multiplier(spec: Any) -> Any:
    """The multiplier that a spec string such as "drum:k=6" describes; an object is returned as it is."""
    return importlib.import_module("carrysave.multipliers").MULTIPLIERS.parse(spec)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"carrysave.{name}")
    raise AttributeError(f"module 'carrysave' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC, *_MODULES])
