"""Results of trials, kept in one SQLite file: a stopped study goes on where it was, a finished one costs nothing.

A trial is known by the hash of what determines it (`trial_key`). Each is written in one transaction, so a process
that dies leaves whole trials or none.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

LAYOUT = 1

_TABLE = """
create table if not exists trials (
    key     text primary key,
    kind    text not null,
    name    text not null,
    inputs  text not null,
    result  text not null,
    payload blob not null,
    seconds real not null,
    machine text not null,
    made    text not null
)"""


def trial_key(kind: str, inputs: Mapping[str, Any]) -> str:
    """SHA-256 of what determines a trial; `inputs` are plain JSON values, the order of keys does not matter."""
    text = json.dumps({"kind": kind, "inputs": inputs}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Stored:
    """One finished trial: its result (JSON values), its bytes if it has any, how long it took, where and when."""

    key: str
    kind: str
    name: str
    inputs: dict[str, Any]
    result: dict[str, Any]
    payload: bytes
    seconds: float
    machine: str
    made: str


class StoreError(ValueError):
    """The file is no store of this version."""


class Store:
    """`path` is created with its folder. Threads may share one object, processes one file.

    Raises StoreError where the file is something else, OSError where it cannot be opened or written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        except (sqlite3.OperationalError, OSError) as error:
            raise OSError(f"cannot open the store {self.path}: {error}; choose another with --store PATH") from None
        try:
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")
            layout = self._db.execute("pragma user_version").fetchone()[0]
            if layout not in (0, LAYOUT):
                raise StoreError(
                    f"{self.path}: a store of layout {layout}, this version reads {LAYOUT}; "
                    f"choose another with --store PATH"
                )
            with self._db:
                self._db.execute(_TABLE)
                self._db.execute(f"pragma user_version = {LAYOUT}")
        except StoreError:
            self._db.close()
            raise
        except sqlite3.OperationalError as error:
            self._db.close()
            raise OSError(f"cannot write the store {self.path}: {error}; choose another with --store PATH") from None
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise StoreError(f"{self.path} is no store of trials ({error}); choose another with --store PATH") from None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __len__(self) -> int:
        with self._reading():
            return self._db.execute("select count(*) from trials").fetchone()[0]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One thread at a time; what SQLite cannot read is a StoreError."""
        try:
            with self._lock:
                yield
        except sqlite3.OperationalError as error:
            raise OSError(f"cannot read the store {self.path}: {error}; choose another with --store PATH") from None
        except (sqlite3.DatabaseError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            f"the store {self.path} is damaged ({error}); move it away, and its trials run again, or choose another "
            "with --store PATH"
        )

    def get(self, key: str) -> Stored | None:
        """The trial with this key, None where it has not been run. Raises StoreError where the file is damaged."""
        with self._reading():
            row = self._db.execute(
                "select key, kind, name, inputs, result, payload, seconds, machine, made from trials where key = ?",
                (key,),
            ).fetchone()
            if row is None:
                return None
            return Stored(row[0], row[1], row[2], json.loads(row[3]), json.loads(row[4]), *row[5:])

    def put(
        self,
        kind: str,
        name: str,
        inputs: Mapping[str, Any],
        result: Mapping[str, Any],
        *,
        payload: bytes = b"",
        seconds: float,
        machine: str,
    ) -> Stored:
        """Write one trial, whole or not at all; a trial of the same key is replaced."""
        key = trial_key(kind, inputs)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        texts = (json.dumps(inputs, sort_keys=True), json.dumps(result, allow_nan=False))
        try:
            with self._lock, self._db:
                self._db.execute(
                    "insert or replace into trials values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (key, kind, name, *texts, payload, seconds, machine, made),
                )
        except sqlite3.OperationalError as error:
            raise OSError(f"cannot write the store {self.path}: {error}; what was kept stays") from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None
        return Stored(key, kind, name, json.loads(texts[0]), json.loads(texts[1]), payload, seconds, machine, made)
