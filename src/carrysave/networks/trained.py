"""Trained weights: those that the package brings, else those in the cache, else trained now and put there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from carrysave.data import Dataset
from carrysave.paths import cache_dir, write_atomically
from carrysave.registry import nearest
from carrysave.training import load_weights, save_weights

SHIPPED = Path(__file__).parent / "weights"


def checked(network: str, dataset: str, known: tuple[str, ...]) -> str:
    """`dataset` with underscores, if the network is trained on it; else ValueError."""
    key = dataset.replace("-", "_").lower()
    if key not in known:
        raise ValueError(f"{network} is trained on {', '.join(known)}, not on '{dataset}'{nearest(key, known)}")
    return key


@dataclass(frozen=True, eq=False)
class Trainable:
    """A network that has still to be trained, and how.

    Attributes:
        name: of the network and its data, such as "lenet-mnist".
        settings: all that determines the training but data and seed, as JSON values.
        fit: trains the model in place; the path is its checkpoint's. What it leaves beside it is deleted at the end.
    """

    name: str
    model: nn.Module
    train_set: Dataset
    test_set: Dataset
    settings: dict[str, Any]
    seed: int
    fit: Callable[[nn.Module, Path], object]

    def trained(self) -> nn.Module:
        """The model with its weights, in evaluation mode.

        The package's own serve these training data, settings and seed on any machine. The cache's are kept under a hash
        of them and of torch's version and its threads, which add up in another order; a stopped training goes on where
        it was. Raises CheckpointError for damaged files.
        """
        path = self.shipped() or self._cached()
        if not path.exists():
            self.fit(self.model, path.with_suffix(".training"))
            save_weights(self.model, path)
            for left in path.parent.glob(f"{path.stem}.training*"):
                left.unlink()
        load_weights(self.model, path)
        return self.model.eval()

    def shipped(self) -> Path | None:
        """The package's file for exactly this training, if it has one."""
        path = SHIPPED / f"{self.name}.safetensors"
        if not path.is_file():
            return None
        with safe_open(path, framework="pt") as file:
            return path if (file.metadata() or {}).get("training") == self._about() else None

    def ship(self, folder: Path, dtype: torch.dtype) -> Path:
        """Write the weights that `model` has now for `shipped` to find, rounded to `dtype`."""
        path = folder / f"{self.name}.safetensors"
        tensors = {name: tensor.to(dtype).contiguous() for name, tensor in self.model.state_dict().items()}
        return write_atomically(path, save(tensors, metadata={"training": self._about()}))

    def _about(self) -> str:
        """Images are told by their labels: the decoder of a JPEG decides about a pixel's last bit."""
        labels = hashlib.sha256(self.train_set.labels.numpy().astype("<i8").tobytes()).hexdigest()
        shape = list(self.train_set.images.shape)
        return json.dumps({"labels": labels, "shape": shape, "seed": self.seed, **self.settings}, sort_keys=True)

    def _cached(self) -> Path:
        place = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        key = {"data": self.train_set.content_hash, "seed": self.seed, **place, **self.settings}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        return cache_dir() / "networks" / f"{self.name}-{digest}.safetensors"
