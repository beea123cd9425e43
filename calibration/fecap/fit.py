"""The FeCAP netlist's parameters from an engineer's own measurements: one record of a film, or several.

1. The compiled twin of the netlist (`devices.fecap.film`) is fitted to the records, from the best of a few starts
   (`calibration.fecap.start`). Which parameters are free is decided by what the records determine, and which of the
   optional terms by what lowers the error on samples left out (`calibration.fecap.determined`); the others stay at the
   netlist's value and the result says so.
2. A single sample further than `OUTLIER_SIGMAS` robust deviations from the fit is an outlier. Those and the clipped
   ones are listed in the result, and left out of the fit unless the caller wants them in. Neighbouring samples that
   are off together are no accident but something that the model misses: they stay, and the result says so.
3. ngspice runs the netlist under the measured voltages. What it gives beyond the twin is added to the twin, and the fit
   is done again, so that the end point is a fit of the netlist itself (space mapping; Bandler et al., IEEE Trans.
   Microwave Theory Tech. 52, 337, 2004). The rms of ngspice against the measurement is what is reported.

What cannot be believed is a result all the same, with the reason (`FeCAPFit.doubt`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.fecap.candidates import OFF, OWN, checked_bounds, plain
from bruno_spice.calibration.fecap.determined import Asked, asked_for, determined, field_scale, with_larger_errors
from bruno_spice.calibration.fecap.measurement import FeCAPMeasurement
from bruno_spice.calibration.fecap.problem import LARGEST_RMS, AfterEvaluation, Part, Problem, rms
from bruno_spice.calibration.fecap.start import ELSEWHERE, FOLLOWED, further, placed, started
from bruno_spice.calibration.fecap.terms import checked_terms, switched_on
from bruno_spice.calibration.fitting.least_squares import Fit
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.devices.errors import InputError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

OUTLIER_SIGMAS = 6.0
AS_GOOD_WITHOUT = 1.1
"""By this factor the rms may grow where terms are left out that the samples left out did not ask for."""
BREAKS = 2.0
"""By this factor the rms may grow where the leak goes back to the netlist's value."""
SHAPE = ("sigma_a", "sigma_o", "imprint")
"""What says how a film's switching fields are distributed."""
NEVER_THERE = ("ps", "ea", "eps", "tau0")
"""Parameters whose bounds are far from every film's."""
MAX_SPICE_ROUNDS = 4
SETTLED_STDERR = 0.2
"""The rounds with ngspice end when no parameter moves by more than this share of its standard error."""


@dataclass(frozen=True, eq=False)
class FittedRecord:
    """What the fit says of one record; arrays (n,)."""

    measured: FeCAPMeasurement
    own: dict[str, float]
    """What it has of its own, by the netlist's names: its state before it, its temperature, ..."""
    cycles_before: int
    """How often the record's own drive went over the film before the record, from state s0."""
    model: Array
    """ngspice's answer to the measured voltage, on the measurement's zero."""
    current: Array | None
    """The same for the current that was measured beside a charge."""
    outliers: Mask
    missed: Mask
    """Samples that are as far off as an outlier, but together with their neighbours."""
    used: Mask
    rms: float
    """ngspice against the measurement over the samples used, in the measurement's unit."""
    autocorrelation: float
    """Of the residual from sample to sample: near 0 for noise, near 1 for a model that misses something."""

    @property
    def rms_of_span(self) -> float:
        """The rms as a share of the measurement's span."""
        return self.rms / self.measured.span


@dataclass(frozen=True, eq=False)
class FeCAPFit:
    """What `fit_fecap` found."""

    fit: Fit
    values: dict[str, float]
    """Every parameter of the film, fitted or not."""
    not_determined: dict[str, str]
    """Parameters left at the netlist's value, and why."""
    records: tuple[FittedRecord, ...]
    terms: dict[str, Asked]
    """Of each optional term that was tried: the error on samples left out, without it and with it."""
    twin_rms: float
    """ngspice against the compiled twin, in shares of the records' spans."""
    units: dict[str, str]
    problem: Problem = field(repr=False)
    """Where the fit stands, for predictions."""
    doubt: str = ""
    """Why the result is not to be believed; empty where it is."""

    @property
    def only(self) -> FittedRecord:
        """The one record. Raises `ValueError` where there are several."""
        (one,) = self.records
        return one

    @property
    def rms_of_span(self) -> float:
        """Rms over all samples used, in shares of each record's span."""
        return rms(np.concatenate([np.full(int(r.used.sum()), r.rms_of_span) for r in self.records]))


