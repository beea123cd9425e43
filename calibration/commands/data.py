"""``bruno data``: what is in a tester's file, and its records as plain tables in SI units."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bruno_spice.calibration.commands.shared import JsonOption, messages, number_option, print_json
from bruno_spice.calibration.measured import READERS
from bruno_spice.calibration.presentation.terminal import output
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import cell, refuse_folder, write_atomic
from bruno_spice.devices.reading import printable
from bruno_spice.devices.units import format_si

if TYPE_CHECKING:
    from bruno_spice.calibration.measured.recognise import MeasuredFile
    from bruno_spice.calibration.measured.record import Column, Record

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A file as the tester wrote it.")]
RecordOption = Annotated[int | None, typer.Option("--record", min=1, help="Number of a record of the file, from 1.")]
UnitOption = Annotated[
    list[str] | None,
    typer.Option("--unit", metavar="COLUMN=UNIT", help="Unit of a column to which the file gives none: Charge=uC/cm2."),
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help=f"Kind of file, if it is not to say so itself: {READERS.choices}.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")]

data_app = typer.Typer(
    help="Look into files of testers, and write their records as plain tables.", no_args_is_help=True
)


@data_app.command("show")
def show_command(
    path: FileArgument,
    record: RecordOption = None,
    units: UnitOption = None,
    reader: FormatOption = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the records: .png, .pdf or .svg.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say which format a file has and which records: kind, points, amplitude, frequency, area, thickness, temperature.

    Read are aixACCT TF Analyzer, Radiant Vision, Keithley 4200 workbooks, Keysight EasyEXPERT, IC-CAP, oscilloscopes,
    transients of simulators (.raw, PSF ASCII) and plain tables, each recognised by its content.
    Examples: `bruno data show loops.dat`, `bruno data show loops.dat --record 4 --figure loop.png`
    """
    from bruno_spice.calibration.measured.figures import MOST_PANELS, records_figure
    from bruno_spice.calibration.presentation.style import figure_format, save

    if figure is not None:
        figure_format(figure)
        _refuse_present(figure, overwrite)
    found = _read(path, units, reader)
    numbers = range(1, len(found.records) + 1) if record is None else [record]
    chosen = {number: found.record(number) for number in numbers}
    if figure is not None:
        if len(chosen) > MOST_PANELS:
            raise InputError(
                f"{printable(str(path))}: {len(chosen)} records are too many to draw; choose one: --record"
            )
        save(records_figure(chosen), figure)
    if as_json:
        print_json(_as_json(found, chosen) | ({"figure": str(figure)} if figure else {}))
        return
    count = len(found.records)
    typer.echo(f"{printable(str(path))}: {found.title}, {count} record{'s' if count > 1 else ''}")
    for said in found.said:
        typer.echo(f"note: {printable(said)}")
    output(150).print(_table(chosen))
    if record is not None or count == 1:
        output(150).print(_columns(next(iter(chosen.values()))))
    for line in _notes(chosen):
        typer.echo(f"note: {line}")
    if without := sorted({each.name for one in chosen.values() for each in one.columns if not each.unit}):
        typer.echo(
            f"note: the file does not say the unit of {', '.join(map(printable, without[:20]))}; "
            f"say it where it matters: --unit '{printable(without[0])}=UNIT'"
        )
    if figure is not None:
        typer.echo(f"wrote {figure}")


