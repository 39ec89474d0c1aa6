"""Number formats, one file each. A new file in this folder that registers a class is found by itself."""

import importlib
import pkgutil

from carrysave.formats.base import FORMATS, Format

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["FORMATS", "Format"]
