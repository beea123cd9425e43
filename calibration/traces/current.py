"""The current that drove a trace, as the few corners of a piecewise-linear source.

A compact model integrates the current, so what counts is its charge. Corners are set where the samples are further from
the line between their neighbours than `FAR` times the noise (Ramer 1972; Douglas & Peucker 1973). The values at the
corners are the least-squares ones, which averages the noise; a corner that this noise explains is taken out again. A
current that then stays the same after a first ramp is constant, and begins where it sets in: while it is zero a film at
rest rests.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import lsqr

from bruno_spice.calibration.measured.noise import noise_of
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si

Array = NDArray[np.float64]
Indices = NDArray[np.int_]

FAR = 5.0
SMALLEST = 1e-4
"""Of the largest current: the least deviation that sets a corner."""
ALIKE = 2e-3
"""Of the largest current: what a constant one may differ between its corners."""
MOST_CODES = 4096
"""Of a converter, whose step then is the least difference of two samples."""
RAMP = 0.02
"""Of the record: the longest ramp of a constant current. A straight one with the same charge stands for it."""
AT_ONCE_S = 1e-9
"""The ramp of a current that is there from the first sample on."""


@dataclass(frozen=True, eq=False)
class Drive:
    """The `stimulus`, which begins at the record's `starts_s`, with what was made of the samples in words."""

    stimulus: Stimulus
    starts_s: float
    said: str


def constant(current_a: float, name: str) -> Drive:
    """A current that is there from the first sample on."""
    stimulus = Stimulus(np.array([0.0, AT_ONCE_S]), np.full(2, current_a), name=name)
    return Drive(stimulus, 0.0, f"{format_si(current_a, 'A')} from the first sample on")


def drive(time_s: Array, current_a: Array, name: str) -> Drive:
    """The source behind samples (n,) of a current in A at `time_s` (n,), from 0 on and increasing."""
    largest, noise = float(np.abs(current_a).max()), noise_of(current_a)
    steps = np.abs(np.diff(current_a))
    finest = float(steps[steps > 0].min(initial=np.inf))
    coarse = finest if np.isfinite(finest) and np.unique(current_a).size < MOST_CODES < current_a.size else 0.0
    least = max(SMALLEST * largest, 1.01 * coarse)
    corners = _corners(time_s, current_a, max(FAR * noise, least))
    corners, values = _needed(time_s, current_a, corners, noise, least)
    alike = max(ALIKE * largest, 2 * noise / max(current_a.size / corners.size, 1) ** 0.5)
    at, starts_s = time_s[corners], 0.0
    if corners.size > 2 and np.all(np.abs(values[:2]) <= alike) and np.abs(values).max() > alike:
        starts_s = float(at[1])
        at, values = at[1:] - starts_s, np.concatenate([[0.0], values[2:]])
    said = f"begins {format_si(starts_s, 's')} into the record, where its current sets in; " if starts_s else ""
    first = next(n for n in range(at.size) if np.ptp(values[n:]) <= alike)
    if at[first] <= RAMP * at[-1]:
        after = time_s - starts_s >= at[first]
        mean = float(np.mean(current_a[after]))
        missing_s = at[first] - float(np.trapezoid(values[: first + 1], at[: first + 1])) / mean if mean else 0.0
        times = np.array([0.0, max(2 * missing_s, AT_ONCE_S)])
        found = Stimulus(times, np.array([0.0 if missing_s > AT_ONCE_S else mean, mean]), name=name)
        return Drive(found, starts_s, f"{said}constant {format_si(mean, 'A')}")
    return Drive(
        Stimulus(at, values, name=name),
        starts_s,
        f"{said}{at.size} corners of a current up to {format_si(largest, 'A')}",
    )


def _corners(time_s: Array, values: Array, limit: float) -> Indices:
    """Samples that are corners, the first and the last among them."""
    kept = {0, time_s.size - 1}
    left = [(0, time_s.size - 1)]
    while left:
        a, b = left.pop()
        if b - a < 2:
            continue
        inside = slice(a + 1, b)
        line = values[a] + (values[b] - values[a]) * (time_s[inside] - time_s[a]) / (time_s[b] - time_s[a])
        off = np.abs(values[inside] - line)
        worst = int(np.argmax(off))
        if off[worst] > limit:
            kept.add(a + 1 + worst)
            left += [(a, a + 1 + worst), (a + 1 + worst, b)]
    return np.array(sorted(kept))


def _needed(time_s: Array, current_a: Array, corners: Indices, noise: float, least: float) -> tuple[Indices, Array]:
    """The corners of `corners` that the noise does not explain, and the values there.

    A corner is one where its value is off the line between its neighbours by `FAR` standard errors.
    """
    while True:
        values = _values(time_s, current_a, corners)
        if corners.size < 3 or noise <= least / FAR:
            return corners, values
        at, samples = time_s[corners], np.diff(corners)
        share = (at[1:-1] - at[:-2]) / (at[2:] - at[:-2])
        off = np.abs(values[1:-1] - (values[:-2] + share * (values[2:] - values[:-2])))
        error = noise * np.sqrt(1.0 / samples[:-1] + 1.0 / samples[1:])
        sure = off / np.maximum(FAR * error, least)
        before, after = np.concatenate([[np.inf], sure[:-1]]), np.concatenate([sure[1:], [np.inf]])
        weakest = (sure < 1) & (sure <= before) & (sure < after)
        if not weakest.any():
            return corners, values
        corners = np.delete(corners, 1 + np.flatnonzero(weakest))


def _values(time_s: Array, values: Array, corners: Indices) -> Array:
    """Values at the `corners` whose broken line is nearest to the samples, in the least-squares sense."""
    at = time_s[corners]
    segment = np.clip(np.searchsorted(at, time_s, side="right") - 1, 0, corners.size - 2)
    share = (time_s - at[segment]) / (at[segment + 1] - at[segment])
    rows = np.arange(time_s.size)
    matrix = csr_array(
        (np.concatenate([1 - share, share]), (np.tile(rows, 2), np.concatenate([segment, segment + 1]))),
        shape=(time_s.size, corners.size),
    )
    start = values[corners]
    return np.asarray(start + lsqr(matrix, values - matrix @ start, atol=1e-12, btol=1e-12)[0], dtype=np.float64)
