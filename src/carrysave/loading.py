"""Networks and data that a person names: carrysave's own, or `my_net.py:model`, an object in a Python file.

A file named this way is executed, as `python my_net.py` would: name only files you trust. No other file is.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from carrysave import networks
from carrysave.data import NAMES, Batches, Dataset
from carrysave.data import load as load_data
from carrysave.registry import nearest


@dataclass(frozen=True)
class Loaded:
    """A network with what it is calibrated and tested on; `notes` say what a reader should know about the choice."""

    network: str
    model: nn.Module
    calibration_data: Batches
    test: Batches
    test_name: str
    notes: tuple[str, ...]


def load_file(name: str, folder: Path = Path(".")) -> tuple[Any, ModuleType]:
    """The object that `file.py:object` names, and the executed file.

    Raises FileNotFoundError, ValueError where the file has no such object or fails to run (the cause is chained).
    """
    path_text, _, wanted = name.rpartition(":")
    path = folder / path_text
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no file {path}")
    spec = importlib.util.spec_from_file_location(f"_carrysave_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # a .py file always has a loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # as `python my_net.py`: it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} failed to run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    if not hasattr(module, wanted):
        names = [key for key in vars(module) if not key.startswith("_")]
        raise ValueError(f"{path} has no object '{wanted}'{nearest(wanted, names)}")
    return getattr(module, wanted), module


def as_model(name: str, found: Any) -> nn.Module:
    """A module, or what a function without arguments returns. Raises ValueError for anything else."""
    if isinstance(found, nn.Module):
        return found.eval()
    if callable(found):
        made = _call(name, found)
        if isinstance(made, nn.Module):
            return made.eval()
        raise ValueError(f"{name}() must return a torch.nn.Module, got {type(made).__name__}")
    raise ValueError(f"{name} must be a torch.nn.Module or a function that returns one, got {type(found).__name__}")


def as_data(name: str, found: Any) -> Batches:
    """A Dataset, an (images, labels) pair of tensors, batches that can be iterated again, or a function giving one."""
    made: Any = _call(name, found) if callable(found) and not hasattr(found, "__iter__") else found
    if isinstance(made, Dataset):
        return made
    if isinstance(made, tuple) and len(made) == 2 and all(isinstance(part, Tensor) for part in made):
        return Dataset(made[0].float(), made[1].long(), name)
    if hasattr(made, "__iter__") and not hasattr(made, "__next__"):
        return made
    raise ValueError(
        f"{name} must be a carrysave Dataset, an (images, labels) pair of tensors or a DataLoader, "
        f"got {type(made).__name__}"
    )


def _call(name: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        raise ValueError(f"{name}() failed: {type(error).__name__}: {error}") from error


def load(
    network: str,
    data: str,
    *,
    calibration_data: str | None = None,
    data_root: Path | None = None,
    seed: int = 0,
    folder: Path = Path("."),
) -> Loaded:
    """Network and data by name. `folder` is where relative `file.py:object` names start.

    Without `calibration_data`, ranges come from the training half of a named data set, from an object `train` beside
    a user's own test data, or as a last resort from the test data themselves, which a note then says.
    """
    notes: list[str] = []
    if _is_file(data):
        found, module = load_file(data, folder)
        test = as_data(data, found)
        if hasattr(module, "train"):
            training: Batches = as_data(data.rpartition(":")[0] + ":train", module.train)
        else:
            training = test
            if calibration_data is None:
                notes.append("calibrated on the test images: no calibration data were given")
    else:
        training, test = load_data(data, data_root)
    if _is_file(network):
        model = as_model(network, load_file(network, folder)[0])
    elif network == "lenet" and not _is_file(data):
        model = networks.lenet(data.replace("-", "_"), root=data_root, seed=seed)[0]
    elif network == "lenet":
        raise ValueError(
            f"lenet is trained on {', '.join(NAMES)}; for your own data {data} name your own network: my_net.py:model"
        )
    else:
        raise ValueError(
            f"unknown network '{network}'{nearest(network, ['lenet'])}; known: lenet, or your own: my_net.py:model"
        )
    if calibration_data is not None:
        training = (
            as_data(calibration_data, load_file(calibration_data, folder)[0])
            if _is_file(calibration_data)
            else load_data(calibration_data, data_root)[0]
        )
    return Loaded(network, model, training, test, data, tuple(notes))


def _is_file(name: str) -> bool:
    return ".py:" in name
