"""Emulated layers and networks against torch's own float32 on this machine: exactness first, then speed and memory."""

from __future__ import annotations

from carrysave.bench.cases import CASES, ENTRIES, NETWORKS, Case, Entry, Gemm, Network, chosen
from carrysave.bench.memory import Memory, peak_memory
from carrysave.bench.speed import Row, check, measure

__all__ = [
    "CASES", "ENTRIES", "NETWORKS", "Case", "Entry", "Gemm", "Memory", "Network", "Row", "check", "chosen", "measure",
    "peak_memory",
]  # fmt: skip
