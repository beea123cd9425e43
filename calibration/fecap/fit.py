"""The FeCAP netlist's parameters from an engineer's own measurement.

1. The compiled twin of the netlist (`devices.fecap.film`) is fitted to the record, from the best of a few starts
   (`calibration.fecap.start`). Which parameters are free is decided by what the record determines: in the order of
   `CANDIDATES`, each joins as long as every standard error stays below its limit; the others stay at the netlist's
   value and the result says so. The leak, which adds to the charge all along, is followed from the beginning, so that
   nothing else is bent to make up for it, and judged last like the others.
2. A single sample further than `OUTLIER_SIGMAS` robust deviations from the fit is an outlier. Those and the clipped
   ones are listed in the result, and left out of the fit unless the caller wants them in. Neighbouring samples that
   are off together are no accident but something that the model misses: they stay, and the result says so.
3. ngspice runs the netlist under the measured voltage. What it gives beyond the twin is added to the twin, and the fit
   is done again, so that the end point is a fit of the netlist itself (space mapping; Bandler et al., IEEE Trans.
   Microwave Theory Tech. 52, 337, 2004). The rms of ngspice against the measurement is what is reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.fecap.measurement import FeCAPMeasurement
from bruno_spice.calibration.fecap.problem import CANDIDATES, AfterEvaluation, Problem, rms
from bruno_spice.calibration.fecap.start import CYCLES_BEFORE, START_STATES, sees_leak, started
from bruno_spice.calibration.fitting.least_squares import Fit, search
from bruno_spice.calibration.fitting.standard_errors import jacobian
from bruno_spice.calibration.spice.farm import Farm

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

OUTLIER_SIGMAS = 6.0
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
    missed: Mask
    """Samples (n,) that are as far off as an outlier, but together with their neighbours."""
    used: Mask
    rms: float
    """ngspice against the measurement over the samples used, in the measurement's unit."""
    twin_rms: float
    """ngspice against the compiled twin, same unit."""
    autocorrelation: float
    """Of the residual from sample to sample: near 0 for noise, near 1 for a model that misses something."""
    units: dict[str, str]
    cycles_before: int
    """How often the record's own drive went over the film before the record, from state s0."""


def fit_fecap(
    measured: FeCAPMeasurement,
    fixed: Mapping[str, float] | None = None,
    free: Sequence[str] | None = None,
    keep_flagged: bool = False,
    farm: Farm | None = None,
    progress: AfterEvaluation | None = None,
) -> FeCAPFit:
    """Fit the parameters of models/fecap.lib to `measured`.

    Main: `fixed` sets library parameters that the fit leaves alone (tfe, tdl, tempk ... and `groups`); `free` names
    those to fit instead of letting the data decide. Other: `keep_flagged` fits clipped samples and outliers too;
    `progress` is called with the stage, the evaluations so far and the rms.
    Raises `InputError` for unknown names, `FitError` where the result cannot be believed.
    """
    problem = Problem.build(measured, fixed or {}, free, progress)
    used = np.ones(measured.time_s.size, dtype=bool) if keep_flagged else ~measured.clipped
    states, cycles = ((fixed["s0"],), (0,)) if fixed and "s0" in fixed else (START_STATES, CYCLES_BEFORE)
    netlist_values = problem.base
    problem = started(replace(problem, used=used), states, cycles)
    names, why = problem.names, dict[str, str]()
    if free is None:
        names, why = _determined(problem)
        problem = problem.at({name: netlist_values[name] for name in why})
    result = problem.fitted(names, "twin")
    outliers, missed = _far(problem, result.values)
    if outliers.any() and not keep_flagged:
        problem = replace(problem.at(result.values), used=used & ~outliers)
        if free is None:
            names, why = _determined(problem)
            problem = problem.at({name: netlist_values[name] for name in why})
        result = problem.fitted(names, "without outliers")
        missed = _far(problem, result.values)[1]
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
        missed=missed & ~measured.clipped,
        used=problem.used,
        rms=rms(residual - shift),
        twin_rms=rms((spice - twin) - (np.mean(spice - twin) if measured.kind == "charge" else 0.0)),
        autocorrelation=_autocorrelation(residual - shift),
        units=problem.units,
        cycles_before=problem.cycles_before,
    )


def _determined(problem: Problem) -> tuple[list[str], dict[str, str]]:
    """Names that the record determines, and for each other one why it does not.

    A parameter joins if, with it, every standard error stays below its limit; that is judged at the best point with
    those that joined before, with the leak followed wherever the fit is free to move it.
    """
    chosen: list[str] = []
    why: dict[str, str] = {}
    leak = ["j1"] if sees_leak(problem) else []
    for name in problem.names:
        trial = [*chosen, name]
        free = problem.free(dict.fromkeys([*trial, *leak]))
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


def _standard_errors(problem: Problem, names: Sequence[str]) -> Array:
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


def _far(problem: Problem, values: Mapping[str, float]) -> tuple[Mask, Mask]:
    """Samples (n,) far from the fit, by robust deviations of the samples used: single ones, and all others.

    A single one is as far from the mean of its neighbours' residuals, and has none of them far on its own side.
    """
    difference = problem.twin(values) - problem.measured.response
    difference = difference - np.median(difference[problem.used])
    sigma = 1.4826 * np.median(np.abs(difference[problem.used]))
    limit = OUTLIER_SIGMAS * max(sigma, 1e-4 * problem.measured.span)
    around = np.pad(difference, 1, mode="reflect")
    before, after = around[:-2], around[2:]
    far = np.abs(difference) > limit
    alone = np.abs(difference - (before + after) / 2) > limit
    for beside in (before, after):
        alone &= ~((np.abs(beside) > limit) & (np.sign(beside) == np.sign(difference)))
    return far & alone, far & ~alone


def _with_ngspice(problem: Problem, result: Fit, names: Sequence[str], farm: Farm | None) -> tuple[Fit, Array]:
    """The fit of the netlist itself, and ngspice's answer at its end point."""
    for count in range(MAX_SPICE_ROUNDS):
        if problem.progress is not None:
            problem.progress("ngspice", count, rms(result.residual))
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
