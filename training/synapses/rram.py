"""Weights on RRAM: the JART filament as a device of `training.synapses.device`.

G(i_prog, l, r)     `devices.rram.filament`: programming current in A, filament length and radius in m
"""

from typing import Any

import numpy as np

from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.rram.filament import (
    CUT_SIGMA,
    RRAMParameters,
    conductance,
    levels,
    read_noise,
    sample_geometry,
)
from bruno_spice.training.synapses.device import Array, DeviceLevels, DeviceLinear, SynapseDevice
from bruno_spice.training.synapses.kinds import SynapseKind, array_options
from bruno_spice.training.synapses.measured import MeasuredDevice


class Filament(SynapseDevice):
    """The RRAM cell of `card`; devices differ in the length and radius of their filaments, in m."""

    card = RRAMCard
    label = "RRAM"
    setting_name = "i_prog_a"
    states = ("length_m", "radius_m")

    def __init__(self, card: RRAMCard) -> None:
        self._card, self.parameters = card, RRAMParameters.from_card(card)
        self.read_voltage_v = self.parameters.read_voltage

    def levels(self, bits: int) -> DeviceLevels:
        """Evenly spaced conductances, written with programming currents in A that lie within the card's envelope."""
        programmable = levels(self._card, bits)
        return DeviceLevels(programmable.conductance_s, programmable.i_prog_a)

    def conductance_s(self, setting: Any, *states: Any) -> Any:
        """After a SET at `setting` in A; states: length and radius in m."""
        length_m, radius_m = states
        return conductance(setting, length_m, radius_m, self.parameters)

    def mean(self) -> tuple[float, ...]:
        """Length and radius of the mean filament in m."""
        return self.parameters.length_mean, self.parameters.radius_mean

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator, cut_sigma: float) -> tuple[Array, ...]:
        """Lengths and radii, normal with the card's sigmas and cut off (`devices.rram.filament.remaining_sigma`)."""
        return sample_geometry(shape, self.parameters, rng, cut_sigma)

    def read_noise_s(self, g_s: Any, *states: Any) -> Any:
        """Standard deviation of one read in S."""
        return read_noise(g_s, states[0], self.parameters)


class RRAMLinear(DeviceLinear):
    """Weights (out, in) on RRAM devices, programmed to ``2**bits`` levels.

    Main arguments:

    - `n_in`, `n_out`: numbers of inputs and outputs; inputs are (..., in), weighted sums (..., out), in unit weights.
    - `card`: of the devices, an `RRAMCard` (the filament) or a `MeasuredCard`.
    - `bits`: of a device; ``2**bits`` levels, evenly spaced in conductance.
    - `scheme`: ``differential`` (two devices a weight, ``2**(bits + 1) - 1`` values) or ``offset`` (one device, and a
      reference column at the middle level; ``2**bits`` values).

    Other arguments:

    - `stochastic`: round at random in training (always to the nearest in evaluation).
    - `clip`: full scale in units of the rms weight, at most the largest weight; None: the largest weight.
    - `spread`: each device has its own filament, normal with the card's sigmas; else all are the mean device.
    - `noisy_reads`: add read noise, drawn once a forward pass and device.
    - `spread_cut`: how many sigmas filaments are cut off at, which leaves less than the card declares
      (`devices.rram.filament.remaining_sigma`).
    - `age_s`: time in s since the devices were programmed; 0 for the filament, which knows of no change with it.
    - `after`: in training, each pass draws that time between these two ages in s, evenly in its logarithm.
    - `noisy_eval`: whether read noise is added after ``eval()`` too.

    `weight` (out, in) is latent, 0 at first, and trained straight through the rounding. Raises `InputError` for an
    unknown scheme or a `spread_cut` that is not positive, `EnvelopeError` where the card does not reach its levels, and
    when called `InputError` for a weight that is not finite and for a precision below float32.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        card: RRAMCard | MeasuredCard,
        bits: int = 3,
        scheme: str = "differential",
        stochastic: bool = False,
        clip: float | None = 3.0,
        spread: bool = True,
        noisy_reads: bool = True,
        spread_cut: float = CUT_SIGMA,
        age_s: float = 0.0,
        after: tuple[float, float] | None = None,
        noisy_eval: bool = True,
    ) -> None:
        device = Filament(card) if isinstance(card, RRAMCard) else MeasuredDevice(card)
        rest = (stochastic, clip, spread, noisy_reads, spread_cut, age_s, after, noisy_eval)
        super().__init__(n_in, n_out, device, bits, scheme, *rest)


def _maker(config: Any, card: Card | None) -> Any:
    assert isinstance(card, RRAMCard), "weights of kind rram need a card"
    return lambda n_in, n_out: RRAMLinear(n_in, n_out, card, **array_options(config))


RRAM = SynapseKind("RRAM", _maker, RRAMCard)
