"""The RRAM cell from netlist to card: SET and RESET sweeps, the filament fits, levels over sampled devices.

Simulated in two rounds, for the programming currents of the levels follow from the fit of the first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from bruno_spice.calibration.cards.provenance import provenance
from bruno_spice.calibration.circuits.around import rram_deck
from bruno_spice.calibration.circuits.experiments import (
    RRAM_NETLIST,
    RTH_VARIANTS,
    RRAMRun,
    program_rrams,
    rram_conductance,
    rram_geometry,
    rram_jobs,
    rram_timing,
)
from bruno_spice.calibration.circuits.rram_reads import RRAMTiming
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.rram.any_cell import CURRENTS_A, CellCalibration, calibrate_any_cell
from bruno_spice.calibration.rram.fit import (
    CROSS_GEOMETRIES_NM,
    FIT_CURRENTS_A,
    PAPER_GEOMETRIES_NM,
    ResetSweep,
    RRAMData,
    SetSweep,
    rram_card,
)
from bruno_spice.calibration.rram.levels import LevelSamples, level_distributions
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.spice.variation import Samples, Variation
from bruno_spice.devices.cards.parts import Parameter
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.rram.filament import Levels, RRAMParameters, current_range, levels

Array = NDArray[np.float64]

HELD_OUT_CURRENTS_A = np.array([17, 25, 50, 100, 200, 265]) * 1e-6
MONTE_CARLO_POINTS = 80
"""Held-out SET points, spread over current (logarithmic), length and radius."""
LEVEL_DEVICES, FEWEST_DEVICES = 32, 2
"""Devices that are each programmed to all eight levels in SPICE."""
BOX = ((15e-6, 0.36e-9, 41e-9), (300e-6, 0.44e-9, 49e-9))
"""Programming current in A, filament length and radius in m that the card is calibrated for: from, to."""
MEAN = (0.4e-9, 45e-9)
"""Filament length and radius in m of the project's mean device. Around another mean, all geometries scale with it."""
GEOMETRY = ("ldisc", "rdisc")
SWEPT = ("iprog", "vreset")
"""Parameters that the calibration varies itself."""
OFF_CENTRE = 0.02
"""Relative distance of a spread's median from the deck's own geometry at which it is another cell's."""
READ_TOLERANCE = 0.05
"""Relative, of the cell's voltage in a read against the deck's read voltage, which the card takes."""
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
    def fitted(self) -> SetSweep:
        """The SET points of the fit."""
        return self.data.fitted

    @property
    def held_out(self) -> SetSweep:
        """The SET points that no fit has seen."""
        return self.data.held_out


