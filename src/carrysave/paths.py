"""Where carrysave keeps what it can compute again, and how it writes files: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_dir() -> Path:
    """$CARRYSAVE_CACHE, else $XDG_CACHE_HOME/carrysave, else ~/.cache/carrysave; created if missing."""
    named = os.environ.get("CARRYSAVE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    folder = Path(named) if named else (Path(base) if base else Path.home() / ".cache") / "carrysave"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_atomically(path: Path | str, data: bytes) -> Path:
    """Write `data` to `path` through a temporary file beside it, so that a reader never sees half of it."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp makes it private; a result is not
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target
