"""The voltage that drives the model: the measured one without its noise.

A film integrates what is put on it, so noise of the voltmeter would switch groups that the real film never switched.
The noise is read off the second differences, sigma = 1.4826 median|v[n-1] - 2 v[n] + v[n+1]| / sqrt 6. Where it is more
than `SMALLEST_NOISE` of the swing, the voltage is replaced by the straight line through its neighbours (Savitzky &
Golay, Anal. Chem. 36, 1627, 1964), through as many of them as leave nothing but that noise: a window that is too wide
cuts corners, and what it cuts off shows.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

Array = NDArray[np.float64]
SMALLEST_NOISE = 1e-3
WINDOWS = (51, 41, 31, 25, 19, 15, 11, 9, 7, 5)
LARGEST_RESIDUAL = 5.0
"""Of the noise: the furthest that a sample may be from the smoothed voltage."""
MORE_THAN_NOISE = 1.1
"""Of the noise: the rms of the samples about the smoothed voltage."""


def without_noise(voltage_v: Array) -> tuple[Array, float, int]:
    """`voltage_v` (n,) smoothed, its noise in V, and how many samples make a value: 1 where it is as it was."""
    noise = float(1.4826 * np.median(np.abs(np.diff(voltage_v, 2))) / np.sqrt(6.0))
    if noise <= SMALLEST_NOISE * np.ptp(voltage_v):
        return voltage_v, noise, 1
    for window in WINDOWS:
        if window < voltage_v.size / 4:
            smooth = np.asarray(savgol_filter(voltage_v, window, 1), dtype=np.float64)
            off = voltage_v - smooth
            if np.sqrt(np.mean(off**2)) <= MORE_THAN_NOISE * noise and np.abs(off).max() <= LARGEST_RESIDUAL * noise:
                return smooth, noise, window
    return voltage_v, noise, 1


def drive(time_s: Array, voltage_v: Array, cycles: int) -> tuple[Array, Array]:
    """Time in s and voltage in V: a step from 0 V, the record's drive `cycles` times, and the record."""
    lead_s = float(time_s[1])
    period_s = float(time_s[-1]) + lead_s
    times = [time_s + lead_s + k * period_s for k in range(cycles + 1)]
    return np.concatenate([[0.0], *times]), np.concatenate([[0.0], np.tile(voltage_v, cycles + 1)])
