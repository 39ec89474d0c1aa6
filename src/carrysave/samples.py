"""What a network is run on: samples with or without labels, by the name of a data set or of a file."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carrysave.data import NAMES, Dataset
from carrysave.data import load as load_data
from carrysave.loading import as_data, load_file
from carrysave.registry import nearest

MAX_BYTES = 1 << 34
UNCOUNTED = -1  # the label of a sample that no accuracy counts


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples [N, ...] under a name; `labels` are int64 [N], -1 where a sample does not count, or None."""

    name: str
    x: Tensor
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        if self.x.ndim < 1 or len(self.x) == 0:
            raise ValueError(f"{self.name}: no samples; got shape {tuple(self.x.shape)}, expected (N, ...)")
        if self.x.is_floating_point() and not bool(torch.isfinite(self.x).all()):
            raise ValueError(f"{self.name}: a sample holds a NaN or infinity")
        if self.labels is not None and self.labels.shape != self.x.shape[:1]:
            raise ValueError(
                f"{self.name}: {tuple(self.labels.shape)} labels for samples of shape {tuple(self.x.shape)}; "
                "expected one for each sample"
            )

    def __len__(self) -> int:
        return len(self.x)

    def first(self, count: int) -> Samples:
        return Samples(self.name, self.x[:count], None if self.labels is None else self.labels[:count])


def load_samples(name: str, data_root: Path | None = None) -> tuple[Samples | None, Samples]:
    """(training samples, or None where the source has none, and test samples).

    `name` is a data set, an .npz file with arrays x and, for accuracies, y, or an object in a Python file, which is
    executed: my_data.py:test, with training data in an object `train` beside it.

    Raises:
        ValueError: for an unknown name, a damaged file, or arrays that do not fit. OSError: for an absent file.
    """
    if name.lower().endswith(".npz"):
        return None, read_npz(Path(name))
    if ".py:" in name:
        found, module = load_file(name)
        training = getattr(module, "train", None)
        beside = None if training is None else _of(name.rpartition(":")[0] + ":train", training)
        return beside, _of(name, found)
    if name.replace("-", "_").lower() not in NAMES:
        known = ", ".join(NAMES)
        raise ValueError(
            f"unknown data set {name!r}{nearest(name, NAMES)}; known: {known}, or a file: samples.npz with arrays "
            "x and y, my_data.py:test"
        )
    train, test = load_data(name, data_root)
    return _of(name, train), _of(name, test)


def read_npz(path: Path) -> Samples:
    """Arrays x [N, ...] and y [N] (labels; may be absent) of an .npz file. Raises ValueError, OSError."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise ValueError(f"its arrays take {size >> 20:,} MiB, more than {MAX_BYTES >> 20:,}")
        with np.load(path, allow_pickle=False) as file:
            if "x" not in file.files:
                raise ValueError(f"it has no array x; it has {', '.join(file.files) or 'none'}")
            x, y = file["x"], file["y"] if "y" in file.files else None
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a file of samples ({error}); expected an .npz with arrays x and y") from error
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{path}: x holds {x.dtype}; expected numbers")
    if y is not None and (y.dtype.kind not in "iu" or y.ndim != 1):
        raise ValueError(
            f"{path}: y is {y.ndim}-dimensional {y.dtype}; expected one whole number for each sample, its class "
            f"({UNCOUNTED} where a sample is not to be counted); leave y out to compare outputs"
        )
    values = x.astype(np.float32) if x.dtype.kind == "f" else x.astype(np.int64)
    return Samples(path.name, torch.from_numpy(values), None if y is None else torch.from_numpy(y.astype(np.int64)))


def _of(name: str, found: Any) -> Samples:
    """Samples of a Dataset, of batches of (samples, labels), or of a tensor alone."""
    if isinstance(found, Tensor):
        return Samples(name, found)
    data = as_data(name, found)
    if isinstance(data, Dataset):
        return Samples(name, data.images, data.labels)
    parts = [tuple(batch) for batch in data]
    if not parts or any(len(part) != 2 for part in parts):
        raise ValueError(f"{name}: expected batches of (samples, labels)")
    return Samples(name, torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))
