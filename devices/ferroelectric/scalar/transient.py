"""A neuron as the circuit runs: one neuron in continuous time, under any current."""

import math
from typing import Any

import numpy as np

from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.bound import compiled
from bruno_spice.devices.ferroelectric.neuron import Array, NeuronParameters
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

MOST_SAMPLES = 100_000_000


def simulate(
    card: NeuronCard | NeuronParameters,
    stimulus: Stimulus,
    t_stop_s: float,
    dt_s: float = 20e-6,
    *,
    v_start: float = 0.0,
    polarization_start: float | None = None,
    rtol: float = 1e-7,
) -> Waveform:
    """Transient of one neuron from 0 to `t_stop_s`, sampled every `dt_s`, as the circuit would run: in
    continuous time.

    Spikes are located at the crossing of v_threshold; the neuron then stays at its reset state for
    t_refractory. It starts at `v_start` (V) with every domain at `polarization_start` (default: the card's
    polarization_reset). Signals: ``i_syn_a``, ``v_mem_v``, ``polarization`` (sum of w_k p_k). `rtol` bounds
    the local error of the adaptive Rosenbrock method (RODAS, order 4; Hairer & Wanner, *Solving ODEs II*,
    IV.7) in V and in p. Raises `InputError` where the time step underflows or times make no sense.
    """
    from bruno_spice.devices.ferroelectric.scalar import rosenbrock  # numba, which the rest of this module does without

    if not (0.0 < t_stop_s < math.inf and dt_s > 0.0 and rtol > 0.0):
        raise InputError(f"t_stop_s ({t_stop_s:g}), dt_s ({dt_s:g}) and rtol ({rtol:g}) must be positive and finite")
    if not t_stop_s <= MOST_SAMPLES * dt_s:
        raise InputError(f"{t_stop_s:g} s at {dt_s:g} s are more than {MOST_SAMPLES:,} samples; raise dt_s")
    x = card if isinstance(card, NeuronParameters) else NeuronParameters.from_card(card)
    p_start = x.polarization_reset if polarization_start is None else polarization_start
    time_s = np.arange(int(np.floor(t_stop_s / dt_s + 1e-6)) + 1, dtype=np.float64) * dt_s
    corner_s, corner_a = _corners(stimulus, max(t_stop_s, time_s[-1]))
    model: Any = x.model
    film_v, domains = x.in_film(v_start, p_start), np.full(x.domains, p_start)
    v, p, spikes, count = compiled(rosenbrock.transient, model)(
        x.constants(), corner_s * 1e3, corner_a, time_s * 1e3, film_v, domains, rtol
    )
    if count < 0:
        raise InputError(
            f"{x.model.label} under {stimulus.name}: the step size underflows at {spikes[0] * 1e-3:g} s "
            f"(rtol {rtol:g}); are the parameters physical?"
        )
    polarization = p @ x.shares
    signals = {"i_syn_a": stimulus.at(time_s), "v_mem_v": x.at_membrane(v, polarization), "polarization": polarization}
    return Waveform(time_s, signals, spikes[:count] * 1e-3)


def _corners(stimulus: Stimulus, t_stop_s: float) -> tuple[Array, Array]:
    """Corners of the current within [0, t_stop_s], both ends and every change of sign among them."""
    time, current = stimulus.time_s, stimulus.i_syn_a
    flips = np.flatnonzero(current[:-1] * current[1:] < 0.0)
    share = current[flips] / (current[flips] - current[flips + 1])
    zeros = time[flips] + share * (time[flips + 1] - time[flips])
    inside = np.concatenate([time, zeros])
    corner = np.unique(np.concatenate([[0.0, t_stop_s], inside[(inside > 0.0) & (inside < t_stop_s)]]))
    at = stimulus.at(corner)
    at[np.isin(corner, zeros)] = 0.0
    return corner, at