def calibrate_rram(
    netlist: Path = RRAM_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
    variant: str | None = None,
    command: str = "bruno calibrate rram",
    devices: int = LEVEL_DEVICES,
    currents_a: tuple[float, ...] | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> RRAMCalibration | CellCalibration:
    """Program and reset the cell in ngspice, fit the filament model, sample `devices` on every level, make the card.

    A Verilog-A model of the user's without a filament's length and radius has no such model: its card holds what its
    writes with `currents_a` leave (`calibration.rram.any_cell`).

    Without `variant` the deck's own counts. Which filaments there are is declared beside the netlist
    (`calibration.spice.variation`); without that they are the project's, and `notice` is told. Raises `InputError` or
    `NetlistError` before anything but the deck itself runs, `SimulationError` or `FitError`.
    """
    if devices < FEWEST_DEVICES:
        raise InputError(f"the levels' correlation needs at least {FEWEST_DEVICES} sampled devices, not {devices}")
    farm = farm or Farm()
    overrides = dict(overrides or {})
    for name in set(overrides) & set(SWEPT):
        raise InputError(f"--set {name}: the calibration varies {name} itself")
    deck = rram_deck(netlist)
    if deck.models and not set(GEOMETRY) <= set(deck.params):
        return calibrate_any_cell(deck, overrides, farm, command, devices, currents_a or CURRENTS_A)
    if currents_a is not None:
        raise InputError(f"--currents says nothing to {netlist.name}: a filament's currents follow from its fit")
    origin = provenance(deck, overrides, command, farm.simulator)
    deck = deck.with_params(overrides)
    variant = rram_variant(deck, variant, "rth_variant" in overrides)
    shared = {name: value for name, value in overrides.items() if name not in (*GEOMETRY, "rth_variant")}
    cell = _Cell(netlist, shared, variant, farm, _mean_scale(deck))
    sampled = _sampled(cell, deck, devices, notice)
    timing = rram_timing(deck.with_params(cell.overrides), farm)
    if abs(timing.cell_voltage_v / timing.read_voltage_v - 1) > READ_TOLERANCE:
        raise NetlistError(
            f"{netlist}: in the read after SET the cell sees {timing.cell_voltage_v:.3g} V of the deck's "
            f"{timing.read_voltage_v:g} V; a card needs a read whose voltage lies across the cell"
        )
    data = _simulate(cell, timing, _known(cell, timing, deck))
    card = rram_card(data, variant or "of the model", origin)
    programmable, filament = levels(card), RRAMParameters.from_card(card)
    samples = _sample_levels(cell, programmable, sampled)
    distributions = level_distributions(samples, programmable, filament, current_range(card))
    return RRAMCalibration(card.model_copy(update={"levels": distributions}), data, programmable, samples)


@dataclass(frozen=True)
class _Cell:
    """What every simulation of a calibration shares."""

    netlist: Path
    overrides: dict[str, float]
    variant: str | None
    farm: Farm
    scale: Array
    """The deck's filament length and radius over those of `MEAN`, (2,)."""

    @property
    def mean_m(self) -> tuple[float, float]:
        """Filament length and radius of the mean device."""
        return MEAN[0] * float(self.scale[0]), MEAN[1] * float(self.scale[1])

    def run(
        self,
        i_prog_a: float,
        length_m: float | None,
        radius_m: float | None,
        v_reset_v: float | None = None,
        overrides: Mapping[str, float] | None = None,
    ) -> RRAMRun:
        """One RRAM simulation of this cell."""
        return RRAMRun(i_prog_a, length_m, radius_m, self.variant, v_reset_v, self.overrides | dict(overrides or {}))


def _simulate(cell: _Cell, timing: RRAMTiming, known: dict[str, Parameter]) -> RRAMData:
    fit_points = [(i, *g) for g in PAPER_GEOMETRIES_NM + CROSS_GEOMETRIES_NM for i in FIT_CURRENTS_A]
    held_out_points = [(i, *g) for g in PAPER_GEOMETRIES_NM for i in HELD_OUT_CURRENTS_A]
    grid = np.array(fit_points + held_out_points) * [1.0, 1e-9, 1e-9]
    points = np.concatenate([grid, _spread(*BOX, MONTE_CARLO_POINTS, seed=1)])
    states = [(i, *MEAN, v) for i in RESET_STATES_A for v in RESET_VOLTAGES_V]
    boxes = [_spread(*box, RESET_POINTS, seed=2) for box in (RESET_BOX, ONSET_BOX)]
    resets = np.concatenate([states, *boxes])
    unseen = _spread(*RESET_BOX, RESET_HELD_OUT_POINTS, seed=3)
    for geometries in (points, resets, unseen):
        geometries[:, 1:3] *= cell.scale
    runs = [cell.run(*row) for row in points.tolist()]
    untouched = cell.run(float(FIT_CURRENTS_A[0]), *cell.mean_m, overrides={"vset": 0.0})
    reset_runs = [cell.run(*row) for row in np.concatenate([resets, unseen]).tolist()]
    every = [*runs, untouched, *reset_runs]
    raw = run_jobs(rram_jobs(every, timing, cell.netlist), cell.farm)
    after = np.array([rram_conductance(w, run, timing) for w, run in zip(raw, every, strict=True)])
    before = [
        rram_conductance(w, replace(r, v_reset_v=None), timing)
        for w, r in zip(raw[-len(reset_runs) :], reset_runs, strict=True)
    ]
    columns = np.column_stack([points, after[: len(runs)]])
    reset_columns = np.column_stack([before, np.concatenate([resets, unseen])[:, [3, 1, 2]], after[-len(reset_runs) :]])
    return RRAMData(
        SetSweep(*columns[: len(fit_points)].T),
        SetSweep(*columns[len(fit_points) :].T),
        ResetSweep(*reset_columns[: len(resets)].T),
        ResetSweep(*reset_columns[len(resets) :].T),
        float(after[len(runs)]),
        known,
    )


def rram_variant(deck: Netlist, asked: str | None, overridden: bool = False) -> str | None:
    """The thermal variant `asked` for, or the one that the parameter ``rth_variant`` of `deck` stands for.

    None for a Verilog-A model of the user's without that parameter, whose thermal resistance is its own.
    """
    if deck.models and "rth_variant" not in deck.params:
        if asked is not None:
            raise InputError(f"--variant {asked}: {deck.models[0].module} has no parameter rth_variant")
        return None
    if asked is not None and overridden:
        raise InputError(f"--set rth_variant and --variant {asked} say the same thing: give one")
    if asked is not None:
        return asked
    value = deck.params["rth_variant"].value if "rth_variant" in deck.params else None
    for name, number in RTH_VARIANTS.items():
        if value == number:
            return name
    raise NetlistError(f"{deck.path}: .param rth_variant is {value}, not 1 (var) or 0 (det); give --variant")


def _mean_scale(deck: Netlist) -> Array:
    """Filament length and radius of `deck` over the project's, (2,)."""
    return np.round(np.array(rram_geometry(deck)) / MEAN, 9)


def _known(cell: _Cell, timing: RRAMTiming, deck: Netlist) -> dict[str, Parameter]:
    """What the deck itself says of the card's parameters: the read voltage, and a mean device of its own."""
    read = "netlist" if "vread" in deck.params else "measured at the end of the deck's run"
    known = {"read_voltage": Parameter(value=timing.read_voltage_v, unit="V", source=read)}
    for name, value, scale in zip(("length_mean", "radius_mean"), cell.mean_m, cell.scale, strict=True):
        if scale != 1.0:
            known[name] = Parameter(value=value, unit="m", source="netlist")
    return known


def _sampled(cell: _Cell, deck: Netlist, devices: int, notice: Callable[[str], None]) -> Samples:
    """Devices as declared beside the netlist. Raises `InputError` where they do not lie around the mean device."""
    variation = _variation(cell.netlist, notice)
    for name, distribution in variation.distributions(deck).items():
        middle, mean = float(distribution.median()), deck.params[name].value
        if name in GEOMETRY and mean is not None and abs(middle / mean - 1) > OFF_CENTRE:
            raise InputError(
                f"the variation file spreads {name} around {middle:g}, but {cell.netlist} has {name}={mean:g}; write a "
                f"{cell.netlist.with_suffix('.variation.yaml').name} around that"
            )
    return variation.sample(deck, devices)


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
    length, radius = (None if name in sampled.names else side for name, side in zip(GEOMETRY, cell.mean_m, strict=True))
    runs = [cell.run(i, length, radius, overrides=device) for device in sampled.overrides() for i in currents]
    corners = np.array([(length, radius) for length in lengths for radius in radii]) * cell.scale
    runs += [cell.run(i, *corner) for corner in corners.tolist() for i in currents]
    g_s = program_rrams(runs, cell.netlist, cell.farm).reshape(-1, len(currents))
    return LevelSamples(g_s[: len(sampled)], g_s[len(sampled) :])
