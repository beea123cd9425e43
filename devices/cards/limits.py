"""Which values a card's parameters can have at all: beyond them lies a slip of sign or unit, not a device."""

import re

POSITIVE = frozenset(
    {
        "area",
        "thickness_hzo",
        "eps_hzo",
        "eps_int",
        "saturation_polarization",
        "tau_0",
        "alpha",
        "e_soft",
        "leak_v_scale",
        "leak_v_smooth",
        "v_threshold",
        "v_compliance",
        "activation_field",
        "g_hrs",
        "g_level_min",
        "g_level_max",
        "length_mean",
        "radius_mean",
        "read_voltage",
        "reset_onset_width",
        "reset_sharpness",
    }
)
NOT_NEGATIVE = frozenset(
    {
        "thickness_int",
        "leak_density",
        "leak_discharge",
        "c_parallel",
        "t_refractory",
        "domain_weight",
        "r_series",
        "r_area",
        "length_sigma",
        "radius_sigma",
        "read_noise_conductance",
        "read_noise_resistance",
        "read_noise_floor",
    }
)
LARGEST = {"m": 1e-3, "m^2": 1e-2, "V": 100.0, "s": 100.0, "F": 1e-3, "C/m^2": 100.0}
"""By unit, in magnitude."""


def limits(name: str, unit: str) -> dict[str, float]:
    """What the value of parameter `name` must keep, in the words of JSON Schema: ``exclusiveMinimum``, ``maximum``."""
    kind = re.sub(r"_\d+$", "", name) if name.startswith(("activation_", "domain_")) else name
    largest = {"maximum": LARGEST[unit]} if unit in LARGEST else {}
    if kind in POSITIVE:
        return {"exclusiveMinimum": 0.0} | largest
    if kind in NOT_NEGATIVE:
        return {"minimum": 0.0} | largest
    return {"minimum": -LARGEST[unit]} | largest if largest else {}


def refusal(name: str, unit: str, value: float) -> str | None:
    """Why parameter `name` cannot have `value`, in one sentence; None where it can."""
    bounds = limits(name, unit)
    broken = (
        value <= bounds.get("exclusiveMinimum", float("-inf"))
        or value < bounds.get("minimum", float("-inf"))
        or value > bounds.get("maximum", float("inf"))
    )
    words = {"exclusiveMinimum": "above", "minimum": "at least", "maximum": "at most"}
    asked = " and ".join(f"{words[key]} {bound:g}" for key, bound in bounds.items())
    return f"parameter '{name}' must be {asked}{'' if unit == '1' else f' {unit}'}, not {value:g}" if broken else None
