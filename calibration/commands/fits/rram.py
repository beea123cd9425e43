"""``bruno fit rram``: the card of a resistive cell from an engineer's own measurements."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bruno_spice.calibration.commands.data import RecordOption
from bruno_spice.calibration.commands.shared import (
    JsonOption,
    ReportOption,
    SimulatorOption,
    messages,
    number_option,
    print_json,
    simulator_for,
)
from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.presentation.terminal import output
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import refuse_folder, write_atomic
from bruno_spice.devices.units import format_duration, format_si, parse_spice_number


def fit_rram_command(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE", help="Tables of readings, a kind each.")],
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="What the columns of the first file are; again for the next one."),
    ] = None,
    noise: Annotated[Path | None, typer.Option(help="Reads of cells that were left alone, a cell a line.")] = None,
    noise_rate: Annotated[float | None, number_option("Reads a second of --noise, in Hz.")] = None,
    noise_unit: Annotated[str, typer.Option(help="S, mS, uS, nS: unit of --noise.")] = "S",
    levels: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH", help="Conductances in S between which levels lie: 2u:40u.")
    ] = None,
    bits: Annotated[int, typer.Option(min=1, max=8, help="2**bits levels, whose overlap the card states.")] = 3,
    read_voltage: Annotated[float | None, number_option("Of the measurement, in V.")] = None,
    temperature: Annotated[
        float | None, number_option("Of the measurement, in K; chooses where there are several.")
    ] = None,
    netlist: Annotated[
        Path | None, typer.Option(help="Fit this deck's parameters instead, to a measured I-V record.")
    ] = None,
    free: Annotated[
        str | None, typer.Option(metavar="NAME[=LOW:HIGH],...", help="Which of them, within which bounds.")
    ] = None,
    simulator: SimulatorOption = "ngspice",
    record: RecordOption = None,
    out: Annotated[Path, typer.Option(help="The card; a figure lies beside it.")] = Path("rram.json"),
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a card of measured RRAM cells: SET curves, levels after verifying, relaxation, read noise.

    Which kind a table is its columns say: device with v_word_line or i_prog (a SET curve), device with level (what
    verifying leaves), or that with time (relaxation), each with conductance or resistance. What no file has the card
    says it does not know. `bruno train --rram-card` takes the card.
    Examples: `bruno fit rram set.csv levels.csv --noise reads.tsv --noise-rate 400 --out rram.json`,
    `bruno fit rram relaxation.tsv --columns 'device,time[s],-,g[S],level' --levels 2u:40u`

    With --netlist the file is an I-V record (time, voltage, current; positive voltages set), and --free parameters of
    the deck are fitted to it in the simulator: values into OUT and OUT with .param, overlay into OUT with .png.
    Example: `bruno fit rram iv.csv --netlist spice_netlists/testbenches/rram_iv.cir --free dwa,ninit --out iv.json`
    """
    from bruno_spice.calibration.commands.fits.pages import rram_page
    from bruno_spice.calibration.presentation.style import save
    from bruno_spice.calibration.rram.measured import fit_measured
    from bruno_spice.calibration.rram.measured_figures import measured_figure
    from bruno_spice.calibration.rram.reads import read_noise, read_traces
    from bruno_spice.calibration.rram.tables import read_cells

    refuse_folder(out)
    if report is not None:
        refuse_folder(report)
    if netlist is not None and report is not None:
        raise InputError("--report goes with a card of measured cells, not with --netlist")
    if netlist is not None:
        if free is None or len(paths) != 1:
            raise InputError("--netlist takes one I-V record, and --free says what to fit: --free dwa,ninit")
        _fit_netlist(paths[0], netlist, free.split(","), simulator, record, out, as_json)
        return
    if free is not None:
        raise InputError("--free goes with --netlist: a card of measured cells has nothing to choose from")
    if noise is not None and noise_rate is None:
        raise InputError("--noise goes with --noise-rate: how many reads a second, in Hz")
    if len(columns or []) > len(paths):
        raise InputError(f"--columns is given {len(columns or [])} times, for {len(paths)} files")
    span = _span(levels)
    orders = [*(columns or []), *([None] * len(paths))]
    with messages.status("reading and fitting"):
        tables = [read_cells(path, order, temperature, record) for path, order in zip(paths, orders, strict=False)]
        reads = None if noise is None else read_traces(noise, noise_unit)
        known = None if reads is None or noise_rate is None else read_noise(reads, noise_rate)
        found = fit_measured(tables, known, span, bits, read_voltage, noise)
    card = found.card
    figure = out.with_suffix(".png")
    card.save(out)
    save(measured_figure(found, reads), figure)
    if report is not None:
        rram_page(report, found, figure)
    if as_json:
        print_json({"card": str(out), "figure": str(figure), "said": found.said, "unknown": card.unknown,
                    "validation": card.validation, "overlap": [at.model_dump() for at in card.overlap]})  # fmt: skip
        return
    for path, table in zip(paths, tables, strict=True):
        for said in table.said:
            typer.echo(f"note: {path.name}: {said}")
    for said in found.said:
        typer.echo(f"note: {said}")
    if card.set_curve is not None:
        curve = card.set_curve
        typer.echo(
            f"SET curve: {len(curve.setting)} settings, {curve.devices} devices, up to {curve.cycles} writes of each; "
            f"median {format_si(min(curve.median_s), 'S')} to {format_si(max(curve.median_s), 'S')}"
        )
    if card.validation:
        output(120).print(_tried(card.validation))
    for at in card.overlap:
        when = format_duration(at.time_s) if at.time_s else "right"
        typer.echo(
            f"{when} after writing, {100 * at.misread:.3g} % of {2**at.bits} levels are read as another, "
            f"{100 * max(at.by_level):.3g} % of the worst"
        )
    for unknown in card.unknown:
        typer.echo(f"not known: {unknown}")
    typer.echo(f"wrote {out}, {figure} and {report}" if report else f"wrote {out} and {figure}")


