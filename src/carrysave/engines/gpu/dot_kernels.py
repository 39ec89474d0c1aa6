# type: ignore  # the language inside @triton.jit is not Python's
"""Triton kernels for sums of products of int8 digits: one writes the digits of an activation, one convolves them.

Imported only where Triton is there and asked for (select.py). Both see an image [N, C, H, W] with any strides.
"""

import triton
import triton.language as tl


@triton.jit
def code_index(x, inside, scale, zero, low, high, pad, VALUES: tl.constexpr):
    """Indices of the codes at pointers `x`, from 0: of codes, or of float32 values by the quantizer's rule.

    Rounds half to even by adding 1.5 * 2^23; what lies beyond 2^20 saturates in formats of up to 16 bits anyhow.
    """
    if VALUES:
        ratio = tl.div_rn(tl.load(x, mask=inside, other=0.0), scale)
        ratio = tl.minimum(tl.maximum(ratio, -1048576.0), 1048576.0)
        code = ((ratio + 12582912.0) - 12582912.0).to(tl.int32) + zero
        code = tl.minimum(tl.maximum(code, low), high)
    else:
        code = tl.load(x, mask=inside, other=0).to(tl.int32)
    return tl.where(inside, code - low, pad)


@triton.jit
def expand(
    x, u, addend, digits, sums,
    positions, rows, columns, height, width, depth, padded, codes, scale, zero, low, high,
    stride_n, stride_c, stride_y, stride_x, step_y, step_x, pad_y, pad_x, dilation_y, dilation_x,
    KERNEL_X: tl.constexpr, TAPS: tl.constexpr, PLANES: tl.constexpr, BOX: tl.constexpr, VALUES: tl.constexpr,
    POSITIONS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """digits [positions, groups, padded]: for each plane the digits of the window's depth * TAPS codes; what lies
    between PLANES * depth * TAPS and `padded` is left alone. sums [groups, positions]: of addend over those codes.
    """
    group = tl.program_id(1)
    position = tl.program_id(0) * POSITIONS + tl.arange(0, POSITIONS)
    image, place = position // (rows * columns), position % (rows * columns)
    top, left = place // columns * step_y - pad_y, place % columns * step_x - pad_x
    box = tl.zeros([POSITIONS], sums.dtype.element_ty)
    for first in range(0, depth * TAPS, DEPTH):
        k = first + tl.arange(0, DEPTH)
        channel, tap = k // TAPS, k % TAPS
        # positions last: of contiguous images, neighbouring threads read neighbouring pixels
        row = top[None, :] + (tap // KERNEL_X * dilation_y)[:, None]
        column = left[None, :] + (tap % KERNEL_X * dilation_x)[:, None]
        wanted = (k < depth * TAPS)[:, None] & (position < positions)[None, :]
        inside = wanted & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        place_x = (image * stride_n)[None, :] + ((group * depth + channel) * stride_c)[:, None]
        place_x += row * stride_y + column * stride_x
        index = code_index(x + place_x, inside, scale, zero, low, high, zero - low, VALUES)
        if BOX:
            box += tl.sum(tl.load(addend + index, mask=wanted, other=0), 0)
        place_d = ((position * tl.num_programs(1) + group) * padded)[None, :] + k[:, None]
        for plane in tl.static_range(PLANES):
            digit = tl.load(u + plane * codes + index)
            tl.store(digits + place_d + plane * depth * TAPS, digit, mask=wanted)
    if BOX:
        tl.store(sums + group * positions + position, box, mask=position < positions)


@triton.jit
def _dots(
    digits, v, first, last, base, line, dilation_y, dilation_x, pitch, chunks, taken,
    KERNEL_X: tl.constexpr, POSITIONS: tl.constexpr, OUTPUTS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """int32 [POSITIONS, OUTPUTS]: the sum over steps first to last, each of DEPTH columns of one tap."""
    total = tl.zeros([POSITIONS, OUTPUTS], tl.int32)
    k = tl.arange(0, DEPTH)
    for step in range(first, last):
        tap = step // chunks
        shift = (tap // KERNEL_X * dilation_y * line + tap % KERNEL_X * dilation_x) * pitch + step % chunks * DEPTH
        left = tl.load(digits + (base + shift)[:, None] + k[None, :])
        right = tl.load(v + taken[None, :] + (step * DEPTH + k)[:, None])
        total = tl.dot(left, right, total, out_dtype=tl.int32)
    return total


@triton.jit
def convolve(
    digits, v, sums, constant, scales, out,
    positions, rows, columns, lines, line, pixels, padded, chunks, steps, outputs, padded_outputs,
    step_y, step_x, dilation_y, dilation_x, stride_n, stride_c, stride_y, stride_x,
    KERNEL_X: tl.constexpr, TAPS: tl.constexpr, BOX: tl.constexpr, SCALED: tl.constexpr, WIDE: tl.constexpr,
    STEPS: tl.constexpr, POSITIONS: tl.constexpr, OUTPUTS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """out [N, O, rows, columns]: sums of products of digits [N, lines, line, groups, padded] and
    v [groups, padded_outputs, TAPS * padded], box sums and constants; int64, or scaled float32.

    WIDE: a whole sum, corrections included, needs int64. STEPS is how many steps int32 holds, 0 if all of them.
    """
    SUM: tl.constexpr = tl.int64 if WIDE else tl.int32
    group, groups = tl.program_id(2), tl.num_programs(2)
    position = tl.program_id(0) * POSITIONS + tl.arange(0, POSITIONS)
    wanted = position < positions
    output = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    image, place = position // (rows * columns), position % (rows * columns)
    row, column = place // columns, place % columns
    pixel = (image * lines + row * step_y) * line + column * step_x
    pixel = tl.where(wanted, pixel, 0)
    base = pixel * groups * padded + group * padded
    taken = (group * padded_outputs + output) * (TAPS * padded)
    total = _dots(
        digits, v, 0, tl.minimum(STEPS, steps) if STEPS else steps, base, line, dilation_y, dilation_x,
        groups * padded, chunks, taken, KERNEL_X, POSITIONS, OUTPUTS, DEPTH,
    ).to(SUM)  # fmt: skip
    if STEPS:
        for first in range(STEPS, steps, STEPS):
            total += _dots(
                digits, v, first, tl.minimum(first + STEPS, steps), base, line, dilation_y, dilation_x,
                groups * padded, chunks, taken, KERNEL_X, POSITIONS, OUTPUTS, DEPTH,
            ).to(SUM)  # fmt: skip
    if BOX:
        box = tl.zeros([POSITIONS], SUM)
        for tap in range(TAPS):
            shift = tap // KERNEL_X * dilation_y * line + tap % KERNEL_X * dilation_x
            box += tl.load(sums + group * pixels + pixel + shift).to(SUM)
        total += box[:, None]
    channel, known = group * outputs + output, output < outputs
    total += tl.load(constant + channel, mask=known, other=0).to(SUM)[None, :]
    place_o = (image * stride_n + row * stride_y + column * stride_x)[:, None] + (channel * stride_c)[None, :]
    kept = wanted[:, None] & known[None, :]
    if SCALED:
        scale = tl.load(scales + channel, mask=known, other=0.0)
        tl.store(out + place_o, total.to(tl.float32) * scale[None, :], mask=kept)
    else:
        tl.store(out + place_o, total.to(tl.int64), mask=kept)
