"""The papers' methods, each by its published name; what they produce is a format, a multiplier or a network."""

from __future__ import annotations

import importlib
from typing import Any

NAMES = ("heam",)


def __getattr__(name: str) -> Any:
    if name in NAMES:
        return importlib.import_module(f"carrysave.methods.{name}")
    raise AttributeError(f"module 'carrysave.methods' has no attribute {name!r}")
