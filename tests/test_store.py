"""The store: whole trials or none, kept across processes that die."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from carrysave.results import Ran
from carrysave.store import LAYOUT, Store, StoreError, trial_key
from carrysave.trials import Runner


def put(store: Store, number: int, payload: bytes = b"") -> str:
    record = store.put(
        "cost", f"m{number}", {"n": number}, {"area": number / 3}, payload=payload, seconds=1.5, machine="here"
    )
    return record.key


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    with Store(tmp_path / "deep" / "s.sqlite") as store:
        key = put(store, 7, b"\x00\xff")
    with Store(tmp_path / "deep" / "s.sqlite") as store:
        found = store.get(key)
        assert found is not None
        assert (found.kind, found.name, found.inputs, found.result) == ("cost", "m7", {"n": 7}, {"area": 7 / 3})
        assert (found.payload, found.seconds, found.machine) == (b"\x00\xff", 1.5, "here")
        assert found.made.endswith("+00:00")
        assert store.get(trial_key("cost", {"n": 8})) is None
        put(store, 7)
        assert len(store) == 1


def test_a_key_depends_on_kind_and_every_input_and_not_on_their_order() -> None:
    key = trial_key("cost", {"a": 1, "b": [1, "x"]})
    assert key == trial_key("cost", {"b": [1, "x"], "a": 1})
    others = [("costs", {"a": 1, "b": [1, "x"]}), ("cost", {"a": 2, "b": [1, "x"]}), ("cost", {"a": 1, "b": ["x", 1]})]
    assert len({key, *(trial_key(kind, inputs) for kind, inputs in others)}) == 4


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as store:
        with pytest.raises(ValueError, match="not JSON compliant"):
            store.put("cost", "m", {"n": 1}, {"area": float("nan")}, seconds=0, machine="")
        assert len(store) == 0


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_bytes(b"this is no database, and longer than a header of one hundred bytes " * 4)
    before = text.read_bytes()
    with pytest.raises(StoreError, match=r"text\.sqlite is no store of trials .*--store PATH"):
        Store(text)
    assert text.read_bytes() == before
    later = tmp_path / "later.sqlite"
    database = sqlite3.connect(later)
    database.execute(f"pragma user_version = {LAYOUT + 1}")
    database.close()
    with pytest.raises(StoreError, match=f"a store of layout {LAYOUT + 1}, this version reads {LAYOUT}"):
        Store(later)


def test_a_file_damaged_beyond_its_header_says_so(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        for number in range(200):
            put(store, number)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    message = r"the store .*s\.sqlite is damaged \(.*move it away, and its trials run again, or choose .*--store PATH"
    with Store(path) as store:
        with pytest.raises(StoreError, match=message):
            len(store)
        with pytest.raises(StoreError, match=message):
            store.get(trial_key("cost", {"n": 3}))
        with pytest.raises(StoreError, match=message):
            put(store, 1000)
    path.unlink()
    with Store(path) as store:
        key = put(store, 1)
    database = sqlite3.connect(path)
    with database:
        database.execute("update trials set result = 'no json'")
    database.close()
    with Store(path) as store, pytest.raises(StoreError, match=message):
        store.get(key)


def test_a_place_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "s.sqlite"):
        with pytest.raises(OSError, match="cannot open the store .*--store PATH"):
            Store(path)


def test_threads_share_one_store(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite") as store:
        threads = [threading.Thread(target=lambda i=i: [put(store, 100 * i + j) for j in range(20)]) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store) == 80


DYING = """
import sys, os
from carrysave.store import Store
store = Store(sys.argv[1])
number = 0
while True:
    payload = bytes([number % 256]) * 50_000
    store.put("cost", f"m{number}", {"n": number}, {"value": number}, payload=payload, seconds=0, machine="")
    print(number, flush=True)
    number += 1
"""


def test_a_killed_process_leaves_whole_trials(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    process = subprocess.Popen([sys.executable, "-c", DYING, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(25)][-1]
    os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait(timeout=30)
    with Store(path) as store:
        count = len(store)
        assert count >= told + 1
        for number in range(count):
            found = store.get(trial_key("cost", {"n": number}))
            assert found is not None
            assert found.result == {"value": number}
            assert found.payload == bytes([number % 256]) * 50_000
        put(store, 10**6)
    database = sqlite3.connect(path)
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_runner_computes_a_trial_once(tmp_path: Path) -> None:
    calls = []

    def compute() -> tuple[dict[str, int], bytes]:
        calls.append(1)
        return {"x": 3}, b"bytes"

    for kept in (False, True, True):
        with Store(tmp_path / "s.sqlite") as store:
            runner = Runner(store)
            stored = runner.run("errors", "drum:k=6", {"multiplier": "abc"}, compute)
            assert (stored.result, stored.payload) == ({"x": 3}, b"bytes")
            (ran,) = runner.ran
            assert ran == Ran("errors", "drum:k=6", stored.seconds, stored.machine, stored.made, kept)
    assert len(calls) == 1


def test_a_trial_that_fails_is_not_kept(tmp_path: Path) -> None:
    def fail() -> tuple[dict[str, int], bytes]:
        raise ValueError("no")

    with Store(tmp_path / "s.sqlite") as store:
        with pytest.raises(ValueError, match="no"):
            Runner(store).run("errors", "m", {"multiplier": "abc"}, fail)
        assert len(store) == 0
