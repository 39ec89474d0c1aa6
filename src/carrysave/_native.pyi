from typing import Any

def cpu_features() -> list[str]: ...
def instruction_sets() -> list[str]: ...
def chosen_set() -> str: ...

class TableWeights:
    planes: int
    def __init__(self, table: Any, weights: Any, once: bool = False) -> None: ...

def table_conv(
    weights: TableWeights,
    codes: Any,
    out: Any,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    pad: int,
    constant: Any,
    threads: int,
) -> None: ...
def table_layer(
    weights: TableWeights,
    values: Any,
    out: Any,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    value_scale: float,
    zero: int,
    low: int,
    high: int,
    constant: Any,
    scale: Any,
    threads: int,
) -> None: ...
class DigitWeights:
    blocks: int
    def __init__(self, v: Any, passes: list[tuple[int, int]], groups: int, largest: Any) -> None: ...

def digit_layer(
    weights: DigitWeights,
    values: Any,
    scale: float,
    zero: int,
    low: int,
    high: int,
    out: Any,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    tables: Any,
    addend: Any,
    constant: Any,
    bound: float,
    scales: Any,
    threads: int,
) -> None: ...
def digit_sums(
    weights: DigitWeights,
    codes: Any,
    halo: int,
    out: Any,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    tables: Any,
    addend: Any,
    constant: Any,
    bound: float,
    threads: int,
) -> None: ...
def window_sums(
    sums: Any, box: Any, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], threads: int
) -> None: ...

class LogWeights32:
    def __init__(
        self, words: Any, groups: int, positions: int, rounding: str, largest: float, signed_words: bool
    ) -> None: ...

class LogWeights64:
    def __init__(
        self, words: Any, groups: int, positions: int, rounding: str, largest: float, signed_words: bool
    ) -> None: ...

def offset_sums(
    values: Any,
    padding: tuple[int, int],
    groups: int,
    scale: float,
    zero: int,
    low: int,
    high: int,
    sums: Any,
    threads: int,
) -> None: ...
def log_pairs_are_fast() -> bool: ...
def log_words16(
    logs: Any, present: Any, negative: Any, fraction_bits: int, rounding: str, weight: bool, out: Any
) -> None: ...
def log_words32(
    logs: Any, present: Any, negative: Any, fraction_bits: int, rounding: str, weight: bool, out: Any
) -> None: ...
def log_words64(
    logs: Any, present: Any, negative: Any, fraction_bits: int, rounding: str, weight: bool, out: Any
) -> None: ...
def log_conv(*arguments: Any) -> None: ...
def log_conv_words(*arguments: Any) -> None: ...
def log_layer(*arguments: Any) -> None: ...
