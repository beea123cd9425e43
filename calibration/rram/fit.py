"""RRAM filament card from programming and RESET sweeps of the JART VCM cell in ngspice.

Two fits, both of the relative error of G: the SET law over programming current, filament length and radius
(`devices.rram.filament`), then RESET over voltage, state and geometry with that filament (`devices.rram.reset`). Of the
paper's three geometries (0.40/45, 0.36/49, 0.44/41 nm), which lie on one line on which length and radius cannot be
told apart, and the two other corners of the +-10 % box, the SET fit sees ten currents each. Everything that validates
the card is held out: Monte-Carlo points over the whole box.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.fitting.least_squares import Fit, Free, belief, best_fit
from bruno_spice.devices.cards.parts import Covariance, Parameter, Provenance, Range
from bruno_spice.devices.cards.rram import LevelDistributions, RRAMCard
from bruno_spice.devices.rram.filament import RRAMParameters, conductance
from bruno_spice.devices.rram.reset import ResetParameters, reset_conductance

Array = NDArray[np.float64]

PAPER_GEOMETRIES_NM = ((0.40, 45.0), (0.36, 49.0), (0.44, 41.0))
CROSS_GEOMETRIES_NM = ((0.36, 41.0), (0.44, 49.0))
FIT_CURRENTS_A = np.array([15, 20, 30, 42, 60, 85, 120, 165, 230, 300]) * 1e-6

FREE = (
    Free("r_series", 1400.0, 300.0, 2500.0, scale=1e3),
    Free("r_area", 200.0, 1.0, 1500.0, scale=1e3),
    Free("c_0", 7.4, 5.0, 10.0, scale=1.0),
    Free("c_1", -1.6, -4.0, 0.0, scale=1.0),
    Free("c_2", -0.1, -1.0, 1.0, scale=1.0),
    Free("c_length", 1.0, -5.0, 5.0, scale=1.0),
    Free("c_length_cross", -0.1, -5.0, 5.0, scale=1.0),
    Free("c_radius", 1.0, -5.0, 5.0, scale=1.0),
    Free("c_cross", 0.3, -5.0, 5.0, scale=1.0),
)
FREE_RESET = (
    Free("reset_c_0", 9.0, 7.0, 11.0, scale=1.0),
    Free("reset_c_1", 3.2, 1.0, 6.0, scale=1.0),
    Free("reset_c_2", -0.8, -3.0, 1.0, scale=1.0),
    Free("reset_c_length", -0.1, -5.0, 5.0, scale=1.0),
    Free("reset_c_radius", -2.0, -5.0, 5.0, scale=1.0),
    Free("reset_c_cross", 1.0, -20.0, 20.0, scale=1.0),
    Free("reset_onset_v", 0.72, 0.3, 0.9, scale=0.1),
    Free("reset_onset_divider", 0.06, 0.0, 0.3, scale=0.1),
    Free("reset_onset_radius", 0.2, -3.0, 3.0, scale=1.0),
    Free("reset_onset_width", 0.025, 0.002, 0.1),
    Free("reset_sharpness", 10.0, 3.0, 60.0),
)
FIXED = {
    "g_level_min": (50e-6, "design: lowest of the eight levels"),
    "g_level_max": (500e-6, "design: highest of the eight levels"),
    "length_mean": (0.4e-9, "Fehlings et al., arXiv 2505.17791, Figure 4"),
    "radius_mean": (45e-9, "Fehlings et al., arXiv 2505.17791, Figure 4"),
    "length_sigma": (0.05, "the paper's limits, 0.36-0.44 nm, taken as two standard deviations"),
    "radius_sigma": (2 / 45, "the paper's limits, 41-49 nm, taken as two standard deviations"),
    "read_noise_conductance": (0.762 / 1.25e5, "jump of one vacancy in the disc"),
    "read_noise_resistance": (1605.0, "jump of one vacancy in the disc"),
    "read_noise_floor": (0.0075, "read circuit, middle of 0.5-1 %"),
}


@dataclass(frozen=True)
class SetSweep:
    """Programming results: current (n,) in A, filament length and radius (n,) in m, read conductance (n,) in S."""

    i_prog_a: Array
    length_m: Array
    radius_m: Array
    g_s: Array


@dataclass(frozen=True)
class ResetSweep:
    """RESET results: conductance before (n,) in S, voltage (n,) in V, length, radius (n,) in m, G after (n,) in S."""

    g_before_s: Array
    v_reset_v: Array
    length_m: Array
    radius_m: Array
    g_s: Array


def relative_error(sweep: SetSweep, parameters: RRAMParameters) -> Array:
    """(G_model - G_spice) / G_spice at each point of `sweep`, (n,)."""
    return np.asarray(conductance(sweep.i_prog_a, sweep.length_m, sweep.radius_m, parameters)) / sweep.g_s - 1


def relative_reset_error(sweep: ResetSweep, parameters: ResetParameters) -> Array:
    """(G_model - G_spice) / G_spice after each RESET of `sweep`, (n,)."""
    model = reset_conductance(sweep.g_before_s, sweep.v_reset_v, sweep.length_m, sweep.radius_m, parameters)
    return np.asarray(model) / sweep.g_s - 1


def fit_filament(
    sweep: SetSweep,
    g_hrs_s: float,
    known: Mapping[str, float],
    free: Sequence[Free] = FREE,
    progress: Callable[[int, Array], None] | None = None,
) -> tuple[Fit, RRAMParameters]:
    """Fit `free` of the filament model with what is `known` (``read_voltage`` at least) to `sweep`.

    The standard errors are clustered by geometry, where there are several; `Fit.doubt` says where the result cannot be
    believed. `progress` is that of `best_fit`.
    """
    base = {name: value for name, (value, _source) in FIXED.items()}
    base |= {"g_hrs": g_hrs_s, **known}

    def residual(values: dict[str, float]) -> Array:
        return relative_error(sweep, RRAMParameters(**(base | values)))

    geometry = np.stack([sweep.length_m, sweep.radius_m], axis=1)
    filaments, groups = np.unique(geometry, axis=0, return_inverse=True)
    several = groups.ravel() if len(filaments) > 1 else None
    result = best_fit(residual, free, what="RRAM filament fit", groups=several, progress=progress)
    return result, RRAMParameters(**(base | result.values))


def fit_reset(sweep: ResetSweep, filament: RRAMParameters) -> tuple[Fit, ResetParameters]:
    """Fit RESET to `sweep` with the fitted `filament`; each RESET is a group of its own.

    Few of them lie at the onset, so its parameters are loose; what they are for, the conductance, is validated.
    """

    def parameters(values: dict[str, float]) -> ResetParameters:
        return ResetParameters(**{name.removeprefix("reset_"): v for name, v in values.items()}, filament=filament)

    def residual(values: dict[str, float]) -> Array:
        return relative_reset_error(sweep, parameters(values))

    groups = np.arange(sweep.g_s.size)
    result = best_fit(residual, FREE_RESET, what="RRAM RESET fit", groups=groups, loosest=np.inf)
    return result, parameters(result.values)


@dataclass(frozen=True)
class RRAMData:
    """What SPICE says about a cell: sweeps to fit, sweeps held out, the conductance before any SET in S, known values.

    `known` of the deck are the read voltage and, where they are not the project's, the geometry of the mean device.
    """

    fitted: SetSweep
    held_out: SetSweep
    reset: ResetSweep
    reset_held_out: ResetSweep
    g_hrs_s: float
    known: dict[str, Parameter]


def rram_card(
    data: RRAMData,
    variant: str,
    provenance: Provenance,
    levels: LevelDistributions | None = None,
) -> RRAMCard:
    """The card of a cell with the SPICE sweeps `data` of the thermal-resistance `variant`."""
    set_fit, filament = fit_filament(data.fitted, data.g_hrs_s, {name: p.value for name, p in data.known.items()})
    reset_fit, reset = fit_reset(data.reset, filament)
    units = RRAMCard.units(1)
    parameters = set_fit.parameters(units) | {
        name: Parameter(value=value, unit=units[name], source=source) for name, (value, source) in FIXED.items()
    }
    parameters["g_hrs"] = Parameter(value=data.g_hrs_s, unit="S", source="netlist: read before SET")
    parameters |= data.known
    return RRAMCard.build(
        parameters | reset_fit.parameters(units),
        covariance=_joined([set_fit, reset_fit]),
        envelope={
            "i_prog": _range(data.fitted.i_prog_a, "A"),
            "length": _range(data.fitted.length_m, "m"),
            "radius": _range(data.fitted.radius_m, "m"),
            "conductance": _range(data.fitted.g_s, "S"),
            "v_reset": _range(data.reset.v_reset_v, "V"),
            "conductance_before_reset": _range(data.reset.g_before_s, "S"),
        },
        fit=belief(set_fit, reset_fit)
        | {"rth_variant": variant}
        | _errors(relative_error(data.fitted, filament))
        | {"reset": _errors(relative_reset_error(data.reset, reset))},
        validation=_errors(relative_error(data.held_out, filament))
        | {"reset": _errors(relative_reset_error(data.reset_held_out, reset))},
        levels=levels,
        provenance=provenance,
    )


def _joined(fits: Sequence[Fit]) -> Covariance:
    """The covariances of fits that share no parameter, as one; empty if one of them has none."""
    names = [name for each in fits for name in each.covariance().names]
    if not all(each.matrix.size for each in fits):
        return Covariance()
    from scipy.linalg import block_diag

    return Covariance(names=names, matrix=block_diag(*(each.matrix for each in fits)).tolist())


def _range(values: Array, unit: str) -> Range:
    return Range(min=float(values.min()), max=float(values.max()), unit=unit)


def _errors(error: Array) -> dict[str, Any]:
    return {
        "points": int(error.size),
        "relative_rms": float(np.sqrt(np.mean(error**2))),
        "relative_worst": float(np.max(np.abs(error))),
    }
