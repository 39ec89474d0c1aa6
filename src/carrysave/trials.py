"""What determines a trial, as hashes, and how one is run: looked up in the store, else computed and kept there."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from carrysave import __version__
from carrysave.data import Batches, Dataset, batches_of
from carrysave.multipliers import Multiplier
from carrysave.results import Ran
from carrysave.running import logits
from carrysave.store import Store, Stored, trial_key
from carrysave.tables import multiply, operand_values, table

TABLE_BITS = 20  # both operands together: up to here a multiplier is known by all its products, above by a sample


@dataclass(frozen=True)
class Event:
    """Progress of one stage: `done` of `total`; `name` is what was finished last ("" at the start)."""

    stage: str
    name: str
    done: int
    total: int
    seconds: float = 0.0
    kept: bool = False


Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """Progress of which nothing is shown."""


def model_hash(model: nn.Module) -> str:
    """SHA-256 over the structure as printed, and every parameter and buffer by name, type, shape and content."""
    digest = hashlib.sha256(repr(model).encode())
    for name, tensor in sorted(model.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def forward_hash(model: nn.Module, data: Batches, images: int = 64) -> str:
    """SHA-256 over what `model` answers to the first images, bit by bit, and its classes' source where there is one.

    Structure and weights say nothing of the code between the layers; the answers do. Raises ModelError where the model
    fails.
    """
    digest = hashlib.sha256()
    for source in sorted({_source(type(module)) for module in model.modules()}):
        digest.update(source.encode())
    where = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    was_training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            for x, _ in batches_of(data, images):
                answers = logits(model, x[:images].to(where), "explore")
                digest.update(f"{answers.dtype} {tuple(answers.shape)}".encode())
                digest.update(answers.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
                break
    finally:
        for module, training in was_training.items():
            module.training = training
    return digest.hexdigest()


def _source(cls: type) -> str:
    """The class as written; "" for torch's own, which are known by torch's version, and where there is no text."""
    if cls.__module__.partition(".")[0] == "torch":
        return ""
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return ""


DRAWING = {"report", "reproductions", "cli.py", "bench.py", "description.py", "clocked.py"}  # they compute no trial


@cache
def program_hash() -> str:
    """SHA-256 over the package's own files: a change of carrysave's code makes new trials, whatever its version."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        inner = path.relative_to(package)
        if inner.parts[0] not in DRAWING:
            digest.update(f"{inner.as_posix()} {path.stat().st_size} ".encode() + path.read_bytes())
    native = importlib.util.find_spec("carrysave._native")
    if native is not None and native.origin is not None:
        digest.update(Path(native.origin).read_bytes())
    return digest.hexdigest()


def data_hash(data: Any) -> str:
    """SHA-256 over all images, and labels where there are some, in their order."""
    if isinstance(data, Dataset):
        return data.content_hash
    digest = hashlib.sha256()
    for batch in [data] if isinstance(data, torch.Tensor) else data:
        for part in batch if isinstance(batch, tuple | list) else (batch,):
            if isinstance(part, torch.Tensor):
                plain = part.detach().cpu().contiguous()
                digest.update(f"{plain.dtype} {tuple(plain.shape)}".encode() + plain.numpy().tobytes())
    return digest.hexdigest()


@cache
def multiplier_hash(m: Multiplier) -> str:
    """SHA-256 over what `m` computes: its whole table, or the key and 65,536 seeded products of a wide one."""
    digest = hashlib.sha256(f"{m.a_bits} {m.b_bits} {m.product_bits} {m.signed}".encode())
    if m.a_bits + m.b_bits <= TABLE_BITS:
        products = table(m)
    else:
        random = np.random.default_rng(0)
        x, y = (operands(random.integers(0, 1 << bits, 1 << 16), bits, m.signed) for bits in (m.a_bits, m.b_bits))
        products = multiply(m, x, y)
        digest.update(m.key.encode())  # two wide ones may differ outside the sample
    digest.update(np.ascontiguousarray(products).astype("<i8").tobytes())
    return digest.hexdigest()


def operands(patterns: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Bit patterns -> operand values."""
    if bits <= 12:
        return operand_values(bits, signed)[patterns]
    return np.where(signed & (patterns >= 1 << (bits - 1)), patterns - (1 << bits), patterns)


@cache
def machine() -> str:
    """The processor, torch and its threads, in one line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text(errors="replace").splitlines()
            if "model name" in line
        ]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} threads"


@dataclass
class Runner:
    """Runs trials against a store, and lists what ran."""

    store: Store
    progress: Progress = silent
    ran: list[Ran] = field(default_factory=list)

    def kept(self, kind: str, inputs: Mapping[str, Any]) -> Stored | None:
        """A trial's record from the store; None where it has still to be run."""
        return self.store.get(trial_key(kind, self._whole(inputs)))

    def run(
        self, kind: str, name: str, inputs: Mapping[str, Any], compute: Callable[[], tuple[dict[str, Any], bytes]]
    ) -> Stored:
        """The record of a trial: (result, payload) of `compute`, called only where the store has none."""
        found = self.kept(kind, inputs)
        if found is not None:
            return self.note(found, name, kept=True)
        start = time.perf_counter()
        result, payload = compute()
        return self.keep(kind, name, inputs, result, payload, time.perf_counter() - start)

    def keep(
        self, kind: str, name: str, inputs: Mapping[str, Any], result: Mapping[str, Any], payload: bytes, seconds: float
    ) -> Stored:
        """Write a finished trial."""
        stored = self.store.put(
            kind, name, self._whole(inputs), result, payload=payload, seconds=seconds, machine=machine()
        )
        return self.note(stored, name, kept=False)

    def note(self, stored: Stored, name: str, *, kept: bool) -> Stored:
        self.ran.append(Ran(stored.kind, name, stored.seconds, stored.machine, stored.made, kept))
        return stored

    def _whole(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"carrysave": __version__, "program": program_hash(), "torch": torch.__version__, **inputs}