@data_app.command("convert")
def convert_command(
    path: FileArgument,
    out: Annotated[Path, typer.Option(help="The table to write.")],
    record: RecordOption = None,
    units: UnitOption = None,
    frequency: Annotated[float | None, number_option("Of the voltage of a record without times, in Hz.")] = None,
    reader: FormatOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write one record as a plain CSV in SI units, which `bruno fit fecap` and any spreadsheet read as it is.

    Example: `bruno data convert loops.dat --record 4 --out loop.csv`
    """
    refuse_folder(out)
    _refuse_present(out, overwrite)
    found = _read(path, units, reader)
    chosen = found.record(record)
    if unknown := [each.name for each in chosen.columns if not each.unit]:
        raise InputError(
            f"{printable(str(path))}: the file does not say the unit of {', '.join(map(printable, unknown))}; give "
            f"each one: --unit '{printable(unknown[0])}=UNIT', with 1 for a plain number"
        )
    columns = [*_timed(chosen, frequency, printable(str(path))), *chosen.columns]
    write_atomic(out, _csv(found, chosen, columns))
    typer.echo(f"wrote {out}: {chosen.points} rows of {', '.join(map(_head, columns))}")


def _read(path: Path, units: list[str] | None, reader: str | None) -> "MeasuredFile":
    from bruno_spice.calibration.measured.recognise import read_file
    from bruno_spice.calibration.measured.record import Asked
    from bruno_spice.calibration.measured.units import declared_units

    asked = Asked(declared_units(units))
    with messages.status(f"reading {printable(path.name)}"):
        return read_file(path, asked, reader)


def _refuse_present(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already; name another file, or add --overwrite to replace it")


def _timed(record: "Record", frequency_hz: float | None, where: str) -> list["Column"]:
    """A column of times, where the record has none and the frequency is known."""
    from bruno_spice.calibration.measured.record import Column
    from bruno_spice.calibration.measured.timing import times

    if record.of("time"):
        if frequency_hz is not None:
            raise InputError(f"{where}: the record has times; leave out --frequency")
        return []
    if frequency_hz is None:
        return []
    if len(voltages := record.of("voltage")) != 1:
        raise InputError(f"{where}: --frequency needs one column of voltage, but {len(voltages)} are known")
    values, said = times(voltages[0].values, frequency_hz, where)
    typer.echo(f"note: {said}")
    return [Column("time", "s", values)]


def _head(column: "Column") -> str:
    return f"{column.name} [{column.unit}]"


def _csv(found: "MeasuredFile", record: "Record", columns: list["Column"]) -> str:
    """The record as text: what is known of it in comments above, a header with units, rows that keep every digit."""
    stated = {
        "amplitude [V]": record.amplitude_v,
        "frequency [Hz]": record.frequency_hz,
        "area [m2]": record.area_m2,
        "thickness [m]": record.thickness_m,
        "temperature [K]": record.temperature_k,
    }
    source = f"{found.path.name}, {found.title}, {record.name or record.kind}, {record.where}"
    lines = [f"# {printable(source)}", *(f"# {key}: {value!r}" for key, value in stated.items() if value is not None)]
    names = [_head(column).replace('"', "'") for column in columns]
    lines.append(",".join(f'"{cell(name)}"' if "," in name else str(cell(name)) for name in names))
    lines += [",".join(map(repr, row)) for row in zip(*(column.values.tolist() for column in columns), strict=True)]
    return "\n".join(lines) + "\n"


def _table(records: "dict[int, Record]") -> Table:
    table = Table("record", "kind", "name", "points", "amplitude", "frequency", "area", "thickness", "temperature")
    for number, record in records.items():
        values = (
            (record.amplitude_v, "V"), (record.frequency_hz, "Hz"), (record.area_m2, "m2"), (record.thickness_m, "m"),
            (record.temperature_k, "K"),
        )  # fmt: skip
        texts = ["" if value is None else _with_unit(value, unit) for value, unit in values]
        table.add_row(str(number), record.kind, printable(record.name), str(record.points), *texts)
    return table


def _columns(record: "Record") -> Table:
    table = Table("column", "quantity", "unit", "least", "largest")
    for each in record.columns:
        known = each.what if each.unit else ""
        limits = (f"{float(limit):.6g}" for limit in (each.values.min(), each.values.max()))
        table.add_row(printable(each.name), known, each.unit or "not known", *limits)
    return table


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.4g} m2" if unit == "m2" else format_si(value, unit)


def _notes(records: "dict[int, Record]") -> list[str]:
    """The notes of the records, those of the same records in one line."""
    by_records: dict[tuple[int, ...], list[str]] = {}
    for note in dict.fromkeys(note for record in records.values() for note in record.notes):
        those = tuple(number for number, record in records.items() if note in record.notes)
        by_records.setdefault(those, []).append(printable(note))
    return [
        f"record{'s' if len(those) > 1 else ''} {', '.join(map(str, those[:20]))}: {'; '.join(notes)}"
        for those, notes in by_records.items()
    ]


def _as_json(found: "MeasuredFile", records: "dict[int, Record]") -> dict[str, Any]:
    return {
        "file": str(found.path),
        "format": found.format,
        "title": found.title,
        "read_as": list(found.said),
        "count": len(found.records),
        "records": [
            {
                "record": number,
                "kind": record.kind,
                "name": record.name,
                "where": record.where,
                "points": record.points,
                "amplitude_v": record.amplitude_v,
                "frequency_hz": record.frequency_hz,
                "area_m2": record.area_m2,
                "thickness_m": record.thickness_m,
                "temperature_k": record.temperature_k,
                "notes": list(record.notes),
                "columns": [
                    {
                        "name": each.name,
                        "quantity": each.what,
                        "unit": each.unit or None,
                        "least": float(each.values.min()),
                        "largest": float(each.values.max()),
                    }
                    for each in record.columns
                ],
            }
            for number, record in records.items()
        ],
    }
