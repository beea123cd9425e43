"""Whether the standard errors of a FeCAP fit can be believed: known films, written as testers write them, fitted again.

`python -m bruno_spice.calibration.fecap.coverage 40 [FIRST]` draws films at random and states s0 before the record,
adds 1 % of noise, another zero and a leak, writes each loop in one of `WRITERS`' formats, and counts how often a
determined parameter lies within two of its standard errors of the truth (normal errors: 95.4 %), and what ended on a
bound unsaid.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from bruno_spice.calibration.benches.fecap import FILM_NETLIST
from bruno_spice.calibration.fecap.candidates import plain
from bruno_spice.calibration.fecap.drive import drive
from bruno_spice.calibration.fecap.fit import fit_fecap
from bruno_spice.calibration.fecap.measurement import Columns, read_measurement
from bruno_spice.calibration.fecap.result import notes
from bruno_spice.calibration.measured.units import declared_units
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.fecap.film import charge_density

Array = NDArray[np.float64]
AREA_M2, THICKNESS_M = 1e-8, 10e-9
STATES = 5
"""Random states before the record for each film."""
NOISE = 0.01
"""Of the largest charge less the smallest, rms."""
SAMPLES = 201
SPREAD = {"ps": 0.2, "ea": 0.15, "eps": 0.2, "sigma_a": 0.2, "sigma_o": 0.2, "j1": 0.5}
"""Standard deviations of the logarithms of what is drawn."""


def _table(time_s: Array, voltage_v: Array, charge: Array) -> str:
    rows = "\n".join(f"{t:.9g},{v:.9g},{q:.9g}" for t, v, q in zip(1e6 * time_s, voltage_v, 100 * charge, strict=True))
    return f"# area [m2]: {AREA_M2}\n# thickness [m]: {THICKNESS_M}\nt [us],v [V],q [uC/cm2]\n{rows}\n"


def _aixacct(time_s: Array, voltage_v: Array, charge: Array) -> str:
    head = ["DynamicHysteresisResult", "", "DynamicHysteresis", "TfaModule: DHM", "", "Table 1", "SingleLoop: YES"]
    head += [f"Area [mm2]: {1e6 * AREA_M2:g}", f"Thickness [nm]: {1e9 * THICKNESS_M:g}", "Measurement Status: 0"]
    head += ["Time [s]\tV+ [V]\tV- [V]\tI1 [A]\tP1 [uC/cm2]"]
    current = AREA_M2 * np.gradient(charge, time_s)
    columns = np.stack([time_s, voltage_v, -voltage_v, current, 100 * charge], axis=1)
    return "\n".join([*head, *("\t".join(f"{x:.9e}" for x in row) for row in columns)]) + "\n"


def _keithley(time_s: Array, voltage_v: Array, charge: Array) -> str:
    rows = "\n".join(f"{v:.9E},{AREA_M2 * q:.9E}" for v, q in zip(voltage_v, charge, strict=True))
    return f"\ufeffVforce,Charge\n{rows}\n"


WRITERS: dict[str, Callable[[Array, Array, Array], str]] = {"table": _table, "aixacct": _aixacct, "keithley": _keithley}


@dataclass(frozen=True)
class Case:
    """One fit: (value - truth) / stderr by parameter, what ended on a bound, whether that was said, and any doubt."""

    format: str
    off: dict[str, float]
    held: tuple[str, ...]
    said: bool
    doubt: str


def case(number: int, farm: Farm | None = None) -> Case:
    """Case `number`: the film is drawn by `number` // `STATES`, the state before the record and the noise by it."""
    film, own = np.random.default_rng([7, number // STATES]), np.random.default_rng([11, number])
    library = {name: float(p.value) for name, p in Netlist.load(FILM_NETLIST).params.items() if p.value is not None}
    truth = library | {"j1": 1.0} | {"imprint": float(film.normal(0, 0.1)), "s0": float(own.uniform(-1, 1))}
    truth |= {name: float(truth[name] * np.exp(film.normal(0, spread))) for name, spread in SPREAD.items()}
    frequency_hz = 1e3
    time_s = np.linspace(0, 1 / frequency_hz, SAMPLES)
    voltage_v = 3.2 * np.interp(time_s * frequency_hz, [0, 0.25, 0.75, 1], [0, 1, -1, 0])
    charge = charge_density(*drive(time_s, voltage_v, 0), truth)[1:]
    charge = charge + own.normal(0, NOISE * np.ptp(charge), SAMPLES) + own.normal(0, 0.1)
    name = list(WRITERS)[number % len(WRITERS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"loop.{name}"
        path.write_text(WRITERS[name](time_s, voltage_v, charge), encoding="utf-8")
        bare = name == "keithley"
        columns = Columns(units=declared_units(["Vforce=V", "Charge=C"]) if bare else {})
        measured = read_measurement(path, columns, AREA_M2, frequency_hz=frequency_hz if bare else None)
    known = {"tfe": THICKNESS_M, "nmerz": truth["nmerz"], "tau0": truth["tau0"]}
    found = fit_fecap(measured, known, farm=farm)
    off = {n: (found.fit.values[n] - truth[plain(n)]) / stderr for n, stderr in found.fit.stderr.items()}
    held = tuple(each.name for each in found.fit.held)
    told = " ".join(notes(found))
    return Case(name, off, held, all(f"{each} ended on its bound" in told for each in held), found.doubt)


def report(cases: list[Case]) -> str:
    """The shares, a line for each parameter."""
    lines = []
    for name in sorted({name for each in cases for name in each.off}):
        off = np.array([each.off[name] for each in cases if name in each.off])
        lines.append(f"{name}: within two standard errors in {np.mean(np.abs(off) < 2):.1%} of {off.size}")
    every = np.array([value for each in cases for value in each.off.values()])
    lines.append(
        f"all: {np.mean(np.abs(every) < 2):.1%} of {every.size}; doubted fits: {sum(bool(c.doubt) for c in cases)}"
    )
    held = [each for each in cases if each.held]
    lines.append(f"on a bound: {len(held)} fits, {sum(not each.said for each in held)} of them without saying so")
    return "\n".join(lines)


if __name__ == "__main__":
    count, first = int(sys.argv[1]), int((sys.argv[2:] or ["0"])[0])
    print(report([case(n) for n in track(range(first, first + count), "films", transient=True)]))
