"""Networks and data that a person names: carrysave's own, or `my_net.py:model`, an object in a Python file.

A file named this way is executed, as `python my_net.py` would: name only files you trust. No other file is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from carrysave import networks
from carrysave.data import Batches, Dataset, check_order
from carrysave.data import load as load_data
from carrysave.registry import nearest


@dataclass(frozen=True)
class Loaded:
    """A network with what it is calibrated and tested on; `notes` say what a reader should know about the choice.

    `source` is the hash of the Python files that a user's network comes from, "" for carrysave's own.
    """

    network: str
    model: nn.Module
    calibration_data: Batches
    test: Batches
    test_name: str
    notes: tuple[str, ...]
    source: str = ""


def load_file(name: str, folder: Path = Path(".")) -> tuple[Any, ModuleType]:
    """The object that `file.py:object` names, and the executed file.

    Raises FileNotFoundError, ValueError where the file has no such object or fails to run (the cause is chained).
    """
    path_text, _, wanted = name.rpartition(":")
    path = folder / path_text
    if not path.is_file():
        raise FileNotFoundError(f"{name}: no file {path}")
    place = path.resolve()
    own_name = f"_carrysave_{path.stem}_{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(own_name, place)
    assert spec is not None and spec.loader is not None  # a .py file always has a loader
    module = importlib.util.module_from_spec(spec)
    # as `python my_net.py`: it may import its neighbours, and when it is called, too, so the folder stays
    sys.path[:] = [str(place.parent), *(other for other in sys.path if other != str(place.parent))]
    sys.modules[own_name] = module  # dataclasses, among others, look their module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[own_name]
        raise ValueError(f"{path} failed to run: {type(error).__name__}: {error}") from error
    if not hasattr(module, wanted):
        names = [key for key in vars(module) if not key.startswith("_")]
        raise ValueError(f"{path} has no object '{wanted}'{nearest(wanted, names)}")
    return getattr(module, wanted), module


def source_hash(module: ModuleType) -> str:
    """SHA-256 over a user's file and the files beside and below it that it imports, those of their imports included."""
    folder = Path(str(module.__file__)).parent
    found: dict[str, bytes] = {}
    waiting: list[Any] = [module]
    while waiting:
        current = waiting.pop()
        path = Path(getattr(current, "__file__", None) or "nothing")
        inside = path.is_relative_to(folder) and "site-packages" not in path.relative_to(folder).parts
        if not inside or path.suffix != ".py" or str(path) in found or not path.is_file():
            continue
        found[str(path)] = path.read_bytes()
        for value in list(vars(current).values()):
            home = getattr(value, "__module__", None)
            named = sys.modules.get(home) if isinstance(home, str) else None
            waiting.append(value if isinstance(value, ModuleType) else named)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f"{Path(name).relative_to(folder).as_posix()} {len(found[name])} ".encode() + found[name])
    return digest.hexdigest()


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
    if isinstance(made, tuple | list) and len(made) == 2 and _is_labelled(made):
        return Dataset(made[0].float(), made[1].long(), name)
    if hasattr(made, "__iter__") and not hasattr(made, "__next__") and not isinstance(made, Tensor | str | dict):
        check_order(made, name)
        return made
    raise ValueError(
        f"{name} must be a carrysave Dataset, an (images, labels) pair of tensors or a DataLoader, "
        f"got {type(made).__name__}"
    )


def _is_labelled(parts: Any) -> bool:
    """Two tensors, the second with one label for each of the first's images; two batches of images are not."""
    return all(isinstance(part, Tensor) for part in parts) and parts[1].ndim == 1 and parts[0].ndim > 1


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
    elif _is_file(network):
        training, test = load_data(data, data_root)
    source = ""
    if _is_file(network):
        named, network_module = load_file(network, folder)
        model = as_model(network, named)
        source = source_hash(network_module)  # now: a function has imported what it needs
    elif network in networks.NAMES and _is_file(data):
        raise ValueError(
            f"{network} is trained on {', '.join(networks.TRAINED[network][1])}; for your own data {data} name your "
            "own network: my_net.py:model"
        )
    else:
        model, training, test = networks.load(network, data, data_root, seed)
    if calibration_data is not None:
        training = (
            as_data(calibration_data, load_file(calibration_data, folder)[0])
            if _is_file(calibration_data)
            else load_data(calibration_data, data_root)[0]
        )
    return Loaded(network, model, training, test, data, tuple(notes), source)


def _is_file(name: str) -> bool:
    return ".py:" in name
