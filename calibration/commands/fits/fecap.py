"""``bruno fit fecap``: the FeCAP netlist's parameters from an engineer's own measurement."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bruno_spice.calibration.commands.data import FormatOption, RecordOption, UnitOption
from bruno_spice.calibration.commands.shared import (
    GroupsOption,
    JsonOption,
    SetOption,
    keep_to_this_command,
    number_option,
    parse_overrides,
    print_json,
)
from bruno_spice.calibration.presentation.terminal import Terminal
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import write_atomic

if TYPE_CHECKING:
    from bruno_spice.calibration.fecap.fit import AfterEvaluation


def fit_fecap_command(
    path: Annotated[Path, typer.Argument(metavar="MEASURED", help="A table with a header line, or a tester's file.")],
    record: RecordOption = None,
    time: Annotated[str | None, typer.Option(help="Column of the time (default: the only one).")] = None,
    voltage: Annotated[str | None, typer.Option(help="Column of the applied voltage (default: the only one).")] = None,
    charge: Annotated[str | None, typer.Option(help="Column of the charge that flowed ...")] = None,
    current: Annotated[str | None, typer.Option(help="... or column of the current.")] = None,
    time_unit: Annotated[str | None, typer.Option(help="s, ms, us, ns, ps.")] = None,
    voltage_unit: Annotated[str | None, typer.Option(help="V, mV, uV, kV.")] = None,
    charge_unit: Annotated[str | None, typer.Option(help="C, uC, nC, pC, fC; or C/m2, uC/cm2.")] = None,
    current_unit: Annotated[str | None, typer.Option(help="A, mA, uA, nA, pA; or A/m2, A/cm2, mA/cm2, uA/cm2.")] = None,
    units: UnitOption = None,
    frequency: Annotated[float | None, number_option("Of the voltage of a record without times, in Hz.")] = None,
    area: Annotated[float | None, number_option("Electrode area in m^2: 25p is 25 um^2.")] = None,
    reader: FormatOption = None,
    free: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Fit exactly these (default: what the data determine).")
    ] = None,
    settings: SetOption = None,
    groups: GroupsOption = None,
    keep_flagged: Annotated[bool, typer.Option("--keep-flagged", help="Fit clipped samples and outliers too.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of fecap.param, fecap.json and fecap.png.")] = Path("fecap_fit"),
    as_json: JsonOption = False,
) -> None:
    """Fit the FeCAP netlist to a measured P-V loop, PUND sequence or pulse train, and check the fit in ngspice.

    Files of testers are read as they are (`bruno data show`): the columns, units, area and thickness that they state
    need no options. What else is known goes into --set; a record at two or more rates tells tau0 from the rest.
    Examples: `bruno fit fecap loop.csv --time t --time-unit us --voltage v --voltage-unit V --charge q
    --charge-unit uC/cm2 --set tfe=10n`,
    `bruno fit fecap pund.csv --time t --time-unit s --voltage v --voltage-unit V --current i --current-unit uA
    --area 400p`,
    `bruno fit fecap loops.dat --record 4`
    """
    from bruno_spice.calibration.fecap.fit import fit_fecap
    from bruno_spice.calibration.fecap.measurement import Columns, read_measurement
    from bruno_spice.calibration.fecap.result import fecap_figure, notes, param_include, parameter_rows, result_json
    from bruno_spice.calibration.measured.units import declared_units
    from bruno_spice.calibration.presentation.style import save

    kind: Literal["charge", "current"] | None = None
    if charge is not None and current is not None:
        raise InputError("give either --charge COLUMN or --current COLUMN")
    if charge is not None or charge_unit is not None:
        kind = "charge"
    if current is not None or current_unit is not None:
        if kind:
            raise InputError(
                f"--{'current' if charge else 'charge'}-unit does not go with --{'charge' if charge else 'current'}"
            )
        kind = "current"
    if kind is None and time is not None and voltage is not None:
        raise InputError("give either --charge COLUMN or --current COLUMN")
    response, unit = (current, current_unit) if kind == "current" else (charge, charge_unit)
    columns = Columns(time, voltage, response, kind, time_unit, voltage_unit, unit, declared_units(units))
    measured = read_measurement(path, columns, area, reader, record, frequency)
    overrides = parse_overrides(settings, groups)
    names = [name.strip().lower() for name in free.split(",")] if free else None
    keep_to_this_command(out)
    with _progress() as report:
        found = fit_fecap(measured, dict(measured.known) | overrides, names, keep_flagged, progress=report)
    result = result_json(found, measured)
    write_atomic(out / "fecap.param", param_include(found, path.name))
    write_atomic(out / "fecap.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
    title = f"{path.name}: rms {100 * found.rms / measured.span:.2f} % of the span"
    save(fecap_figure(found, measured, title), out / "fecap.png")
    if as_json:
        print_json(result)
        return
    table = Table("parameter", "value", "stderr")
    for row in parameter_rows(found):
        table.add_row(*row)
    Terminal().print(table)
    typer.echo(
        f"ngspice against the measurement: rms {found.rms:.4g} {measured.unit}, "
        f"{100 * found.rms / measured.span:.2f} % of the span, over {found.used.sum()} of {found.used.size} samples"
    )
    for name in measured.known.keys() - overrides.keys():
        typer.echo(f"note: {name} = {measured.known[name]:.4g} {found.units[name]} is what the file says")
    for note in notes(found, measured):
        typer.echo(f"note: {note}")
    typer.echo(f"wrote {out / 'fecap.param'}, {out / 'fecap.json'} and {out / 'fecap.png'}")


@contextmanager
def _progress() -> "Iterator[AfterEvaluation | None]":
    """A line with the stage, the evaluations and the rms of the span; nothing where there is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("FeCAP fit")

        def report(stage: str, evaluations: int, rms: float) -> None:
            bar.update(
                task, description=f"FeCAP fit ({stage}): {evaluations} evaluations, rms {100 * rms:.3f} % of span"
            )

        yield report
