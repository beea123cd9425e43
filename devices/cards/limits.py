"""Which values a card's parameters can have at all: beyond them lies a slip of sign or unit, not a device."""

from bruno_spice.devices.models.model import Sign

LARGEST = {"m": 1e-3, "m^2": 1e-2, "V": 100.0, "s": 100.0, "F": 1e-3, "C/m^2": 100.0}
"""By unit, in magnitude."""


def limits(unit: str, sign: Sign) -> dict[str, float]:
    """What a value in `unit` of such a `sign` must keep, in the words of JSON Schema: ``exclusiveMinimum``, ..."""
    largest = {"maximum": LARGEST[unit]} if unit in LARGEST else {}
    if sign == "positive":
        return {"exclusiveMinimum": 0.0} | largest
    if sign == "not negative":
        return {"minimum": 0.0} | largest
    return {"minimum": -LARGEST[unit]} | largest if largest else {}


def refusal(name: str, unit: str, sign: Sign, value: float) -> str | None:
    """Why parameter `name` cannot have `value`, in one sentence; None where it can."""
    bounds = limits(unit, sign)
    broken = (
        value <= bounds.get("exclusiveMinimum", float("-inf"))
        or value < bounds.get("minimum", float("-inf"))
        or value > bounds.get("maximum", float("inf"))
    )
    words = {"exclusiveMinimum": "above", "minimum": "at least", "maximum": "at most"}
    asked = " and ".join(f"{words[key]} {bound:g}" for key, bound in bounds.items())
    return f"parameter '{name}' must be {asked}{'' if unit == '1' else f' {unit}'}, not {value:g}" if broken else None
