"""The currents that a neuron is calibrated and validated with.

Fitting uses constant currents over the range of training, and one that rests on the plateau: how a film relaxes with
no current, none that flows can tell. Validation uses currents between those, and kinds of input that no fit has seen:
pulse trains, bursts with gaps, inhibition, filtered noise, and what a neuron in a network gets, a new current each
millisecond.

The currents below are those of the project's neuron. A circuit whose spike takes another charge gets them scaled (a
`Drive`, measured by `calibration.circuits.drive`), so that it spikes at the same rates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si

FIT_CURRENTS_A = (60e-12, 160e-12, 308e-12, 1e-9, 3e-9, 10e-9, 30e-9)
HELD_OUT_CURRENTS_A = (120e-12, 800e-12, 5e-9, 20e-9)
NETWORK_RANGE_A = (-5e-9, 30e-9)
CHARGE_PER_RECORDING_C = 32e-12
DEAD_TIME_PER_RECORDING_S = 1e-3
"""A transient at constant current lasts until this much charge has flowed in, and this much longer: 2-3 spikes."""
LONGEST_TRANSIENT_S = 0.35
REST_CURRENT_A, REST_AFTER_S, REST_S = 3e-9, 2.6e-3, 10e-3
"""The current of the fit that rests, after six tenths of the way to its first spike."""

Run = tuple[Stimulus, float]
"""A stimulus and the end of its transient in s."""


@dataclass(frozen=True)
class Drive:
    """How the currents of a circuit follow from those of the project's neuron."""

    scale: float = 1.0
    """Factor on every current."""
    offset_a: float = 0.0
    """Added to constant currents: what a leak takes beyond its share."""
    currents_a: tuple[float, ...] = ()
    """The constant currents of the fit where they are given; else the project's, scaled."""

    @classmethod
    def of(cls, fit: Mapping[str, Any]) -> Self:
        """The drive that the ``fit`` of a card records."""
        return cls(**{**fit.get("drive", {}), "currents_a": tuple(fit.get("drive", {}).get("currents_a", ()))})

    def constant_a(self, current_a: float) -> float:
        """What stands for the project's constant `current_a`."""
        return float(f"{self.scale * current_a + self.offset_a:.6g}") if self != Drive() else current_a

    def applied(self, run: Run) -> Run:
        """`run` with its currents scaled."""
        stimulus, end_s = run
        return replace(stimulus, i_syn_a=stimulus.i_syn_a * self.scale), end_s

    def fit_runs(self) -> list[Run]:
        """What the fit sees: constant currents, and a rest."""
        lowest_a = FIT_CURRENTS_A[0] * self.scale
        given = [_dc(i, max(i - self.offset_a, lowest_a) / self.scale) for i in self.currents_a]
        return [*(given or [constant(i, self) for i in FIT_CURRENTS_A]), rest(self)]


def constant(current_a: float, drive: Drive | None = None) -> Run:
    """What stands for the project's constant `current_a`, for two to three spikes."""
    return _dc((drive or Drive()).constant_a(current_a), current_a)


def _dc(current_a: float, project_a: float) -> Run:
    stimulus = replace(Stimulus.dc(current_a), name=f"{format_si(current_a, 'A')} DC")
    return stimulus, min(CHARGE_PER_RECORDING_C / project_a + DEAD_TIME_PER_RECORDING_S, LONGEST_TRANSIENT_S)


def rest(drive: Drive | None = None) -> Run:
    """A constant current that stops on the plateau, for `REST_S`, and then goes on to the first spike."""
    current_a = (drive or Drive()).constant_a(REST_CURRENT_A)
    stop_s, on_s = REST_AFTER_S, REST_AFTER_S + REST_S
    time = np.array([0.0, 10e-6, stop_s, stop_s + 1e-6, on_s, on_s + 1e-6])
    stimulus = Stimulus(time, current_a * np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0]), name="rest on the plateau")
    return stimulus, on_s + CHARGE_PER_RECORDING_C / 2 / REST_CURRENT_A


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


def rest_and_floor(drive: Drive) -> Run:
    """Nothing for 5 ms, 1 ms of excitation, 4 ms of the strongest inhibition: rest, and where inhibition ends."""
    levels = np.array([0.0] * 5 + [3e-9] + [NETWORK_RANGE_A[0]] * 4)
    return drive.applied((Stimulus.steps(levels, name="rest and inhibition"), 10e-3))


def selection_runs(drive: Drive | None = None) -> list[Run]:
    """Held out from the fit; the number of domains is chosen on them."""
    drive = drive or Drive()
    return [constant(2e-9, drive), *(drive.applied(run) for run in (inhibition(), noise(101), network_like(101)))]


def validation_runs(network_traces: int = 20, drive: Drive | None = None) -> list[Run]:
    """Held out from fit and choice alike: the card's figures of merit come from these."""
    drive = drive or Drive()
    kinds = [pulse_train(), bursts(), noise(1), noise(2, 8e-9, 6e-9)]
    kinds += [network_like(n) for n in range(1, network_traces + 1)]
    return [constant(i, drive) for i in HELD_OUT_CURRENTS_A] + [drive.applied(run) for run in kinds]
