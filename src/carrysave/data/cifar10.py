"""CIFAR-10 as JPEG files of quality 75: packed in two .npz files, decoded once and kept in the cache.

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. The JPEG form is lossy (4:2:0 chroma,
about 30.5 dB against the true pixels), so accuracies on it are not comparable with published CIFAR-10 figures; the
data set's name says so wherever a figure is shown.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch

from carrysave.data.dataset import Dataset
from carrysave.data.places import find_files
from carrysave.paths import cache_dir, write_atomically

TITLE = "CIFAR-10 (JPEG q75)"
FILES = ("cifar10_train_jpeg.npz", "cifar10_test_jpeg.npz")
SIZE = 32
SEED = 0  # of the order: the files hold class after class


class JpegError(ValueError):
    """A packed file that is damaged, or holds something else."""


def load_cifar10(root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test): images (N, 3, 32, 32), in an order drawn once with seed 0.

    FileNotFoundError says which files go where, JpegError which file is damaged and how.
    """
    paths = find_files(TITLE, "cifar10", ("cifar10", "cifar-10"), FILES, root)
    train, test = (_dataset(path) for path in paths)
    return train, test


def _dataset(path: Path) -> Dataset:
    pixels, labels = _decoded(path)
    order = np.random.RandomState(SEED).permutation(len(labels))
    images = torch.from_numpy(pixels[order]).permute(0, 3, 1, 2).float().div_(255).contiguous()
    return Dataset(images, torch.from_numpy(labels[order].astype(np.int64)), TITLE)


def _decoded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [N, 32, 32, 3] and labels [N], uint8: from the cache, else decoded and put there."""
    content = path.read_bytes()
    kept = cache_dir() / "data" / "cifar10" / f"{path.stem}-{hashlib.sha256(content).hexdigest()[:16]}.npz"
    if not kept.is_file():
        pixels, labels = decode(content, path)
        buffer = io.BytesIO()
        np.savez(buffer, pixels=pixels, labels=labels)
        write_atomically(kept, buffer.getvalue())
        return pixels, labels
    try:
        with kept.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return file["pixels"], file["labels"]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise JpegError(f"{kept}: damaged ({error}); delete it, and it is decoded again") from error


def decode(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [N, 32, 32, 3] and labels [N], uint8, of a packed file's bytes: image i is jpeg[offset[i]:offset[i+1]].

    Raises JpegError, naming `path` and the image, where bytes are missing or no such JPEG.
    """
    jpeg, offset, labels = _packed(content, path)
    from PIL import Image

    print(f"decoding {len(labels)} JPEG images of {path}, once", file=sys.stderr)
    pixels = np.empty((len(labels), SIZE, SIZE, 3), np.uint8)
    for i in range(len(labels)):
        try:
            with Image.open(io.BytesIO(jpeg[offset[i] : offset[i + 1]].tobytes()), formats=["JPEG"]) as image:
                size = image.size
                pixels[i] = np.asarray(image.convert("RGB")) if size == (SIZE, SIZE) else 0
        except (OSError, SyntaxError) as error:
            raise JpegError(f"{path}: image {i} is no readable JPEG ({error}); fetch the file again") from error
        if size != (SIZE, SIZE):
            raise JpegError(f"{path}: image {i} has {size[0]} x {size[1]} pixels, expected {SIZE} x {SIZE}")
    return pixels, labels


def _packed(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three arrays, found to fit one another."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            jpeg, offset, labels = (np.asarray(file[name]) for name in ("jpeg", "offset", "label"))
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise JpegError(
            f"{path}: expected an .npz file with the arrays jpeg, offset and label ({error}); fetch it again"
        ) from error
    fits = labels.ndim == 1 and len(labels) > 0 and offset.shape == (len(labels) + 1,) and jpeg.ndim == 1
    if not fits or jpeg.dtype != np.uint8 or int(offset[0]) != 0 or int(offset[-1]) != len(jpeg):
        raise JpegError(
            f"{path}: {offset.shape} offsets for {labels.shape} labels and {len(jpeg)} bytes: expected an offset more "
            "than labels, the first 0 and the last the number of bytes"
        )
    if int(labels.max()) > 9:
        raise JpegError(f"{path}: expected classes 0 to 9, got {int(labels.max())}")
    return jpeg, offset, labels.astype(np.uint8)
