"""Where a FeCAP fit starts: the film's state before each record, and values that a record itself suggests.

A film that rests in one state s0, which is followed with the rest, is one possibility; another is that the record's own
drive went over it a few times, as in the last of several cycles of a minor loop, after which its groups are in
different states. Every such start is followed on the first record until it has settled, the best ones to their end,
and the one with the fewest cycles among those that explain it best is kept.
The other records then begin in what explains them best with that film, and the film is fitted to all of them.

The charge is linear in Ps, eps and j1 (a dead layer aside), so for each start these come from linear least squares.
Activation fields are tried around the netlist's, which is that of HfO2, and around that of a film which switches where
the record does (`_switching_field`): PZT, say, at a tenth of it. Its offsets then are as many times smaller.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from bruno_spice.calibration.fecap.candidates import OFF, candidate, plain
from bruno_spice.calibration.fecap.problem import LARGEST_RMS, Problem, rms
from bruno_spice.calibration.fitting.least_squares import search
from bruno_spice.devices.fecap.film import MV_PER_CM

Array = NDArray[np.float64]
START_STATES = (-1.0, 0.0, 1.0)
CYCLES_BEFORE = (0, 1, 4)
START_ACTIVATION_RATIOS = (0.5, 0.6, 0.72, 0.85, 1.0, 1.2, 1.4, 2.0)
FIELD_TO_ACTIVATION = 1.5
"""Activation field over the field at which a film switches within 1e5 times its attempt time: ln(1e5)^(1/n) to that."""
ELSEWHERE = 2.0
"""A film that switches at fields so many times higher or lower than the netlist's has starts of its own."""
START_ENERGIES_EV = (0.0, 0.15, 0.3, 0.5, 0.8)
"""Of a leak's activation, with records at several temperatures."""
LINEAR = {"ps": 1.0, "eps": 1.0, "j1": 100.0}
"""Parameters in which the charge is linear, and the factor by which each is moved to see it."""
FOLLOWED = ("ps", "ea", "eps", "j1", "sigma_a", "sigma_o", "imprint", *OFF)
"""What is free on the way to the end of a start; the optional terms are, where the fit tries them."""
SMALLEST_LEAK = 1e-3
"""Of the record's span, rms: what a leak must add to the charge to be seen; the logarithm of less has no slope."""
NEAR_THE_BEST = 1.2
"""A start that has settled further from the record than this many times the best is not refined any more."""
SAME = 1e-5
"""Of the record's span: two starts that give the same charge are one."""
AS_GOOD = 10.0
"""A start explains a record of n samples as well as the best if its sum of squares is within 1 + AS_GOOD/n of it."""


def started(problem: Problem, states: Sequence[float] = START_STATES, cycles: Sequence[int] = CYCLES_BEFORE) -> Problem:
    """`problem` at the best of the starts: state before each record, and cycles before it.

    A record whose own ``s0`` is fixed begins in that.
    """
    first = _best_start(problem.only(0), *_possible(problem, 0, states, cycles))
    problem = problem.at(first.base).with_part(0, first.parts[0])
    others = range(1, len(problem.parts))
    if not others:
        return problem
    if "jact" in problem.names:
        trials = [problem.at({"jact": energy}) for energy in START_ENERGIES_EV]
        problem = min(
            (placed(each, others, states, cycles) for each in trials), key=lambda each: rms(each.residual({}))
        )
    else:
        problem = placed(problem, others, states, cycles)
    resting = {f"s0_{k + 1}" for k, part in enumerate(problem.parts) if not part.cycles}
    names = [name for name in problem.names if plain(name) in FOLLOWED or name in resting]
    if problem.progress is not None:
        problem.progress("all records", 0, rms(problem.residual({})))
    problem = _followed(problem, names, 1e-4, 300)
    return placed(problem, others, states, cycles)


def placed(
    problem: Problem,
    records: Iterable[int],
    states: Sequence[float] = START_STATES,
    cycles: Sequence[int] = CYCLES_BEFORE,
) -> Problem:
    """`problem` with each of `records` in the state and after the cycles that explain it best with this film.

    The state where it stands is one of those that are tried.
    """
    for record in records:
        begins, counts = _possible(problem, record, states, cycles)
        here = problem.only(record)
        trials = [here, *(here.after(count).at({"s0": state}) for count in counts for state in begins)]
        sizes = [rms(trial.residual({})) for trial in trials]
        best = _least(trials, sizes)
        problem = problem.with_part(record, best.parts[0])
    return problem


def _possible(
    problem: Problem, record: int, states: Sequence[float], cycles: Sequence[int]
) -> tuple[Sequence[float], Sequence[int]]:
    part = problem.parts[record]
    if "s0" in part.fixed or "s0" in problem.fixed:
        return (part.own.get("s0", problem.base["s0"]),), (0,)
    return states, cycles if part.repeats else cycles[:1]


def _least(trials: Sequence[Problem], sizes: Sequence[float]) -> Problem:
    """The trial with the fewest cycles among those that explain the record best, the best of these."""
    limit = min(sizes) * np.sqrt(1.0 + AS_GOOD / trials[0].parts[0].measured.time_s.size)
    good = [(trial.parts[0].cycles, size, n) for n, (trial, size) in enumerate(zip(trials, sizes, strict=True))]
    return trials[min(each for each in good if each[1] <= limit)[2]]


