"""Weights on a cell that is known by measurement: `devices.rram.measured` as a `training.synapses.device`."""

from typing import Any

import numpy as np

from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.errors import EnvelopeError
from bruno_spice.devices.rram.measured import MeasuredCell
from bruno_spice.training.synapses.device import Array, DeviceLevels, SynapseDevice
from bruno_spice.training.synapses.kinds import of_device


class MeasuredDevice(SynapseDevice):
    """The cell of `card`, written and verified where that was measured, else with one SET.

    - `verify`: whether it is verified; None: where the card knows what that leaves.

    Its distributions end where the measured ones do, so a cut in standard deviations says nothing to it.
    Raises `EnvelopeError` where the card does not know what such a write leaves.
    """

    card = MeasuredCard
    label = "measured RRAM"
    states = ("z_device", "z_write", "z_time")
    renewed = ("z_write", "z_time")

    def __init__(self, card: MeasuredCard, verify: bool | None = None) -> None:
        self.cell = MeasuredCell(card)
        self.verify = card.verified is not None if verify is None else verify
        if self.verify and card.verified is None:
            raise EnvelopeError("synapse.options.verify: what verifying leaves was not measured; leave it out")
        if not self.verify:
            self.cell.set_median_s()
        self.setting_name = "g_write_s" if card.set_curve is None or self.verify else card.set_curve.knob
        if "read_voltage" in card.parameters:
            self.read_voltage_v = card["read_voltage"]

    def levels(self, bits: int) -> DeviceLevels:
        """Evenly spaced conductances between the card's limits, written as such or with the setting of one SET."""
        g_s = np.linspace(*self.cell.g_range_s, 2**bits)
        if self.verify:
            self.cell.check_verified(g_s)
        return DeviceLevels(g_s, g_s if self.verify else self.cell.setting(g_s))

    def conductance_s(self, setting: Any, *states: Any) -> Any:
        """Right after a write; states: the scores of the device, of the write, and of how it relaxes."""
        z_device, z_write, _ = states
        return self.cell.verified_s(setting, z_write) if self.verify else self.cell.set_once(setting, z_device, z_write)

    def mean(self) -> tuple[float, ...]:
        """The median device, write and relaxation."""
        return 0.0, 0.0, 0.0

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator, cut_sigma: float) -> tuple[Array, ...]:
        """Normal scores."""
        return tuple(rng.standard_normal(shape) for _ in self.states)

    def read_noise_s(self, g_s: Any, *states: Any) -> Any:
        """Standard deviation of one read in S; 0 where none was measured."""
        return self.cell.noise_s(g_s)

    def known_until_s(self) -> float:
        """The last time at which relaxation was measured; 0: it was not."""
        known = self.cell.card.relaxation
        return 0.0 if known is None else known.time_s[-1]

    def aged_s(self, g_s: Any, age_s: float, *states: Any) -> Any:
        """`age_s` after the write."""
        return self.cell.relaxed_s(g_s, age_s, states[2])


MEASURED = of_device(MeasuredDevice)
