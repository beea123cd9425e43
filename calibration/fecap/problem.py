"""What a FeCAP fit compares: a measured record, and the netlist's answer to its voltage, from the twin or ngspice.

The zero of a measured charge is arbitrary, so charges are compared after their mean difference is taken out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.benches.fecap import FECAP_NETLIST, FeCAPRun, simulate_fecaps
from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.fecap.measurement import FeCAPMeasurement
from bruno_spice.calibration.fitting.least_squares import Fit, Free, fit, search
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.film import charge_density, response
from bruno_spice.devices.fecap.groups import DEFAULT_GROUPS

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
AfterEvaluation = Callable[[str, int, float], None]

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
}
"""What can be free, in this order, and the largest standard error, in the fit's scaled units, to be so."""
LARGEST_RMS = 0.1
"""Of the record's span: a fit that leaves more than this unexplained is none."""
REPEATS_WITHIN = 0.05
"""Of the record's voltage span: between the first and the last sample of a drive that can be repeated."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The record with what came before it (a lead-in from 0 V, cycles), the library's values, and what is compared."""

    measured: FeCAPMeasurement
    time_s: Array
    voltage_v: Array
    base: dict[str, float]
    units: dict[str, str]
    names: list[str]
    used: Mask
    correction: Array
    progress: AfterEvaluation | None
    cycles_before: int = 0
    """How often the record's own drive went over the film before the record began."""

    @classmethod
    def build(
        cls,
        measured: FeCAPMeasurement,
        fixed: Mapping[str, float],
        free: Sequence[str] | None,
        progress: AfterEvaluation | None,
    ) -> "Problem":
        """`measured` beside the library's values, of which `fixed` are other and `free` (default: all) are fitted."""
        params = Netlist.load(FECAP_NETLIST).params
        known = {name: p for name, p in params.items() if name not in ("vamp", "freq", "area") and p.value is not None}
        for name in [*fixed, *(free or [])]:
            if name not in known and name != "groups":
                raise InputError(f"the FeCAP library has no parameter '{name}'; it has {', '.join(known)}")
        for name in free or []:
            if name not in CANDIDATES:
                raise InputError(f"'{name}' cannot be fitted; choose among {', '.join(CANDIDATES)}")
            if name in fixed:
                raise InputError(f"'{name}' is both fixed and to be fitted")
        base = {name: float(p.value) for name, p in known.items() if p.value is not None}
        base |= {"groups": DEFAULT_GROUPS} | dict(fixed)
        time_s, voltage_v = _drive(measured, 0)
        return cls(
            measured=measured,
            time_s=time_s,
            voltage_v=voltage_v,
            base=base,
            units={name: p.unit for name, p in known.items()} | {"groups": "1"},
            names=list(free) if free is not None else [name for name in CANDIDATES if name not in fixed],
            used=np.ones(measured.time_s.size, dtype=bool),
            correction=np.zeros(measured.time_s.size),
            progress=progress,
        )

    def at(self, values: Mapping[str, float]) -> "Problem":
        """The same problem, starting from `values`."""
        return replace(self, base=self.base | dict(values))

    def after(self, cycles: int) -> "Problem":
        """The same problem for a film over which the record's drive went `cycles` times before the record."""
        time_s, voltage_v = _drive(self.measured, cycles)
        return replace(self, time_s=time_s, voltage_v=voltage_v, cycles_before=cycles)

    @property
    def repeats(self) -> bool:
        """Whether the record ends at the voltage at which it began, so that its drive can have come before it."""
        v = self.measured.voltage_v
        return bool(abs(v[-1] - v[0]) <= REPEATS_WITHIN * np.ptp(v))

    def twin(self, values: Mapping[str, float]) -> Array:
        """The twin's charge or current (n,) at the samples."""
        charge = charge_density(self.time_s, self.voltage_v, self.base | dict(values))[-self.measured.time_s.size :]
        return response(self.measured.time_s, charge, self.measured.kind)

    def spice(self, values: Mapping[str, float], farm: Farm | None) -> Array:
        """ngspice's charge or current (n,) at the samples, under the measured voltage."""
        longest_s = float(np.median(np.diff(self.time_s)))
        run = FeCAPRun(self.time_s, self.voltage_v, longest_s, self.base | dict(values))
        charge = simulate_fecaps([run], farm=farm)[0].resampled(self.time_s[-self.measured.time_s.size :])[
            "charge_c_m2"
        ]
        return response(self.measured.time_s, charge, self.measured.kind)

    def residual(self, values: Mapping[str, float]) -> Array:
        """Twin, as corrected by ngspice, minus measurement, at the samples used, in shares of the record's span."""
        difference = (self.twin(values) + self.correction - self.measured.response)[self.used]
        if self.measured.kind == "charge":
            difference = difference - difference.mean()
        return difference / self.measured.span

    @property
    def advice(self) -> str:
        """What to look at where the record is not one of this film."""
        return f"check --time-unit, --voltage-unit and --{self.measured.kind}-unit, the area and what --set fixes"

    def free(self, names: Iterable[str]) -> list[Free]:
        """The free parameters `names`, starting where the problem stands."""
        out = []
        for name in names:
            f = CANDIDATES[name][0]
            inside = 2e-3 * (f.scaled(f.max) - f.scaled(f.min))
            low, high = f.value(f.scaled(f.min) + inside), f.value(f.scaled(f.max) - inside)
            out.append(replace(f, start=float(np.clip(self.base[name], low, high))))
        return out

    def fitted(self, names: Sequence[str], stage: str) -> Fit:
        """Fit `names` from a start a little beside the best point, so that a fit that does not move is seen.

        Raises `FitError` where even the best point leaves more than `LARGEST_RMS` of the record unexplained.
        """
        free = self.free(names)
        best = search(self.residual, free, what="FeCAP fit")
        if (left := rms(self.residual(best))) > LARGEST_RMS:
            raise FitError(
                f"FeCAP fit: the model explains too little of the record, rms {100 * left:.0f} % of its span at best; "
                + self.advice
            )
        near = [replace(f, start=_beside(f, best[f.name])) for f in free]

        def report(count: int, out: Array) -> None:
            if self.progress is not None:
                self.progress(stage, count, rms(out))

        return fit(self.residual, near, what="FeCAP fit", loosest=np.inf, progress=report)


def _drive(measured: FeCAPMeasurement, cycles: int) -> tuple[Array, Array]:
    """Time in s and voltage in V: a step from 0 V, the record's drive `cycles` times, and the record."""
    lead_s = float(measured.time_s[1])
    period_s = float(measured.time_s[-1]) + lead_s
    times = [measured.time_s + lead_s + k * period_s for k in range(cycles + 1)]
    return np.concatenate([[0.0], *times]), np.concatenate([[0.0], np.tile(measured.voltage_v, cycles + 1)])


def _beside(f: Free, value: float) -> float:
    """A start 1 % of a scaled unit away from `value`, inside the bounds."""
    low, high = f.scaled(f.min), f.scaled(f.max)
    at = f.scaled(value)
    return f.value(float(np.clip(at + 0.01, low + 1e-3 * (high - low), high - 1e-3 * (high - low))))


def rms(values: Array) -> float:
    """Root mean square of `values`."""
    return float(np.sqrt(np.mean(values**2)))
