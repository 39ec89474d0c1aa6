"""Input vectors of a circuit under a stated activity: pairs of successive values of every input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carrysave.hardware.netlist import Netlist, NetlistError, ports
from carrysave.multipliers.base import Multiplier
from carrysave.planes import PlaneWord

COUNT = 8192  # the standard error of an 8-bit multiplier's energy is then about half a percent
_BATCHES = 32


@dataclass(frozen=True, eq=False)
class Vectors:
    """Successive values of the input ports.

    Attributes:
        label: what the vectors are, shown beside every figure computed from them.
        before, after: the values of each port, one lane per pair.
        in_order: the pairs follow each other in time, so their energies are not independent.
    """

    label: str
    before: Mapping[str, PlaneWord]
    after: Mapping[str, PlaneWord]
    in_order: bool = False

    @property
    def count(self) -> int:
        return next(iter(self.after.values())).lanes

    def planes(self, netlist: Netlist, which: str) -> dict[str, NDArray[np.uint64]]:
        """The planes of `before` or `after` by net. Raises NetlistError unless they fit the netlist's inputs."""
        words = self.before if which == "before" else self.after
        widths = ports(netlist.inputs)
        if widths != {name: word.width for name, word in words.items()}:
            given = {name: word.width for name, word in words.items()}
            raise NetlistError(f"netlist {netlist.name} has input ports {widths}, the vectors are for {given}")
        names = set(netlist.inputs)
        return {
            (port if port in names else f"{port}[{bit}]"): words[port].planes[bit]
            for port, width in widths.items()
            for bit in range(width)
        }

    def standard_error(self, values: NDArray[np.float64]) -> float:
        """Standard error of the mean of one value per pair; by batch means where the pairs are in order."""
        if self.in_order and values.size >= 2 * _BATCHES:
            values = np.array([part.mean() for part in np.array_split(values, _BATCHES)])
        return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("inf")


def toggling(widths: Mapping[str, int], rate: float = 0.1, count: int = COUNT, seed: int = 0) -> Vectors:
    """Every input bit 0 or 1 alike, and toggling with probability `rate` per cycle, independently.

    This is what published tables show that come from a commercial tool's default.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"an input toggle rate is 0 to 1 per cycle, not {rate}")
    generator = np.random.default_rng(seed)
    before, after = {}, {}
    for port, width in widths.items():
        bits = generator.random((width, count)) < 0.5
        flips = generator.random((width, count)) < rate
        before[port], after[port] = (PlaneWord(_pack(b), count) for b in (bits, bits ^ flips))
    return Vectors(f"input toggle rate {rate:g}", before, after)


def drawn(
    m: Multiplier, operands: tuple[ArrayLike, ArrayLike] | ArrayLike, label: str, count: int = COUNT, seed: int = 0
) -> Vectors:
    """Operand pairs drawn independently, cycle by cycle, from histograms of codes.

    Args:
        operands: (histogram of a [2^a_bits], histogram of b [2^b_bits]), or one joint histogram [2^a_bits, 2^b_bits];
        counts or
            probabilities.

    Raises:
        ValueError: for a wrong length, a negative or non-finite entry, or a sum of zero.
    """
    generator = np.random.default_rng(seed)
    if isinstance(operands, tuple):
        sides = [_probabilities(m, operands[k], (1 << bits,), "ab"[k]) for k, bits in enumerate((m.a_bits, m.b_bits))]
        draws = [generator.choice(p.size, size=2 * count, p=p) for p in sides]
    else:
        joint = _probabilities(m, operands, (1 << m.a_bits, 1 << m.b_bits), "a, b")
        flat = generator.choice(joint.size, size=2 * count, p=joint.reshape(-1))
        draws = [flat >> m.b_bits, flat & ((1 << m.b_bits) - 1)]
    widths = {"a": m.a_bits, "b": m.b_bits}
    before, after = (
        {port: PlaneWord.from_ints(codes[half], widths[port]) for port, codes in zip("ab", draws, strict=True)}
        for half in (slice(0, count), slice(count, None))
    )
    return Vectors(label, before, after)


def recorded(m: Multiplier, a: ArrayLike, b: ArrayLike, label: str) -> Vectors:
    """A recorded stream of operand codes (bit patterns), its order kept.

    Raises:
        ValueError: for streams of different lengths, codes outside the operand's width, or fewer than two pairs.
    """
    streams = {}
    for port, codes, bits in (("a", np.asarray(a).reshape(-1), m.a_bits), ("b", np.asarray(b).reshape(-1), m.b_bits)):
        if codes.size and (codes.min() < 0 or codes.max() >= 1 << bits):
            raise ValueError(
                f"{m.spec}: operand {port} has codes from {codes.min()} to {codes.max()}; it is {bits} bits wide"
            )
        streams[port] = codes
    if streams["a"].size != streams["b"].size or streams["a"].size < 3:
        sizes = " and ".join(str(s.size) for s in streams.values())
        raise ValueError(f"{m.spec}: streams of {sizes} codes; a standard error needs two equal ones of at least 3")
    before, after = (
        {
            port: PlaneWord.from_ints(s[part], bits)
            for (port, s), bits in zip(streams.items(), (m.a_bits, m.b_bits), strict=True)
        }
        for part in (slice(0, -1), slice(1, None))
    )
    return Vectors(label, before, after, in_order=True)


def _probabilities(m: Multiplier, histogram: ArrayLike, shape: tuple[int, ...], which: str) -> NDArray[np.float64]:
    values = np.asarray(histogram, dtype=np.float64)
    if values.shape != shape:
        raise ValueError(
            f"{m.spec}: operands of {which} have shape {values.shape}, expected {shape}: one entry per code"
        )
    if not np.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise ValueError(
            f"{m.spec}: operands of {which} hold negative, non-finite or only zero entries; they are counts"
        )
    return values / values.sum()


def _pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    packed = np.packbits(bits, axis=1, bitorder="little")
    return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)
