"""Peak memory of a forward pass, each measured in a process of its own.

The figure is the process's largest resident set during one forward pass, less what it had before the network was made:
weights, prepared factors and tables, activations and scratch memory, without the code of Python, torch and the kernels,
which a tiny layer brings into memory before.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from carrysave.bench.cases import CASES, ENTRIES, NETWORKS, Case, Entry, Subject
from carrysave.calibration import calibrate
from carrysave.emulation import emulate
from carrysave.recipes import Recipe, Rule

SECONDS = 600
_FLOAT32 = "float32"


@dataclass(frozen=True)
class Memory:
    """Peak bytes of a forward pass beside float32's."""

    case: str
    entry: str
    peak_bytes: int
    float32_bytes: int

    @property
    def against_float32(self) -> float:
        return self.peak_bytes / self.float32_bytes


def measurable() -> bool:
    """True where the system tells the peak of a stretch of time: on Linux."""
    return os.access("/proc/self/clear_refs", os.W_OK)


def peak_memory(case: Subject, entries: tuple[Entry, ...], threads: int = 1) -> list[Memory]:
    """Peak memory of the case for each of the entries.

    Raises:
        RuntimeError: where it cannot be measured, or a measuring process fails, with the end of what it said.
    """
    if not measurable():
        raise RuntimeError("bench: peak memory is measured through /proc/self/clear_refs, which is not here")
    base = _in_child(case.name, _FLOAT32, threads)
    return [Memory(case.name, e.name, _in_child(case.name, e.name, threads), base) for e in entries]


def _in_child(case: str, entry: str, threads: int) -> int:
    command = [sys.executable, "-m", "carrysave.bench.memory", case, entry, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(f"bench: measuring the memory of {entry} on {case} failed: {done.stderr.strip()[-400:]}")
    return int(json.loads(done.stdout)["peak_bytes"])


def _measured(case: str, entry: str) -> int:
    """Runs in the child."""
    subject = next(c for c in CASES + NETWORKS if c.name == case)
    for tiny in (_FLOAT32, entry):  # brings into memory what of Python, torch and the kernels is used
        net, x = _net(Case("tiny", 1, 4, 4, 4, 3), tiny)
        with torch.no_grad():
            net(x)
    _forget_peak()
    before = _status("VmRSS")
    net, x = _net(subject, entry)
    with torch.no_grad():
        net(x)  # prepared, and scratch memory in place
        _forget_peak()
        net(x)
    return _status("VmHWM") - before


def _net(subject: Subject, entry: str) -> tuple[torch.nn.Module, torch.Tensor]:
    module, x = subject.layer(torch.Generator().manual_seed(0))
    if entry == _FLOAT32:
        return module, x
    arithmetic = next(e for e in ENTRIES if e.name == entry).arithmetic
    return emulate(module, calibrate(module, x, samples=len(x)), Recipe([Rule("*", arithmetic)])), x


def _forget_peak() -> None:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps({"peak_bytes": _measured(sys.argv[1], sys.argv[2])}))
