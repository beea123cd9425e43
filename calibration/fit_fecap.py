"""The FeCAP netlist's parameters from an engineer's own measurement.

1. The compiled twin of the netlist (`calibration.fecap_model`) is fitted to the record. Which parameters are free is
   decided by what the record determines: in the order of `CANDIDATES`, each joins as long as every standard error
   stays below its limit; the others stay at the netlist's value and the result says so.
2. Samples further than `OUTLIER_SIGMAS` robust deviations from the fit are outliers. They and the clipped ones are
   listed in the result, and left out of the fit unless the caller wants them in.
3. ngspice runs the netlist under the measured voltage. What it gives beyond the twin is added to the twin, and the fit
   is done again, so that the end point is a fit of the netlist itself (space mapping; Bandler et al., IEEE Trans.
   Microwave Theory Tech. 52, 337, 2004). The rms of ngspice against the measurement is what is reported.

The zero of a measured charge is arbitrary, so charges are compared after their mean difference is taken out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.errors import FitError
from calibration.farm import Farm
from calibration.fecap_bench import FECAP_NETLIST, FeCAPRun, simulate_fecaps
from calibration.fecap_measurement import FeCAPMeasurement
from calibration.fecap_model import charge_density, response
from calibration.fitting import Fit, Free, fit, jacobian, search
from calibration.lattice import DEFAULT_GROUPS
from calibration.netlist import Netlist
from devices.errors import InputError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Progress = Callable[[str, int, float], None]

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
START_STATES = (-1.0, 0.0, 1.0)
START_ACTIVATION_RATIOS = (0.5, 0.7, 1.0, 1.4, 2.0)
STARTS_FOLLOWED = 3
OUTLIER_SIGMAS = 6.0
LARGEST_RMS = 0.1
"""Of the record's span: a fit that leaves more than this unexplained is none."""
MAX_SPICE_ROUNDS = 4
SETTLED_STDERR = 0.2
"""The rounds with ngspice end when no parameter moves by more than this share of its standard error."""


@dataclass(frozen=True, eq=False)
class FeCAPFit:
    """What `fit_fecap` found."""

    fit: Fit
    values: dict[str, float]
    """Every parameter of the library, fitted or not."""
    not_determined: dict[str, str]
    """Parameters left at the netlist's value, and why."""
    model: Array
    """ngspice's answer (n,) to the measured voltage, on the measurement's zero."""
    outliers: Mask
    used: Mask
    rms: float
    """ngspice against the measurement over the samples used, in the measurement's unit."""
    twin_rms: float
    """ngspice against the compiled twin, same unit."""
    autocorrelation: float
    """Of the residual from sample to sample: near 0 for noise, near 1 for a model that misses something."""
    units: dict[str, str]


def fit_fecap(
    measured: FeCAPMeasurement,
    fixed: Mapping[str, float] | None = None,
    free: Sequence[str] | None = None,
    keep_flagged: bool = False,
    farm: Farm | None = None,
    progress: Progress | None = None,
) -> FeCAPFit:
    """Fit the parameters of models/fecap.lib to `measured`.

    Main: `fixed` sets library parameters that the fit leaves alone (tfe, tdl, tempk ... and `groups`); `free` names
    those to fit instead of letting the data decide. Other: `keep_flagged` fits clipped samples and outliers too;
    `progress` is called with the stage, the evaluations so far and the rms.
    Raises `InputError` for unknown names, `FitError` where the result cannot be believed.
    """
    problem = _Problem.build(measured, fixed or {}, free, progress)
    used = np.ones(measured.time_s.size, dtype=bool) if keep_flagged else ~measured.clipped
    states = (fixed["s0"],) if fixed and "s0" in fixed else START_STATES
    netlist_values = problem.base
    problem = _started(replace(problem, used=used), states)
    names, why = problem.names, dict[str, str]()
    if free is None:
        names, why = _determined(problem)
        problem = problem.at({name: netlist_values[name] for name in why})
    result = problem.fitted(names, "twin")
    outliers = _outliers(problem, result.values)
    if outliers.any() and not keep_flagged:
        problem = replace(problem.at(result.values), used=used & ~outliers)
        if free is None:
            names, why = _determined(problem)
            problem = problem.at({name: netlist_values[name] for name in why})
        result = problem.fitted(names, "without outliers")
    result, spice = _with_ngspice(problem, result, names, farm)
    values = problem.base | result.values
    residual = (spice - measured.response)[problem.used]
    shift = float(residual.mean()) if measured.kind == "charge" else 0.0
    twin = problem.twin(values)
    return FeCAPFit(
        fit=result,
        values=values,
        not_determined=why,
        model=spice - shift,
        outliers=outliers & ~measured.clipped,
        used=problem.used,
        rms=_rms(residual - shift),
        twin_rms=_rms((spice - twin) - (np.mean(spice - twin) if measured.kind == "charge" else 0.0)),
        autocorrelation=_autocorrelation(residual - shift),
        units=problem.units,
    )


