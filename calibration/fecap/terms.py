"""Which optional terms a fit tries, and where each of them starts.

A resistance is seen by what it takes from the voltage and a fixture by what it adds to the charge; both start at
`SEEN` of that. The others start at 0, which is the film without them.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from bruno_spice.calibration.fecap.candidates import BY_TEMPERATURE, TERMS, plain
from bruno_spice.calibration.fecap.problem import Problem
from bruno_spice.devices.errors import InputError

SEEN = 0.02
BY_AREA = ("rs", "cfix")
"""Terms of a circuit rather than of a film: a record without an area says nothing of them."""


def checked_terms(
    terms: Sequence[str], known: Sequence[Mapping[str, float]], fixed: Mapping[str, float], free: Sequence[str] | None
) -> list[str]:
    """The terms to try for records of which `known` is known; `fixed` and `free` are those of the fit.

    Raises `InputError` for unknown ones, and those of which the records can say nothing.
    """
    tempk = {each.get("tempk", 300.0) for each in known}
    areas = {each.get("area") for each in known}
    impossible = dict.fromkeys(BY_TEMPERATURE, "needs records at two temperatures: --set 2:tempk=400")
    impossible = impossible if len(tempk) < 2 else {}
    if None in areas:
        impossible |= dict.fromkeys(BY_AREA, "needs the electrode's area: --area")
    elif len(areas) < 2:
        impossible["cfix"] = "needs records of two areas, for it adds what eps adds"
    if len(known) < 2:
        impossible["wake"] = "needs two records: it is the share of Ps against the first"
    chosen = [name for name in TERMS if name not in impossible] if "all" in terms else list(dict.fromkeys(terms))
    for name in chosen:
        if name not in TERMS:
            raise InputError(f"--terms {name}: there is no such term; choose among {', '.join(TERMS)}, or all")
        if name in impossible:
            raise InputError(f"--terms {name}: it {impossible[name]}")
    if free is not None:
        chosen += [name for name in map(plain, free) if name in TERMS and name not in chosen]
    return [name for name in chosen if name not in fixed]


def switched_on(problem: Problem, known: Sequence[Mapping[str, float]]) -> Problem:
    """`problem` with its terms where they are seen, and each record's area."""
    first = problem.parts[0].measured
    area = known[0].get("area", 1.0)
    slope = np.gradient(first.response, first.time_s) if first.kind == "charge" else first.response
    starts = {
        "rs": SEEN * np.ptp(first.voltage_v) / (area * float(np.percentile(np.abs(slope), 95))),
        "cfix": SEEN * area * first.span / np.ptp(first.voltage_v),
        "wake": 1.0,
    }
    for k, part in enumerate(problem.parts):
        own = {name: known[k][name] for name in ("area", "tempk") if name in known[k]}
        part.own.update({**own, **part.own})
    return problem.at({name: starts[plain(name)] for name in problem.names if plain(name) in starts})
