"""Spikes off a neuron's output: through half the supply, upwards, or downwards where the output rests high."""

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import SimulationError
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform

Array = NDArray[np.float64]
RUNT = 0.2
"""An output that moves by this share of the supply and comes back without passing half of it has too small a swing."""
SUPPLY = "v(vdd)"


def spike_times(raw: Waveform, output: str = "v(spk)") -> Array:
    """Times (n,) in s at which the neuron's `output` passes half the supply, away from where it rests.

    Raises `SimulationError` where it cannot be told which edge is a spike, or the output never swings through half.
    """
    falls = rests_high(raw, output)
    found = _above_half(raw, output).crossings("spk", 0.0, rising=not falls)
    if not found.size:
        _refuse_runts(raw, output)
    return found


def rests_high(raw: Waveform, output: str = "v(spk)") -> bool:
    """Whether `output` rests above half the supply, so that a spike is its fall.

    Raises `SimulationError` where it starts high but is low most of the time.
    """
    above = _above_half(raw, output)
    if above["spk"][0] <= 0:
        return False
    high_s = float(np.sum(np.diff(raw.time_s) * (above["spk"][1:] > 0)))
    if high_s < 0.5 * (raw.time_s[-1] - raw.time_s[0]):
        raise SimulationError(
            f"{output} starts high, at {raw[output][0]:.3g} V, but is low most of the time: whether a spike is its "
            "rise or its fall cannot be told; let it start where it rests"
        )
    return True


def _above_half(raw: Waveform, output: str) -> Waveform:
    return Waveform(raw.time_s, {"spk": raw[output] - 0.5 * raw[SUPPLY]})


def _refuse_runts(raw: Waveform, output: str) -> None:
    moved = np.abs(raw[output] - raw[output][0])
    supply_v = float(np.max(np.abs(raw[SUPPLY])))
    far = np.flatnonzero(moved > RUNT * supply_v)
    if far.size and np.any(moved[far[0] :] < 0.5 * RUNT * supply_v):
        start, top = float(raw[output][0]), float(raw[output][int(np.argmax(moved))])
        raise SimulationError(
            f"{output} moves from {start:.3g} V to {top:.3g} V and back, first at "
            f"{format_si(float(raw.time_s[far[0]]), 's')}, without passing half the supply of {supply_v:.3g} V, where "
            "a spike counts; give it the supply's swing"
        )
