"""scikit-learn's embedded handwritten digits: real data without a download."""

from __future__ import annotations

import numpy as np
import torch

from carrysave.data.dataset import Dataset

TRAIN = 1000
SEED = 0


def digits() -> tuple[Dataset, Dataset]:
    """(train, test): 1000 and 797 digits, images (N, 1, 16, 16).

    The 1797 images of 8 x 8 in 17 grey levels (E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI
    1998, its test part) are enlarged to 16 x 16, bilinearly, for LeNet's two 5 x 5 convolutions and two poolings need
    16. The split keeps each class's share, is drawn once with seed 0 and is the same everywhere.
    """
    from sklearn.datasets import load_digits

    pixels, classes = (np.asarray(part) for part in load_digits(return_X_y=True))
    small = torch.from_numpy(pixels.astype(np.float32) / 16).view(-1, 1, 8, 8)
    images = torch.nn.functional.interpolate(small, size=(16, 16), mode="bilinear", align_corners=False)
    labels = torch.from_numpy(classes.astype(np.int64))
    train, test = stratified_split(classes, TRAIN, SEED)
    return Dataset(images[train], labels[train], "digits"), Dataset(images[test], labels[test], "digits")


def stratified_split(labels: np.ndarray, n_train: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (train, test), each ascending: every class gives its share of `n_train`, to the nearest whole image.

    The rounding is by largest remainder, so that exactly `n_train` are drawn. RandomState, for its stream is frozen
    while that of numpy's newer generators may change.
    """
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts * n_train / len(labels)
    quota = shares.astype(int)
    quota[np.argsort(quota - shares, kind="stable")[: n_train - quota.sum()]] += 1
    random = np.random.RandomState(seed)
    drawn = [random.permutation(np.flatnonzero(labels == c))[:q] for c, q in zip(classes, quota, strict=True)]
    train = np.sort(np.concatenate(drawn))
    return train, np.setdiff1d(np.arange(len(labels)), train)
