"""``bruno bench``: what the trainer costs and how right it is, measured on this machine."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bruno_spice.calibration.commands.shared import JsonOption, NeuronCardOption, messages, print_json
from bruno_spice.calibration.presentation.terminal import output
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.errors import InputError

TABLE_WIDTH = 130
"""Where standard output is no terminal."""


def bench_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Which; by default all of those below, half an hour."),
    ] = None,
    card: NeuronCardOption = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of every measurement.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: seconds, and no figures to quote.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for NAME.json and NAME.png.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure speed, accuracy, memory, gradients and how they grow.

    speed: FeLIF beside the fused 1 us Euler kernel and eager LIF layers; accuracy: solvers over a millisecond; memory:
    bytes kept for the backward pass; gradient: cosine and norm ratio to BPTT; norms: of gradients over 10 to 300 ms;
    devices: cost of gradients by device parameters; growth: time and peak memory of a fresh process by length, neurons
    and batch, beside BPTT over every microsecond; fused: the same work beside a compiled BPTT in the same solver and
    precision; scale: cost per neuron up to a million; frameworks: LIF of snnTorch and Norse at several sizes.

    Examples: `bruno bench speed`, `bruno bench growth --out reports/bench`, `bruno bench --quick --json`
    """
    from bruno_spice.training.studies.benchmarks import base as benchmark

    for name in names or []:
        if name not in benchmark.BENCHES:
            raise InputError(f"unknown benchmark '{name}'; there are {', '.join(benchmark.BENCHES)}")
    loaded = FeLIFCard.load(card or calibrated_card("felif"))
    printed: dict[str, Any] = {}
    for name in names or list(benchmark.BENCHES):
        with messages.status(f"{name}") as status:
            told = benchmark.about(threads)
            found = benchmark.measure(name, loaded, quick, threads, _teller(status))
        content = benchmark.as_dict(found, told)
        printed[name] = content
        if out is not None:
            from bruno_spice.training.studies.benchmarks.figures import draw

            benchmark.write(out, name, content)
            draw(name, found, out / f"{name}.png")
        if not as_json:
            show(name, found)
    if as_json:
        print_json(printed)
    elif out is not None:
        typer.echo(f"wrote {out}: NAME.json and NAME.png of {', '.join(printed)}")


def _teller(status: Any) -> Any:
    """Tells what is being measured: in place on a terminal, a line for each thing elsewhere."""
    said: set[str] = set()

    def say(text: str) -> None:
        what = text.split(", turn ")[0]
        if messages.is_terminal:
            status.update(text)
        elif what not in said:
            messages.print(what, markup=False)
        said.add(what)

    return say


def show(name: str, found: Any) -> None:
    """Print the table, the figures of merit and the notes on standard output."""
    table = Table(title=f"{name}: {found.title}", title_justify="left", title_style="bold")
    for column in found.rows[0]:
        table.add_column(column, justify="left" if isinstance(found.rows[0][column], str) else "right")
    for row in found.rows:
        table.add_row(*(_cell(value) for value in row.values()))
    output(TABLE_WIDTH).print(table)
    for key, value in found.summary.items():
        typer.echo(f"{key:44} {value:.4g}")
    for note in found.notes:
        typer.echo(note)
    typer.echo()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
