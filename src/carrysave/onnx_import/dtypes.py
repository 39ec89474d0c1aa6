"""ONNX's element types and torch's, and tensors from the file's own form. Needs onnx."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

# TensorProto.DataType, fixed by the format
DTYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 4: torch.uint16, 5: torch.int16, 6: torch.int32, 7: torch.int64,
    9: torch.bool, 10: torch.float16, 11: torch.float64, 12: torch.uint32, 13: torch.uint64, 16: torch.bfloat16,
}  # fmt: skip
RANGES = {
    dtype: (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    for dtype in (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32)
}


def dtype_of(element_type: int) -> torch.dtype:
    """Torch's type for an ONNX element type. Raises ValueError for those it lacks (strings, 4 bits, complex)."""
    if element_type not in DTYPES:
        from onnx import TensorProto

        known = TensorProto.DataType.keys()
        name = known[element_type] if 0 <= element_type < len(known) else str(element_type)
        raise ValueError(f"elements of type {name} are not supported")
    return DTYPES[element_type]


def tensor_of(proto: Any) -> torch.Tensor:
    """The tensor that a TensorProto holds. Raises ValueError for a type or for bytes that give none."""
    from onnx import numpy_helper

    dtype = dtype_of(proto.data_type)
    try:
        array = np.asarray(numpy_helper.to_array(proto))
    except (ValueError, TypeError) as error:
        raise ValueError(f"tensor {proto.name!r} is damaged: {error}") from None
    if dtype == torch.bfloat16:
        array = array.astype(np.float32)
    return torch.from_numpy(np.array(array)).to(dtype)  # a copy: the file's bytes may be read-only
