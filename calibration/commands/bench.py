"""Commands of the SPICE bench: ``simulate fecap | neuron-bench | rram-bench``."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bruno_spice.calibration.commands.shared import (
    GroupsOption,
    JsonOption,
    SetOption,
    SimulatorOption,
    announce,
    model_file,
    one_of,
    parse_overrides,
    print_json,
    simulator_for,
)
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import refuse_folder, write_atomic

WorkersOption = Annotated[int | None, typer.Option(min=1, help="Worker processes (default: one a core).")]
DaskOption = Annotated[str | None, typer.Option(metavar="tcp://HOST:PORT", help="Run on a Dask cluster instead.")]
FigureOption = Annotated[Path | None, typer.Option(help="Also draw it: a .png, .pdf or .svg.")]


def simulate_fecap_command(
    testbench: Annotated[
        Literal["pv", "minor", "pund", "kinetics", "forc", "temperature", "groups"],
        typer.Option(help="What to measure; groups: how many of them make a film."),
    ] = "pv",
    netlist: Annotated[Path | None, typer.Option(help="FeCAP testbench (default: the project's).")] = None,
    va: Annotated[
        Path | None, typer.Option(help="Verilog-A model of a ferroelectric capacitor in the project's testbench.")
    ] = None,
    settings: SetOption = None,
    groups: GroupsOption = None,
    out: Annotated[Path, typer.Option(help="Samples; the extracted numbers go to NAME.numbers.csv beside it.")] = Path(
        "fecap.csv"
    ),
    figure: FigureOption = None,
    simulator: SimulatorOption = "ngspice",
    workers: WorkersOption = None,
    dask: DaskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the ferroelectric capacitor in ngspice: loops, PUND, switching kinetics, reversal curves.

    Examples: `bruno simulate fecap --testbench pund --out pund.csv`,
    `bruno simulate fecap --testbench pv --set imprint=0.2 --figure loops.png`,
    `bruno simulate fecap --va model.va --set area=1e-12`
    """
    from bruno_spice.calibration.benches.fecap import BENCHES, FECAP_NETLIST
    from bruno_spice.calibration.benches.film_study import group_convergence
    from bruno_spice.calibration.circuits.around import fecap_deck

    if va is not None and testbench == "groups":
        raise InputError("--testbench groups asks about the project's own film; --va goes with the others")
    run_bench(
        {**BENCHES, "groups": group_convergence}[testbench],
        fecap_deck,
        one_of("--netlist", netlist, "--va", model_file("--va", va)) or FECAP_NETLIST,
        parse_overrides(settings, groups),
        out,
        figure,
        simulator,
        workers,
        dask,
        as_json,
    )


def simulate_neuron_bench_command(
    testbench: Annotated[
        Literal["sweep", "trains", "coincidence", "inhibition", "effects", "convergence", "tolerance"],
        typer.Option(
            help="What to measure; convergence: whether ngspice's spikes are those of the equations; tolerance: how "
            "every installed simulator comes to them."
        ),
    ] = "sweep",
    level: Annotated[
        Literal["a", "b"] | None, typer.Option(help="a: behavioural circuit (default), b: transistors.")
    ] = None,
    netlist: Annotated[Path | None, typer.Option(help="Neuron testbench or circuit of your own.")] = None,
    settings: SetOption = None,
    groups: GroupsOption = None,
    out: Annotated[Path, typer.Option(help="Samples; the extracted numbers go to NAME.numbers.csv beside it.")] = Path(
        "neuron.csv"
    ),
    figure: FigureOption = None,
    simulator: SimulatorOption = "ngspice",
    workers: WorkersOption = None,
    dask: DaskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the neuron circuit in ngspice: rate and energy against current, trains, coincidence, inhibition.

    Example: `bruno simulate neuron-bench --testbench sweep --level b --json`
    """
    from bruno_spice.calibration.benches.neuron import BENCHES, LEVELS
    from bruno_spice.calibration.circuits.deck import neuron_deck

    if level is not None and netlist is not None:
        raise InputError("give either --level or --netlist")
    run_bench(
        BENCHES[testbench],
        neuron_deck,
        netlist or LEVELS[level or "a"],
        parse_overrides(settings, groups),
        out,
        figure,
        simulator,
        workers,
        dask,
        as_json,
    )


def simulate_rram_bench_command(
    testbench: Annotated[
        Literal["set", "source", "1t1r", "reset", "hysteresis", "cycling", "parasitics"],
        typer.Option(help="What to measure."),
    ] = "set",
    netlist: Annotated[Path | None, typer.Option(help="RRAM testbench (default: the project's).")] = None,
    settings: SetOption = None,
    out: Annotated[Path, typer.Option(help="Samples; the extracted numbers go to NAME.numbers.csv beside it.")] = Path(
        "rram.csv"
    ),
    figure: FigureOption = None,
    simulator: SimulatorOption = "ngspice",
    workers: WorkersOption = None,
    dask: DaskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the RRAM cell in ngspice: SET by limiter, source or transistor, RESET, hysteresis, cycling.

    Example: `bruno simulate rram-bench --testbench 1t1r --figure 1t1r.png`
    """
    from bruno_spice.calibration.benches.rram import BENCHES, RRAM_1T1R_NETLIST, RRAM_SOURCE_NETLIST
    from bruno_spice.calibration.circuits.around import rram_deck
    from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST

    default = {"1t1r": RRAM_1T1R_NETLIST, "source": RRAM_SOURCE_NETLIST}.get(testbench, RRAM_NETLIST)
    run_bench(
        BENCHES[testbench],
        rram_deck,
        netlist or default,
        parse_overrides(settings),
        out,
        figure,
        simulator,
        workers,
        dask,
        as_json,
    )


def run_bench(
    bench: Any,
    reads: Any,
    netlist: Path,
    overrides: dict[str, float],
    out: Path,
    figure: Path | None,
    simulator: str,
    workers: int | None,
    dask: str | None,
    as_json: bool,
) -> None:
    """Run one bench on the `netlist` that `reads` makes a deck of, write its tables and figure, print the numbers."""
    from bruno_spice.calibration.presentation.style import figure_format, new_figure, save
    from bruno_spice.calibration.spice.farm import Farm

    options: dict[str, Any] = {"workers": workers} if workers else {}
    refuse_folder(out)
    if figure is not None:
        figure_format(figure)
    deck = reads(netlist).with_params(overrides)
    announce(deck)
    chosen = simulator_for(simulator, deck)
    farm = Farm(progress=chosen, dask=dask, simulator=chosen, **options)
    result = bench(netlist=netlist, overrides=overrides, farm=farm)
    numbers = out.with_suffix(".numbers.csv")
    write_atomic(out, result.traces.to_csv(index=False, float_format="%.9g"))
    write_atomic(numbers, result.numbers.to_csv(index=False, float_format="%.9g"))
    if figure is not None:
        from bruno_spice.calibration.benches.figures import FIGURES

        drawing = new_figure()
        FIGURES[result.name](drawing.axes[0], result)
        save(drawing, figure)
    if as_json:
        print_json(json.loads(result.numbers.to_json(orient="records", double_precision=15)))
    else:
        typer.echo(result.numbers.to_string(index=False, float_format=lambda x: f"{x:.4g}"))
        typer.echo(f"wrote {out}, {numbers}" + (f", {figure}" if figure else ""))
