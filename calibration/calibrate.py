"""Calibration from end to end: netlist -> ngspice -> fit -> card, for the neuron and for the RRAM cell.

The simulations go through the farm and its store and the fits through `calibration.memo`, so that a second calibration
does again only what an edited netlist changes.
"""

from collections.abc import Callable
from pathlib import Path

from calibration.calibrate_neuron import NeuronCalibration, calibrate_neuron
from calibration.calibrate_rram import RRAMCalibration, calibrate_rram
from calibration.experiments import NEURON_NETLIST, RRAM_NETLIST
from calibration.known_digits import rounded, same
from calibration.netlist import Netlist
from calibration.neuron_deck import neuron_deck
from devices.card import Card
from devices.errors import CardError, InputError


def save_card(card: Card, path: Path) -> bool:
    """Write `card`, to the digits that are known, unless `path` holds the same one; return whether it was written."""
    try:
        old = type(card).load(path)
    except CardError:
        old = None
    if old is not None and same(old, rounded(card)):
        return False
    rounded(card).save(path)
    return True


TARGETS: dict[str, Callable[..., NeuronCalibration | RRAMCalibration]] = {
    "neuron": calibrate_neuron,
    "rram": calibrate_rram,
}
NETLIST_OF = {"neuron": NEURON_NETLIST, "rram": RRAM_NETLIST}
DECKS: dict[str, Callable[[Path], Netlist]] = {"neuron": neuron_deck, "rram": Netlist.load}
"""How the netlist of each device is read."""
CARD_FILES = {"neuron": "felif.json", "rram": "rram.json"}


def targets(what: str) -> list[str]:
    """The names to calibrate: ``neuron``, ``rram`` or, for ``all``, both."""
    if what == "all":
        return list(TARGETS)
    if what not in TARGETS:
        raise InputError(f"'{what}' cannot be calibrated; choose neuron, rram or all")
    return [what]
