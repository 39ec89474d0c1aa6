"""The command line. Heavy imports stay inside the commands, so that `carrysave --help` answers at once."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from carrysave import __version__
from carrysave.design_command import design
from carrysave.run_command import run

if TYPE_CHECKING:
    from carrysave.results import Results

MANY = ("--multiplier", "--liberty")  # options that take several values: --multiplier exact kulkarni drum:k=6


def spread(arguments: list[str]) -> list[str]:
    """`--multiplier a b` -> `--multiplier a --multiplier b`, up to the next option, file or `file.py:object`."""
    out: list[str] = []
    current = ""
    for argument in arguments:
        named, equals, _ = argument.partition("=")
        if argument.startswith("-") and argument != "-":
            current = named if named in MANY and not equals else ""
            out.append(argument)
            continue
        if current and (argument.endswith((".toml", ".onnx")) or ".py:" in argument):
            current = ""
        if current and out[-1] != current:
            out.append(current)
        out.append(argument)
    return out


class _ManyValues(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args))


class _Group(TyperGroup):
    """Turns what a user can put right into one message and exit code 2; `--debug` shows the traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("carrysave: stopped", file=sys.stderr)
            raise typer.Exit(130) from None
        except Exception as error:
            if ctx.params.get("debug") or not _is_for_the_user(error):
                raise
            print(f"carrysave: {_message(error)}", file=sys.stderr)
            raise typer.Exit(2) from None


def _is_for_the_user(error: Exception) -> bool:
    """Wrong input and files, what is not supported, and every error that is carrysave's own (its text says what to
    do); anything else is a defect and keeps its traceback.
    """
    expected = (ValueError, OSError, NotImplementedError, OverflowError, MemoryError)
    return isinstance(error, expected) or type(error).__module__.partition(".")[0] == "carrysave"


def _message(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return (text or type(error).__name__) + notes


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="With which low-cost arithmetic does a neural network still work, and what does it save?",
)

Json = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]
Liberty = Annotated[
    list[Path] | None,
    typer.Option(
        "--liberty", help="Standard cells to synthesise with: Liberty files (.gz too). Default: a compact ASAP7."
    ),
]
Spec = Annotated[
    str, typer.Argument(help="A multiplier, such as drum:k=6; `carrysave list` names them.", metavar="SPEC")
]


def _version(value: bool) -> None:
    if value:
        native = "yes" if importlib.util.find_spec("carrysave._native") else "no (slower, same results)"
        print(
            f"carrysave {__version__}\nnative module: {native}\n"
            f"torch: {_installed('torch')}\nyosys: {_installed('pyosys')}"
        )
        raise typer.Exit()


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"missing (pip install {name})"


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Versions of carrysave and its tools.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


