"""Tables and figures of the five papers, computed again: one module each, found by its name.

`carrysave reproduce NAME` runs one and shows the paper's figures beside ours.
"""

from __future__ import annotations

import importlib
import pkgutil

from carrysave.reproductions.base import REPRODUCTIONS, Check, Reproduction, Setting

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["REPRODUCTIONS", "Check", "Reproduction", "Setting"]
