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
def expand_values(
    values: Any,
    scale: float,
    zero: int,
    low: int,
    high: int,
    padding: tuple[int, int],
    tables: Any,
    layout: str,
    out: Any,
    addend: Any,
    sums: Any,
    threads: int,
) -> None: ...
def expand_codes(
    codes: Any,
    pad: int,
    padding: tuple[int, int],
    tables: Any,
    layout: str,
    out: Any,
    addend: Any,
    sums: Any,
    threads: int,
) -> None: ...
def box_sum(
    sums: Any, box: Any, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], threads: int
) -> None: ...
def finish(parts: Any, box: Any, constant: Any, scale: Any, bound: float, out: Any, threads: int) -> None: ...
