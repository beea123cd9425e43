"""FeLIF card from neuron transients in ngspice (equations: `devices.felif`).

The fit is done in the order in which an engineer extracts by hand:

1. *Spike*: threshold voltage and reset hold are read off the traces. A fit by finite differences does not
   move the hold, and the circuit's real dead time is not the nominal one.
2. *Everything else* by least squares on all DC transients up to the first spike: membrane voltage and
   polarization on a time axis scaled to each trace's own first spike, and the logarithm of the spike time itself.
   On that axis the residual stays smooth when a spike moves; on the common one it jumps by volts.

tau_0 stays at the published 1e-13 s: over the fields of a neuron it trades off exactly against the activation
field and the exponent alpha.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import FitError
from calibration.fitting import Fit, Free, fit
from devices.card import FeLIFCard
from devices.felif import FeLIFParameters, simulate
from devices.stimulus import Stimulus
from devices.waveform import Waveform

Array = NDArray[np.float64]

VOLTAGE_SCALE_V = 0.06
POLARIZATION_SCALE = 0.02
SPIKE_TIME_SCALE = 0.001
"""Residuals are divided by these: a deviation of one scale counts the same in each quantity."""
POINTS = 80
"""Samples of voltage and of polarization per transient."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A neuron under `stimulus` in ngspice."""

    stimulus: Stimulus
    spice: Waveform

    @property
    def t_stop_s(self) -> float:
        """End of the recording in s."""
        return float(self.spice.time_s[-1])


@dataclass(frozen=True, eq=False)
class SpikeMeasures:
    """What is read off the spikes themselves."""

    v_threshold: float
    v_reset: float
    t_refractory: float


def measure_spikes(recordings: Sequence[Recording]) -> SpikeMeasures:
    """Threshold, reset level and reset hold: medians over all spikes of constant currents.

    The threshold is the membrane voltage at the spike. The hold lasts until the membrane leaves the reset level for
    good (the plate pulse kicks it before that), less the time that the current takes to the 20 mV at which it is seen.
    Raises `FitError` where a recording holds no spike, or none holds a spike with its release.
    """
    silent = [r.stimulus.name for r in recordings if r.spice.spike_times_s.size == 0]
    if silent:
        raise FitError(
            f"no spike in SPICE under {silent[0]}: the neuron cannot be fitted there; drive it with more current"
        )
    seen_at_v = 0.02
    thresholds, holds, resets = [], [], []
    for recording in recordings:
        voltage, time, spikes = recording.spice["v_mem_v"], recording.spice.time_s, recording.spice.spike_times_s
        for spike, until in zip(spikes, np.append(spikes[1:], time[-1]), strict=True):
            thresholds.append(float(np.interp(spike, time, voltage)))
            held = np.flatnonzero((time > spike) & (time < until) & (voltage < seen_at_v))
            if held.size == 0 or time[held[-1]] >= until - 1e-4 or held[-1] + 2 >= time.size:
                continue
            release = held[-1] + 1
            slope = (voltage[release + 1] - voltage[release]) / (time[release + 1] - time[release])
            holds.append(time[release] - spike - voltage[release] / max(slope, 1e-3))
            resets.append(float(np.median(voltage[held])))
    if not holds:
        raise FitError("no transient holds a spike and the release after it; record longer or drive with more current")
    return SpikeMeasures(float(np.median(thresholds)), float(np.median(resets)), float(np.median(holds)))


def free_parameters(start: FeLIFParameters) -> list[Free]:
    """What the transients determine, K domains: film, kinetics and leak, from the values of `start`."""

    def factor(name: str, span: float) -> Free:
        value = float(getattr(start, name))
        return Free(name, value, value / span, value * span)

    shared = [
        factor("eps_hzo", 4.0),
        factor("thickness_int", 8.0),
        factor("saturation_polarization", 2.0),
        Free("alpha", start.alpha, 0.5, 5.0, scale=1.0),
        factor("leak_discharge", 10.0),
        factor("leak_density", 100.0),
    ]
    domains = range(1, start.domains + 1)
    fields = [Free(f"activation_field_{k}", float(start.activation_field[k - 1]), 3e8, 50e8) for k in domains]
    offsets = [Free(f"offset_field_{k}", float(start.offset_field[k - 1]), -3e8, 3e8, scale=1e8) for k in domains]
    return shared + fields + (offsets if start.domains > 1 else [])


def with_values(start: FeLIFParameters, values: dict[str, float]) -> FeLIFParameters:
    """`start` with `values` put in; domain parameters go by ``name_k``."""
    changed: dict[str, Any] = {}
    for name, value in values.items():
        stem, _, index = name.rpartition("_")
        if index.isdigit() and stem in FeLIFCard.DOMAIN_UNITS:
            changed.setdefault(stem, np.array(getattr(start, stem)))[int(index) - 1] = value
        else:
            changed[name] = value
    return replace(start, **changed)


def first_spike_residual(recording: Recording, parameters: FeLIFParameters) -> Array:
    """Deviation from SPICE up to the first spike, (2 POINTS + 1,): voltage, polarization, ln of the spike time.

    Each curve is read on its own axis t / t_first_spike. A model that does not spike within three times SPICE's time
    is read as spiking there, so that the residual stays finite and points back.
    """
    spike_s = recording.spice.spike_times_s[0]
    longest_s = 3.0 * spike_s
    held_after = replace(parameters, t_refractory=2.0 * longest_s)
    model = simulate(held_after, recording.stimulus, longest_s, dt_s=spike_s / 400)
    model_spike_s = model.spike_times_s[0] if model.spike_times_s.size else longest_s
    share = (np.arange(POINTS) + 0.5) / POINTS
    spice_part = recording.spice.resampled(share * spike_s)
    model_part = model.resampled(share * model_spike_s)
    return np.concatenate(
        [
            (model_part["v_mem_v"] - spice_part["v_mem_v"]) / VOLTAGE_SCALE_V / np.sqrt(POINTS),
            (model_part["polarization"] - spice_part["polarization"]) / POLARIZATION_SCALE / np.sqrt(POINTS),
            [np.log(model_spike_s / spike_s) / SPIKE_TIME_SCALE],
        ]
    )


def fit_neuron(
    recordings: Sequence[Recording],
    start: FeLIFParameters,
    free: Sequence[Free] | None = None,
    progress: Callable[[int, Array], None] | None = None,
) -> tuple[Fit, FeLIFParameters]:
    """Fit `free` (default `free_parameters`) to recordings that each hold at least one spike.

    Raises `FitError` where the result cannot be believed.
    """
    free = free_parameters(start) if free is None else free

    def residual(values: dict[str, float]) -> Array:
        trial = with_values(start, values)
        return np.concatenate([first_spike_residual(recording, trial) for recording in recordings])

    result = fit(residual, free, what="FeLIF fit", progress=progress)
    return result, with_values(start, result.values)
