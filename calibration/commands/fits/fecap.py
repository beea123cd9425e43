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
    ReportOption,
    SimulatorOption,
    keep_to_this_command,
    number_option,
    parse_overrides,
    print_json,
    simulator_for,
)
from bruno_spice.calibration.errors import FitError, SimulationError
from bruno_spice.calibration.presentation.terminal import Terminal
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import refuse_folder
from bruno_spice.devices.units import parse_spice_number

if TYPE_CHECKING:
    from bruno_spice.calibration.fecap.measurement import Columns
    from bruno_spice.calibration.fecap.problem import AfterEvaluation


def fit_fecap_command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="MEASURED...", help="Tables or testers' files: loops.dat, loops.dat#4, loops.dat#1,4-6."
        ),
    ],
    record: RecordOption = None,
    predict: Annotated[
        list[str] | None,
        typer.Option("--predict", metavar="MEASURED", help="Predict these records with the film that was fitted."),
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column of the time (default: the only one).")] = None,
    voltage: Annotated[str | None, typer.Option(help="Column of the applied voltage (default: the only one).")] = None,
    charge: Annotated[str | None, typer.Option(help="Column of the charge that flowed ...")] = None,
    current: Annotated[str | None, typer.Option(help="... or of the current; with both, both count.")] = None,
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
    terms: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Optional terms to try: ja, rs, cfix, jact, kps, keps, wake, drift; all."
        ),
    ] = None,
    own: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="What each record has for itself: rs, cfix, imprint, j1.")
    ] = None,
    own_at_turns: Annotated[
        bool,
        typer.Option(
            "--own-at-turns",
            help="Of predicted records, fit --own rs just behind turning points, where nothing switches.",
        ),
    ] = False,
    bounds: Annotated[
        list[str] | None, typer.Option("--bound", metavar="NAME=LOW:HIGH", help="Other bounds of a parameter.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="[N:]NAME=VALUE", help="What is known, of the film or of the N-th record alone."),
    ] = None,
    groups: GroupsOption = None,
    region: Annotated[
        str | None,
        typer.Option(metavar="FROM:TO", help="Compare only the samples between these times of a record, in s."),
    ] = None,
    simulator: SimulatorOption = "ngspice",
    keep_flagged: Annotated[bool, typer.Option("--keep-flagged", help="Fit clipped samples and outliers too.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of fecap.param, fecap.json and the figures.")] = Path("fecap_fit"),
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the FeCAP netlist to measured P-V loops, PUND sequences or pulse trains of a film, and check it in SPICE.

    Files of testers are read as they are (`bruno data show`): the columns, units, area and thickness that they state
    need no options. What else is known goes into --set; records at two or more rates tell tau0 from the rest. With
    several records, those of --predict count on: after two that are fitted, `--set 3:tempk=400` is of the first
    predicted one.
    Examples: `bruno fit fecap loop.csv --time t --time-unit us --voltage v --voltage-unit V --charge q
    --charge-unit uC/cm2 --set tfe=10n`,
    `bruno fit fecap pund.csv --time t --time-unit s --voltage v --voltage-unit V --current i --current-unit uA
    --area 400p`,
    `bruno fit fecap loops.dat#4,7 --set 1:tempk=304 --set 2:tempk=352 --terms all --predict loops.dat#10
    --set 3:tempk=400`
    """
    from bruno_spice.calibration.benches.fecap import FECAP_NETLIST
    from bruno_spice.calibration.commands.fits.pages import fecap_page
    from bruno_spice.calibration.fecap.candidates import MAY_BE_OWN
    from bruno_spice.calibration.fecap.films import Asked, fit_films, predict_films, write_films
    from bruno_spice.calibration.fecap.measurement import read_measurement, within
    from bruno_spice.calibration.fecap.predict import AT_TURNS
    from bruno_spice.calibration.fecap.result import notes, number_rows, parameter_rows
    from bruno_spice.calibration.measured.choice import choices
    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.calibration.spice.netlist import Netlist

    columns = _columns(time, voltage, charge, current, time_unit, voltage_unit, charge_unit, current_unit, units)
    chosen, others = choices(paths, record), choices(predict or [], record)
    shared, by_record = _settings(settings, groups, len(chosen) + len(others))
    areas = [each.get("area", shared.get("area", area)) for each in by_record]
    measured = [
        read_measurement(c.path, columns, of_it, reader, c.record, frequency)
        for c, of_it in zip([*chosen, *others], areas, strict=True)
    ]
    if region is not None:
        measured = [within(each, _region(region)) for each in measured]
    own_names = _words(own)
    for name in own_names:
        if name not in MAY_BE_OWN:
            raise InputError(
                f"--own {name}: a record cannot have that for itself; choose among {', '.join(MAY_BE_OWN)}"
            )
    if own_at_turns and (set(own_names) != set(AT_TURNS) or not others):
        raise InputError("--own-at-turns goes with --own rs and --predict: nothing else shows behind a turning point")
    count, names = len(chosen), [str(c) for c in chosen]
    asked = Asked(
        measured,
        [*names, *map(str, others)],
        count,
        shared,
        by_record,
        _words(free) if free else None,
        keep_flagged,
        own_names,
        _words(terms),
        _bounds(bounds),
        own_at_turns,
    )
    known = asked.known
    if report is not None:
        refuse_folder(report)
    keep_to_this_command(out)
    deck = Netlist.load(FECAP_NETLIST).with_params({"groups": groups} if groups else {})
    spice = simulator_for(simulator, deck)
    farm = Farm(simulator=spice)
    with _progress() as progress:
        found = fit_films(asked, farm, progress)
    wrote, seen = write_films(out, found, names, [], spice), []
    if others:
        try:
            seen = predict_films(asked, found, farm)
        except (InputError, SimulationError):
            typer.echo(f"wrote {', '.join(map(str, wrote))}: the fit, without its predictions", err=True)
            raise
        wrote = write_films(out, found, names, seen, spice)
    if report is not None:
        wrote.append(fecap_page(report, found, names, seen, wrote[2:]))
    if as_json:
        print_json(json.loads((out / "fecap.json").read_text()))
    else:
        table = Table("parameter", "value", "stderr")
        for row in parameter_rows(found):
            table.add_row(*row)
        Terminal().print(table)
        for name, each in zip(names, found.records, strict=True):
            typer.echo(
                f"{name + ': ' if count > 1 else ''}{spice} against the measurement: rms {each.rms:.4g} "
                f"{each.measured.unit}, {100 * each.rms_of_span:.2f} % of the span, over {each.used.sum()} of "
                f"{each.used.size} samples"
            )
        for name in known:
            typer.echo(f"note: {name} = {known[name]:.4g} {found.units[name]} is what the file says")
        for note in notes(found, names):
            typer.echo(f"note: {note}")
        for name, one in seen:
            typer.echo(f"predicted {name}: rms {100 * one.record.rms_of_span:.2f} % of the span")
            for fitted, value in one.fitted_to_it.items():
                where = "just behind its turning points alone" if own_at_turns else "to it"
                typer.echo(f"note: {name}: its own {fitted} = {value:.4g} was fitted {where}, nothing of the film")
            if rows := number_rows(one.record):
                numbers = Table("", "measured", "predicted", "the tester says")
                for line in rows:
                    numbers.add_row(*line)
                Terminal().print(numbers)
        typer.echo(f"wrote {', '.join(map(str, wrote[:-1]))} and {wrote[-1]}")
    if found.doubt:
        raise FitError(f"what was written is not to be believed: {found.doubt}")


def _words(listed: str | None) -> list[str]:
    return [word.strip().lower() for word in (listed or "").split(",") if word.strip()]


def _columns(
    time: str | None,
    voltage: str | None,
    charge: str | None,
    current: str | None,
    time_unit: str | None,
    voltage_unit: str | None,
    charge_unit: str | None,
    current_unit: str | None,
    units: list[str] | None,
) -> "Columns":
    """The columns that the options name; raises `InputError` for a unit of a column that none names."""
    from bruno_spice.calibration.fecap.measurement import Columns
    from bruno_spice.calibration.measured.units import declared_units

    of_file = declared_units(units)
    if charge is not None and current is not None:
        names = (time, voltage, charge, "charge", time_unit, voltage_unit, charge_unit)
        return Columns(*names, current, current_unit, of_file)  # type: ignore[arg-type]
    kind: Literal["charge", "current"] | None = None
    if charge is not None or charge_unit is not None:
        kind = "charge"
    if current is not None or current_unit is not None:
        if kind:
            raise InputError(
                f"--{'current' if charge else 'charge'}-unit does not go with --{'charge' if charge else 'current'}"
            )
        kind = "current"
    if kind is None and time is not None and voltage is not None:
        raise InputError("give --charge COLUMN or --current COLUMN, or both")
    response, unit = (current, current_unit) if kind == "current" else (charge, charge_unit)
    return Columns(time, voltage, response, kind, time_unit, voltage_unit, unit, units=of_file)


def _settings(
    settings: list[str] | None, groups: int | None, count: int
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """``--set`` of the film and of each of `count` records. Raises `InputError` for a record that is not there."""
    shared: list[str] = []
    mine: list[list[str]] = [[] for _ in range(count)]
    for setting in settings or []:
        number, colon, rest = setting.partition(":")
        if colon and number.strip().isdecimal():
            if not 0 < int(number) <= count:
                raise InputError(f"--set {setting}: there is no record {number}; {count} are fitted and predicted")
            mine[int(number) - 1].append(rest)
        else:
            shared.append(setting)
    return dict(parse_overrides(shared, groups)), [dict(parse_overrides(each)) for each in mine]


def _bounds(bounds: list[str] | None) -> dict[str, tuple[float, float]]:
    found = {}
    for text in bounds or []:
        name, equals, limits = text.partition("=")
        low, colon, high = limits.partition(":")
        if not equals or not colon:
            raise InputError(f"--bound {text}: write NAME=LOW:HIGH, for example --bound nmerz=0.5:20")
        found[name.strip().lower()] = (parse_spice_number(low), parse_spice_number(high))
    return found


def _region(text: str) -> tuple[float, float]:
    first, colon, last = text.partition(":")
    if not colon:
        raise InputError(f"--region {text}: write FROM:TO in s, for example --region 0.2m:0.8m")
    return parse_spice_number(first), parse_spice_number(last)


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
