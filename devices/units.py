"""SPICE number suffixes at the edges, SI inside.

SPICE reads suffixes case-insensitively: ``10M`` is 10 milli and ``10meg`` is 1e7 (ngspice manual,
section 2.3.1). Trailing letters after a suffix are units and are ignored there; here they are allowed
only if they name a unit, so that a typo does not pass.
"""

import math
import re

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import shown

SPICE_SUFFIX_EXPONENT = {
    "t": 12, "g": 9, "meg": 6, "k": 3, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18,
}  # fmt: skip
UNIT_LETTERS = {"a": "A", "v": "V", "s": "s", "m": "m", "f": "F", "hz": "Hz", "ohm": "Ohm"}
_SI_PREFIX = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_NUMBER = re.compile(
    r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:e([+-]?\d+))?\s*(meg|[tgkmunpfa])?(a|v|s|m|f|hz|ohm)?\s*",
    re.IGNORECASE | re.ASCII,
)
LONG_TIMES_S = {"min": 60.0, "h": 3600.0, "d": 86400.0, "y": 365.25 * 86400.0}
_DURATION = re.compile(rf"\s*(.{{1,50}}?)\s*({'|'.join(LONG_TIMES_S)})\s*", re.IGNORECASE)
MOST_CHARACTERS = 100
"""Of a number; a double has 17 digits."""


def parse_spice_number(text: str | float) -> float:
    """Return the SI value of `text`: a plain float or one with a SPICE suffix (``308p``, ``25u``, ``10meg``).

    Raises `InputError` for anything else. Source: ngspice manual, section 2.3.1.
    """
    if isinstance(text, int | float):
        return _finite(text, text)
    match = _NUMBER.fullmatch(text) if len(text) <= MOST_CHARACTERS else None
    if not match:
        raise InputError(
            f"{shown(text)} is not a number; write a plain float or one with a SPICE suffix, such as 308p, 25u or 10meg"
        )
    mantissa, exponent, suffix, _unit = match.groups()
    scale = SPICE_SUFFIX_EXPONENT[suffix.lower()] if suffix else 0
    value = _finite(f"{mantissa}e{int(exponent or 0) + scale}", text)
    if value == 0 and re.search("[1-9]", mantissa):
        raise InputError(f"{shown(text)} is smaller than any number that is not 0")
    return value


def parse_duration(text: str | float) -> float:
    """A time in s: ``1h``, ``2.5 min``, ``1d``, ``1y`` (365.25 days), else as `parse_spice_number`: ``10ms``, ``3600``.

    Raises `InputError` for anything else and below 0.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    value_s = parse_spice_number(match[1]) * LONG_TIMES_S[match[2].lower()] if match else parse_spice_number(text)
    if value_s < 0.0:
        raise InputError(f"{shown(text)}: a time before the beginning")
    return value_s


def format_duration(value_s: float) -> str:
    """`value_s` in words as people say times: ``10 ms``, ``1 h``, ``1.2 d``."""
    for unit, length_s in reversed(LONG_TIMES_S.items()):
        if value_s >= length_s:
            return f"{value_s / length_s:.3g} {unit}"
    return format_si(value_s, "s", 3)


def _finite(number: str | float, text: str | float) -> float:
    try:
        value = float(number)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise InputError(f"{shown(text)} is not a finite number")
    return value


class Quantity(float):
    """A number that keeps the unit it was written with, so that whoever knows the right unit can compare."""

    text: str
    unit: str
    """``V`` of ``2.4V``; empty where none was written."""

    @classmethod
    def parse(cls, text: str) -> "Quantity":
        """`parse_spice_number`; raises `InputError` for ``2.4A`` and ``2.4F`` too, atto and femto to SPICE."""
        found = cls(parse_spice_number(text))
        match = _NUMBER.fullmatch(text)
        suffix, unit = (match[3], match[4]) if match else (None, None)
        if suffix in ("A", "F") and not unit:
            name = {"A": "atto", "F": "femto"}[suffix]
            raise InputError(
                f"'{text}' is {name} in SPICE, {found:g}; leave out the unit, or write {suffix.lower()} for {name}"
            )
        found.text, found.unit = text.strip(), UNIT_LETTERS[unit.lower()] if unit else ""
        return found


def format_si(value: float, unit: str = "", digits: int = 4) -> str:
    """Return `value` with an SI prefix and `unit`, e.g. ``format_si(3.08e-10, 'A') == '308 pA'``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    exponent = min(max(3 * math.floor(math.log10(abs(value)) / 3 + 1e-12), -18), 12)
    return f"{value / 10.0**exponent:.{digits}g} {_SI_PREFIX[exponent]}{unit}".rstrip()
