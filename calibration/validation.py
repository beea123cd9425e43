"""How far a compact model is from SPICE, in figures of merit.

Voltage and polarization are compared up to the first spike of either, where both have the same history; spikes by
their times. After a spike that is a few microseconds late, a pointwise difference measures the height of the spike, not
the quality of the model.
"""

from dataclasses import asdict, dataclass

import numpy as np

from calibration.fit_felif import Recording
from devices.felif import FeLIFParameters, simulate
from devices.waveform import Waveform, match_spikes, rms_difference

SAMPLES = 2000


@dataclass(frozen=True)
class NeuronComparison:
    """Figures of merit of a model's `Waveform` against SPICE's under one stimulus."""

    stimulus: str
    t_stop_s: float
    spikes_spice: int
    spikes_model: int
    first_spike_s: float | None
    first_spike_error: float | None
    """Relative; None where either is silent."""
    interval_error_median: float | None
    """Relative error of the inter-spike intervals; None without an interval in both."""
    interval_error_worst: float | None
    matched_fraction: float
    """Share of all spikes, of either, that have a partner within 1 ms; 1 where both are silent."""
    voltage_rms_v: float
    polarization_rms: float

    def as_dict(self) -> dict[str, float | int | str | None]:
        """For a card or a JSON file."""
        return asdict(self)


def compare(spice: Waveform, model: Waveform, stimulus: str = "") -> NeuronComparison:
    """Compare `model` with `spice`; both have the signals ``v_mem_v`` and ``polarization``."""
    t_stop_s = float(min(spice.time_s[-1], model.time_s[-1]))
    spikes, others = spice.spike_times_s, model.spike_times_s
    until_s = min([t_stop_s, *spikes[:1], *others[:1]])
    window_s = np.linspace(0.0, until_s, SAMPLES, endpoint=False)
    both_spike = spikes.size > 0 and others.size > 0
    intervals = min(spikes.size, others.size) - 1
    errors = np.array([])
    if intervals > 0:
        errors = np.abs(np.diff(others)[:intervals] / np.diff(spikes)[:intervals] - 1.0)
    matched = len(match_spikes(spikes, others, 1e-3))
    total = spikes.size + others.size
    return NeuronComparison(
        stimulus=stimulus,
        t_stop_s=t_stop_s,
        spikes_spice=int(spikes.size),
        spikes_model=int(others.size),
        first_spike_s=float(spikes[0]) if spikes.size else None,
        first_spike_error=float(others[0] / spikes[0] - 1.0) if both_spike else None,
        interval_error_median=float(np.median(errors)) if errors.size else None,
        interval_error_worst=float(np.max(errors)) if errors.size else None,
        matched_fraction=2 * matched / total if total else 1.0,
        voltage_rms_v=rms_difference(spice, model, "v_mem_v", window_s),
        polarization_rms=rms_difference(spice, model, "polarization", window_s),
    )


def model_of(recording: Recording, parameters: FeLIFParameters) -> Waveform:
    """The model's answer to the stimulus of `recording`, over the same time, finely enough for a figure."""
    dt_s = min(20e-6, recording.t_stop_s / 12000)
    return simulate(parameters, recording.stimulus, recording.t_stop_s, dt_s=dt_s)


def validate_neuron(recordings: list[Recording], parameters: FeLIFParameters) -> list[NeuronComparison]:
    """Compare the model with each recording."""
    return [compare(r.spice, model_of(r, parameters), r.stimulus.name) for r in recordings]
