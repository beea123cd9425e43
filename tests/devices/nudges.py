"""A neuron in which every card parameter shows, and by how much each is nudged to see it."""

import numpy as np

from bruno_spice.devices.cards.base import FeLIFCard

NUDGES = {
    "tau_0": 2.0, "e_soft": 1.5, "c_parallel": 3.0, "leak_density": 5.0, "leak_v_scale": 0.8, "leak_discharge": 1.2,
    "leak_v_smooth": 1.2, "v_reset": 2.0, "t_refractory": 1.2, "v_floor": 1.5, "v_compliance": 3.0,
    "thickness_int": 1.2, "eps_int": 1.2, "offset_field_1": 1.5, "offset_field_2": 1.5,
}  # fmt: skip
"""Factors of the parameters that 2 % hardly show."""
LEVELS_A = np.array([4, 5, -3, 0.05, 7, 12, 4, -5, -1, 9, 4, 5]) * 1e-9
"""One a millisecond: excitation to saturation and spikes, resets, inhibition down to the floor."""


def two_domain_card() -> FeLIFCard:
    """A neuron in which every parameter shows."""
    values = {name: FeLIFCard.published()[name] for name in FeLIFCard.UNITS} | {
        "thickness_int": 0.8e-9, "e_soft": 3e7, "leak_density": 2e-3, "leak_discharge": 0.3e-9, "leak_v_smooth": 0.3,
        "v_reset": -0.1, "polarization_reset": -0.9, "t_refractory": 0.3e-3, "v_floor": -0.15, "v_compliance": 0.12,
        "activation_field_1": 12e8, "offset_field_1": 1.5e7, "domain_weight_1": 0.6,
        "activation_field_2": 13.2e8, "offset_field_2": -1e7, "domain_weight_2": 0.4,
    }  # fmt: skip
    return FeLIFCard.from_values(values, source="test", domains=2)


CARD = two_domain_card()
NAMES = list(CARD.parameters)


def nudged(name: str) -> float:
    """The changed value of parameter `name`."""
    return CARD[name] * NUDGES.get(name, 1.02)
