"""Calibration from end to end: netlist -> ngspice -> fit -> card, for each of `TARGETS`.

The simulations go through the farm and its store and the fits through `calibration.fitting.memo`, so that a second
calibration does again only what an edited netlist changes.
"""

from pathlib import Path
from typing import Any

from bruno_spice.calibration.cards.known_digits import rounded, same
from bruno_spice.calibration.targets import TARGETS
from bruno_spice.calibration.targets.target import Calibration
from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.devices.registry import is_code


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


def targets(what: str) -> list[str]:
    """The names to calibrate: `what`, or, for ``all``, every one. Raises `InputError` for an unknown one."""
    if what == "all":
        return list(TARGETS)
    if what not in TARGETS and not is_code(what):
        raise InputError(f"'{what}' cannot be calibrated; choose {TARGETS.choices}, or all")
    return [what]


def calibrate(what: str, **options: Any) -> Calibration:
    """The card of one device, ``neuron`` or ``rram``, from its netlist: simulated in ngspice, fitted and validated.

    `options` are those of `calibrate_neuron` or `calibrate_rram`: `netlist`, `overrides`, `farm`, ... Raises
    `InputError` for another device, and as those do.
    """
    if what == "all":
        raise InputError(f"one device at a time: choose {' or '.join(TARGETS)}")
    (name,) = targets(what)
    return TARGETS.find(name).calibrate(**options)
