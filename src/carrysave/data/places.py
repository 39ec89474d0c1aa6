"""Where a data set's files are looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from carrysave.paths import cache_dir


def folders(title: str, name: str, usual: tuple[str, ...], root: Path | str | None) -> Iterator[Path]:
    """Every folder to look into, in order of preference: `root`, $CARRYSAVE_DATA, the cache's folder for `name`.

    In the first two a subfolder of one of the `usual` names comes before the folder itself. FileNotFoundError where
    one of them does not exist.
    """
    bases = [Path(root)] if root is not None else []
    if os.environ.get("CARRYSAVE_DATA"):
        bases.append(Path(os.environ["CARRYSAVE_DATA"]))
    for base in bases:
        if not base.is_dir():
            raise FileNotFoundError(f"{title}: the data folder {base} does not exist")
        yield from (base / folder for folder in usual)
        yield base
    yield cache_dir() / "data" / name


def find_files(
    title: str, name: str, usual: tuple[str, ...], files: tuple[str, ...], root: Path | str | None
) -> list[Path]:
    """All of `files`, from one of `folders`. FileNotFoundError says what goes where, and where was looked."""
    looked = []
    for folder in folders(title, name, usual, root):
        missing = [file for file in files if not (folder / file).is_file()]
        if not missing:
            return [folder / file for file in files]
        some = f" (it has {', '.join(f for f in files if f not in missing)})" if len(missing) < len(files) else ""
        looked.append(f"{folder}{some}")
    raise FileNotFoundError(
        f"{title} was not found: its files {', '.join(files)} must lie in one folder. Put them into "
        f"{cache_dir() / 'data' / name}, or into any folder that you name with --data-root or the variable "
        "CARRYSAVE_DATA; there is nothing to download them from.\nLooked in:\n  " + "\n  ".join(looked)
    )
