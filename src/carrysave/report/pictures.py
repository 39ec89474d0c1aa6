"""Small pictures: error maps as palette PNGs, histograms as SVG paths."""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np

STEPS = 15  # colours on each side of zero: one per doubling of the error, from 1 to 2^15 and more
SIDE = 256


@cache
def palette() -> np.ndarray:
    """[2 * STEPS + 1, 3] uint8: blue where the product is too small, white at zero, red where it is too large."""
    small, zero, large = (np.array(rgb, dtype=float) for rgb in ((24, 64, 140), (250, 250, 248), (160, 30, 30)))
    share = np.linspace(0.22, 1.0, STEPS)[:, None] ** 0.8
    negative = zero + (small - zero) * share
    positive = zero + (large - zero) * share
    return np.concatenate([negative[::-1], zero[None], positive]).round().astype(np.uint8)


def error_steps(errors: np.ndarray) -> np.ndarray:
    """Errors -> palette index: the sign and one step per doubling, the same for all multipliers."""
    magnitude = np.abs(errors.astype(np.float64))
    step = np.where(magnitude > 0, np.clip(np.floor(np.log2(np.maximum(magnitude, 1))) + 1, 1, STEPS), 0)
    return (STEPS + np.sign(errors) * step).astype(np.uint8)


def by_value(errors: np.ndarray, signed: bool) -> np.ndarray:
    """A table indexed by bit pattern -> indexed by rising value: the patterns of negative operands come first."""
    return np.roll(errors, [side // 2 for side in errors.shape], axis=(0, 1)) if signed else errors


def shrink(errors: np.ndarray, side: int = SIDE) -> np.ndarray:
    """At most side x side: the error of largest magnitude in each block stands for it."""
    for axis in (0, 1):
        factor = -(-errors.shape[axis] // side)
        if factor > 1:
            blocks = np.moveaxis(errors, axis, 0)
            blocks = blocks.reshape(blocks.shape[0] // factor, factor, -1)
            worst = np.abs(blocks).argmax(axis=1)[:, None]
            errors = np.moveaxis(np.take_along_axis(blocks, worst, axis=1)[:, 0], 0, axis)
    return errors


def weighted_steps(contributions: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Errors times how often their operands occur -> palette index; blocks are summed to at most side x side.

    The darkest step is the largest contribution to the mean error in the picture, each lighter one half of it.
    """
    for axis in (0, 1):
        factor = -(-contributions.shape[axis] // side)
        if factor > 1:
            blocks = np.moveaxis(contributions, axis, 0)
            summed = blocks.reshape(blocks.shape[0] // factor, factor, -1).sum(axis=1)
            contributions = np.moveaxis(summed, 0, axis)
    magnitude = np.abs(contributions)
    top = magnitude.max() or 1.0
    step = np.where(magnitude > 0, np.floor(np.log2(np.maximum(magnitude / top, 2.0**-STEPS))) + STEPS, 0)
    return (STEPS + np.sign(contributions) * np.clip(step, 0, STEPS)).astype(np.uint8)


def error_map_png(errors: np.ndarray) -> bytes:
    """PNG of an error map [2^a, 2^b]: activation to the right, weight upwards, smallest codes at the lower left."""
    return steps_png(error_steps(shrink(errors)))


def steps_png(steps: np.ndarray) -> bytes:
    """PNG of palette indices [activation, weight]."""
    from PIL import Image

    indices = steps.T[::-1]
    image = Image.fromarray(np.ascontiguousarray(indices))
    image.putpalette(palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def legend() -> list[tuple[str, str]]:
    """(colour, label) from the largest negative to the largest positive step; most labels are empty."""
    labels = {-15: "≤ −16384", -11: "−1024", -7: "−64", -3: "−4", 0: "0", 3: "4", 7: "64", 11: "1024", 15: "≥ 16384"}
    return [(f"rgb({r},{g},{b})", labels.get(i - STEPS, "")) for i, (r, g, b) in enumerate(palette())]


def histogram_path(shares: tuple[float, ...], width: int = 256, height: int = 64) -> str:
    """SVG path of a histogram's bars, square-root scaled so that a tall zero bar does not flatten the rest."""
    values = np.sqrt(np.asarray(shares, dtype=float))
    if len(values) > width:
        values = values[: len(values) // width * width].reshape(width, -1).max(axis=1)
    top = values.max() or 1.0
    step = width / len(values)
    bars = [
        f"M{i * step:.4g} {height}v{-v / top * height:.3g}h{step:.4g}V{height}z" for i, v in enumerate(values) if v > 0
    ]
    return "".join(bars)
