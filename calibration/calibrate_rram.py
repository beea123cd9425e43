"""The RRAM cell from netlist to card: SET and RESET sweeps, the filament fits, levels over sampled devices.

Simulated in two rounds, for the programming currents of the levels follow from the fit of the first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from calibration.experiments import RRAM_NETLIST, RRAMRun, program_rrams, rram_conductance, rram_jobs
from calibration.farm import Farm, run_jobs
from calibration.fit_rram import (
    CROSS_GEOMETRIES_NM,
    FIT_CURRENTS_A,
    PAPER_GEOMETRIES_NM,
    ResetSweep,
    RRAMData,
    Sweep,
    rram_card,
)
from calibration.netlist import Netlist
from calibration.provenance import circuit_parameter, provenance
from calibration.rram_levels import LevelSamples, level_distributions
from calibration.variation import Samples, Variation
from devices.card import RRAMCard
from devices.card_parts import Parameter
from devices.errors import InputError
from devices.rram import Levels, RRAMParameters, current_range, levels

Array = NDArray[np.float64]

HELD_OUT_CURRENTS_A = np.array([17, 25, 50, 100, 200, 265]) * 1e-6
MONTE_CARLO_POINTS = 80
"""Held-out SET points, spread over current (logarithmic), length and radius."""
READ_VOLTAGE = Parameter(value=0.2, unit="V", source="read voltage of the project's cell")
LEVEL_DEVICES, FEWEST_DEVICES = 32, 2
"""Devices that are each programmed to all eight levels in SPICE."""
BOX = ((15e-6, 0.36e-9, 41e-9), (300e-6, 0.44e-9, 49e-9))
"""Programming current in A, filament length and radius in m that the card is calibrated for: from, to."""
MEAN = (0.4e-9, 45e-9)
"""Filament length and radius in m of the mean device."""
RESET_VOLTAGES_V = (0.9, 0.95, 1.0, 1.05, 1.2, 1.5, 2.0)
RESET_STATES_A = (60e-6, 120e-6, 205e-6)
"""RESET of the mean device: each voltage from the states that these currents set."""
RESET_BOX = ((20e-6, 0.36e-9, 41e-9, 0.9), (205e-6, 0.44e-9, 49e-9, 2.0))
ONSET_BOX = ((100e-6, 0.36e-9, 41e-9, 0.9), (205e-6, 0.44e-9, 49e-9, 1.05))
RESET_POINTS, RESET_HELD_OUT_POINTS = 32, 32
"""RESETs from sampled states, geometries and voltages within `RESET_BOX`; as many to fit again within `ONSET_BOX`,
where a conductive device is about to start. From still higher states a narrow filament heats itself so much that
it overshoots to the bottom."""


@dataclass(frozen=True)
class RRAMCalibration:
    """The RRAM card with the SPICE data behind it and its eight levels."""

    card: RRAMCard
    data: RRAMData
    levels: Levels
    samples: LevelSamples

    @property
    def fitted(self) -> Sweep:
        """The SET points of the fit."""
        return self.data.fitted

    @property
    def held_out(self) -> Sweep:
        """The SET points that no fit has seen."""
        return self.data.held_out


def calibrate_rram(
    netlist: Path = RRAM_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
    variant: str = "var",
    command: str = "bruno calibrate rram",
    devices: int = LEVEL_DEVICES,
    notice: Callable[[str], None] = lambda _: None,
) -> RRAMCalibration:
    """Program and reset the cell in ngspice, fit the filament model, sample `devices` on every level, make the card.

    Which filaments there are is declared beside the netlist (`calibration.variation`); without that they are the
    project's, and `notice` is told. Raises `InputError` or `NetlistError` before anything runs, `SimulationError` or
    `FitError`.
    """
    if devices < FEWEST_DEVICES:
        raise InputError(f"the levels' correlation needs at least {FEWEST_DEVICES} sampled devices, not {devices}")
    farm = farm or Farm()
    overrides = dict(overrides or {})
    cell = _Cell(netlist, overrides, variant, farm)
    deck = Netlist.load(netlist)
    origin = provenance(deck, overrides, command)
    deck = deck.with_params(overrides)
    sampled = _variation(netlist, notice).sample(deck, devices)
    data = _simulate(cell, circuit_parameter(deck, "vread", READ_VOLTAGE))
    card = rram_card(data, variant, origin)
    programmable, filament = levels(card), RRAMParameters.from_card(card)
    samples = _sample_levels(cell, programmable, sampled)
    distributions = level_distributions(samples, programmable, filament, current_range(card))
    return RRAMCalibration(card.model_copy(update={"levels": distributions}), data, programmable, samples)


@dataclass(frozen=True)
class _Cell:
    """What every simulation of a calibration shares."""

    netlist: Path
    overrides: dict[str, float]
    variant: str
    farm: Farm

    def run(
        self,
        i_prog_a: float,
        length_m: float,
        radius_m: float,
        v_reset_v: float | None = None,
        overrides: Mapping[str, float] | None = None,
    ) -> RRAMRun:
        """One RRAM simulation of this cell."""
        return RRAMRun(i_prog_a, length_m, radius_m, self.variant, v_reset_v, self.overrides | dict(overrides or {}))


def _simulate(cell: _Cell, read_voltage: Parameter) -> RRAMData:
    fit_points = [(i, *g) for g in PAPER_GEOMETRIES_NM + CROSS_GEOMETRIES_NM for i in FIT_CURRENTS_A]
    held_out_points = [(i, *g) for g in PAPER_GEOMETRIES_NM for i in HELD_OUT_CURRENTS_A]
    grid = np.array(fit_points + held_out_points) * [1.0, 1e-9, 1e-9]
    points = np.concatenate([grid, _spread(*BOX, MONTE_CARLO_POINTS, seed=1)])
    states = [(i, *MEAN, v) for i in RESET_STATES_A for v in RESET_VOLTAGES_V]
    boxes = [_spread(*box, RESET_POINTS, seed=2) for box in (RESET_BOX, ONSET_BOX)]
    resets = np.concatenate([states, *boxes])
    unseen = _spread(*RESET_BOX, RESET_HELD_OUT_POINTS, seed=3)
    runs = [cell.run(*row) for row in points.tolist()]
    untouched = cell.run(float(FIT_CURRENTS_A[0]), *MEAN, overrides={"vset": 0.0})
    reset_runs = [cell.run(*row) for row in np.concatenate([resets, unseen]).tolist()]
    raw = run_jobs(rram_jobs([*runs, untouched, *reset_runs], cell.netlist), cell.farm)
    after = np.array([rram_conductance(w, run) for w, run in zip(raw, [*runs, untouched, *reset_runs], strict=True)])
    before = [
        rram_conductance(w, replace(r, v_reset_v=None))
        for w, r in zip(raw[-len(reset_runs) :], reset_runs, strict=True)
    ]
    columns = np.column_stack([points, after[: len(runs)]])
    reset_columns = np.column_stack([before, np.concatenate([resets, unseen])[:, [3, 1, 2]], after[-len(reset_runs) :]])
    return RRAMData(
        Sweep(*columns[: len(fit_points)].T),
        Sweep(*columns[len(fit_points) :].T),
        ResetSweep(*reset_columns[: len(resets)].T),
        ResetSweep(*reset_columns[len(resets) :].T),
        float(after[len(runs)]),
        read_voltage,
    )


def _spread(low: Sequence[float], high: Sequence[float], count: int, seed: int) -> Array:
    """`count` Latin-hypercube points between `low` and `high`, even in the logarithm of the first column."""
    share = qmc.LatinHypercube(len(low), rng=np.random.default_rng(seed)).random(count)
    points = np.asarray(low) + share * (np.asarray(high) - low)
    points[:, 0] = low[0] * (high[0] / low[0]) ** share[:, 0]
    return points


def _variation(netlist: Path, notice: Callable[[str], None]) -> Variation:
    """What is declared beside `netlist`, or else beside the project's, and a word about it."""
    declared = netlist.with_suffix(".variation.yaml")
    if declared.exists():
        return Variation.load(declared)
    notice(f"{declared} is not there: the levels' spread in the card is that of the project's {RRAM_NETLIST.name}")
    return Variation.beside(RRAM_NETLIST)


def _sample_levels(cell: _Cell, programmable: Levels, sampled: Samples) -> LevelSamples:
    """SPICE on every level: the `sampled` devices, and the corners of the geometry `BOX`."""
    _, lengths, radii = zip(*BOX, strict=True)
    currents = programmable.i_prog_a.tolist()
    runs = [cell.run(i, *MEAN, overrides=device) for device in sampled.overrides() for i in currents]
    runs += [cell.run(i, length, radius) for length in lengths for radius in radii for i in currents]
    g_s = program_rrams(runs, cell.netlist, cell.farm).reshape(-1, len(currents))
    return LevelSamples(g_s[: len(sampled)], g_s[len(sampled) :])