def fit_fecap(
    measured: FeCAPMeasurement | Sequence[FeCAPMeasurement],
    fixed: Mapping[str, float] | None = None,
    free: Sequence[str] | None = None,
    keep_flagged: bool = False,
    farm: Farm | None = None,
    progress: AfterEvaluation | None = None,
    *,
    own: Sequence[Mapping[str, float]] = (),
    own_names: Sequence[str] = (),
    terms: Sequence[str] = (),
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> FeCAPFit:
    """Fit the parameters of models/fecap.lib to `measured`, one record of a film or several.

    Main: `fixed` sets library parameters that the fit leaves alone (tfe, tdl, tempk ... and `groups`), `own` those of
    each record alone; `free` names those to fit instead of letting the data decide. `terms` are the optional ones to
    try, ``["all"]`` for all that these records can say something of.
    Other: `own_names` are fitted to each record for itself, beside its state s0; `bounds` replace those of the fit;
    `keep_flagged` fits clipped samples and outliers too; `progress` is called with the stage, the evaluations so far
    and the rms. Raises `InputError` for unknown names and what contradicts itself.
    """
    records = [measured] if isinstance(measured, FeCAPMeasurement) else list(measured)
    given_own = _filled(own, len(records))
    everywhere = [{**each.known, **(fixed or {}), **given} for each, given in zip(records, given_own, strict=True)]
    tried = checked_terms(terms, everywhere, fixed or {}, free)
    problem = Problem.build(
        records,
        fixed or {},
        free,
        progress,
        given_own,
        tried,
        (*OWN, *own_names),
        checked_bounds(bounds or {}),
        keep_flagged,
    )
    netlist = {name: problem.value(name) for name in problem.names if plain(name) != "s0"}
    problem = started(switched_on(problem, everywhere))
    problem = further(problem)
    if rms(problem.residual({})) > LARGEST_RMS:  # no film: what the best start found is all there is to say
        free = free or [name for name in problem.names if plain(name) in FOLLOWED]
        problem, tried = replace(problem, names=list(free)), []
    names, why, problem = _settled(problem, free, netlist)
    asked = asked_for(problem, names, [t for t in tried if t == "drift" or any(plain(n) == t for n in names)])
    if free is not None:
        asked = {term: replace(each, named=True) for term, each in asked.items()}
    elif dropped := [term for term, each in asked.items() if not each.kept]:
        fewer = replace(
            problem.at({name: OFF[plain(name)] for name in problem.names if plain(name) in dropped}),
            names=[name for name in problem.names if plain(name) not in dropped],
            drift=problem.drift and "drift" not in dropped,
        )
        left, reasons, fewer = _settled(fewer, free, netlist)
        if rms(fewer.residual({})) > AS_GOOD_WITHOUT * rms(problem.residual({})):
            asked |= {term: replace(asked[term], needed=True) for term in dropped}
        else:
            names, why, problem = left, reasons, fewer
    result = problem.fitted(names, "twin")
    far = _far(problem, result.values)
    if any(outliers.any() for outliers, _ in far) and not keep_flagged:
        problem = problem.at(result.values)
        for k, (outliers, _) in enumerate(far):
            part = problem.parts[k]
            keep = part.used & ~np.tile(outliers, len(part.measured.signals))
            problem = problem.with_part(k, replace(part, used=keep))
        names, why, problem = _settled(problem, free, netlist)
        result = problem.fitted(names, "without outliers")
        far = [(before, after) for (before, _), (_, after) in zip(far, _far(problem, result.values), strict=True)]
    problem, result, spice, doubt = _with_ngspice(problem, result, names, farm)
    result = with_larger_errors(problem, result, why)
    return _found(problem.at(result.values), result, why, asked, spice, far, doubt)


def _filled(own: Sequence[Mapping[str, float]], count: int) -> list[Mapping[str, float]]:
    """`own` with as many of nothing behind it as there are records. Raises `InputError` for more than that."""
    if len(own) > count:
        raise InputError(f"there is no record {len(own)} to set anything of: {count} are fitted")
    return [*own, *({} for _ in range(count - len(own)))]


def _settled(
    problem: Problem, free: Sequence[str] | None, netlist: Mapping[str, float]
) -> tuple[list[str], dict[str, str], Problem]:
    """The names to fit, why the others are not, and the problem with those at the netlist's values."""
    if free is not None:
        return problem.names, {}, problem
    names, why, problem = determined(problem)
    back = {name: netlist[name] for name in why if name in netlist}
    if not 1 / ELSEWHERE < field_scale(problem) < ELSEWHERE:  # the netlist's distribution is of another material
        back = {name: value for name, value in back.items() if name not in SHAPE}
    if "j1" in back and rms(problem.at(back).residual({})) > BREAKS * rms(problem.residual({})):
        del back["j1"]  # over long times the netlist's leak is more than this film's
    problem = problem.at(back)
    problem = placed(problem, range(1, len(problem.parts)))
    if not names:
        names = [name for name in ("ps", "ea", "eps") if name in problem.names] or problem.names[:1]
    return names, why, problem


def _far(problem: Problem, values: Mapping[str, float]) -> list[tuple[Mask, Mask]]:
    """Of each record, the samples (n,) far from the fit: single ones, and all others.

    By robust deviations of the samples used, of the first signal. A single one is as far from the mean of its
    neighbours' residuals, and has none of them far on its own side.
    """
    out = []
    for part, answer in zip(problem.at(values).parts, problem.twin(values), strict=True):
        n = part.measured.time_s.size
        used = part.used[:n]
        difference = part.compared(answer, problem.drift)[:n]
        difference = difference - np.median(difference[used])
        sigma = 1.4826 * np.median(np.abs(difference[used]))
        limit = OUTLIER_SIGMAS * max(sigma, 1e-4 * part.measured.span)
        around = np.pad(difference, 1, mode="reflect")
        before, after = around[:-2], around[2:]
        far = (np.abs(difference) > limit) & part.measured.inside
        alone = np.abs(difference - (before + after) / 2) > limit
        for beside in (before, after):
            alone &= ~((np.abs(beside) > limit) & (np.sign(beside) == np.sign(difference)))
        out.append((far & alone, far & ~alone))
    return out


def _with_ngspice(
    problem: Problem, result: Fit, names: Sequence[str], farm: Farm | None
) -> tuple[Problem, Fit, list[Array], str]:
    """The fit of the netlist itself, ngspice's answers at its end point, and why that cannot be believed."""
    spice = problem.twin(result.values)
    try:
        for count in range(MAX_SPICE_ROUNDS):
            if problem.progress is not None:
                problem.progress("ngspice", count, rms(result.residual))
            spice = problem.spice(result.values, farm)
            twin = problem.twin(result.values)
            problem = problem.at(result.values)
            for k, part in enumerate(problem.parts):
                problem = problem.with_part(k, replace(part, correction=spice[k] - twin[k]))
            if result.doubt:
                return problem, result, spice, ""
            again = problem.fitted(names, "ngspice")
            moved = max((abs(again.values[n] - result.values[n]) / s for n, s in again.stderr.items()), default=0.0)
            if moved <= SETTLED_STDERR or again.doubt:
                return problem, replace(result, doubt=again.doubt), spice, ""
            result = again
    except SimulationError as error:
        return problem, result, spice, f"ngspice did not follow, and what is shown is the compiled twin: {error}"
    return (
        problem,
        result,
        spice,
        f"FeCAP fit: ngspice and its compiled twin still disagree by {moved:.2g} standard errors after "
        f"{MAX_SPICE_ROUNDS} rounds; sample the waveform more finely",
    )


def _found(
    problem: Problem,
    result: Fit,
    why: dict[str, str],
    asked: dict[str, Asked],
    spice: Sequence[Array],
    far: Sequence[tuple[Mask, Mask]],
    doubt: str,
) -> FeCAPFit:
    records, shares = [], []
    for part, answer, twin, (outliers, missed) in zip(problem.parts, spice, problem.twin({}), far, strict=True):
        shares.append((part.compared(answer, problem.drift) - part.compared(twin, problem.drift)) / part.scale)
        records.append(fitted_record(part, answer, problem.drift, outliers, missed))
    return FeCAPFit(
        fit=result,
        values=dict(problem.base),
        not_determined=why,
        records=tuple(records),
        terms=asked,
        twin_rms=rms(np.concatenate(shares)),
        units=problem.units,
        problem=problem,
        doubt=doubt or result.doubt or _beyond(problem, result),
    )


def _beyond(problem: Problem, result: Fit) -> str:
    """Why a film that ended on a bound of ours, which no real one comes near, is not to be believed."""
    held = [each.name for each in result.held if each.name in NEVER_THERE and each.name not in problem.bounds]
    where = ", ".join(f"{name} = {result.values[name]:.3g} {problem.unit(name)}" for name in held)
    return f"FeCAP fit: no film has {where}, a bound of the fit; {problem.advice}" if held else ""


def fitted_record(part: Part, answer: Array, drift: bool, outliers: Mask, missed: Mask) -> FittedRecord:
    """What `answer` (n,) or (2 n,) says of the record `part`."""
    measured = part.measured
    n = measured.time_s.size
    difference = part.compared(answer, drift)
    used, left = part.used[:n], difference[:n][part.used[:n]]
    return FittedRecord(
        measured=measured,
        own=part.own,
        cycles_before=part.cycles,
        model=measured.response + difference[:n],
        current=None if measured.current_a_m2 is None else measured.current_a_m2 + difference[n:],
        outliers=outliers & ~measured.clipped,
        missed=missed & ~measured.clipped,
        used=used,
        rms=rms(left),
        autocorrelation=float(left[1:] @ left[:-1] / max(float(left @ left), 1e-300)),
    )
