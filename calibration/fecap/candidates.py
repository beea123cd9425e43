"""What of the FeCAP netlist can be fitted: the film's parameters, the optional terms, and what a record has of its own.

Each has bounds, and a largest standard error, in the fit's scaled units, up to which it counts as determined. A film
is shared by all records; a record has its own state before it (``s0``), its own zero, and what `OWN` and the caller
say. With several records the names of such parameters carry the record's number: ``s0_2``.
"""

from collections.abc import Mapping
from dataclasses import replace

from bruno_spice.calibration.fitting.least_squares import Free
from bruno_spice.devices.errors import InputError

CANDIDATES: dict[str, tuple[Free, float]] = {
    "ps": (Free("ps", 0.22, 1e-3, 3.0), 0.05),
    "ea": (Free("ea", 1.65, 0.05, 50.0), 0.05),
    "eps": (Free("eps", 40.0, 1.0, 1000.0), 0.1),
    "sigma_a": (Free("sigma_a", 0.17, 1e-3, 1.5, 0.1), 0.5),
    "sigma_o": (Free("sigma_o", 0.185, 1e-3, 3.0, 0.1), 0.5),
    "imprint": (Free("imprint", 0.0, -5.0, 5.0, 0.1), 0.5),
    "nmerz": (Free("nmerz", 4.44, 1.0, 12.0, 1.0), 0.5),
    "tau0": (Free("tau0", 0.57e-6, 1e-13, 1e-2), 0.2),
    "j1": (Free("j1", 1e-2, 1e-8, 1e6), 0.1),
    "s0": (Free("s0", -1.0, -1.0, 1.0, 0.1), 0.5),
    "ej": (Free("ej", 0.3, 0.05, 5.0), 0.1),
}
"""What can be free, in this order, and the largest standard error to be so."""
TERMS: dict[str, tuple[Free, float]] = {
    "ja": (Free("ja", 0.0, -0.99, 0.99, 0.1), 1.0),
    "rs": (Free("rs", 1e3, 1.0, 1e9), 0.1),
    "cfix": (Free("cfix", 1e-12, 1e-16, 1e-6), 0.1),
    "jact": (Free("jact", 0.1, -0.5, 2.0, 0.1), 1.0),
    "kps": (Free("kps", 0.0, -0.02, 0.02, 1e-3), 1.0),
    "keps": (Free("keps", 0.0, -0.02, 0.02, 1e-3), 1.0),
    "wake": (Free("wake", 1.0, 0.01, 100.0), 0.05),
    "drift": (Free("drift", 0.0, -1.0, 1.0, 1.0), 1.0),
}
"""What real films and testers add, each off unless asked for (``--terms``): those of models/fecap_film.lib, `wake`,
which scales Ps of a record against that of the first, and `drift`, a constant current that its tester adds or takes
away (a loop that the tester has closed, an amplifier's offset). The drift is found in closed form, with the zero."""
LAST = ("ej",)
"""What is judged behind the terms, for it explains much of what they do."""
OFF = {"ja": 0.0, "rs": 0.0, "cfix": 0.0, "jact": 0.0, "kps": 0.0, "keps": 0.0, "wake": 1.0}
OWN = ("s0", "wake")
"""What each record has for itself."""
MAY_BE_OWN = ("s0", "wake", "rs", "cfix", "imprint", "j1")
BY_TEMPERATURE = ("jact", "kps", "keps")
"""Terms that one temperature says nothing of."""
BY_RECORDS = (*BY_TEMPERATURE, "cfix")
"""Terms that one record says nothing of."""


def plain(name: str) -> str:
    """The parameter of which `name` is a record's: ``s0`` for ``s0_2``."""
    base, _, number = name.rpartition("_")
    return base if number.isdecimal() else name


def number(name: str) -> int | None:
    """The record whose own `name` is, from 0; `None` for one of the film, and where there is one record only."""
    end = name.rpartition("_")[2]
    return int(end) - 1 if end.isdecimal() and plain(name) != name else None


def candidate(name: str, bounds: Mapping[str, tuple[float, float]]) -> tuple[Free, float]:
    """The `Free` of `name`, within its `bounds` where they are given, and its largest standard error."""
    free, loosest = (CANDIDATES | TERMS)[plain(name)]
    low, high = bounds.get(plain(name), (free.min, free.max))
    return replace(free, name=name, min=low, max=high), loosest


def checked_bounds(bounds: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """`bounds`; raises `InputError` for what cannot be fitted, is empty, or is not positive where it must be."""
    for name, (low, high) in bounds.items():
        if name not in CANDIDATES | TERMS or name == "drift":
            raise InputError(f"'{name}' has no bounds; choose among {', '.join([*CANDIDATES, *OFF])}")
        if not low < high:
            raise InputError(f"--bound {name}={low:g}:{high:g}: the lower bound is not below the upper one")
        if (CANDIDATES | TERMS)[name][0].scale == "log10" and low <= 0:
            raise InputError(f"--bound {name}={low:g}:{high:g}: {name} is positive")
    for name, (least, most) in {"s0": (-1.0, 1.0), "ja": (-1.0, 1.0)}.items():
        low, high = bounds.get(name, (least, most))
        if low < least or high > most:
            raise InputError(f"--bound {name}={low:g}:{high:g}: {name} is between {least:g} and {most:g}")
    return dict(bounds)