@dataclass(frozen=True, eq=False)
class _Problem:
    """The record with a lead-in from 0 V, the library's values, and what is compared."""

    measured: FeCAPMeasurement
    time_s: Array
    voltage_v: Array
    base: dict[str, float]
    units: dict[str, str]
    names: list[str]
    used: Mask
    correction: Array
    progress: Progress | None

    @classmethod
    def build(
        cls,
        measured: FeCAPMeasurement,
        fixed: Mapping[str, float],
        free: Sequence[str] | None,
        progress: Progress | None,
    ) -> "_Problem":
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
        lead_s = float(measured.time_s[1] - measured.time_s[0])
        return cls(
            measured=measured,
            time_s=np.concatenate([[0.0], measured.time_s + lead_s]),
            voltage_v=np.concatenate([[0.0], measured.voltage_v]),
            base=base,
            units={name: p.unit for name, p in known.items()} | {"groups": "1"},
            names=list(free) if free is not None else [name for name in CANDIDATES if name not in fixed],
            used=np.ones(measured.time_s.size, dtype=bool),
            correction=np.zeros(measured.time_s.size),
            progress=progress,
        )

    def at(self, values: Mapping[str, float]) -> "_Problem":
        """The same problem, starting from `values`."""
        return replace(self, base=self.base | dict(values))

    def twin(self, values: Mapping[str, float]) -> Array:
        """The twin's charge or current (n,) at the samples."""
        charge = charge_density(self.time_s, self.voltage_v, self.base | dict(values))[1:]
        return response(self.measured.time_s, charge, self.measured.kind)

    def spice(self, values: Mapping[str, float], farm: Farm | None) -> Array:
        """ngspice's charge or current (n,) at the samples, under the measured voltage."""
        longest_s = float(np.median(np.diff(self.time_s)))
        run = FeCAPRun(self.time_s, self.voltage_v, longest_s, self.base | dict(values))
        charge = simulate_fecaps([run], farm=farm)[0].resampled(self.time_s[1:])["charge_c_m2"]
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

    def free(self, names: Sequence[str]) -> list[Free]:
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
        if (left := _rms(self.residual(best))) > LARGEST_RMS:
            raise FitError(
                f"FeCAP fit: the model explains too little of the record, rms {100 * left:.0f} % of its span at best; "
                + self.advice
            )
        near = [replace(f, start=_beside(f, best[f.name])) for f in free]

        def report(count: int, out: Array) -> None:
            if self.progress is not None:
                self.progress(stage, count, _rms(out))

        return fit(self.residual, near, what="FeCAP fit", progress=report)


def _beside(f: Free, value: float) -> float:
    """A start 1 % of a scaled unit away from `value`, inside the bounds."""
    low, high = f.scaled(f.min), f.scaled(f.max)
    at = f.scaled(value)
    return f.value(float(np.clip(at + 0.01, low + 1e-3 * (high - low), high - 1e-3 * (high - low))))


