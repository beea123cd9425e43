"""Of each neuron model, a neuron in which every card parameter shows, and by how much each is nudged to see it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.cards.base import FeLIFCard, HeraclesCard, NeuronCard


@dataclass(frozen=True, eq=False)
class Shown:
    """A neuron, and a stimulus under which all of its parameters show."""

    card: NeuronCard
    levels_a: NDArray[np.float64]
    """One a millisecond: excitation to saturation and spikes, resets, inhibition down to the floor."""
    nudges: Mapping[str, float]
    """Factors of the parameters that 2 % hardly show."""
    spikes: int = 3
    """So many come of it."""

    @property
    def names(self) -> list[str]:
        """The parameters."""
        return list(self.card.parameters)

    def nudged(self, name: str) -> float:
        """The changed value of parameter `name`."""
        return self.card[name] * self.nudges.get(name, 1.02)


def two_domain_card() -> FeLIFCard:
    """FeLIF with two domains."""
    values = {name: FeLIFCard.published()[name] for name in FeLIFCard.UNITS} | {
        "thickness_int": 0.8e-9, "e_soft": 3e7, "leak_density": 2e-3, "leak_discharge": 0.3e-9, "leak_v_smooth": 0.3,
        "v_reset": -0.1, "polarization_reset": -0.9, "t_refractory": 0.3e-3, "v_floor": -0.15, "v_compliance": 0.12,
        "activation_field_1": 12e8, "offset_field_1": 1.5e7, "domain_weight_1": 0.6,
        "activation_field_2": 13.2e8, "offset_field_2": -1e7, "domain_weight_2": 0.4,
    }  # fmt: skip
    return FeLIFCard.from_values(values, source="test", domains=2)


def dead_layer_card() -> HeraclesCard:
    """HERACLES with a dead layer."""
    values = {
        "thickness_int": 1.5e-9, "leak_density": 2e-3, "leak_discharge": 0.3e-9, "leak_v_smooth": 0.3,
        "c_parallel": 0.15e-12, "v_reset": 0.1, "polarization_reset": -0.9, "t_refractory": 0.3e-3,
        "v_floor": 0.15, "v_compliance": 0.12,
    }  # fmt: skip
    return HeraclesCard.published().with_values(**values)


_CIRCUIT = {
    "c_parallel": 3.0, "leak_density": 5.0, "leak_v_scale": 0.8, "leak_discharge": 1.2, "leak_v_smooth": 1.2,
    "v_reset": 2.0, "t_refractory": 1.2, "v_floor": 1.5, "v_compliance": 3.0, "thickness_int": 1.2, "eps_int": 1.2,
}  # fmt: skip
_FELIF = {"tau_0": 2.0, "e_soft": 1.5, "offset_field_1": 1.5, "offset_field_2": 1.5}
_HERACLES = {"offset_field": 1.5, "depletion_density": 1.1, "eps_depletion": 1.1, "fixed_charge": 1.1}
SHOWN = {
    "felif": Shown(two_domain_card(), np.array([4, 5, -3, 0.05, 7, 12, 4, -5, -1, 9, 4, 5]) * 1e-9, _CIRCUIT | _FELIF),
    "heracles": Shown(
        dead_layer_card(), np.array([4, 5, -3, 0.05, 7, 12, 4, -5, -1, 9, 4, 5]) * 1e-9, _CIRCUIT | _HERACLES, 2
    ),
}
FELIF = SHOWN["felif"]
CARD, LEVELS_A, NAMES, nudged = FELIF.card, FELIF.levels_a, FELIF.names, FELIF.nudged
