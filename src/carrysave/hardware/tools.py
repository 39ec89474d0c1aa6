"""Yosys and ABC as child processes: argument lists, time limits, a temporary folder of their own, and errors that
explain.

Both come in the wheel `pyosys`. Yosys ends its process on an error, so it is never called in ours.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_YOSYS = "import sys\nfrom pyosys import libyosys as ys\nys.run_pass('script ' + sys.argv[1], ys.Design())\n"
LOG_LINES = 12
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FAILED = re.compile(r"\*\* cmd error|Error: |ERROR: |Cannot open input file")


class SynthesisError(RuntimeError):
    """Yosys or ABC failed; names the stage, what was expected of it, the last lines of its log, and what to do."""


class ToolTimeout(SynthesisError):
    """A tool gave no result within its time; others on the same design are not worth waiting for."""


@dataclass(frozen=True)
class Tools:
    """How Yosys and ABC are called.

    Attributes:
        yosys: command that runs the Yosys script given as its last argument.
        abc: command of ABC.
        version: what the results of these tools depend on; part of every cache key.
        seconds: time limit of one call.
    """

    yosys: tuple[str, ...]
    abc: tuple[str, ...]
    version: str
    seconds: float = 600.0

    @staticmethod
    @cache
    def installed() -> Tools:
        """The tools of the installed pyosys wheel. Raises SynthesisError if it is missing."""
        found = importlib.util.find_spec("pyosys")
        folder = Path(found.origin).parent if found and found.origin else None
        abc = folder / "yosys-abc" if folder else None
        if abc is None or not os.access(abc, os.X_OK):
            what = "pyosys is not installed" if abc is None else f"{abc} is missing or not executable"
            raise SynthesisError(f"{what}; synthesis needs Yosys and ABC: pip install pyosys")
        from importlib.metadata import version

        return Tools((sys.executable, "-c", _YOSYS), (str(abc),), "pyosys " + version("pyosys"))

    def run_yosys(self, stage: str, commands: str, files: Mapping[str, str], output: str) -> str:
        """Run Yosys commands over `files` in a temporary folder; the text of the file `output` that they write."""
        return self._run(stage, self.yosys, ("yosys.ys",), {**files, "yosys.ys": commands}, (output,))[0][output]

    def run_abc(
        self, stage: str, commands: str, files: Mapping[str, str], outputs: Sequence[str]
    ) -> tuple[dict[str, str], str]:
        """Run ABC commands likewise; the texts of `outputs`, and what ABC printed.

        ABC goes on after an unknown command, ends with status 0 all the same, and can write an empty file: the log and
        the outputs are looked at. Without outputs, what it printed is all there is.
        """
        return self._run(stage, self.abc, ("-q", "source -x abc.script"), {**files, "abc.script": commands}, outputs)

    def verilog(self, rtlil: str) -> str:
        """Verilog of an RTLIL text."""
        commands = "read_rtlil design.il\nproc\nopt_clean\nwrite_verilog -noattr design.v\n"
        return self.run_yosys("writing Verilog with Yosys", commands, {"design.il": rtlil}, "design.v")

    def _run(
        self,
        stage: str,
        command: tuple[str, ...],
        arguments: tuple[str, ...],
        files: Mapping[str, str],
        outputs: Sequence[str],
    ) -> tuple[dict[str, str], str]:
        with tempfile.TemporaryDirectory(prefix="carrysave-") as folder:
            for name, content in files.items():
                Path(folder, name).write_text(content)
            log = _ANSI.sub("", _call(stage, [*command, *arguments], folder, self.seconds))
            error = next((line for line in log.splitlines() if _FAILED.match(line)), None)
            if error:
                raise SynthesisError(failure(stage, f"it reported {error.strip()!r}", log))
            texts = {}
            for name in outputs:
                written = Path(folder, name)
                texts[name] = written.read_text() if written.is_file() else ""
                if not texts[name].strip():
                    raise SynthesisError(failure(stage, f"it ended without an error but wrote no {name}", log))
            return texts, log


def _call(stage: str, command: list[str], folder: str, seconds: float) -> str:
    """Run a command in `folder` and return what it printed; whatever it started ends with it."""
    log = Path(folder, "log.txt")
    try:
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise SynthesisError(
            f"{stage}: cannot start {command[0]}: {error.strerror}; is pyosys installed whole? "
            "pip install --force-reinstall pyosys"
        ) from None
    try:
        status = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        text = log.read_text(errors="replace")
        raise ToolTimeout(failure(stage, f"no result after {seconds:g} s, stopped", text)) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    text = log.read_text(errors="replace")
    if status:
        how = f"was ended by signal {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        raise SynthesisError(failure(stage, f"it {how}", text))
    return text


def failure(stage: str, problem: str, log: str) -> str:
    """The text of an error: what happened at which stage, the last lines of the log, and what to do."""
    lines = [line for line in log.splitlines() if line.strip()][-LOG_LINES:]
    tail = "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"
    return (
        f"{stage}: {problem}. Its last lines:\n{tail}\n"
        "  If this repeats: try the built-in library instead of --liberty, another effort, or reinstall pyosys."
    )
