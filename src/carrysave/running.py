"""A model called on a batch of images; what goes wrong in it names the model, the layer and the images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ModelError(ValueError):
    """A model that cannot be run on the data, or holds values that cannot be used."""


def run(model: nn.Module, images: Tensor, doing: str) -> Any:
    """What `model` gives for `images` [N, ...].

    Raises:
        ModelError: where the model raises, with `doing`, the model, the innermost layer and the images' shape. A
            ModelError from inside is passed on.
    """
    try:
        return model(images)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{doing}: {type(model).__name__}{_failing_layer(model, images)} failed on images of shape "
            f"{tuple(images.shape)}, {str(images.dtype).removeprefix('torch.')}: "
            f"{type(error).__name__}: {error}{_hint(model, images)}"
        ) from error


def logits(model: nn.Module, images: Tensor, doing: str) -> Tensor:
    """`run`'s result, which must be a tensor. Raises ModelError."""
    outputs = run(model, images, doing)
    if not isinstance(outputs, Tensor):
        inner = f" of {', '.join(type(part).__name__ for part in outputs)}" if isinstance(outputs, tuple | list) else ""
        raise ModelError(
            f"{doing}: {type(model).__name__} must return one tensor (N, classes), it returned a "
            f"{type(outputs).__name__}{inner}; wrap it in a module that returns the class scores alone"
        )
    return outputs


def _hint(model: nn.Module, images: Tensor) -> str:
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), images.dtype)
    if own == images.dtype:
        return ""
    return f" (the weights are {str(own).removeprefix('torch.')}; images are float32, so use model.float())"


def _failing_layer(model: nn.Module, images: Tensor) -> str:
    """ " in layer 'fc' (Linear)": the model runs once more, and the last module entered and not left is it."""
    entered: list[tuple[str, nn.Module]] = []
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda module, args, name=name: entered.append((name, module))))
        handles.append(module.register_forward_hook(lambda module, args, output: _left(entered)))
    try:
        with torch.no_grad():
            model(images)
    except Exception:
        pass  # it is the error that is being reported
    else:
        return ""  # it fails only sometimes
    finally:
        for handle in handles:
            handle.remove()
    if not entered:
        return ""
    name, module = entered[-1]
    arithmetic = getattr(getattr(module, "core", None), "arithmetic", None)
    computing = f", which computes with {arithmetic}," if arithmetic is not None else ""
    return f" in layer {name!r} ({type(module).__name__}){computing}" if name or computing else ""


def _left(entered: list[tuple[str, nn.Module]]) -> None:
    entered.pop()
