"""Which column of a record is meant: the one that is named, or the only one of its quantity."""

from collections.abc import Mapping

from bruno_spice.calibration.measured.record import Column, Record
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable, shown
from bruno_spice.devices.tables import same_name


def pick(
    record: Record,
    what: tuple[str, ...],
    name: str | None,
    option: str,
    units: Mapping[str, float],
    where: str,
    has_unit_option: bool = True,
) -> Column:
    """The column called `name`, or the only one that is one of `what`; raises `InputError` where there is none.

    Messages name the `option` that chooses the column and the one that says its unit, among `units`: ``--voltage-unit``
    where the command `has_unit_option`, else ``--unit COLUMN=UNIT``.
    """
    to_say = f"--{option}-unit" if has_unit_option else f"--unit {shown(name)[1:-1] if name else 'COLUMN'}=UNIT"
    there = ", ".join(printable(each.name) for each in record.columns[:20])
    if name is not None:
        bare = [each for each in record.columns if same_name(name) in (same_name(each.name), each.full_name)]
        if not bare:
            raise InputError(f"{where}: the record has no column {shown(name)}, only {there}")
        if not bare[0].unit:
            raise InputError(f"{where}: say in which unit the {option} is: {to_say}, one of {', '.join(units)}")
        if bare[0].what not in what:
            raise InputError(f"{where}: column {shown(name)} is in {bare[0].unit}, which is no {option}")
        return bare[0]
    fitting = [each for quantity in what for each in record.of(quantity)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(printable(each.name) for each in fitting)
        raise InputError(f"{where}: {len(fitting)} columns could be the {option}: {names}; choose one with --{option}")
    raise InputError(
        f"{where}: no column is known to be the {option}; of {there}, name it and its unit: "
        f"--{option} COLUMN {to_say}{' UNIT' if has_unit_option else ''}"
    )
