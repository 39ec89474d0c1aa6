"""CIFAR-10 in its JPEG form: decoded once, shuffled, and what a person reads when a file is damaged."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrysave import data
from carrysave.data.cifar10 import decode


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CARRYSAVE_DATA", raising=False)


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def packed(files: list[bytes], labels: list[int], **changed: object) -> bytes:
    parts = {
        "jpeg": np.frombuffer(b"".join(files), np.uint8),
        "offset": np.cumsum([0, *map(len, files)]),
        "label": np.array(labels, np.uint8),
        **changed,
    }
    buffer = io.BytesIO()
    np.savez(buffer, **{name: part for name, part in parts.items() if part is not None})  # type: ignore[arg-type]
    return buffer.getvalue()


def plain(n: int) -> list[bytes]:
    """Images of one colour each, which JPEG keeps to a level or two."""
    return [jpeg(np.full((32, 32, 3), (20 * i, 100, 250 - 20 * i), np.uint8)) for i in range(n)]


def write_set(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "cifar10_train_jpeg.npz").write_bytes(packed(plain(10), list(range(10))))
    (folder / "cifar10_test_jpeg.npz").write_bytes(packed(plain(4), [0, 1, 2, 3]))


def test_images_keep_their_labels_in_another_order(tmp_path, capsys):
    write_set(tmp_path / "cifar10")
    train, test = data.load("cifar10", tmp_path)
    assert train.name == "CIFAR-10 (JPEG q75)" and train.images.shape == (10, 3, 32, 32) and len(test) == 4
    assert train.labels.tolist() != sorted(train.labels.tolist()) == list(range(10))
    for image, label in zip(train.images, train.labels.tolist(), strict=True):
        wanted = torch.tensor([20 * label, 100, 250 - 20 * label]) / 255
        assert (image.mean((1, 2)) - wanted).abs().max() < 0.02
    assert capsys.readouterr().err.count("decoding") == 2
    again = data.load("cifar10", tmp_path)
    assert capsys.readouterr().err == "" and again[0].content_hash == train.content_hash


def test_a_damaged_cache_is_named(tmp_path):
    write_set(tmp_path / "cifar10")
    data.load("cifar10", tmp_path)
    for kept in (tmp_path / "cache" / "data" / "cifar10").iterdir():
        kept.write_bytes(kept.read_bytes()[:-30])
    with pytest.raises(data.JpegError, match=r"cifar10_train_jpeg-.*npz: damaged .*delete it, and it is decoded again"):
        data.load("cifar10", tmp_path)


def test_a_missing_file_says_where_it_goes(tmp_path):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar10_test_jpeg.npz").write_bytes(b"")
    with pytest.raises(FileNotFoundError) as caught:
        data.load("cifar10", tmp_path)
    text = str(caught.value)
    assert text.startswith("CIFAR-10 (JPEG q75) was not found: its files cifar10_train_jpeg.npz, cifar10_test_jpeg.npz")
    assert f"{tmp_path / 'cifar10'} (it has cifar10_test_jpeg.npz)" in text and "--data-root" in text
    with pytest.raises(FileNotFoundError, match="the data folder .* does not exist"):
        data.load("cifar10", tmp_path / "nothing")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a zip", r"expected an .npz file with the arrays jpeg, offset and label"),
        (packed(plain(2), [0, 1])[:-50], r"expected an .npz file"),
        (packed(plain(2), [0, 1], label=None), r"expected an .npz file with the arrays .*label"),
        (packed(plain(2), [0, 1, 2]), r"\(3,\) offsets for \(3,\) labels .* an offset more than labels"),
        (packed(plain(2), [0, 1], offset=np.array([0, 9, 10])), r"the last the number of bytes"),
        (packed(plain(2), [0, 10]), r"expected classes 0 to 9, got 10"),
        (packed([*plain(1), b"no JPEG"], [0, 1]), r"image 1 is no readable JPEG"),
        (packed([plain(1)[0], plain(2)[1][:200]], [0, 1]), r"image 1 is no readable JPEG"),
        (packed([jpeg(np.zeros((16, 32, 3), np.uint8))], [0]), r"image 0 has 32 x 16 pixels, expected 32 x 32"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(content, message):
    with pytest.raises(data.JpegError, match=message) as caught:
        decode(content, Path("some.npz"))
    assert "some.npz" in str(caught.value)


def test_the_real_test_images_are_those_of_their_readme(shared_data):
    path = shared_data / "cifar10" / "cifar10_test_jpeg.npz"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    pixels, labels = decode(path.read_bytes(), path)
    assert pixels.shape == (10000, 32, 32, 3) and np.bincount(labels).tolist() == [1000] * 10