def _best_start(problem: Problem, states: Sequence[float], cycles: Sequence[int]) -> Problem:
    """The problem of one record at the end of its best start."""
    names = [name for name in FOLLOWED if name in problem.names]
    ends: list[Problem] = []
    sizes: list[float] = []
    seen: list[Array] = []
    for count in cycles:
        for state in states:
            steady = [end for end in ends if 0 < end.parts[0].cycles < count and end.parts[0].own["s0"] == state]
            begin = (steady[-1] if steady else problem).after(count).at({"s0": state})
            begin = begin if steady else _nearest(begin)
            answer = begin.residual({})
            if any(np.abs(answer - other).max() < SAME for other in seen):
                continue
            seen.append(answer)
            if problem.progress is not None:
                problem.progress(f"start {len(seen)}", 0, rms(answer))
            ends.append(_followed(begin, names, 1e-3, 120))
            sizes.append(rms(ends[-1].residual({})))
    limit = NEAR_THE_BEST * min(sizes)
    ends = [_followed(end, names, 1e-4, 300) if size <= limit else end for end, size in zip(ends, sizes, strict=True)]
    sizes = [rms(end.residual({})) for end in ends]
    best = _least(ends, sizes)
    return best if sees_leak(best) else best.at({"j1": problem.base["j1"]})


def further(problem: Problem) -> Problem:
    """`problem` as it is if it explains the records, else after a longer search from where it stands."""
    if rms(problem.residual({})) <= LARGEST_RMS:
        return problem
    return _followed(problem, [name for name in problem.names if plain(name) in FOLLOWED], 1e-4, 400)


def _followed(problem: Problem, names: Sequence[str], tolerance: float, evaluations: int) -> Problem:
    if not problem.parts[0].cycles and "s0" in problem.names and len(problem.parts) == 1:
        names = [*names, "s0"]
    if not names:
        return problem
    free = problem.free(names)
    found = search(problem.residual, free, what="FeCAP fit", tolerance=tolerance, max_evaluations=evaluations)
    return problem.at(found)


def sees_leak(problem: Problem) -> bool:
    """Whether a leak is free that adds to the charge what can be seen."""
    if "j1" not in problem.names:
        return False
    without = problem.residual({"j1": candidate("j1", problem.bounds)[0].min})
    return rms(problem.residual({}) - without) > SMALLEST_LEAK


def _nearest(problem: Problem) -> Problem:
    """The best of a few activation fields, with the linear parameters that suit each."""
    if "ea" not in problem.names:
        return _linear(problem)
    there = FIELD_TO_ACTIVATION * _switching_field(problem) / problem.base["ea"]
    scales = (1.0,) if 1 / ELSEWHERE < there < ELSEWHERE else (1.0, there)
    trials = []
    for scale in scales:
        film = {name: problem.value(name) * scale for name in ("sigma_o", "imprint") if name in problem.names}
        trials += [_linear(problem.at(film | {"ea": problem.base["ea"] * scale * r})) for r in START_ACTIVATION_RATIOS]
    return min(trials, key=lambda trial: rms(trial.residual({})))


def _switching_field(problem: Problem) -> float:
    """Field in MV/cm below which half of the charge flows that the voltage drives into the film of the first record."""
    part = problem.parts[0].measured
    current = np.gradient(part.response, part.time_s) if part.kind == "charge" else part.response
    charge = np.where(current * part.drive_v > 0.0, np.abs(current) * np.gradient(part.time_s), 0.0)
    order = np.argsort(np.abs(part.drive_v))
    flowed = np.cumsum(charge[order])
    half = float(np.abs(part.drive_v)[order][np.searchsorted(flowed, 0.5 * flowed[-1])])
    low, high = (candidate("ea", problem.bounds)[0].min, candidate("ea", problem.bounds)[0].max)
    return float(
        np.clip(
            half / (problem.base["tfe"] * MV_PER_CM), low, high / FIELD_TO_ACTIVATION / max(START_ACTIVATION_RATIOS)
        )
    )


def _linear(problem: Problem) -> Problem:
    """The problem at the values of `LINEAR` that explain the record best, within their bounds."""
    names = [name for name in LINEAR if name in problem.names]
    if not names:
        return problem
    here = problem.residual({})
    slopes = np.stack([problem.residual({n: problem.base[n] * (1 + LINEAR[n])}) - here for n in names], axis=1)
    slopes /= [LINEAR[n] for n in names]
    values = np.array([problem.base[n] for n in names])
    free = [candidate(n, problem.bounds)[0] for n in names]
    low, high = (np.array([getattr(f, side) for f in free]) / values - 1 for side in ("min", "max"))
    size = np.maximum(np.linalg.norm(slopes, axis=0), 1e-300)
    moves = lsq_linear(slopes / size, -here, bounds=(low * size, high * size)).x / size
    found = dict(zip(names, (values * (1 + moves)).tolist(), strict=True))
    if "j1" in found:
        adds = size[names.index("j1")] / np.sqrt(here.size)
        found["j1"] = max(found["j1"], problem.base["j1"] * SMALLEST_LEAK / adds)
    return problem.at(found)
