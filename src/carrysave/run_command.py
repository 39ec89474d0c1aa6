"""`carrysave run`: an ONNX file under several multipliers. Heavy imports stay inside, as in cli.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def run(
    model: Annotated[Path, typer.Argument(help="An ONNX file, float or quantized.", metavar="MODEL.onnx")],
    data: Annotated[
        str,
        typer.Option(
            help="digits, mnist, fashion_mnist, ...; samples.npz with arrays x and y (labels; may be absent); or "
            "my_data.py:test (executed)."
        ),
    ],
    multiplier: Annotated[
        list[str] | None, typer.Option(help="Several may follow: --multiplier exact kulkarni table:products.csv")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A TOML file with [[recipes]], as a study has them; a row for each.")
    ] = None,
    calibration_data: Annotated[
        str | None, typer.Option(help="Data for ranges, as --data. Default: the data's training half.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples to calibrate on.", min=1)] = 512,
    test_samples: Annotated[
        int | None, typer.Option(help="Take only the first so many samples of --data.", min=1)
    ] = None,
    output: Annotated[str | None, typer.Option(help="The graph's output to judge, where it has several.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the data sets.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of calibration samples.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
) -> None:
    """An ONNX network with each multiplier: accuracy, or how far its outputs move from float."""
    if not multiplier and recipe is None:
        raise ValueError(
            f"what shall {model} be run with? Add --multiplier: carrysave run {model} --data {data} "
            "--multiplier kulkarni drum:k=6"
        )
    from carrysave.questions import study_recipe
    from carrysave.report.progress import shown
    from carrysave.samples import load_samples
    from carrysave.study import load_recipes
    from carrysave.toolbox import run as run_network

    found = None if recipe is None else load_recipes(recipe)
    recipes = {table.name: study_recipe(found, table.rules) for table in found.recipes} if found is not None else {}
    training, test = load_samples(data, data_root)
    if calibration_data is not None:
        chosen = load_samples(calibration_data, data_root)
        training = chosen[0] or chosen[1]
    with shown() as progress:
        result = run_network(
            model,
            test if test_samples is None else test.first(test_samples),
            multiplier or [],
            recipes=recipes,
            calibration=training,
            samples=samples,
            seed=seed,
            output=output,
            progress=progress,
        )
    if as_json:
        print(json.dumps(result.to_dict(), indent=1))
        return
    from rich.console import Console

    from carrysave.report.runs import print_run

    print_run(result, Console() if sys.stdout.isatty() else Console(width=120))
