"""Times of a record that has none: equally spaced samples of a voltage whose frequency is known.

The voltage swings to and fro; the middles of two neighbouring swings of opposite sign are half a period apart, be it a
triangle, a sine or a trapezoid. A swing is where the voltage is beyond half of its largest value on that side. So the
samples of a period are counted, and 1/(frequency x samples) is the step.
"""

import numpy as np

from bruno_spice.calibration.measured.record import Array
from bruno_spice.devices.errors import InputError

UNEVEN = 0.05
"""Of half a period, by which the distances of swings may differ."""


def times(voltage_v: Array, frequency_hz: float | None, where: str) -> tuple[Array, str]:
    """Times (n,) in s of a `voltage_v` (n,) of `frequency_hz`, from 0 on, and a sentence that says what was taken.

    Raises `InputError` for a frequency that is not positive, and a voltage that does not swing evenly to both sides.
    """
    if frequency_hz is None or not 0 < frequency_hz < np.inf:
        raise InputError(f"--frequency must be above 0 Hz, not {frequency_hz}")
    high, low = max(float(voltage_v.max()), 0.0), min(float(voltage_v.min()), 0.0)
    side = np.where(voltage_v > 0.5 * high, 1, np.where(voltage_v < 0.5 * low, -1, 0))
    swings = np.flatnonzero(side)
    starts = np.flatnonzero(np.diff(side[swings], prepend=0))
    middles = np.array([run.mean() for run in np.split(swings, starts[1:])]) if swings.size else np.zeros(0)
    halves = np.diff(middles)
    if not halves.size or np.ptp(halves) > UNEVEN * halves.mean():
        raise InputError(
            f"{where}: its voltage does not swing evenly to both sides, so that a frequency does not give its times; "
            "add a column of times"
        )
    samples = 2 * float(halves.mean())
    step_s = 1 / (frequency_hz * samples)
    said = f"no times in the file: samples equally spaced, {samples:g} of them a period at {frequency_hz:g} Hz"
    return step_s * np.arange(voltage_v.size, dtype=np.float64), said
