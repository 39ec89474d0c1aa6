"""The C++ module `carrysave._native`, or its absence.

carrysave installs without a C++ compiler and then computes everything in torch and NumPy, slower and with the same
results. Code that would use a kernel asks `available` first and calls `warn_if_missing()` where it has to do without.
"""

from __future__ import annotations

import functools
import importlib.util
import platform
import re
import warnings
from pathlib import Path

FEATURES = ("avx2", "avx512f", "avx512bw", "avx512_vbmi", "avx512_vnni", "neon")
_ALIASES = {"avx512vbmi": "avx512_vbmi", "asimd": "neon"}  # spellings of /proc/cpuinfo

available: bool = importlib.util.find_spec("carrysave._native") is not None


@functools.cache
def warn_if_missing() -> None:
    """Warn (RuntimeWarning), once per process, that the native module is not installed."""
    if not available:
        warnings.warn(
            "carrysave runs without its native module: results are the same, emulation is slower; "
            "to get it, install a C++17 compiler and reinstall carrysave (in a clone: make clean demo)",
            RuntimeWarning,
            stacklevel=2,
        )


@functools.cache
def cpu_features() -> tuple[str, ...]:
    """The instruction sets of `FEATURES` usable at run time, in that order.

    Asked from the processor where the native module is installed; otherwise, after one RuntimeWarning, read from what
    the operating system says: `/proc/cpuinfo` on Linux, the machine name elsewhere (AArch64 always has neon).
    """
    if available:
        from carrysave._native import cpu_features as ask_processor

        found = set(ask_processor())
    else:
        warn_if_missing()
        found = _features_told_by_the_system(Path("/proc/cpuinfo"), platform.machine())
    return tuple(name for name in FEATURES if name in found)


def _features_told_by_the_system(cpuinfo: Path, machine: str) -> set[str]:
    found = {"neon"} if machine.lower() in ("aarch64", "arm64") else set()
    if cpuinfo.is_file():
        line = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
        words = line.group(1).split() if line else []
        found.update(_ALIASES.get(word, word) for word in words)
    return found
