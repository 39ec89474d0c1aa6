# type: ignore  # the language inside @triton.jit is not Python's
"""A Triton kernel that adds products one by one: looked up, decoded from sums of logarithms, or of 64-bit integers.

Imported only where Triton is there and asked for (select.py).
"""

import triton
import triton.language as tl

from carrysave.engines.gpu.dot_kernels import code_index


@triton.jit
def _antilogarithm(total, SIGNED: tl.constexpr, COMPLEMENT: tl.constexpr):
    """The product whose logarithm is `total`: the bits of a float of that value, truncated; 0 if it is below 1."""
    if total.dtype == tl.int32:
        size = (total & 0x7FFFFFFF).to(tl.float32, bitcast=True).to(tl.int32)
        sign = total >> 31
    else:
        size = (total & 0x7FFFFFFFFFFFFFFF).to(tl.float64, bitcast=True).to(tl.int64)
        sign = total >> 63
    if SIGNED:
        # 0 stands for an operand of 0, whatever the sign of the other
        size = tl.where(size > 0, size ^ sign, 0) if COMPLEMENT else (size ^ sign) - sign
    return size


@triton.jit
def add_terms(
    x, table, weights, factor, constant, scales, out,
    positions, rows, columns, height, width, depth, taps, first, last, codes, outputs, groups,
    scale, zero, low, high, pad_word,
    stride_n, stride_c, stride_y, stride_x, step_y, step_x, pad_y, pad_x, dilation_y, dilation_x,
    out_n, out_c, out_y, out_x,
    KERNEL_X: tl.constexpr, TERM: tl.constexpr, SIGNED: tl.constexpr, COMPLEMENT: tl.constexpr,
    CODED: tl.constexpr, BOX: tl.constexpr, VALUES: tl.constexpr, SCALED: tl.constexpr, WIDE: tl.constexpr,
    POSITIONS: tl.constexpr, OUTPUTS: tl.constexpr,
):  # fmt: skip
    """out [N, O, rows, columns]: constant + factor * box sum + the terms of the taps `first` to `last` of each group.

    TERM says what `table` and `weights` hold:
        "row"        table [codes, groups, last - first, outputs]: the terms themselves
        "look-up"    table [codes, weight codes], `codes` the length of a row; weights [groups, depth * taps, outputs]
        "logarithm"  words of codes and of weights, floats' bits whose exponents' biases add up to that of a float
        "product"    int64 numbers of codes and of weights
    CODED: `table` holds words or numbers in the shape of x, instead of one for each code; `pad_word` is the padding's.
    WIDE: the sum of the terms needs int64.
    """
    SUM: tl.constexpr = tl.int64 if WIDE else tl.int32
    group = tl.program_id(2)
    position = tl.program_id(0) * POSITIONS + tl.arange(0, POSITIONS)
    wanted = position < positions
    output = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    known = output < outputs
    image, place = position // (rows * columns), position % (rows * columns)
    row, column = place // columns, place % columns
    total = tl.zeros([POSITIONS, OUTPUTS], SUM)
    box = tl.zeros([POSITIONS], tl.int64)
    for tap in tl.range(first, last, loop_unroll_factor=2):
        channel, part = group * depth + tap // taps, tap % taps
        y = row * step_y - pad_y + part // KERNEL_X * dilation_y
        z = column * step_x - pad_x + part % KERNEL_X * dilation_x
        inside = wanted & (y >= 0) & (y < height) & (z >= 0) & (z < width)
        pixel = image * stride_n + channel * stride_c + y * stride_y + z * stride_x
        if CODED:
            if BOX:
                code = tl.load(x + pixel, mask=inside, other=0).to(tl.int64)
                box += tl.where(inside, code - zero, 0)
        else:
            index = code_index(x + pixel, inside, scale, zero, low, high, zero - low, VALUES)
            if BOX:
                box += index.to(tl.int64) + (low - zero)
        if TERM == "row":
            start = index * (groups * (last - first) * outputs) + (group * (last - first) + tap - first) * outputs
            term = tl.load(table + start[:, None] + output[None, :], mask=known[None, :], other=0)
        else:
            weight = tl.load(weights + (group * depth * taps + tap) * outputs + output, mask=known, other=0)
            if TERM == "look-up":
                term = tl.load(table + (index * codes)[:, None] + weight[None, :], mask=known[None, :], other=0)
            else:
                if CODED:
                    word = tl.load(table + pixel, mask=inside, other=pad_word)
                else:
                    word = tl.load(table + index)
                if TERM == "logarithm":
                    term = _antilogarithm(word[:, None] + weight[None, :], SIGNED, COMPLEMENT)
                else:
                    term = word[:, None] * weight[None, :]
        total += term.to(SUM)
    shift = group * outputs + output
    result = total.to(tl.int64) + tl.load(constant + shift, mask=known, other=0)[None, :]
    if BOX:
        result += box[:, None] * tl.load(factor + shift, mask=known, other=0)[None, :]
    place_o = (image * out_n + row * out_y + column * out_x)[:, None] + (shift * out_c)[None, :]
    kept = wanted[:, None] & known[None, :]
    if SCALED:
        chosen = tl.load(scales + shift, mask=known, other=0.0)
        tl.store(out + place_o, result.to(tl.float32) * chosen[None, :], mask=kept)
    else:
        tl.store(out + place_o, result, mask=kept)
