"""Which format a file has, said by the file: each reader looks at its head, and the first whose own it is reads it.

Formats that are not read are recognised too, so that the error can say what they are.
"""

from dataclasses import dataclass
from pathlib import Path

from bruno_spice.calibration.measured import READERS
from bruno_spice.calibration.measured.record import Asked, Found, Record
from bruno_spice.calibration.measured.text import content, head
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, short, shown
from bruno_spice.devices.tables import same_name

MOST_LISTED = 12
OTHERS = (
    (lambda start: "$&%#" in start, "output of HSPICE (.tr0, .sw0, .ac0)"),
    (
        lambda start: "PSFversion" in start[:200] and not start.lstrip().startswith("HEADER"),
        "binary output of Spectre (PSF)",
    ),
)
"""What is recognised and not read: outputs of simulators in formats that no kept library reads."""
ZIP = "PK\x03\x04"


@dataclass(frozen=True)
class MeasuredFile:
    """The records of the file at `path`, the `title` of its format, and what was unusual about it."""

    path: Path
    format: str
    title: str
    records: list[Record]
    said: tuple[str, ...]

    def record(self, number: int | None) -> Record:
        """Record `number`, counted from 1; without a number the only one. Raises `InputError`, which lists them."""
        where = printable(str(self.path))
        if number is None and len(self.records) == 1:
            return self.records[0]
        if number is None:
            raise InputError(f"{where}: {len(self.records)} records; choose one with --record N: {self._listed()}")
        if not 0 < number <= len(self.records):
            raise InputError(f"{where}: there is no record {number}; there are {self._listed()}")
        return self.records[number - 1]

    def _listed(self) -> str:
        names = [f"{n} ({short(each.name or each.kind)})" for n, each in enumerate(self.records[:MOST_LISTED], 1)]
        more = len(self.records) - MOST_LISTED
        return ", ".join(names) + (f" and {more} more (`bruno data show` lists them)" if more > 0 else "")


def read_file(path: Path | str, asked: Asked | None = None, reader: str | None = None) -> MeasuredFile:
    """The records of the file at `path`, by the `reader` of that name or the one whose own the file is.

    Raises `InputError` in one sentence, with the line where there is one, for what cannot be read.
    """
    path, asked = Path(path), asked or Asked()
    name = reader or _recognised(path)
    chosen = READERS.find(name)
    found: Found = chosen.read(path, asked)
    if not found.records:
        raise InputError(f"{printable(str(path))}: read as {chosen.title}, but it holds no record")
    names = [each.full_name or each.name for record in found.records for each in record.columns]
    there = {same_name(each) for each in names} | {each.name for record in found.records for each in record.columns}
    if missing := next((each for each in asked.units if each not in there), None):
        listed = ", ".join(map(printable, list(dict.fromkeys(names))[:20]))
        raise InputError(
            f"{printable(str(path))}: {asked.units[missing].option}, but there is no column {shown(missing)}, "
            f"only {listed}"
        )
    return MeasuredFile(path, name, chosen.title, list(found.records), tuple(found.said))


def _recognised(path: Path) -> str:
    start = head(content(path))
    for is_it, what in OTHERS:
        if is_it(start):
            raise InputError(
                f"{printable(str(path))}: {what}, which is not read here; write its traces as PSF ASCII or as a table "
                "with a header"
            )
    if start.startswith(ZIP):
        raise InputError(f"{printable(str(path))}: a zip archive or .xlsx workbook; save the sheet as CSV or as .xls")
    return next(name for name in READERS if READERS[name].is_own(start))
