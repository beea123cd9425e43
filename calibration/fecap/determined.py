"""What the records determine: which parameters are free, how well each is known, and which terms they ask for.

A parameter is free as long as every standard error stays below its limit. The residuals of a film model are its misfit,
alike over many samples, so that independent errors are too small for it; those of runs of samples
(`Problem.blocks`) are larger there and the same where only noise is left. The result states the larger one of the two,
and it decides on `ej`: at one rate a leak of another shape explains much of what a film model misses.

A term is asked for by the records if it lowers the error on samples that the fit did not see: the records are cut into
runs of neighbouring samples, every second of them is left out, and what is fitted to the others is held against it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.fecap.candidates import CANDIDATES, OFF, candidate, plain
from bruno_spice.calibration.fecap.problem import Part, Problem, rms
from bruno_spice.calibration.fecap.start import sees_leak
from bruno_spice.calibration.fitting.least_squares import Fit, search
from bruno_spice.calibration.fitting.standard_errors import clustered, jacobian

Array = NDArray[np.float64]
ASKED_FOR = 0.03
"""By this share the error on samples left out must fall for a term to be kept."""
OF_THE_LEAK = ("ej", "ja", "jact")
FROM_FILM_TO_FILM = {"eps": 0.1, "sigma_a": 0.5, "sigma_o": 0.5, "imprint": 2.0}
"""Spread of the film's shape in the fit's scaled units: 25 %, 0.05, 0.05 MV/cm and 0.2 MV/cm."""
FIELDS = ("sigma_o", "imprint")
"""What of it is a field: smaller in a film that switches at lower fields."""
HOPELESS = 4.0
"""Of its largest standard error: a parameter this loose before the fit is not tried."""
HELD_OUT_RUNS = 16
"""Runs of neighbouring samples in a record, every second of which is left out."""


@dataclass(frozen=True)
class Asked:
    """The error on samples left out, in shares of the span, `without` a term and with it."""

    without: float
    held_out: float
    needed: bool = False
    """Whether the fit without it ends elsewhere, further from the records, and so it stays all the same."""
    named: bool = False
    """Whether the caller's choice of what is fitted keeps it, whatever the records say."""

    @property
    def kept(self) -> bool:
        """Whether the records ask for the term."""
        return self.needed or self.held_out < (1 - ASKED_FOR) * self.without


def determined(problem: Problem) -> tuple[list[str], dict[str, str], Problem]:
    """Names that the records determine, for each other one why it does not, and the problem at its best point.

    A parameter joins if, with it, every standard error stays below its limit; that is judged at the best point with
    those that joined before, with the leak and the optional terms followed wherever the fit is free to move them. The
    terms themselves join: whether the records ask for them is for `asked_for` to say.
    """
    chosen: list[str] = []
    why: dict[str, str] = {}
    followed = [name for name in problem.names if plain(name) in OFF] + (["j1"] if sees_leak(problem) else [])
    for name in problem.names:
        trial = [*chosen, name]
        if plain(name) in OF_THE_LEAK and "j1" in why:
            why[name] = "no leak is seen"
            continue
        if plain(name) not in OFF and _hopeless(problem, trial):
            why[name] = "the record does not determine it"
            continue
        free = problem.free(dict.fromkeys([*trial, *followed]))
        here = problem.at(search(problem.residual, free, what="FeCAP fit", tolerance=1e-4))
        errors = standard_errors(here, trial)
        if name == "ej":
            of_leak = [n in ("j1", "ej") for n in trial]
            errors = np.where(of_leak, standard_errors(here, trial, runs=True), errors)
        if plain(name) in OFF and np.isfinite(errors).all():
            chosen, problem = trial, here
            continue
        loose = {n: e / candidate(n, problem.bounds)[1] for n, e in zip(trial, errors, strict=True)}
        worst = max(loose, key=lambda n: loose[n])
        if loose[worst] <= 1.0:
            chosen, problem = trial, here
        elif worst == name:
            why[name] = "the record does not determine it"
        else:
            why[name] = f"the record does not tell it from {worst}"
    return chosen, why, problem


def field_scale(problem: Problem) -> float:
    """Activation field of the film where the problem stands over that of the netlist's, which is of HfO2."""
    return problem.base["ea"] / CANDIDATES["ea"][0].start


def _hopeless(problem: Problem, names: Sequence[str]) -> bool:
    """Whether the last of `names` is so loose where the problem stands that no fit of it will tell."""
    return bool(standard_errors(problem, names)[-1] > HOPELESS * candidate(names[-1], problem.bounds)[1])


def standard_errors(problem: Problem, names: Sequence[str], runs: bool = False) -> Array:
    """Standard errors (p,) in scaled units at the point where the problem stands; infinite where singular.

    With `runs` those of runs of samples, where they are larger.
    """
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
    simple = np.asarray(np.sqrt(variance * (out @ out) / max(out.size - at.size, 1)))
    return np.maximum(simple, _of_runs(problem, slopes, out, names)) if runs else simple