@app.command(cls=_ManyValues)
def explore(
    what: Annotated[
        str,
        typer.Argument(
            help="A study (STUDY.toml), or a network: lenet, my_net.py:model (executed).", metavar="STUDY|NETWORK"
        ),
    ],
    data: Annotated[
        str | None, typer.Option(help="For a network: digits, mnist, fashion_mnist, or my_data.py:test (executed).")
    ] = None,
    calibration_data: Annotated[
        str | None, typer.Option(help="Data for ranges. Default: the data's training half.")
    ] = None,
    multiplier: Annotated[
        list[str] | None, typer.Option(help="Several may follow: --multiplier exact kulkarni drum:k=6")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report to this .html file.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Write the figures as PNG and SVG into this folder.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the data sets.")] = None,
    liberty: Liberty = None,
    store: Annotated[
        Path | None, typer.Option(help="File that keeps finished trials. Default: in the cache folder.")
    ] = None,
    effort: Annotated[
        str | None, typer.Option(help="Synthesis for a network on the command line: quick or normal.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed for a network on the command line.")] = None,
    frequency: Annotated[
        str | None, typer.Option(help="Clock of power and energy for a network on the command line. Default: 1GHz.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Accuracy, area, delay and energy of a network with each multiplier; what was computed before is kept."""
    from carrysave.report.progress import shown

    options = {
        "--data": data,
        "--calibration-data": calibration_data,
        "--multiplier": multiplier,
        "--effort": effort,
        "--seed": seed,
        "--frequency": frequency,
    }
    study = _study(what, options)
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--report {report}: the report is an HTML file; give it a name ending in .html")
    for path in (report, figures / "x" if figures else None):
        if path is not None:
            _check_writable(path)
    from carrysave.exploration import default_store, run_study
    from carrysave.store import Store

    place = store or default_store()
    with Store(place) as opened:
        before = len(opened)
        try:
            with shown() as progress:
                results = run_study(study, store=opened, data_root=data_root, liberty=liberty or (), progress=progress)
        except KeyboardInterrupt:
            _say_stopped(place, len(opened) - before, len(opened))
            raise typer.Exit(130) from None
    _deliver(results, report, figures, as_json)


def _study(what: str, options: dict[str, Any]) -> Any:
    from carrysave.study import load_study, study_of_network

    given = {name: value for name, value in options.items() if value is not None}
    if what.endswith(".toml"):
        if given:
            raise ValueError(
                f"{', '.join(given)}: the study file {what} says this; edit it, or name a network instead of a study"
            )
        return load_study(what)
    if options["--data"] is None or not options["--multiplier"]:
        raise ValueError(
            f"'{what}' is no study (STUDY.toml); for a network add --data and --multiplier: "
            "carrysave explore my_net.py:model --data my_data.py:test --multiplier exact kulkarni drum:k=6"
        )
    values = {name[2:].replace("-", "_"): value for name, value in given.items()}
    if "frequency" in values:
        from carrysave.hardware.clocks import parse_frequencies

        clocks = parse_frequencies(values.pop("frequency"))
        if len(clocks) > 1:
            raise ValueError(
                f"--frequency: an exploration has one clock, not {len(clocks)}; `carrysave synth` has many"
            )
        values["frequency_ghz"] = clocks[0]
    return study_of_network(what, values)


def _check_writable(path: Path) -> None:
    """Find out before the work, not after it."""
    import os

    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write {path}: {folder} is not a folder that can be written")


def _say_stopped(place: Path, new: int, total: int) -> None:
    print(
        f"carrysave: stopped. Finished trials of this run: {new}, kept in {place} ({total} there in all); "
        "the same command goes on from there.",
        file=sys.stderr,
    )


def _deliver(results: Results, report: Path | None, figures: Path | None, as_json: bool) -> None:
    from rich.console import Console

    from carrysave.report import save_figures
    from carrysave.report.terminal import print_results

    if as_json:
        print(json.dumps(results.to_dict(), indent=1))
    else:
        print_results(results, _console(Console))
    written = [results.save(report)] if report else []
    if figures:
        written += save_figures(results, figures)
    kept = sum(ran.kept for ran in results.ran)
    print(f"\n{len(results.ran)} trials in {results.seconds:.1f} s, {kept} of them kept from before", file=sys.stderr)
    for path in written[:1] if report else []:
        print(f"report: {path}", file=sys.stderr)
    if figures:
        print(f"figures: {figures}{'/' if not str(figures).endswith('/') else ''}", file=sys.stderr)


def _console(make: Any) -> Any:
    """A terminal has its own width; a file or pipe gets one that holds all columns."""
    return make() if sys.stdout.isatty() else make(width=120)


@app.command(cls=_ManyValues)
def show(
    spec: Spec,
    liberty: Liberty = None,
    map: Annotated[Path | None, typer.Option("--map", help="Write the error map to this .png file.")] = None,
    effort: Annotated[str, typer.Option(help="Synthesis: quick or normal.")] = "normal",
    as_json: Json = False,
) -> None:
    """Errors, rank, engine, error map, area, delay, critical path and power of one multiplier; or a hardware unit."""
    from carrysave.description import describe, error_picture
    from carrysave.hardware.units.of_multiplier import check_known, is_unit

    check_known(spec)
    if is_unit(spec):
        _show_unit(spec, liberty or [], map, effort, as_json)
        return
    if map is not None:
        _check_writable(map)
    record, errors = describe(spec, liberty or [], effort)
    if map is not None:
        from carrysave.paths import write_atomically

        write_atomically(map, error_picture(record["spec"], errors, map))
    if as_json:
        print(json.dumps(record, indent=1))
        return
    from rich.console import Console

    from carrysave.report.terminal import print_multiplier

    print_multiplier(record, errors, _console(Console))
    if map is not None:
        print(f"error map: {map}", file=sys.stderr)


def _show_unit(spec: str, liberty: list[Path], map: Path | None, effort: str, as_json: bool) -> None:
    from rich.console import Console

    from carrysave.report.units import print_unit
    from carrysave.unit_command import describe_unit

    if map is not None:
        raise ValueError(f"--map {map}: {spec} is a hardware unit; an error map is drawn of a multiplier")
    record = describe_unit(spec, liberty, effort)
    print(json.dumps(record, indent=1)) if as_json else print_unit(record, _console(Console))


@app.command(cls=_ManyValues)
def synth(
    specs: Annotated[
        list[str], typer.Argument(help="Multipliers and units: exact drum:k=6 rccm:2add.", metavar="SPEC...")
    ],
    frequency: Annotated[str | None, typer.Option(help="Clocks, such as 1GHz,2.5GHz,800MHz.")] = None,
    fpga: Annotated[
        str | None, typer.Option(help="Instead of cells: an FPGA family (xc7, xcu, xcup) or a device (ku115, zu3).")
    ] = None,
    liberty: Liberty = None,
    operands: Annotated[
        Path | None,
        typer.Option(help="Operands for a second power: a calibration, or histograms a and b of codes (.npz)."),
    ] = None,
    effort: Annotated[str, typer.Option(help="Synthesis: quick or normal.")] = "normal",
    as_json: Json = False,
) -> None:
    """For each clock the smallest design that meets it, its area and power there; or what designs take on an FPGA."""
    from rich.console import Console

    from carrysave.report.progress import shown
    from carrysave.report.terminal import print_clocks
    from carrysave.report.units import print_fpga
    from carrysave.unit_command import synthesized

    with shown() as progress:
        record = synthesized(specs, frequency, fpga, liberty or [], operands, effort, progress)
    if as_json:
        print(json.dumps(record, indent=1))
        return
    (print_fpga if fpga else print_clocks)(record, _console(Console))


@app.command()
def verilog(
    spec: Spec,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write. Default: standard output.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the module.")] = None,
) -> None:
    """The multiplier or hardware unit as a Verilog module."""
    from carrysave.hardware.units.of_multiplier import any_unit
    from carrysave.paths import write_atomically

    if output is not None:
        _check_writable(output)
    text = any_unit(spec).circuit(name).verilog()
    if output is None:
        print(text)
        return
    write_atomically(output, text.encode())
    print(f"{output}: {text.count(chr(10))} lines", file=sys.stderr)


@app.command()
def table(
    spec: Spec,
    output: Annotated[Path, typer.Option("-o", "--output", help="NumPy file (.npy) to write.")],
) -> None:
    """All products as an int32 NumPy table, a row per bit pattern of the first operand; up to 12-bit operands."""
    import io

    import numpy as np

    from carrysave import multiplier
    from carrysave import table as products_of
    from carrysave.paths import write_atomically

    if output.suffix != ".npy":
        raise ValueError(f"-o {output}: a table is a NumPy file; give it a name ending in .npy")
    _check_writable(output)
    m = multiplier(spec)
    if max(m.a_bits, m.b_bits) > 12:
        raise ValueError(
            f"{m.spec}: a table of {m.a_bits} x {m.b_bits} bits is too large; tables go to 12 bits an operand"
        )
    products = products_of(m)
    buffer = io.BytesIO()
    np.save(buffer, products.astype(np.int32), allow_pickle=False)
    write_atomically(output, buffer.getvalue())
    print(
        f"{output}: {products.shape[0]} x {products.shape[1]} products, {products.min()} to {products.max()}",
        file=sys.stderr,
    )


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="multipliers or units.", metavar="WHAT")] = "multipliers",
    as_json: Json = False,
) -> None:
    """The multipliers there are, or the hardware units, each in one line."""
    from carrysave.description import listed

    entries = listed(what)
    if as_json:
        print(json.dumps(entries, indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    for entry in entries:
        grid.add_row(
            Text(entry["name"], "bold"), Text(entry["description"]), Text(", ".join(entry["parameters"]), "dim")
        )
    _console(Console).print(grid)


@app.command(cls=_ManyValues)
def reproduce(
    name: Annotated[str | None, typer.Argument(help="A table or figure; without it, all that there are.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder that holds the data sets.")] = None,
    liberty: Liberty = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the table to this .md file.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Write the curves, where there are some, to this .png.")] = None,
    as_json: Json = False,
) -> None:
    """A paper's table or figure computed again, its figures beside ours."""
    from rich.console import Console

    from carrysave.paths import write_atomically
    from carrysave.report.progress import shown
    from carrysave.report.reproduced import picture, print_reproduction
    from carrysave.reproductions import REPRODUCTIONS, Setting
    from carrysave.reproductions.base import named

    if name is None:
        entries = {entry.name: entry.what for entry in REPRODUCTIONS.values()}
        lines = [f"{key}  {entries[key]}" for key in sorted(entries)]
        print(json.dumps(entries, indent=1) if as_json else "\n".join(lines))
        return
    entry = named(name)
    for path in (output, figure):
        if path is not None:
            _check_writable(path)
    with shown() as progress:
        made = entry.run(Setting(data_root, tuple(liberty or ()), progress))
    if output is not None:
        write_atomically(output, made.markdown(f"carrysave reproduce {name}").encode())
    if figure is not None and (drawn := picture(made)) is not None:
        write_atomically(figure, drawn)
    if as_json:
        print(json.dumps(made.to_dict(), indent=1))
        return
    print_reproduction(made, _console(Console))


@app.command()
def bench(
    case: Annotated[list[str] | None, typer.Option(help="Only cases whose name begins so; repeatable.")] = None,
    multiplier: Annotated[
        list[str] | None, typer.Option(help="Only multipliers whose name begins so; repeatable.")
    ] = None,
    threads: Annotated[
        list[int] | None, typer.Option(help="Threads that torch may use; repeatable. Default: one, then all.", min=1)
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed rounds, of which the medians are shown.", min=1)] = 5,
    memory: Annotated[bool, typer.Option(help="Measure peak memory too, each figure in its own process.")] = True,
    picture: Annotated[Path | None, typer.Option(help="Draw the speeds into this .png or .svg file.")] = None,
    as_json: Json = False,
) -> None:
    """The engines against torch's float32 on this machine; their exactness is checked first."""
    from carrysave.report import benchmark

    benchmark.run(case or [], multiplier or [], threads or [], repeats, memory, picture, as_json)


app.command(cls=_ManyValues)(run)
app.command(cls=_ManyValues)(design)


def main() -> None:
    """The `carrysave` command."""
    app()
