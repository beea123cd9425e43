"""Which values a film's parameters can have at all: beyond them lies a slip of sign or unit, not a film."""

from collections.abc import Mapping

from bruno_spice.devices.errors import InputError

LIMITS = {
    "area": (1e-18, 1.0), "tfe": (1e-10, 1e-3), "eps": (0.0, 1e5), "ps": (0.0, 1e3), "tau0": (1e-18, 100.0),
    "nmerz": (0.1, 100.0), "ea": (1e-3, 1e3), "sigma_a": (0.0, 10.0), "sigma_o": (0.0, 100.0),
    "imprint": (-100.0, 100.0), "tdl": (0.0, 1e-3), "epsdl": (1e-3, 1e5), "s0": (-1.0, 1.0), "j1": (0.0, 1e12),
    "ej": (0.01, 1e3), "tempk": (10.0, 2e3), "rs": (0.0, 1e12), "cfix": (0.0, 1.0), "jact": (-0.5, 5.0),
}  # fmt: skip
"""By name of models/fecap.lib and models/fecap_film.lib, in their units, bounds included."""


def refusal(name: str, value: float, limits: tuple[float, float]) -> str | None:
    """Why parameter `name` cannot have `value`, in one sentence; None where it can."""
    low, high = limits
    return None if low <= value <= high else f"parameter '{name}' lies between {low:g} and {high:g}, not at {value:g}"


def refuse_beyond(values: Mapping[str, float]) -> None:
    """Raise `InputError` for the first of `values` that lies beyond its `LIMITS`."""
    for name, limits in LIMITS.items():
        if name in values and (why := refusal(name, values[name], limits)) is not None:
            raise InputError(why)
