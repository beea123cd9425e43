"""How far a compact model is from SPICE, in figures of merit.

Spikes are compared by their times. Voltage and polarization are compared up to 20 us before the first spike of either,
where both have the same history, and over the whole trace but for the spikes: around each spike of either, from 20 us
before it to the end of the dead time, a pointwise difference would measure the height of the spike and how finely it is
sampled, and not the quality of the model.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.waveform import Waveform, match_spikes, rms_difference

Array = NDArray[np.float64]
SAMPLES = 12000
GUARD_S = 20e-6
MATCH_WINDOW_S = 1e-3


def matched_fraction(matched: int, *totals: int) -> float:
    """Spikes with a partner over those of the train that has most of them; 1 where all are silent.

    Missing spikes and additional ones both count.
    """
    return matched / max(totals) if max(totals) else 1.0


def rate_error(spikes: int, spice: int) -> float | None:
    """Relative error of a number of spikes against SPICE's; None where SPICE is silent."""
    return spikes / spice - 1.0 if spice else None


@dataclass(frozen=True)
class NeuronComparison:
    """Figures of merit of a model's `Waveform` against SPICE's under one stimulus."""

    stimulus: str
    t_stop_s: float
    spikes_spice: int
    spikes_model: int
    spikes_matched: int
    """Spikes of SPICE with a partner within 1 ms."""
    first_spike_s: float | None
    first_spike_error: float | None
    """Relative; None where either is silent."""
    interval_error_median: float | None
    """Relative error of the inter-spike intervals; None without an interval in both."""
    interval_error_worst: float | None
    voltage_rms_v: float
    """Up to the first spike of either, as `polarization_rms`."""
    polarization_rms: float | None
    """None where it was not recorded, as `polarization_rms_all`."""
    voltage_rms_all_v: float
    """Over the whole trace but for the spikes, as `polarization_rms_all`."""
    polarization_rms_all: float | None

    @property
    def matched_fraction(self) -> float:
        """As the function `matched_fraction`, of SPICE's and the model's spikes."""
        return matched_fraction(self.spikes_matched, self.spikes_spice, self.spikes_model)

    def as_dict(self) -> dict[str, float | int | str | None]:
        """For a card or a JSON file."""
        return asdict(self)


def compare(spice: Waveform, model: Waveform, stimulus: str = "", dead_time_s: float = 300e-6) -> NeuronComparison:
    """Compare `model` with `spice`; both have the signal ``v_mem_v`` and, where it is known, ``polarization``."""
    t_stop_s = float(min(spice.time_s[-1], model.time_s[-1]))
    spikes, others = spice.spike_times_s, model.spike_times_s
    both_spike = spikes.size > 0 and others.size > 0
    intervals = min(spikes.size, others.size) - 1
    errors = np.array([])
    if intervals > 0:
        errors = np.abs(np.diff(others)[:intervals] / np.diff(spikes)[:intervals] - 1.0)
    ends = [t_stop_s, *(max(spike - GUARD_S, spike / 2) for spike in (*spikes[:1], *others[:1]))]
    first_s = np.linspace(0.0, min(ends), SAMPLES, endpoint=False)
    all_s = np.linspace(0.0, t_stop_s, SAMPLES)
    all_s = all_s[between_spikes(all_s, np.concatenate([spikes, others]), dead_time_s)]
    has_film = "polarization" in spice.signals

    return NeuronComparison(
        stimulus=stimulus,
        t_stop_s=t_stop_s,
        spikes_spice=int(spikes.size),
        spikes_model=int(others.size),
        spikes_matched=len(match_spikes(spikes, others, MATCH_WINDOW_S)),
        first_spike_s=float(spikes[0]) if spikes.size else None,
        first_spike_error=float(others[0] / spikes[0] - 1.0) if both_spike else None,
        interval_error_median=float(np.median(errors)) if errors.size else None,
        interval_error_worst=float(np.max(errors)) if errors.size else None,
        voltage_rms_v=rms_difference(spice, model, "v_mem_v", first_s),
        polarization_rms=rms_difference(spice, model, "polarization", first_s) if has_film else None,
        voltage_rms_all_v=rms_difference(spice, model, "v_mem_v", all_s),
        polarization_rms_all=rms_difference(spice, model, "polarization", all_s) if has_film else None,
    )


def between_spikes(time_s: Array, spikes_s: Array, dead_time_s: float) -> NDArray[np.bool_]:
    """Which of `time_s` lie outside the dead times of `spikes_s` and 20 us around them."""
    keep = np.ones(time_s.size, dtype=bool)
    for spike in spikes_s:
        keep &= (time_s < spike - GUARD_S) | (time_s > spike + dead_time_s + GUARD_S)
    return keep


def model_of(recording: Recording, parameters: NeuronParameters) -> Waveform:
    """The model's answer to the stimulus of `recording`, over the same time, finely enough for a figure."""
    dt_s = min(20e-6, recording.t_stop_s / SAMPLES)
    return simulate(parameters, recording.stimulus, recording.t_stop_s, dt_s=dt_s, **recording.start)


def validate_neuron(recordings: Sequence[Recording], parameters: NeuronParameters) -> list[NeuronComparison]:
    """Compare the model with each recording."""
    return [
        compare(r.spice, model_of(r, parameters), r.stimulus.name, dead_time_s=parameters.t_refractory)
        for r in recordings
    ]


@dataclass(frozen=True)
class NetworkScore:
    """Several traces together: the network-like ones, or all that were held out."""

    traces: int
    spikes: int
    matched_fraction: float
    rate_error: float | None
    """The model's; None where SPICE is silent."""


def network_score(comparisons: Sequence[NeuronComparison]) -> NetworkScore:
    """Pool the comparisons under network-like input, where a spike near threshold may slip to the next input."""
    return pooled_score([c for c in comparisons if c.stimulus.startswith("network-like")])


def pooled_score(pooled: Sequence[NeuronComparison]) -> NetworkScore:
    """All of these comparisons together."""
    spice, model, matched = (sum(getattr(c, f"spikes_{x}") for c in pooled) for x in ("spice", "model", "matched"))
    return NetworkScore(
        traces=len(pooled),
        spikes=spice,
        matched_fraction=matched_fraction(matched, spice, model),
        rate_error=rate_error(model, spice),
    )
