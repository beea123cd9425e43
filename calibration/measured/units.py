"""Units as testers write them, in SI.

A unit is compared letter by letter once its micro sign, superscripts and brackets are plain: ``[µC/cm²]`` is
``uC/cm2``. `UNITS` gives the SI unit and the factor to it; what it does not hold is no unit that is known here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable
from bruno_spice.devices.tables import same_name

Value = TypeVar("Value", float, NDArray[np.float64])
_METRIC = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
TIME_UNITS = {f"{prefix}s": scale for prefix, scale in _METRIC.items() if scale > 1e-14}
VOLTAGE_UNITS = {f"{prefix}V": scale for prefix, scale in _METRIC.items() if scale > 1e-7} | {"kV": 1e3}
CHARGE_UNITS = {f"{prefix}C": scale for prefix, scale in _METRIC.items()}
CURRENT_UNITS = {f"{prefix}A": scale for prefix, scale in _METRIC.items()}
CHARGE_DENSITY_UNITS = {"C/m2": 1.0, "uC/cm2": 1e-2}
CURRENT_DENSITY_UNITS = {"A/m2": 1.0, "A/cm2": 1e4, "mA/cm2": 10.0, "uA/cm2": 1e-2}
_LARGE = {"k": 1e3, "M": 1e6, "G": 1e9}
_BY_SI: dict[str, dict[str, float]] = {
    "s": TIME_UNITS,
    "V": VOLTAGE_UNITS,
    "C": CHARGE_UNITS,
    "A": CURRENT_UNITS,
    "C/m2": CHARGE_DENSITY_UNITS,
    "A/m2": CURRENT_DENSITY_UNITS,
    "F": {f"{prefix}F": scale for prefix, scale in _METRIC.items()},
    "S": {f"{prefix}S": scale for prefix, scale in _METRIC.items()},
    "Ohm": {f"{prefix}Ohm": scale for prefix, scale in (_LARGE | {"": 1.0, "m": 1e-3}).items()},
    "Hz": {f"{prefix}Hz": scale for prefix, scale in (_LARGE | {"": 1.0, "m": 1e-3}).items()},
    "m": {f"{prefix}m": scale for prefix, scale in _METRIC.items() if scale > 1e-14} | {"cm": 1e-2},
    "m2": {"m2": 1.0, "cm2": 1e-4, "mm2": 1e-6, "um2": 1e-12, "nm2": 1e-18},
    "V/m": {"V/m": 1.0, "V/cm": 1e2, "kV/cm": 1e5, "MV/cm": 1e8},
    "J/m2": {"J/m2": 1.0, "J/cm2": 1e4, "mJ/cm2": 10.0, "uJ/cm2": 1e-2},
    "K": {"K": 1.0, "degC": 1.0},
    "1": {"1": 1.0, "n": 1.0},
}
UNITS: dict[str, tuple[str, float]] = {
    unit: (si, factor) for si, known in _BY_SI.items() for unit, factor in known.items()
}
ZEROS = {"degC": 273.15}
"""Where the scale of a unit begins, in the SI unit."""
WORDS = {
    "second": "s", "seconds": "s", "sec": "s", "volt": "V", "volts": "V", "ampere": "A", "amperes": "A", "amp": "A",
    "amps": "A", "coulomb": "C", "ohm": "Ohm", "ohms": "Ohm", "siemens": "S", "farad": "F", "hertz": "Hz",
    "celsius": "degC", "kelvin": "K",
}  # fmt: skip
QUANTITIES = {
    "s": "time", "V": "voltage", "A": "current", "C": "charge", "C/m2": "charge density", "A/m2": "current density",
    "F": "capacitance", "S": "conductance", "Ohm": "resistance", "Hz": "frequency", "V/m": "field", "K": "temperature",
}  # fmt: skip
"""What is measured in an SI unit."""


@dataclass(frozen=True)
class Declared:
    """A unit that the caller gives a column: as `UNITS` spells it, and the option that said so, for messages."""

    unit: str
    option: str


def plain_unit(unit: str) -> str:
    """`unit` as the tables above spell it: ``uC/cm2`` for ``[µC/cm²]``, ``kOhm`` for ``kΩ``, ``degC`` for ``°C``."""
    plain = same_name(unit).strip("()[]{} ").replace("μ", "u").replace("^", "")
    return plain.replace("Ω", "Ohm").replace("°C", "degC")


def in_si(unit: str, value: Value) -> Value:
    """A number, or numbers, in `unit` of `UNITS` in its SI unit."""
    return UNITS[unit][1] * value + ZEROS.get(unit, 0.0)


def unit_of_file(unit: str) -> str:
    """As `plain_unit`, for what a file says: ``s`` for ``second``, too."""
    plain = plain_unit(unit)
    return WORDS.get(plain.lower(), plain)


def declared(what: str, unit: str, known: Mapping[str, float]) -> Declared:
    """The `unit` of the `what` (time), given with ``--WHAT-unit``; raises `InputError` for others than `known`."""
    if (plain := plain_unit(unit)) not in known:
        raise InputError(
            f"--{what}-unit {printable(unit)}: not a unit of {what} known here; choose one of {', '.join(known)}"
        )
    return Declared(plain, f"--{what}-unit says {plain}")


def declared_units(settings: list[str] | None) -> dict[str, Declared]:
    """``["Charge=uC/cm2", ...]`` of ``--unit`` by column; raises `InputError` for another form and an unknown unit."""
    found = {}
    for setting in settings or []:
        column, equals, unit = setting.rpartition("=")
        if not equals or not column.strip():
            raise InputError(f"--unit {printable(setting)}: write COLUMN=UNIT, for example --unit Charge=uC/cm2")
        if (plain := plain_unit(unit)) not in UNITS:
            raise InputError(f"--unit {printable(setting)}: not a unit known here; known are {', '.join(UNITS)}")
        found[same_name(column)] = Declared(plain, f"--unit says {plain}")
    return found
