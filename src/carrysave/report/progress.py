"""Progress of an exploration: bars on a terminal, one JSON object a line elsewhere; both on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

STAGES = {
    "network": "Network",
    "calibration": "Calibration",
    "accuracy": "Accuracy",
    "errors": "Errors",
    "cost": "Synthesis",
    "power": "Power",
    "search": "Search",
    "synthesis": "Synthesis",
    "clock": "At a clock",
}


@contextmanager
def shown() -> Iterator[Callable[[Any], None]]:
    """A function that takes trials.Event objects and shows them as fits where standard error goes."""
    if not sys.stderr.isatty():
        yield _line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[last]}"),
    )
    bars = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, Any] = {}

    def update(event: Any) -> None:
        if event.stage == "network" and event.done == 0:
            return  # training, where needed, shows a bar of its own; this display starts after it
        if not tasks:
            bars.start()
        if event.stage not in tasks:
            tasks[event.stage] = bars.add_task(STAGES.get(event.stage, event.stage), total=event.total, last="")
        last = event.name + (" (kept)" if event.kept else "")
        bars.update(tasks[event.stage], completed=event.done, last=last if event.done < event.total else "")

    try:
        yield update
    finally:
        bars.stop()


def _line(event: Any) -> None:
    record = {"event": "trial" if event.done else "start", **asdict(event), "seconds": round(event.seconds, 3)}
    print(json.dumps(record), file=sys.stderr, flush=True)
