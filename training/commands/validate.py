"""``bruno validate``: a trained network back in SPICE."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from bruno_spice.calibration.commands.shared import JsonOption, SimulatorOption, WorkersOption, print_json
from bruno_spice.calibration.presentation.terminal import Terminal
from bruno_spice.devices.units import format_si
from bruno_spice.training.commands.options import TrustOption

Level = Literal["a", "b"]
COLOURS = {"ok": "green", "explained": "yellow", "flagged": "red"}


def validate_command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    neurons: Annotated[int, typer.Option(min=1, help="Spiking neurons, spread over their rates.")] = 20,
    pieces: Annotated[int, typer.Option(min=1, help="Test pieces, spread over the test part.")] = 10,
    milliseconds: Annotated[
        int | None, typer.Option(min=1, help="Of each piece, from its start (default: all).")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="hidden.0, ..., output (default: the last hidden layer).")] = None,
    level: Annotated[Level, typer.Option(help="a: the netlist of the card; b: its transistor version.")] = "a",
    netlist: Annotated[Path | None, typer.Option(help="Another neuron testbench instead.")] = None,
    crossbar: Annotated[bool, typer.Option(help="Also 4 neurons with their resistors and mirrors in one deck.")] = True,
    simulator: SimulatorOption = "ngspice",
    workers: WorkersOption = 2,
    trust_code: TrustOption = False,
    dask: Annotated[str | None, typer.Option(help="Scheduler of a Dask cluster to simulate on.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Put neurons of a trained network back into SPICE, under the currents that they saw on test pieces.

    Compares spikes, voltages and the network's decision with torch's, and gives a verdict on each neuron. Decks that
    were simulated before come from the store. Leaves validation.json, spice/, figures and the report in the run folder.

    Examples: `bruno validate runs/chorales`, `bruno validate runs/chorales --level b --neurons 4 --milliseconds 20`
    """
    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.training.progress import ConsoleReporter, warnings_to
    from bruno_spice.training.roundtrip.output import write_outputs
    from bruno_spice.training.roundtrip.validate import Options, validate_run
    from bruno_spice.training.runs.folder import RunFolder

    reporter = ConsoleReporter()
    options = Options(neurons, pieces, milliseconds, layer, level, netlist, crossbar)
    farm = Farm(workers=workers, progress="neurons in SPICE", dask=dask, simulator=simulator)
    with warnings_to(reporter):
        result = validate_run(run_dir, options, farm, reporter.line, trust_code)
    with RunFolder(run_dir).writing():
        written = write_outputs(run_dir, result)
    if as_json:
        print_json(result.figures)
        return
    console = Terminal()
    console.print(table(result.figures))
    for line in summary(result.figures):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"wrote {', '.join(str(path) for path in written)}", markup=False, soft_wrap=True)


def table(figures: dict[str, Any]) -> Table:
    """A row for each neuron."""
    shown = Table(
        title=f"{figures['layer']} in {figures['circuit']['netlist']}", title_justify="left", box=box.SIMPLE_HEAD,
        padding=(0, 1), pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    for head in ("neuron", "Hz", "torch", "SPICE", "found %", "V mV", "P", "kernel %", "verdict"):
        shown.add_column(head, justify="left" if head == "verdict" else "right", no_wrap=True)
    for row in figures["neurons"]:
        shown.add_row(
            str(row["neuron"]),
            f"{row['rate_hz']:.0f}",
            str(row["spikes_torch"]),
            str(row["spikes_spice"]),
            number(row["matched_fraction"], ".1f", 100),
            number(row["voltage_rms_v"], ".0f", 1e3),
            number(row["polarization_rms"], ".3f"),
            number(row["kernel_matched_fraction"], ".1f", 100),
            Text(row["verdict"], COLOURS[row["verdict"]]),
        )
    return shown


def number(value: float | None, form: str, scale: float = 1.0) -> str:
    """`value` times `scale` in the format `form`; a dash where nothing was compared."""
    return "–" if value is None else format(scale * value, form)


def summary(figures: dict[str, Any]) -> list[str]:
    """What the figures come to, a sentence a line."""
    from bruno_spice.training.reports.validation import failed_decks, percent

    rate = figures["rate_error"]
    lines = [
        f"neuron {row['neuron']} {row['verdict']}: {row['reason']}"
        for row in figures["neurons"]
        if row["verdict"] != "ok"
    ]
    lines += [
        f"{figures['spikes_matched']} of {max(figures['spikes_torch'], figures['spikes_spice'])} spikes found in SPICE "
        f"within 1 ms of torch's: {percent(figures['spikes_matched_fraction'], 2)}, the lowest neuron "
        + percent(figures["lowest_matched_fraction"])
        + ("" if rate is None else f"; torch's mean rate {rate:+.2%}")
        + failed_decks(figures),
        "verdicts: " + ", ".join(f"{count} {name}" for name, count in figures["verdicts"].items()),
    ]
    decision = figures["decision"]
    scores = (
        f"{name} {value:.4f} with torch's neurons, {decision['spice'][name]:.4f} with SPICE's"
        for name, value in decision["torch"].items()
    )
    agree = ", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in decision["agreement"].items())
    lines.append(f"on {len(figures['pieces'])} pieces: {'; '.join(scores)}; {agree}")
    crossbar = figures["crossbar"]
    if crossbar and "failed" not in crossbar:
        lines.append(
            f"crossbar of {len(crossbar['neurons'])} neurons, {crossbar['resistors']} resistors, "
            f"{crossbar['milliseconds']} ms: currents within {format_si(crossbar['current_error_a'], 'A', 2)}, "
            f"{crossbar['spikes_matched_fraction']:.1%} of the spikes"
        )
    return lines
