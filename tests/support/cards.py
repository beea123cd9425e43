"""Cards that tests share beside the committed ones."""

from pathlib import Path

from bruno_spice.devices.cards.base import FeLIFCard


def one_domain_card() -> FeLIFCard:
    """The project's neuron with K = 1, the published model: `bruno calibrate neuron --domains 1`."""
    return FeLIFCard.load(Path(__file__).with_name("felif_one_domain.json"))
