"""The noise of a record, and a signal without it.

The noise is read off the second differences, sigma = 1.4826 median|v[n-1] - 2 v[n] + v[n+1]| / sqrt 6. Where it is more
than `SMALLEST_NOISE` of the swing, the signal is replaced by the straight line through its neighbours (Savitzky &
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
"""Of the noise: the furthest that a sample may be from the smoothed signal."""
MORE_THAN_NOISE = 1.1
"""Of the noise: the rms of the samples about the smoothed signal."""


def noise_of(signal: Array) -> float:
    """Standard deviation of the noise of `signal` (n,), in its unit; 0 for fewer than three samples."""
    return float(1.4826 * np.median(np.abs(np.diff(signal, 2))) / np.sqrt(6.0)) if signal.size > 2 else 0.0


def without_noise(signal: Array) -> tuple[Array, float, int]:
    """`signal` (n,) smoothed, its noise, and how many samples make a value: 1 where it is as it was."""
    noise = noise_of(signal)
    if noise <= SMALLEST_NOISE * np.ptp(signal):
        return signal, noise, 1
    for window in WINDOWS:
        if window < signal.size / 4:
            smooth = np.asarray(savgol_filter(signal, window, 1), dtype=np.float64)
            off = signal - smooth
            if np.sqrt(np.mean(off**2)) <= MORE_THAN_NOISE * noise and np.abs(off).max() <= LARGEST_RESIDUAL * noise:
                return smooth, noise, window
    return signal, noise, 1
