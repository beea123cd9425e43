"""The currents that a neuron is calibrated and validated with.

Fitting uses constant currents over the range of training. Validation uses currents between those, and kinds of
input that no fit has seen: pulse trains, bursts with gaps, inhibition, filtered noise, and what a neuron in a network
gets, a new current each millisecond.
"""

from dataclasses import replace

import numpy as np

from devices.stimulus import Stimulus
from devices.units import format_si

FIT_CURRENTS_A = (60e-12, 160e-12, 308e-12, 1e-9, 3e-9, 10e-9, 30e-9)
HELD_OUT_CURRENTS_A = (120e-12, 800e-12, 5e-9, 20e-9)
NETWORK_RANGE_A = (-5e-9, 30e-9)
CHARGE_PER_RECORDING_C = 32e-12
DEAD_TIME_PER_RECORDING_S = 1e-3
"""A transient at constant current lasts until this much charge has flowed in, and this much longer: 2-3 spikes."""
LONGEST_TRANSIENT_S = 0.35

Run = tuple[Stimulus, float]
"""A stimulus and the end of its transient in s."""


def constant(current_a: float) -> Run:
    """A constant current, for two to three spikes of the default neuron."""
    stimulus = replace(Stimulus.dc(current_a), name=f"{format_si(current_a, 'A')} DC")
    return stimulus, min(CHARGE_PER_RECORDING_C / current_a + DEAD_TIME_PER_RECORDING_S, LONGEST_TRANSIENT_S)


def pulse_train(current_a: float = 4e-9, width_s: float = 1e-3, period_s: float = 2.5e-3, pulses: int = 20) -> Run:
    """Rectangular pulses with edges of 1 us."""
    starts = np.arange(pulses) * period_s
    time = (starts[:, None] + [0.0, 1e-6, width_s, width_s + 1e-6]).ravel()
    current = np.tile([0.0, current_a, current_a, 0.0], pulses)
    return Stimulus(time, current, name="pulse train"), pulses * period_s


def bursts(current_a: float = 8e-9, gap_s: float = 6e-3) -> Run:
    """Four bursts of three 0.5 ms pulses, the gap between bursts growing by `gap_s` each time."""
    starts, start = [], 0.0
    for burst in range(4):
        starts += [start + pulse * 1e-3 for pulse in range(3)]
        start = starts[-1] + 1e-3 + gap_s * (burst + 1)
    time = (np.array(starts)[:, None] + [0.0, 1e-6, 0.5e-3, 0.5e-3 + 1e-6]).ravel()
    current = np.tile([0.0, current_a, current_a, 0.0], len(starts))
    return Stimulus(time, current, name="bursts with gaps"), start


def inhibition() -> Run:
    """Excitation with inhibition in between, down to -5 nA: the membrane meets its compliance floor."""
    levels = np.array([4, 4, -1, 4, -5, -5, 4, 4, 4, -2, 8, 8]) * 1e-9
    return Stimulus.steps(levels, name="excitation and inhibition"), 12e-3


def noise(seed: int, mean_a: float = 2e-9, sigma_a: float = 1.5e-9, duration_s: float = 60e-3) -> Run:
    """Piecewise-linear noise with corners every 0.5 ms, normal around `mean_a`, clipped to what training uses."""
    time = np.arange(0.0, duration_s + 1e-9, 0.5e-3)
    current = np.random.default_rng(seed).normal(mean_a, sigma_a, time.size).clip(*NETWORK_RANGE_A)
    current[0] = 0.0
    return Stimulus(time, current, name=f"noise, seed {seed}"), duration_s


def network_like(seed: int, milliseconds: int = 60, span_a: tuple[float, float] = NETWORK_RANGE_A) -> Run:
    """A new current each millisecond, uniform within `span_a`: what a neuron in a network sees."""
    current = np.random.default_rng(seed).uniform(*span_a, milliseconds)
    return Stimulus.steps(current, name=f"network-like, seed {seed}"), milliseconds * 1e-3


def selection_runs() -> list[Run]:
    """Held out from the fit; the number of domains is chosen on them."""
    return [constant(2e-9), inhibition(), noise(101), network_like(101)]


def validation_runs(network_traces: int = 20) -> list[Run]:
    """Held out from fit and choice alike: the card's figures of merit come from these."""
    kinds = [pulse_train(), bursts(), noise(1), noise(2, 8e-9, 6e-9)]
    return [constant(i) for i in HELD_OUT_CURRENTS_A] + kinds + [network_like(n) for n in range(1, network_traces + 1)]
