"""The GPU kernels through Triton's compiler, which needs no GPU: as they would be launched for real layers.

Run by test_gpu.py in a process of its own, without TRITON_INTERPRET.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from carrysave.engines.gpu import dot_kernels, dots, logarithms, look_ups, term_kernels
from carrysave.engines.gpu.digits import Digits, digits_of
from carrysave.engines.problem import Geometry, Prepared, Problem, Products
from carrysave.formats import FORMATS
from carrysave.multipliers import MULTIPLIERS
from carrysave.quantizers import Quantizer

triton = pytest.importorskip("triton", reason="needs triton: pip install 'carrysave[gpu]'")
POINTERS = {torch.int8: "*i8", torch.int16: "*i16", torch.int32: "*i32", torch.int64: "*i64", torch.float32: "*fp32"}


class Compiled:
    """Stands for a kernel: what would be launched is compiled, with the specialisations of a launch, and kept."""

    def __init__(self, kernel: Any, capability: int, found: list[Any]):
        self.kernel, self.capability, self.found = kernel, capability, found

    def __getitem__(self, grid: Any) -> Any:
        return self.compile

    def compile(self, *arguments: Any, **named: Any) -> None:
        names = ("num_warps", "num_stages", "enable_fp_fusion")
        options = {name: named.pop(name) for name in names if name in named}
        values = {**dict(zip(self.kernel.arg_names, arguments, strict=False)), **named}
        signature, constants, hints = {}, {}, {}
        for i, parameter in enumerate(self.kernel.params):
            value = values[parameter.name]
            if parameter.is_constexpr or (isinstance(value, int) and value == 1):
                signature[parameter.name], constants[parameter.name] = "constexpr", value
                continue
            kind = "i32" if isinstance(value, int) else "fp32"
            signature[parameter.name] = POINTERS[value.dtype] if isinstance(value, torch.Tensor) else kind
            if isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0):
                hints[(i,)] = [["tt.divisibility", 16]]
        source = triton.compiler.ASTSource(self.kernel, signature, constants, hints)
        target = pytest.importorskip("triton.backends.compiler").GPUTarget("cuda", self.capability, 32)
        self.found.append(triton.compile(source, target=target, options=options))


def _compiled(
    capability: int, spec: str, weight: str, build: Any, monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    """The kernels of a whole layer, conv (4,64,16,16)x(64,64,3,3)."""
    found: list[Any] = []
    for module, name in ((dot_kernels, "expand"), (dot_kernels, "convolve"), (term_kernels, "add_terms")):
        monkeypatch.setattr(module, name, Compiled(getattr(module, name), capability, found))
    affine, fmt = FORMATS.parse("affine"), FORMATS.parse(weight)
    codes = torch.randint(fmt.low, fmt.high + 1, (64, 64, 3, 3), generator=torch.Generator().manual_seed(0))
    problem = Problem(Products(MULTIPLIERS.parse(spec), affine, fmt), Geometry("conv", (1, 1), (1, 1)), codes, 77)
    prepared: Prepared = build(problem)
    assert prepared.layer is not None
    prepared.layer(torch.zeros(4, 64, 16, 16), Quantizer(affine, torch.tensor(0.1), torch.tensor(77)), torch.ones(64))
    monkeypatch.undo()
    return found


def _dots(problem: Problem) -> Prepared:
    digits = digits_of(problem)
    assert isinstance(digits, Digits)
    return dots.prepare(problem, digits)


@pytest.mark.parametrize("capability, operation", [(90, "wgmma.mma_async.sync.aligned.m64n64k32.s32.s8.s8"),
                                                   (80, "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32")])
def test_digits_are_multiplied_by_int8_tensor_cores(
    capability: int, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expand, convolve = _compiled(capability, "kulkarni", "affine", _dots, monkeypatch)
    assert operation in convolve.asm["ptx"]
    assert "cp.async.cg.shared.global" in convolve.asm["ptx"]  # 16 bytes at a time, while the last are multiplied
    assert "st.global.v4.b32" in expand.asm["ptx"]


def test_rows_are_read_in_whole_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    (kernel,) = _compiled(90, "recovery:c=6", "affine", look_ups.prepare, monkeypatch)
    assert "ld.global.v4.b32" in kernel.asm["ptx"]


def test_logarithms_are_added_as_integers_and_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    (kernel,) = _compiled(90, "mitchell", "sign_magnitude", logarithms.prepare, monkeypatch)
    assert "cvt.rzi.s32.f32" in kernel.asm["ptx"]
