"""ONNX files that cannot be read, or ask for what there is not: every answer names the file and the place."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import carrysave as cs
from carrysave.onnx_import import MissingExtra, OnnxError, load
from carrysave.running import ModelError
from onnx_models import node, onnx, random, written


def mlp(path: Path, **how: Any) -> Path:
    nodes = [node("MatMul", ["x", "w"], ["h"], name="first"), node("Relu", ["h"])]
    return written(path, nodes, {"x": ["n", 3]}, stored={"w": random(3, 4).numpy()}, **how)


def error(path: Path, *outputs: str) -> str:
    with pytest.raises(OnnxError) as caught:
        load(path, outputs or None)
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


def test_operators_that_are_lacking_are_listed_at_once(tmp_path: Path) -> None:
    nodes = [
        *(node("NonZero", [f"x{i}"], [f"x{i + 1}"], name=f"where{i}") for i in range(10)),
        node("Loop", ["x10"], ["a"], name="again"),
        node("Foo", ["a"], ["b"], name="own", domain="my.domain"),
        node("Relu", ["b"]),
    ]
    file = written(tmp_path / "m.onnx", nodes, {"x0": [3]}, domains=["my.domain"])
    assert error(file) == (
        "FILE: 3 operators are not supported\n"
        "  Loop, 1 node: again\n"
        "  NonZero, 10 nodes: where0, where1, where2, where3, where4, where5, where6, where7 and 2 more\n"
        "  my.domain.Foo, 1 node: own"
    )


def test_what_no_wanted_output_needs_may_be_lacking(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("NonZero", ["x"], ["z"])]
    file = written(tmp_path / "m.onnx", nodes, {"x": [3]}, outputs=["y", "z"])
    assert load(file).outputs == ("y",) and "NonZero" in error(file, "z")
    assert error(file, "v") == "FILE: no output is called 'v'; it has y, z"


def test_nodes_that_cannot_be_computed_as_they_stand(tmp_path: Path) -> None:
    norm = node("BatchNormalization", ["x", "s", "s", "s", "s"], ["h", "m", "v"], name="norm", training_mode=1)
    pool = node("MaxPool", ["h"], ["y", "i"], name="pool", kernel_shape=[2, 2])
    file = written(
        tmp_path / "m.onnx", [norm, pool], {"x": [1, 2, 4, 4]}, outputs=["y", "i"], stored={"s": np.ones(2, np.float32)}
    )
    text = error(file, "y", "i")
    assert "node 'norm' (BatchNormalization): its output 2 is used, which is not computed" in text
    assert "node 'pool' (MaxPool): its output 2 is used" in text and text.startswith("FILE: some nodes cannot")


def test_bytes_that_are_no_graph(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    whole = mlp(file).read_bytes()
    for content, words in (
        (b"", "0 bytes"),
        (b"not a protobuf at all", "not an ONNX file, or damaged"),
        (whole[: len(whole) // 2], "damaged|refuses"),
        (whole.replace(b"first", b"\xff\xfe\xfd.."), "a name in it is not UTF-8 text"),
        (onnx.ModelProto(ir_version=9).SerializeToString(), "holds no graph"),
    ):
        file.write_bytes(content)
        with pytest.raises(OnnxError, match=words):
            load(file)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.onnx")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


@settings(max_examples=60)
@given(st.data())
def test_damaged_bytes_give_an_error_or_a_network(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any byte changed, anything cut off: never another kind of exception."""
    file = tmp_path_factory.mktemp("damaged") / "m.onnx"
    content = bytearray(mlp(file).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        net = load(file)
        net(
            *(torch.zeros([2 if not isinstance(size, int) else size for size in one.shape or ()]) for one in net.inputs)
        )
    except (OnnxError, ModelError):
        pass


def test_what_the_checker_refuses(tmp_path: Path) -> None:
    file = written(tmp_path / "m.onnx", [node("Relu", ["nothing"], name="r")], {"x": [3]})
    assert error(file).startswith("FILE: onnx's checker refuses it: ") and "nothing" in error(file)
    file = written(tmp_path / "m.onnx", [node("Concat", ["x"], name="c")], {"x": [3]})
    assert "axis" in error(file)


def test_data_beside_the_file(tmp_path: Path) -> None:
    """Read from the model's folder and below, refused from elsewhere, be it by .., by a link or an absolute path."""
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    model = onnx.load(mlp(tmp_path / "plain.onnx"))
    values = onnx.numpy_helper.to_array(model.graph.initializer[0])
    (folder / "parts" / "w.bin").write_bytes(b"....." + values.tobytes())
    (tmp_path / "secret.bin").write_bytes(values.tobytes())
    os.symlink(tmp_path / "secret.bin", folder / "link.bin")

    def placed(location: str, offset: str = "0", length: str = "48") -> Path:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        return folder / "m.onnx"

    x = random(2, 3, seed=1)
    assert torch.equal(load(placed("parts/w.bin", "5"))(x), load(tmp_path / "plain.onnx")(x))
    for location in ("../secret.bin", "link.bin", str(tmp_path / "secret.bin")):
        assert f"lie outside the model's folder, in {location!r}" in error(placed(location))
    assert "FILE: the data of tensor 'w' are missing: no file" in error(placed("parts/v.bin"))
    assert "bytes 40 to 88 lie beyond the end" in error(placed("parts/w.bin", "40"))
    assert "have a damaged place" in error(placed("parts/w.bin", "many"))


def test_a_few_bytes_cannot_ask_for_terabytes(tmp_path: Path) -> None:
    huge = np.array([1 << 20, 1 << 20], np.int64)
    for kind, inputs, stored in (
        ("ConstantOfShape", ["s"], {"s": huge}),
        ("Expand", ["v", "s"], {"s": huge, "v": np.ones(1, np.float32)}),
        ("Tile", ["v", "s"], {"s": huge, "v": np.ones((1, 1), np.float32)}),
        ("Pad", ["v", "s"], {"s": np.array([1 << 40, 0], np.int64), "v": np.ones(1, np.float32)}),
        ("Range", ["a", "b", "c"], {"a": np.float32(0), "b": np.float32(1e12), "c": np.float32(1)}),
    ):
        nodes = [node(kind, inputs, ["h"], name="huge"), node("Mul", ["h", "x"])]
        file = written(tmp_path / "m.onnx", nodes, {"x": [1]}, stored=stored)
        assert f"FILE: node 'huge' ({kind}) cannot be computed: a tensor of shape" in error(file)


def test_shapes(tmp_path: Path) -> None:
    """A batch of any size runs; what the graph fixes must be met; a wrong shape inside names the node."""
    net = load(mlp(tmp_path / "m.onnx"))
    assert net.batch is None and net(random(7, 3)).shape == (7, 4)
    for wrong in (random(7, 4), random(3), random(2, 2, 3)):
        with pytest.raises(ModelError, match=r"the graph takes 'x' of shape \[n, 3\], float32; got shape \["):
            net(wrong)
    with pytest.raises(ModelError, match=r"takes 1 inputs \('x' of shape \[n, 3\], float32\), 2 came"):
        net(random(7, 3), random(7, 3))
    nodes = [node("Reshape", ["x", "s"], name="cut")]
    net = load(written(tmp_path / "r.onnx", nodes, {"x": ["n", "m"]}, stored={"s": np.array([-1, 5])}))
    assert net(random(2, 10)).shape == (4, 5)
    with pytest.raises(ModelError, match=r"node 'cut' \(Reshape\) failed on inputs of shapes \[2, 3\], \[2\]: shape "):
        net(random(2, 3))
    tokens = load(
        written(
            tmp_path / "t.onnx",
            [node("Gather", ["e", "x"])],
            {"x": ["n"]},
            stored={"e": random(5, 2).numpy()},
            kinds=(7, 1),
        )
    )
    assert tokens(torch.tensor([4, 0])).shape == (2, 2)
    with pytest.raises(ModelError, match=r"the graph takes whole numbers: 'x' of shape \[n\], int64; got .* float32"):
        tokens(torch.tensor([4.0, 0.0]))


def test_types_that_torch_lacks(tmp_path: Path) -> None:
    file = written(tmp_path / "m.onnx", [node("Identity", ["x"])], {"x": [3]}, kinds=(8, 8))
    assert error(file) == "FILE: input 'x': elements of type STRING are not supported"
    nodes = [node("Constant", [], ["c"], name="words", value_strings=[b"a"]), node("Concat", ["x", "c"], axis=0)]
    assert "node 'words' (Constant): it holds strings" in error(written(tmp_path / "m.onnx", nodes, {"x": [3]}))


def test_names_that_are_none_or_the_same(tmp_path: Path) -> None:
    """Nodes without a name get one from their output; torch's own names and dots are avoided."""
    names = ["", "twin", "twin", "forward", "block.0.fc"]
    nodes = [node("MatMul", [f"x{i}", "w"], [f"x{i + 1}"], name=name) for i, name in enumerate(names)]
    net = load(written(tmp_path / "m.onnx", nodes, {"x0": ["n", 3]}, ["x5"], {"w": random(3, 3).numpy()}))
    assert list(net.names.values()) == ["MatMul_x1", "twin", "twin_", "forward_", "block_0_fc"]
    calibration = cs.calibrate(net, random(4, 3), samples=4)
    assert calibration.layers == list(net.names.values())
    assert net.get_submodule("twin").weight is not net.get_submodule("twin_").weight


def test_without_the_package_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name == "onnx" or name.startswith("onnx."):
            raise ModuleNotFoundError("No module named 'onnx'")
        return real(name, *rest, **named)

    file = mlp(tmp_path / "m.onnx")
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'carrysave\[onnx\]'"):
        load(file)


def test_the_package_onnx_is_loaded_with_the_first_file_only() -> None:
    program = "import sys, carrysave.cli, carrysave.onnx_import, carrysave.toolbox; assert 'onnx' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