def _started(problem: _Problem, states: Sequence[float]) -> _Problem:
    """The best of a few starts: state before the record, activation field; Ps scaled to the record's span."""
    trials = []
    for state in states:
        for ratio in START_ACTIVATION_RATIOS if "ea" in problem.names else (1.0,):
            trial = problem.at({"s0": state, "ea": problem.base["ea"] * ratio})
            if "ps" in problem.names:
                share = problem.measured.span / float(np.ptp(trial.twin({})))
                trial = trial.at({"ps": problem.base["ps"] * min(max(share, 0.05), 10.0)})
            trials.append((_rms(trial.residual({})), trial))
    core = [name for name in ("ps", "ea", "eps", "sigma_o", "imprint") if name in problem.names]
    best = []
    for size, trial in sorted(trials, key=lambda pair: pair[0])[:STARTS_FOLLOWED]:
        if problem.progress is not None:
            problem.progress("start", 0, size)
        found = search(trial.residual, trial.free(core), what="FeCAP fit", tolerance=1e-3, max_evaluations=60)
        best.append((_rms(trial.residual(found)), trial.at(found)))
    return min(best, key=lambda pair: pair[0])[1]


def _determined(problem: _Problem) -> tuple[list[str], dict[str, str]]:
    """Names that the record determines, and for each other one why it does not.

    A parameter joins if, with it, every standard error stays below its limit; that is judged at the best point with
    those that joined before.
    """
    chosen: list[str] = []
    why: dict[str, str] = {}
    for name in problem.names:
        trial = [*chosen, name]
        free = problem.free(trial)
        here = problem.at(search(problem.residual, free, what="FeCAP fit", tolerance=1e-5))
        errors = _standard_errors(here, trial)
        loose = {n: e / CANDIDATES[n][1] for n, e in zip(trial, errors, strict=True)}
        worst = max(loose, key=lambda n: loose[n])
        if loose[worst] <= 1.0:
            chosen, problem = trial, here
        elif worst == name:
            why[name] = "the record does not determine it"
        else:
            why[name] = f"the record does not tell it from {worst}"
    if not chosen:
        raise FitError(f"FeCAP fit: the record determines none of the parameters; {problem.advice}")
    return chosen, why


def _standard_errors(problem: _Problem, names: Sequence[str]) -> Array:
    """Standard errors (p,) in scaled units at the point where the problem stands; infinite where singular."""
    free = problem.free(names)
    at = np.array([f.scaled(f.start) for f in free])

    def residual(scaled: Array) -> Array:
        return problem.residual({f.name: f.value(float(x)) for f, x in zip(free, scaled, strict=True)})

    slopes = jacobian(residual, at, 1e-5)
    _, singular, directions = np.linalg.svd(slopes, full_matrices=False)
    if singular[-1] <= 1e-9 * singular[0]:
        return np.abs(directions[-1]) * np.inf
    variance = np.sum((directions.T / singular) ** 2, axis=1)
    out = residual(at)
    return np.asarray(np.sqrt(variance * (out @ out) / max(out.size - at.size, 1)))


def _outliers(problem: _Problem, values: Mapping[str, float]) -> Mask:
    """Samples (n,) that lie further from the fit than the rest, by robust deviations of the samples used."""
    difference = problem.twin(values) - problem.measured.response
    centre = np.median(difference[problem.used])
    sigma = 1.4826 * np.median(np.abs(difference[problem.used] - centre))
    return np.asarray(np.abs(difference - centre) > OUTLIER_SIGMAS * max(sigma, 1e-4 * problem.measured.span))


def _with_ngspice(problem: _Problem, result: Fit, names: Sequence[str], farm: Farm | None) -> tuple[Fit, Array]:
    """The fit of the netlist itself, and ngspice's answer at its end point."""
    for count in range(MAX_SPICE_ROUNDS):
        if problem.progress is not None:
            problem.progress("ngspice", count, _rms(result.residual))
        spice = problem.spice(result.values, farm)
        problem = replace(problem.at(result.values), correction=spice - problem.twin(result.values))
        again = problem.fitted(names, "ngspice")
        moved = max(abs(again.values[n] - result.values[n]) / again.stderr[n] for n in names)
        if moved <= SETTLED_STDERR:
            return result, spice
        result = again
    raise FitError(
        f"FeCAP fit: ngspice and its compiled twin still disagree by {moved:.2g} standard errors after "
        f"{MAX_SPICE_ROUNDS} rounds; sample the waveform more finely"
    )


def _autocorrelation(residual: Array) -> float:
    return float(residual[1:] @ residual[:-1] / max(float(residual @ residual), 1e-300))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