def _with_spread(problem: Problem, names: Sequence[str], loose: Sequence[str]) -> Array:
    """Standard errors (p,) of `names` in scaled units where the `loose` parameters are only known to their spread.

    C = (J^T J / s^2 + diag(0, spread^-2))^-1, J the slopes for all of them; those of the loose ones are taken over the
    whole spread, within their bounds, since a width that ended at zero has no slope there.
    """
    free = problem.free([*names, *loose])
    count = len(names)
    at = np.array([f.scaled(f.start) for f in free])

    def residual(scaled: Array) -> Array:
        return problem.residual({f.name: f.value(float(x)) for f, x in zip(free, scaled, strict=True)})

    out = residual(at)
    variance = float(out @ out) / max(out.size - at.size, 1)
    slopes = jacobian(residual, at, 1e-5)
    low = min(field_scale(problem), 1.0)
    scale = [low if plain(name) in FIELDS else 1.0 for name in loose]
    away = [
        abs(f.scaled(CANDIDATES[plain(f.name)][0].start) - x) for f, x in zip(free[count:], at[count:], strict=True)
    ]
    spread = [max(FROM_FILM_TO_FILM[plain(n)], d) * s for n, d, s in zip(loose, away, scale, strict=True)]
    for n, width in zip(range(count, len(free)), spread, strict=True):
        ends = np.clip([at[n] - width, at[n] + width], free[n].scaled(free[n].min), free[n].scaled(free[n].max))
        below, above = (residual(np.r_[at[:n], end, at[n + 1 :]]) for end in ends)
        slopes[:, n] = (above - below) / (ends[1] - ends[0])
    known = np.array([0.0] * len(names) + [each**-2 for each in spread])
    covariance = np.linalg.pinv(slopes.T @ slopes / variance + np.diag(known), hermitian=True)
    return np.sqrt(np.maximum(np.diag(covariance)[: len(names)], 0.0))


def _of_runs(problem: Problem, slopes: Array, out: Array, names: Sequence[str]) -> Array:
    try:
        return np.sqrt(np.diag(clustered(slopes, out, problem.blocks, list(names), "FeCAP fit")))
    except FitError:
        return np.zeros(len(names))


def with_larger_errors(problem: Problem, found: Fit, undetermined: Iterable[str] = ()) -> Fit:
    """`found` with the standard errors of `standard_errors`, where they are larger; the correlations stay.

    What of the film's shape is `undetermined` stands at the netlist's value, which is not this film's, and what ended
    on a bound is not known better: both count among the errors of the others with the spread that they have from film
    to film (`FROM_FILM_TO_FILM`), or with the way back to the netlist's value where that is longer.
    """
    names = [f.name for f in found.free if f.name in found.stderr]
    if not names or not found.matrix.size:
        return found
    here = problem.at(found.values)
    loose = [name for name in (*undetermined, *(f.name for f in found.held)) if plain(name) in FROM_FILM_TO_FILM]
    scaled = np.maximum(standard_errors(here, names, runs=True), _with_spread(here, names, loose))
    slopes = np.array([abs(f.slope(found.values[f.name])) for f in found.free if f.name in names])
    before = np.array([found.stderr[name] for name in names])
    after = np.maximum(np.where(np.isfinite(scaled), scaled * slopes, before), before)
    growth = after / before
    return replace(
        found,
        stderr=dict(zip(names, after.tolist(), strict=True)),
        matrix=found.matrix * np.outer(growth, growth),
    )


def asked_for(problem: Problem, names: Sequence[str], terms: Iterable[str]) -> dict[str, Asked]:
    """For each of `terms`, the error on samples left out without it and with it, from where the problem stands.

    With it all of `names` and `terms` are free; without it all others.
    """
    full, values = _held_out(problem, names)
    there = problem.at(values)
    found = {}
    for term in terms:
        if term == "drift":
            without, left = replace(there, drift=False), list(names)
        else:
            left = [name for name in names if plain(name) != term]
            without = there.at({name: OFF[term] for name in names if plain(name) == term})
        found[term] = Asked(_held_out(without, left)[0], full)
    return found


def _held_out(problem: Problem, names: Sequence[str]) -> tuple[float, Mapping[str, float]]:
    """Rms over all samples used, each predicted by a fit to the runs that it is not in, and the last fit's values."""
    squares: list[Array] = []
    values: Mapping[str, float] = {}
    for fold in (0, 1):
        seen = tuple(replace(part, used=part.used & (_run(part) % 2 == fold)) for part in problem.parts)
        left_out = tuple(replace(part, used=part.used & (_run(part) % 2 != fold)) for part in problem.parts)
        train = replace(problem, parts=seen)
        values = search(train.residual, train.free(names), what="FeCAP fit", tolerance=1e-3, max_evaluations=100)
        squares.append(replace(problem, parts=left_out).residual(values))
    return rms(np.concatenate(squares)), values


def _run(part: Part) -> NDArray[np.int_]:
    """Which of the runs of neighbouring samples each one is in."""
    return np.tile(part.measured.runs(HELD_OUT_RUNS), len(part.measured.signals))
