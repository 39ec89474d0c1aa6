"""Data sets: what is loaded, from where, and what a person reads when it cannot be."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from carrysave import data
from carrysave.data import download as download_module
from carrysave.data import idx_sets
from carrysave.data.dataset import Dataset
from carrysave.data.digits import stratified_split
from carrysave.data.idx import IdxError, read_idx


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """An empty cache, no $CARRYSAVE_DATA and no network."""

    def unreachable(url: str) -> bytes:
        raise OSError("no network in tests")

    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CARRYSAVE_DATA", raising=False)
    monkeypatch.setattr(download_module, "_read", unreachable)


def idx(array: np.ndarray, magic: int | None = None) -> bytes:
    header = (0x0800 + array.ndim if magic is None else magic).to_bytes(4, "big")
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def images_and_labels(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, 28, 28), np.uint8), random.integers(0, 10, n, np.uint8)


def write_set(folder: Path, train: int = 5, test: int = 3, suffix: str = ".gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (*images_and_labels(train), *images_and_labels(test, seed=1))
    for name, array in zip(idx_sets.FILES, arrays, strict=True):
        content = idx(array)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)


def test_a_plain_and_a_zipped_file_read_alike(tmp_path):
    array = images_and_labels(4)[0]
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "zipped").write_bytes(gzip.compress(idx(array)))
    assert np.array_equal(read_idx(tmp_path / "plain", 3), array)
    assert np.array_equal(read_idx(tmp_path / "zipped", 3), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(images_and_labels(2)[0])[:-1], r"its header says 2 x 28 x 28 = 1568 bytes, but only 1567 follow"),
        (idx(images_and_labels(2)[0]) + b"x", r"2 x 28 x 28 = 1568 bytes, but more follow"),
        (idx(images_and_labels(2)[1]), r"must begin with magic number 2051, it begins with 2049"),
        (b"", r"ends after 0 bytes, its header alone has 16"),
        (idx(images_and_labels(2)[0])[:9], r"ends after 9 bytes, its header alone has 16"),
        (b"\0\0\x08\x03" + b"\xff" * 12, r"asks for 4294967295 x 4294967295 x 4294967295 bytes"),
        (gzip.compress(idx(images_and_labels(9)[0]))[:-20], r"damaged or truncated gzip file"),
        (gzip.compress(idx(images_and_labels(9)[0]))[:5000] + b"\0" * 99, r"damaged or truncated gzip file"),
        (b"<html>not found</html>", r"must begin with magic number 2051"),
    ],
)
def test_a_damaged_idx_file_says_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(IdxError, match=message) as caught:
        read_idx(path, 3)
    assert str(path) in str(caught.value)


def test_every_cut_of_a_zipped_file_is_an_idx_error(tmp_path):
    whole = gzip.compress(idx(images_and_labels(1)[0]))
    path = tmp_path / "file.gz"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(IdxError):
            read_idx(path, 3)


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
def test_mnist_is_found_in_the_usual_folders(tmp_path, folder, suffix):
    write_set(tmp_path / "root" / folder, suffix=suffix)
    train, test = data.load("mnist", tmp_path / "root")
    images, labels = images_and_labels(5)
    assert train.images.shape == (5, 1, 28, 28) and len(test) == 3 and train.name == "mnist"
    assert torch.equal((train.images[:, 0] * 255).round().to(torch.uint8), torch.from_numpy(images))
    assert train.labels.tolist() == labels.tolist()


def test_the_root_comes_before_the_variable_and_the_variable_before_the_cache(tmp_path, monkeypatch):
    for place, count in (("root/mnist", 4), ("variable", 5), ("cache/data/mnist", 6)):
        write_set(tmp_path / place, train=count)
    assert len(data.mnist()[0]) == 6
    monkeypatch.setenv("CARRYSAVE_DATA", str(tmp_path / "variable"))
    assert len(data.mnist()[0]) == 5
    assert len(data.mnist(tmp_path / "root")[0]) == 4


def test_mnist_lying_flat_is_not_taken_for_fashion_mnist(tmp_path, shared_data):
    for path in (shared_data / "mnist").iterdir():
        (tmp_path / path.name).symlink_to(path)
    assert len(data.load("mnist", tmp_path)[0]) == 60000
    with pytest.raises(FileNotFoundError, match="Fashion-MNIST was not found"):
        data.load("fashion_mnist", tmp_path)


def test_a_missing_set_says_what_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist", tmp_path)
    text = str(caught.value)
    assert "train-images-idx3-ubyte.gz" in text and "CARRYSAVE_DATA" in text and "--data-root" in text
    assert str(tmp_path / "cache/data/mnist") in text and "no network in tests" in text
    with pytest.raises(FileNotFoundError, match="the data folder .*nowhere does not exist"):
        data.load("mnist", tmp_path / "nowhere")


@pytest.mark.parametrize("folder", ["", "mnist"])
def test_a_folder_that_lacks_a_file_says_which(tmp_path, folder):
    write_set(tmp_path / folder)
    missing = tmp_path / folder / f"{idx_sets.FILES[1]}.gz"
    missing.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist", tmp_path)
    text = str(caught.value)
    assert f"MNIST: {tmp_path / folder} has 3 of its 4 files; missing: train-labels-idx1-ubyte.gz (or without" in text


def test_the_other_sets_files_are_named(tmp_path, monkeypatch):
    write_set(tmp_path)
    labels = idx_sets.read_idx(tmp_path / f"{idx_sets.FILES[3]}.gz", 1).tobytes()
    known = dataclasses.replace(idx_sets.MNIST, test_labels_md5=hashlib.md5(labels, usedforsecurity=False).hexdigest())
    monkeypatch.setattr(idx_sets, "MNIST", known)
    with pytest.raises(FileNotFoundError, match="Fashion-MNIST was not found") as caught:
        data.load("fashion_mnist", tmp_path)
    assert f"  {tmp_path}: these files are MNIST's" in str(caught.value)


def test_a_download_is_checked_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    good = b"the right file"
    served = {"http://a/f": b"a wrong file", "http://b/f": good}
    monkeypatch.setattr(download_module, "_read", served.__getitem__)
    md5 = hashlib.md5(good, usedforsecurity=False).hexdigest()
    target = tmp_path / "f"
    with pytest.raises(OSError, match="http://a/f: its MD5 is .*, expected"):
        download_module.download(["http://a/f"], target, md5)
    assert list(tmp_path.iterdir()) == []
    download_module.download(["http://a/f", "http://b/f"], target, md5)
    assert [path.name for path in tmp_path.iterdir()] == ["f"] and target.read_bytes() == good


def test_a_download_fills_the_cache_and_the_next_load_needs_none(tmp_path, monkeypatch):
    write_set(tmp_path / "server")
    files = {path.name: path.read_bytes() for path in (tmp_path / "server").iterdir()}
    monkeypatch.setattr(download_module, "_read", lambda url: files[url.rsplit("/", 1)[1]])
    a, b, c, d = (hashlib.md5(files[f"{name}.gz"], usedforsecurity=False).hexdigest() for name in idx_sets.FILES)
    small = idx_sets.IdxSet("mnist", "MNIST", ("mnist",), ("http://server/",), (a, b, c, d), "unknown")
    assert len(idx_sets.load_idx_set(small)[0]) == 5
    files.clear()
    assert len(idx_sets.load_idx_set(small)[0]) == 5


@pytest.mark.parametrize(
    ("index", "content", "message"),
    [
        (1, idx(np.zeros(4, np.uint8)), "holds 5 images, .* 4 labels"),
        (1, idx(np.full(5, 10, np.uint8)), "classes 0 to 9, got 28 x 28 and class 10"),
        (0, idx(np.zeros((5, 27, 28), np.uint8)), "expected images of 28 x 28 .* got 27 x 28"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, index, content, message):
    write_set(tmp_path / "mnist", suffix="")
    (tmp_path / "mnist" / idx_sets.FILES[index]).write_bytes(content)
    with pytest.raises(IdxError, match=message):
        data.load("mnist", tmp_path)


def test_real_mnist_and_fashion_mnist(shared_data):
    for name, first in (("mnist", [5, 0, 4, 1, 9]), ("fashion-mnist", [9, 0, 0, 3, 0])):
        train, test = data.load(name, shared_data)
        assert train.images.shape == (60000, 1, 28, 28) and test.images.shape == (10000, 1, 28, 28)
        assert train.labels[:5].tolist() == first and test.labels.bincount().sum() == 10000


def test_an_unknown_name_answers_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown data set 'minst' \(did you mean 'mnist'\?\)"):
        data.load("minst")


def test_digits_keep_all_images_once_and_each_class_its_share():
    from sklearn.datasets import load_digits

    pixels, classes = (np.asarray(part) for part in load_digits(return_X_y=True))
    train, test = data.digits()
    assert train.images.shape == (1000, 1, 16, 16) and test.images.shape == (797, 1, 16, 16)
    assert 0 <= float(train.images.min()) and float(train.images.max()) <= 1
    whole = np.bincount(classes)
    assert (train.labels.bincount() + test.labels.bincount()).tolist() == whole.tolist()
    assert np.abs(train.labels.bincount().numpy() - whole * 1000 / 1797).max() < 1
    means = torch.cat([train.images, test.images]).mean((1, 2, 3)).sort().values  # enlarging by two keeps them nearly
    small = torch.from_numpy(pixels / 16).mean(1).float().sort().values
    assert torch.allclose(means, small, atol=0.01)
    assert train.content_hash == data.digits()[0].content_hash


def test_the_split_is_exact_and_disjoint():
    labels = np.array([0] * 7 + [1] * 5 + [2] * 5)
    for n in range(18):
        train, test = stratified_split(labels, n, seed=3)
        assert len(train) == n and sorted([*train, *test]) == list(range(17))


def test_batches_hold_every_image_once():
    dataset = Dataset(torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10), "ten")
    assert [len(y) for _, y in dataset.batches(4)] == [4, 4, 2]
    assert torch.cat([y for _, y in dataset]).tolist() == list(range(10))
    shuffled = [torch.cat([y for _, y in dataset.batches(3, seed)]).tolist() for seed in (1, 1, 2)]
    assert shuffled[0] == shuffled[1] != shuffled[2] and sorted(shuffled[0]) == list(range(10))
    for x, y in dataset.batches(3, 1):
        assert x.flatten().tolist() == y.tolist()


def test_a_subset_is_drawn_by_its_seed():
    dataset = Dataset(torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10), "ten")
    small = dataset.subset(4, seed=1)
    assert len(set(small.labels.tolist())) == 4 and small.labels.tolist() == dataset.subset(4, 1).labels.tolist()
    assert dataset.subset(10, 0).content_hash == dataset.content_hash != small.content_hash
    with pytest.raises(ValueError, match="cannot draw 11 of 10 images"):
        dataset.subset(11, 0)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2), torch.zeros(2, dtype=torch.int64), "images must be float32 of shape"),
        (torch.zeros(2, 3).double(), torch.zeros(2, dtype=torch.int64), "images must be float32 of shape"),
        (torch.zeros(2, 1, 3, 3), torch.zeros(3, dtype=torch.int64), r"labels must be int64 of shape \(2,\)"),
        (torch.tensor([0.0, float("nan")]).view(2, 1, 1, 1), torch.zeros(2, dtype=torch.int64), "image 1 holds a NaN"),
    ],
)
def test_a_dataset_refuses_what_does_not_fit(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Dataset(images, labels, "bad")


def test_images_may_have_any_shape():
    for shape in ((2, 5), (2, 3, 7), (2, 1, 3, 4, 5)):
        assert len(Dataset(torch.zeros(shape), torch.zeros(2, dtype=torch.int64), "any")) == 2


def test_batches_are_pairs_of_tensors():
    images, labels = torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
    assert len(list(data.batches_of([(images, labels)], 8))) == 1
    for wrong, came in (([images], r"Tensor \(3, 2\)"), ([(images,)], r"Tensor \(3, 2\)"), (["x"], "str")):
        with pytest.raises(
            ValueError, match=rf"batch 0 must be \(images, labels\), two tensors, got {came}; labels are"
        ):
            list(data.batches_of(wrong, 8))  # type: ignore[arg-type]


def test_shuffled_batches_are_found_out():
    from torch.utils.data import DataLoader, TensorDataset

    pairs = TensorDataset(torch.arange(300.0)[:, None], torch.arange(300))
    data.check_order(DataLoader(pairs, 32), "own")
    data.check_order([(torch.zeros(2, 1), torch.zeros(2))], "own")
    with pytest.raises(ValueError, match="own: a generator can be read only once; give a list of batches"):
        data.check_order((batch for batch in ()), "own")
    with pytest.raises(ValueError, match="own: its batches come in another order in every pass; .* shuffle=False"):
        data.check_order(DataLoader(pairs, 32, shuffle=True), "own")

    class Shuffles:
        def __iter__(self):
            order = torch.randperm(300)
            yield order.float()[:, None], order

    with pytest.raises(ValueError, match="shuffle=False"):
        data.check_order(Shuffles(), "own")
