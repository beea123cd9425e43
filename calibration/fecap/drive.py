"""The voltage that drives the model: the measured one without its noise (`calibration.measured.noise`).

A film integrates what is put on it, so noise of the voltmeter would switch groups that the real film never switched.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def drive(time_s: Array, voltage_v: Array, cycles: int) -> tuple[Array, Array]:
    """Time in s and voltage in V: a step from 0 V, the record's drive `cycles` times, and the record."""
    lead_s = float(time_s[1])
    period_s = float(time_s[-1]) + lead_s
    times = [time_s + lead_s + k * period_s for k in range(cycles + 1)]
    return np.concatenate([[0.0], *times]), np.concatenate([[0.0], np.tile(voltage_v, cycles + 1)])
