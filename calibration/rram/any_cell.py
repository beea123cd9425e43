"""A resistive cell without a filament's geometry, from its testbench to a card of what its writes leave.

Nothing is fitted: sampled devices are set in the simulator at currents spread evenly in the logarithm, each once, and
the card holds the quantiles of their conductances, as if a tester had measured them (`devices.cards.measured`). What
differs from device to device is declared beside the model, in ``NAME.variation.yaml``; without it a card would claim
cells without spread. Time and noise are not simulated, and the card says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bruno_spice.calibration.cards.provenance import provenance
from bruno_spice.calibration.circuits.experiments import RRAMRun, program_rrams, rram_timing
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.rram.estimates import LEAST_WRITES
from bruno_spice.calibration.rram.measured import fit_measured
from bruno_spice.calibration.rram.tables import CellTable
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.spice.variation import Variation
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.errors import InputError

CURRENTS_A = tuple(np.geomspace(15e-6, 300e-6, 12).tolist())
"""Of SET, those of the project's cell."""


@dataclass(frozen=True, eq=False)
class CellCalibration:
    """The card, the simulated writes that it was made of, and what was left out."""

    card: MeasuredCard
    table: CellTable
    said: list[str]


def calibrate_any_cell(
    deck: Netlist,
    overrides: Mapping[str, float],
    farm: Farm,
    command: str,
    devices: int,
    currents_a: tuple[float, ...] = CURRENTS_A,
) -> CellCalibration:
    """Set `devices` sampled cells of `deck` once at each of `currents_a`; the card of their conductances.

    Raises `InputError` without a declared variation and for fewer devices than a distribution needs, `SimulationError`.
    """
    declared = Path(deck.path).with_suffix(".variation.yaml")
    if not declared.exists():
        raise InputError(
            f"{deck.path} has no parameter for a filament's length and radius, so the spread of its levels must be "
            f"said: write {declared.name} beside it, with the parameters that differ from device to device"
        )
    if devices < LEAST_WRITES:
        raise InputError(f"the spread of a cell's writes needs at least {LEAST_WRITES} sampled devices, not {devices}")
    origin = provenance(deck, overrides, command, farm.simulator)
    deck = deck.with_params(overrides)
    sampled = Variation.load(declared).sample(deck, devices)
    timing = rram_timing(deck, farm)
    each = sampled.overrides()
    runs = [RRAMRun(i, overrides={**overrides, **device}) for device in each for i in currents_a]
    g_s = program_rrams(runs, deck.path, farm)
    if not (g_s > 0).all():
        raise NetlistError(f"{deck.path}: a cell that was set conducts {g_s.min():.3g} S; a level lies above 0")
    table = CellTable(
        Path(deck.path),
        "set",
        np.repeat(np.arange(devices), len(currents_a)),
        g_s,
        np.tile(currents_a, devices),
        "i_prog_a",
    )
    found = fit_measured([table], read_voltage_v=timing.read_voltage_v, origin=origin)
    return CellCalibration(found.card, table, found.said)
