"""Calibration from end to end: netlist -> ngspice -> fit -> card, for the neuron and for the RRAM cell.

The simulations go through the farm and its store and the fits through `calibration.fitting.memo`, so that a second
calibration does again only what an edited netlist changes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bruno_spice.calibration.cards.known_digits import rounded, same
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, RRAM_NETLIST
from bruno_spice.calibration.neuron.calibrate import NeuronCalibration, calibrate_neuron
from bruno_spice.calibration.rram.calibrate import RRAMCalibration, calibrate_rram
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.errors import CardError, InputError


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


def calibrate(what: str, **options: Any) -> NeuronCalibration | RRAMCalibration:
    """The card of one device, ``neuron`` or ``rram``, from its netlist: simulated in ngspice, fitted and validated.

    `options` are those of `calibrate_neuron` or `calibrate_rram`: `netlist`, `overrides`, `farm`, ... Raises
    `InputError` for another device, and as those do.
    """
    if what not in TARGETS:
        raise InputError(f"'{what}' cannot be calibrated; choose {' or '.join(TARGETS)}")
    return TARGETS[what](**options)
