"""The table engine: a look-up per product, for any table. Natively in registers (native/table.h), else in torch."""

from __future__ import annotations

from dataclasses import dataclass

from carrysave import native
from carrysave.engines import table_native
from carrysave.engines.problem import Prepared, Problem
from carrysave.engines.table_torch import LayerInTorch, MatmulInTorch


@dataclass(frozen=True)
class Table:
    name: str = "table"

    def refuses(self, problem: Problem) -> str | None:
        if problem.products.has_table:
            return None
        return f"{problem.products.multiplier} with these formats is too wide for a table"

    def prepare(self, problem: Problem) -> Prepared:
        prepared = table_native.prepare(problem)
        if isinstance(prepared, Prepared):
            return prepared
        native.warn_if_missing()
        torch_engine = MatmulInTorch if problem.geometry.kind == "matmul" else LayerInTorch
        return Prepared(torch_engine(problem), f"in torch, since {prepared}")


TABLE = Table()
