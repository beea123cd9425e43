"""Spikes of a membrane trace: where an output says so, or where the membrane falls faster than its input could pull it.

    fall of the membrane by dV within dt  is a reset, where  dt - 2 sampling intervals < C dV / (2 max |I|)

with the capacitance C of the first part of the way up, before the film switches. Leak and inhibition are no faster
than the largest current; a transistor that discharges the membrane is, by far. The spike is at the last sample of the
top.
"""

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.stimulus import Stimulus

Array = NDArray[np.float64]

FASTER, WIDE = 0.5, 20.0
HIGH, LOW, FIRST, NEAR = 0.65, 0.35, 0.2, 1e-3
"""Shares of the way from the start to the top: what a fall goes through, the linear way up, what is still the top."""


def trace_noise(time_s: Array, v: Array) -> float:
    """Noise of `v` (n,) at any `time_s`: the deviations from the line between both neighbours, robustly, in V."""
    if v.size < 3:
        return 0.0
    share = (time_s[1:-1] - time_s[:-2]) / (time_s[2:] - time_s[:-2])
    off = v[1:-1] - (1 - share) * v[:-2] - share * v[2:]
    return float(1.4826 * np.median(np.abs(off) / np.sqrt(1 + share**2 + (1 - share) ** 2)))


def output_spikes(time_s: Array, output_v: Array) -> Array:
    """Times (n,) in s at which `output_v` leaves its resting half through the middle of its swing."""
    middle = 0.5 * (output_v.max() + output_v.min())
    sign = 1.0 if output_v[0] <= middle else -1.0
    over = sign * (output_v - middle)
    before = np.flatnonzero((over[:-1] < 0) & (over[1:] >= 0))
    share = -over[before] / (over[before + 1] - over[before])
    return time_s[before] + share * np.diff(time_s)[before]


def threshold_spikes(time_s: Array, v: Array, threshold_v: float) -> Array:
    """Times (n,) in s at which the membrane `v` crosses `threshold_v` upwards."""
    before = np.flatnonzero((v[:-1] < threshold_v) & (v[1:] >= threshold_v))
    share = (threshold_v - v[before]) / (v[before + 1] - v[before])
    return time_s[before] + share * np.diff(time_s)[before]


def capacitance_f(time_s: Array, v: Array, stimulus: Stimulus) -> float | None:
    """Charge over voltage on the first way up, from where it starts to a fifth of the top; None where there is none.

    It is negative where the current counts out of the membrane.
    """
    if v.max() - v[0] < 0.5 * np.ptp(v) or not np.ptp(v) > 0:
        return None
    to = int(np.argmax(v - v[0] > FIRST * (v.max() - v[0]))) + 1
    start = int(np.flatnonzero(v[:to] <= v[0])[-1])
    way = slice(start, to)
    charge = float(np.trapezoid(stimulus.at(time_s[way]), time_s[way]))
    return charge / float(v[to - 1] - v[start]) if to - start > 1 else None


def falls(time_s: Array, v: Array, stimulus: Stimulus) -> list[tuple[int, int]]:
    """Of each reset the last sample of the top, where the spike is, and the first below `LOW`."""
    c = capacitance_f(time_s, v, stimulus)
    if c is None or c <= 0:
        return []
    height = float(v.max() - v[0])
    high, low = v[0] + HIGH * height, v[0] + LOW * height
    largest = float(np.abs(stimulus.i_syn_a).max())
    noise_v = trace_noise(time_s, v)
    near_v = 5 * noise_v if noise_v > NEAR * height else NEAR * height
    found: list[tuple[int, int]] = []
    armed = False
    for n in range(v.size):
        if v[n] >= high:
            armed = True
            top = n
        elif v[n] <= low and armed:
            armed = False
            sampling = time_s[min(top + 1, v.size - 1)] - time_s[top] + time_s[n] - time_s[n - 1]
            if time_s[n] - time_s[top] - sampling < FASTER * c * (high - low) / largest:
                found.append((_last_of_top(time_s, v, top, n, near_v), n))
    return found


def _last_of_top(time_s: Array, v: Array, at: int, end: int, near_v: float) -> int:
    """The last sample within `near_v` of the top, which is at most `WIDE` durations of the fall (to `end`) ago."""
    start = int(np.searchsorted(time_s, time_s[at] - WIDE * (time_s[end] - time_s[at])))
    part = v[start : at + 1]
    return start + int(np.flatnonzero(part >= part.max() - near_v)[-1])
