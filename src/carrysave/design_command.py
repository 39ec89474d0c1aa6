"""`carrysave design`: multipliers made for a network. Heavy imports stay inside, as in cli.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from carrysave.evaluation import Accuracy
    from carrysave.methods.heam import Designed, Designs
    from carrysave.trials import Progress

METHODS = ("heam",)
TESTED = ("best", "all", "none")


def design(
    method: Annotated[str, typer.Argument(help="How: heam.", metavar="METHOD")],
    network: Annotated[str, typer.Option(help="For which network: lenet, or my_net.py:model (executed).")],
    data: Annotated[
        str, typer.Option(help="Its data: digits, mnist, fashion_mnist, ..., or my_data.py:test (executed).")
    ],
    layer: Annotated[str | None, typer.Option(help="For this layer's operands alone. Default: all layers'.")] = None,
    bits: Annotated[int, typer.Option(help="Operand bits.", min=2, max=16)] = 8,
    side: Annotated[
        str | None, typer.Option(help="Whose rows are compressed: x (activation) or y (weight). Default: both tried.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(help="How many rows are compressed. Default: several, then all at once.")
    ] = None,
    largest: Annotated[int, typer.Option(help="Bits of the largest group, 2 to 4.")] = 2,
    max_error: Annotated[
        float | None, typer.Option(help="Only designs with at most this expected squared error.")
    ] = None,
    max_area: Annotated[float | None, typer.Option(help="Only designs with at most this area [um2].")] = None,
    mean_weight: Annotated[
        float,
        typer.Option(
            help="Weight of the squared mean error, which adds up in a sum of products. 0: the paper's equation 5.",
            min=0.0,
        ),
    ] = 0.0,
    finalists: Annotated[int, typer.Option(help="Designs that are synthesised.", min=1)] = 8,
    calibration_data: Annotated[
        str | None, typer.Option(help="Data for ranges. Default: the data's training half.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Draw so many operand pairs, as the paper does for 16 bits. Default: exact.")
    ] = None,
    accuracy: Annotated[
        str,
        typer.Option(
            help="Test the network with: best (exact, HEAM, the smallest design that beats it), all of the set, none."
        ),
    ] = "best",
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the data sets.")] = None,
    liberty: Annotated[
        list[Path] | None,
        typer.Option("--liberty", help="Standard cells: Liberty files (.gz too). Default: a compact ASAP7."),
    ] = None,
    effort: Annotated[str, typer.Option(help="Synthesis: quick or normal.")] = "quick",
    frequency: Annotated[str, typer.Option(help="Clock that circuits must meet.")] = "1GHz",
    seed: Annotated[int, typer.Option(help="Seed of calibration and search.", min=0)] = 0,
    output: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", "--report", help="Write to .png, .svg, .pdf, .md or .json; may be repeated."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for the designs, one JSON file each: compressed:FOLDER/NAME.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
) -> None:
    """Multipliers from a network's own operands: the Pareto set of error, area, delay and power. Ctrl-C ends a search
    early with the best so far.
    """
    from carrysave.hardware.clocks import parse_frequencies
    from carrysave.registry import nearest
    from carrysave.report.designs import check_output
    from carrysave.report.progress import shown

    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}{nearest(method, METHODS)}; known: {', '.join(METHODS)}")
    if effort not in ("quick", "normal"):
        raise ValueError(f"--effort {effort}: it is quick or normal")
    if accuracy not in TESTED:
        raise ValueError(f"--accuracy {accuracy}: it is {', '.join(TESTED)}")
    clocks = parse_frequencies(frequency)
    if len(clocks) != 1:
        raise ValueError(f"--frequency {frequency}: circuits meet one clock")
    for path in output or ():
        check_output(path)
    asked: dict[str, Any] = {
        "layer": layer,
        "operands": ("x", "y") if side is None else (side,),
        "rows": None if rows is None else [rows],
        "largest": largest,
        "finalists": finalists,
        "max_error": max_error,
        "max_area_um2": max_area,
        "mean_weight": mean_weight,
        "effort": effort,
        "frequency_ghz": clocks[0],
        "samples": samples,
        "seed": seed,
    }
    with shown() as progress:
        found, accuracies = _designed(
            network, data, calibration_data, data_root, liberty or [], bits, accuracy, asked, progress
        )
    _deliver(found, accuracies, f"{network} on {data}", output or [], save, as_json)


def _designed(
    network: str,
    data: str,
    calibration_data: str | None,
    data_root: Path | None,
    liberty: list[Path],
    bits: int,
    accuracy: str,
    asked: dict[str, Any],
    progress: Progress,
) -> tuple[Designs, dict[str, Accuracy]]:
    """The designs, and by spec the accuracy of those that `accuracy` asks for."""
    from carrysave.calibration import calibrate
    from carrysave.hardware.liberty import read_liberty
    from carrysave.loading import load
    from carrysave.methods import heam
    from carrysave.recipes import Arithmetic
    from carrysave.trials import Event

    library = read_liberty(liberty) if liberty else None
    seed = asked["seed"]
    progress(Event("network", "", 0, 1))
    loaded = load(network, data, calibration_data=calibration_data, data_root=data_root, seed=seed)
    progress(Event("network", network, 1, 1))
    progress(Event("calibration", "", 0, 1))
    calibration = calibrate(loaded.model, loaded.calibration_data, samples=512, seed=seed)
    progress(Event("calibration", network, 1, 1))
    found = heam.designs(
        calibration,
        arithmetic=Arithmetic.natural(f"exact:n={bits}"),
        library=library,
        progress=lambda stage, done, total, name: progress(Event(stage, name, done, total)),
        **asked,
    )
    if found.interrupted:
        return found, {}
    return found, _accuracies(loaded.model, calibration, loaded.test, _tested(found, accuracy), progress)


def _tested(found: Designs, which: str) -> list[Designed]:
    """The rows whose accuracy is asked for; the best design is the smallest that beats the published one, else the
    smallest of the set."""
    if which == "none":
        return []
    designs = [row for row in found.pareto if row.label == "design"]
    if which == "best":
        designs = [row for row in designs if row in found.better][:1] or designs[:1]
    return [row for row in found.rows if row.label != "design" or row in designs]


def _accuracies(
    model: Any, calibration: Any, test: Any, rows: list[Designed], progress: Progress
) -> dict[str, Accuracy]:
    """By spec; what Ctrl-C leaves out is missing."""
    from carrysave.emulation import emulate
    from carrysave.evaluation import evaluate
    from carrysave.trials import Event

    found: dict[str, Accuracy] = {}
    try:
        for done, row in enumerate(rows):
            progress(Event("accuracy", row.spec if row.label == "design" else row.label, done, len(rows)))
            found[row.spec] = evaluate(emulate(model, calibration, multiplier=row.multiplier), test)
        progress(Event("accuracy", "", len(rows), len(rows)))
    except KeyboardInterrupt:
        pass
    return found


def _deliver(
    found: Designs,
    accuracies: dict[str, Accuracy],
    title: str,
    outputs: list[Path],
    save: Path | None,
    as_json: bool,
) -> None:
    from rich.console import Console

    from carrysave.report.designs import print_designs, save_designs, to_dict, write

    if as_json:
        print(json.dumps(to_dict(found, accuracies, title), indent=1))
    else:
        print_designs(found, accuracies, title, Console() if sys.stdout.isatty() else Console(width=120))
    for path in outputs:
        write(found, accuracies, title, path, " ".join(["carrysave", *sys.argv[1:]]))
        print(f"written: {path}", file=sys.stderr)
    if save is not None:
        for path in save_designs(found, save):
            print(f"design: compressed:{path}", file=sys.stderr)
