"""Calibration from end to end: netlist -> ngspice -> fit -> card, for the neuron and for the RRAM cell.

The simulations go through the farm and its store and the fits through `calibration.memo`, so that a second calibration
does again only what an edited netlist changes.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.calibrate_neuron import NeuronCalibration, calibrate_neuron
from calibration.experiments import RRAM_NETLIST, RRAMRun, program_rrams
from calibration.farm import Farm
from calibration.fit_rram import (
    CROSS_GEOMETRIES_NM,
    FIT_CURRENTS_A,
    HELD_OUT_CURRENTS_A,
    PAPER_GEOMETRIES_NM,
    Sweep,
    rram_card,
)
from calibration.provenance import provenance
from devices.card import Card, RRAMCard
from devices.errors import CardError, InputError
from devices.rram import Levels, levels


@dataclass(frozen=True)
class RRAMCalibration:
    """The RRAM card with its sweeps and its eight levels."""

    card: RRAMCard
    fitted: Sweep
    held_out: Sweep
    levels: Levels


def calibrate_rram(
    netlist: Path = RRAM_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
    variant: str = "var",
    command: str = "bruno calibrate rram",
) -> RRAMCalibration:
    """Program the cell in ngspice over current and geometry, fit the filament model, and make the card."""
    farm = farm or Farm()
    overrides = dict(overrides or {})
    fit_points = [(i, *g) for g in PAPER_GEOMETRIES_NM + CROSS_GEOMETRIES_NM for i in FIT_CURRENTS_A]
    held_out_points = [(i, *g) for g in PAPER_GEOMETRIES_NM for i in HELD_OUT_CURRENTS_A]
    points = np.array(fit_points + held_out_points) * [1.0, 1e-9, 1e-9]
    runs = [RRAMRun(i, length, radius, variant, overrides=overrides) for i, length, radius in points.tolist()]
    untouched = RRAMRun(float(FIT_CURRENTS_A[0]), variant=variant, overrides=overrides | {"vset": 0.0})
    g_s = program_rrams([*runs, untouched], netlist, farm)
    columns = np.column_stack([points, g_s[:-1]])
    fitted, held_out = Sweep(*columns[: len(fit_points)].T), Sweep(*columns[len(fit_points) :].T)
    card = rram_card(fitted, held_out, float(g_s[-1]), variant, provenance(netlist, overrides, command))
    return RRAMCalibration(card, fitted, held_out, levels(card))


def save_card(card: Card, path: Path) -> bool:
    """Write `card` unless `path` holds the same one but for its date; return whether it was written."""
    try:
        old = type(card).load(path)
    except CardError:
        old = None
    if old is not None and _undated(old) == _undated(card):
        return False
    card.save(path)
    return True


def _undated(card: Card) -> str:
    content = json.loads(card.to_json())
    content["provenance"].pop("date")
    return json.dumps(content)


TARGETS: dict[str, Callable[..., NeuronCalibration | RRAMCalibration]] = {
    "neuron": calibrate_neuron,
    "rram": calibrate_rram,
}
CARD_FILES = {"neuron": "felif.json", "rram": "rram.json"}


def targets(what: str) -> list[str]:
    """The names to calibrate: ``neuron``, ``rram`` or, for ``all``, both."""
    if what == "all":
        return list(TARGETS)
    if what not in TARGETS:
        raise InputError(f"'{what}' cannot be calibrated; choose neuron, rram or all")
    return [what]
