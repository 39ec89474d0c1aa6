"""MNIST and Fashion-MNIST: where their four IDX files are looked for, and how they are fetched.

MNIST: Y. LeCun, C. Cortes, C. Burges. Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747 (MIT).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from carrysave.data.dataset import Dataset
from carrysave.data.download import download
from carrysave.data.idx import IdxError, read_idx
from carrysave.data.places import folders
from carrysave.paths import cache_dir

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True)
class IdxSet:
    """A data set in four IDX files: `folders` are its usual subfolders, `md5` belongs to FILES with .gz."""

    name: str
    title: str
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    md5: tuple[str, str, str, str]
    test_labels_md5: str  # of the 10,000 label bytes; tells the sets apart, whose files have the same names


MNIST = IdxSet(
    "mnist",
    "MNIST",
    ("mnist", "MNIST/raw"),
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "073c3904dfbd3e141ff8aa01cfde6b15",
)
FASHION_MNIST = IdxSet(
    "fashion_mnist",
    "Fashion-MNIST",
    ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "8dea97a4e78c1bd1b5a6e8efbb870b6e",
)


def load_idx_set(which: IdxSet, root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test) of `which` from `root`, $CARRYSAVE_DATA, the cache or, at last, a download into the cache.

    FileNotFoundError says which files go where if none of these has them, and which are missing where a folder has
    some of them; IdxError if a file is damaged.
    """
    paths = _find(which, root) or _fetch(which, root)
    return _read_pair(which.name, paths[0], paths[1]), _read_pair(which.name, paths[2], paths[3])


def _read_pair(name: str, images_path: Path, labels_path: Path) -> Dataset:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels) or not len(images):
        raise IdxError(
            f"{images_path} holds {len(images)} images, {labels_path} {len(labels)} labels; "
            "they must be as many, and at least one"
        )
    if images.shape[1:] != (28, 28) or labels.max() > 9:
        raise IdxError(
            f"{images_path}: expected images of 28 x 28 with classes 0 to 9, "
            f"got {images.shape[1]} x {images.shape[2]} and class {labels.max()} in {labels_path}"
        )
    scaled = torch.from_numpy(images.astype(np.float32)).div_(255).unsqueeze(1)
    return Dataset(scaled, torch.from_numpy(labels.astype(np.int64)), name)


def _find(which: IdxSet, root: Path | str | None) -> list[Path] | None:
    for folder in folders(which.title, which.name, which.folders, root):
        found = [path for file in FILES if (path := _present(folder, file))]
        if len(found) == len(FILES) and not _is_another_set(which, found[3]):
            return found
    return None


def _present(folder: Path, file: str) -> Path | None:
    return next((path for path in (folder / f"{file}.gz", folder / file) if path.is_file()), None)


def _is_another_set(which: IdxSet, test_labels: Path) -> str:
    """The other set's title, "" if the labels are not another known set's."""
    content = read_idx(test_labels, 1).tobytes()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    others = (other for other in (MNIST, FASHION_MNIST) if other != which)
    return next((other.title for other in others if other.test_labels_md5 == digest), "")


def _check_incomplete(which: IdxSet, root: Path | str | None) -> None:
    """FileNotFoundError for a folder of the user's that has some of the four files: it is meant, so nothing else is."""
    cache = cache_dir() / "data" / which.name  # `_fetch` completes it
    for folder in folders(which.title, which.name, which.folders, root):
        missing = [file for file in FILES if not _present(folder, file)]
        if folder != cache and 0 < len(missing) < len(FILES):
            raise FileNotFoundError(
                f"{which.title}: {folder} has {len(FILES) - len(missing)} of its {len(FILES)} files; missing: "
                f"{', '.join(f'{file}.gz' for file in missing)} (or without .gz). Put what is missing there, or name "
                "another folder with --data-root or the variable CARRYSAVE_DATA."
            )


def _looked(which: IdxSet, root: Path | str | None) -> str:
    """Where the set was looked for, a folder a line, with what was found there instead."""
    lines = []
    for folder in folders(which.title, which.name, which.folders, root):
        labels = _present(folder, FILES[3])
        other = _is_another_set(which, labels) if labels else ""
        lines.append(f"{folder}: these files are {other}'s" if other else str(folder))
    return "\n  ".join(lines)


def _fetch(which: IdxSet, root: Path | str | None) -> list[Path]:
    """Download what the cache lacks; FileNotFoundError with everything a person can do where that fails."""
    _check_incomplete(which, root)
    folder = cache_dir() / "data" / which.name
    paths = []
    for file, md5 in zip(FILES, which.md5, strict=True):
        path = _present(folder, file) or folder / f"{file}.gz"
        if not path.exists():
            try:
                download([mirror + path.name for mirror in which.mirrors], path, md5)
            except OSError as error:
                raise FileNotFoundError(
                    f"{which.title} was not found and could not be downloaded ({error}).\n"
                    f"Put its four files {', '.join(f'{name}.gz' for name in FILES)} (or without .gz) into "
                    f"{folder}, or into any folder that you name with --data-root or the variable CARRYSAVE_DATA.\n"
                    f"Looked in:\n  {_looked(which, root)}"
                ) from error
        paths.append(path)
    return paths