def _fit_netlist(
    path: Path, netlist: Path, free: list[str], simulator: str, record: int | None, out: Path, as_json: bool
) -> None:
    """``--netlist``: parameters of a deck from an I-V record."""
    from bruno_spice.calibration.presentation.style import save
    from bruno_spice.calibration.rram.iv import fit_iv, free_parameters, iv_figure, iv_param, read_iv
    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.calibration.spice.netlist import Netlist

    measured, deck = read_iv(path, record), Netlist.load(netlist)
    parameters = free_parameters([each.strip() for each in free], deck)
    chosen = simulator_for(simulator, deck)
    with messages.status("fitting") as status:
        found = fit_iv(
            measured, deck, parameters, Farm(simulator=chosen),
            lambda count, rms: status.update(f"fitting: {count} simulations, rms {100 * rms:.1f} %"),
        )  # fmt: skip
    result = {
        "values": found.fit.values, "stderr": found.fit.stderr, "units": {n: found.units[n] for n in found.fit.values},
        "rms": found.rms, "simulations": found.fit.evaluations, "held": [f.name for f in found.fit.held],
        "believed": not found.fit.doubt, "doubt": found.fit.doubt, "netlist": netlist.name, "simulator": chosen,
    }  # fmt: skip
    write_atomic(out, json.dumps(result, indent=2, allow_nan=False) + "\n")
    write_atomic(out.with_suffix(".param"), iv_param(found))
    save(iv_figure(found), out.with_suffix(".png"))
    if as_json:
        print_json(result)
        _refuse(found.fit.doubt)
        return
    table = Table("parameter", "value", "stderr", "deck")
    for each in parameters:
        error = found.fit.stderr.get(each.name)
        value = found.fit.values[each.name]
        shown = "on its bound" if each in found.fit.held else "-" if error is None else f"{100 * error / value:.2g} %"
        table.add_row(each.name, f"{value:.5g} {found.units[each.name]}", shown, f"{each.start:.5g}")
    output(100).print(table)
    typer.echo(f"rms {100 * found.rms:.2g} % in asinh(I / I_0), over {found.fit.evaluations} simulations in {chosen}")
    typer.echo(f"wrote {out}, {out.with_suffix('.param')} and {out.with_suffix('.png')}")
    _refuse(found.fit.doubt)


def _refuse(doubt: str) -> None:
    """Raises `FitError` where there is a `doubt`, after the result was written."""
    if doubt:
        raise FitError(f"what was written is not to be believed: {doubt}")


def _span(levels: str | None) -> tuple[float, float] | None:
    """``LOW:HIGH`` of --levels in S."""
    if levels is None:
        return None
    low, colon, high = levels.partition(":")
    if not colon:
        raise InputError(f"--levels {levels}: write LOW:HIGH, such as 2u:40u")
    try:
        return parse_spice_number(low), parse_spice_number(high)
    except InputError as error:
        raise InputError(f"--levels {levels}: {error}") from None


def _tried(validation: dict[str, Any]) -> Table:
    """A row a time: measured on the devices left out, and drawn from a card of the others."""
    heads = ("spread of a level", "the card's", "worst of 8 off by", "halves differ by", "misread", "the card's ")
    which = f"{validation['devices']} devices that a card did not see, drawn {validation['splits']} times"
    table = Table("time since writing", *heads, title=f"on {which}")
    for row in validation["times"]:
        when = format_duration(row["time_s"]) if row["time_s"] else "0"
        spreads = (format_si(row[name], "S", 3) for name in ("spread_s", "model_spread_s"))
        misread = (f"{100 * row[name]:.3g} %" for name in ("misread", "model_misread"))
        worst = (f"{100 * row[name]:.0f} %" for name in ("relative_error_worst", "halves_worst"))
        table.add_row(when, *spreads, *worst, *misread)
    return table
