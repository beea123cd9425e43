"""Whether the standard errors of a neuron's fit cover the truth: synthetic transients with a known one, and misfit.

    v_g(s) = v_model(s; truth) + a_g dv_g(s),   p_g likewise,   ln t_g = ln t_model + a_g dln t_g,   a_g ~ N(0, 1)

dv_g, dp_g and dln t_g are what the fit of the card leaves unexplained under stimulus g, on the axis s of the time over
the spike time: smooth along a transient as the misfit of a compact model is, and with a random size and sign for each
stimulus. One standard error that is what it says covers the truth in 68 % of such fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.neuron.fit import POINTS, Scales, first_spike_residual, fit_neuron, free_parameters
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.waveform import Waveform

Array = NDArray[np.float64]

PLAIN = Scales(1.0, 1.0, 1.0)
START_OFF = 1.003
"""Factor from the truth to the start of each fit."""


@dataclass(frozen=True)
class Coverage:
    """Shares of `fits` synthetic fits in which one standard error covers the truth, by parameter; how many failed."""

    fits: int
    stderr: dict[str, float]
    curvature: dict[str, float]
    doubted: int
    """Fits that were not believed; they count in the shares all the same where they have standard errors."""

    def mean(self) -> tuple[float, float]:
        """Over the parameters: of the standard error and of the curvature's."""
        return float(np.mean(list(self.stderr.values()))), float(np.mean(list(self.curvature.values())))


def coverage(recordings: Sequence[Recording], truth: NeuronParameters, fits: int, seed: int = 0) -> Coverage:
    """Fit `fits` sets of transients of `truth` with misfit like that of `truth` on `recordings`."""
    rng = np.random.default_rng(seed)
    deviations = [first_spike_residual(r, truth, PLAIN) for r in recordings]
    free = [replace(f, start=f.start * START_OFF) for f in free_parameters(truth)]
    values = {f.name: f.start for f in free_parameters(truth)}
    covered: dict[str, list[tuple[bool, bool]]] = {name: [] for name in values}
    doubted = 0
    for _ in range(fits):
        factors = rng.normal(size=len(recordings))
        data = [_with_misfit(r, truth, -a * d) for r, a, d in zip(recordings, factors, deviations, strict=True)]
        result, _ = fit_neuron(data, truth, free)
        doubted += bool(result.doubt)
        for name in result.stderr:
            off = abs(result.values[name] - values[name])
            covered[name].append((off < result.stderr[name], off < result.stderr_curvature[name]))
    shares = {name: np.mean(each, axis=0) for name, each in covered.items() if each}
    return Coverage(
        fits,
        {name: float(share[0]) for name, share in shares.items()},
        {name: float(share[1]) for name, share in shares.items()},
        doubted,
    )


def _with_misfit(recording: Recording, truth: NeuronParameters, deviation: Array) -> Recording:
    """The transient of `truth` up to its first spike under the stimulus of `recording`, `deviation` added."""
    longest_s = 3.0 * recording.spice.spike_times_s[0]
    start = recording.start
    model = simulate(truth, recording.stimulus, longest_s, dt_s=longest_s / 12000, rtol=1e-9, **start)
    spike_s = float(model.spike_times_s[0])
    share = (np.arange(POINTS) + 0.5) / POINTS
    part = model.resampled(share * spike_s)
    v_mem_v = part["v_mem_v"] + deviation[:POINTS]
    polarization = part["polarization"] + deviation[POINTS : 2 * POINTS]
    signals = {
        "v_mem_v": np.concatenate([[start["v_start"]], v_mem_v]),
        "polarization": np.concatenate([[start["polarization_start"]], polarization]),
    }
    spike_s *= float(np.exp(deviation[-1]))
    time_s = np.concatenate([[0.0], share * spike_s])
    return Recording(recording.stimulus, Waveform(time_s, signals, np.array([spike_s])))
