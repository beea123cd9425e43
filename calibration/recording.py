"""A neuron under a stimulus in ngspice, and what is read off its spikes without a fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.errors import FitError
from devices.stimulus import Stimulus
from devices.waveform import Waveform


@dataclass(frozen=True, eq=False)
class Recording:
    """A neuron under `stimulus` in ngspice: signals ``v_mem_v`` and ``polarization``, and the spike times."""

    stimulus: Stimulus
    spice: Waveform

    @property
    def t_stop_s(self) -> float:
        """End of the recording in s."""
        return float(self.spice.time_s[-1])


@dataclass(frozen=True)
class SpikeMeasures:
    """What is read off the spikes themselves."""

    v_threshold: float
    v_reset: float
    t_refractory: float


def measure_spikes(recordings: Sequence[Recording]) -> SpikeMeasures:
    """Threshold and reset level (medians over all spikes) and dead time of recordings at constant currents.

    The threshold is the membrane voltage at the spike; the reset level, to the millivolt, the membrane 50 us after it,
    or half the dead time where that is shorter. The dead time is by how much an interval between spikes is longer than
    the way to the first one from the reset level (less half the initial ramp of the current): median of the three
    fastest recordings, where it weighs most.
    Raises `FitError` where a recording holds no spike, or none holds two.
    """
    silent = [r.stimulus.name for r in recordings if r.spice.spike_times_s.size == 0]
    if silent:
        raise FitError(
            f"no spike in SPICE under {silent[0]}: the neuron cannot be fitted there; drive it with more current"
        )
    repeated = sorted((r for r in recordings if r.spice.spike_times_s.size > 1), key=lambda r: r.spice.spike_times_s[0])
    if not repeated:
        raise FitError("no transient holds two spikes, so the dead time cannot be told; record longer")
    dead_times = [
        r.spice.spike_times_s[1] - 2 * r.spice.spike_times_s[0] + r.stimulus.time_s[1] / 2 for r in repeated[:3]
    ]
    thresholds = [v for r in recordings for v in r.spice.resampled(r.spice.spike_times_s)["v_mem_v"]]
    after_s = min(50e-6, max(float(np.median(dead_times)), 0.0) / 2)
    resets = [v for r in repeated for v in r.spice.resampled(r.spice.spike_times_s[:-1] + after_s)["v_mem_v"]]
    v_reset = round(float(np.median(resets)), 3) + 0.0
    if v_reset > 0:
        dead_times = [dead + _charging_s(r, v_reset) for dead, r in zip(dead_times, repeated[:3], strict=True)]
    return SpikeMeasures(float(np.median(thresholds)), v_reset, float(np.median(dead_times)))


def _charging_s(recording: Recording, v_mem_v: float) -> float:
    """How long the full current needs from rest to `v_mem_v`, its initial ramp taken off."""
    reached_s, ramp_s = float(recording.spice.crossings("v_mem_v", v_mem_v)[0]), float(recording.stimulus.time_s[1])
    return reached_s - ramp_s / 2 if reached_s > ramp_s else reached_s**2 / (2 * ramp_s)
