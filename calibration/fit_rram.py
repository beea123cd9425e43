"""RRAM filament card from programming sweeps of the JART VCM cell in ngspice (equations: `devices.rram`).

The fit minimises the relative error of G over programming current, filament length and radius. The
three geometries of the paper (0.40/45, 0.36/49, 0.44/41 nm) lie on one line on which length and radius cannot be
told apart, so the sweep adds the two other corners of the +-10 % box.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.fitting import Fit, Free, fit
from devices.card import Parameter, Provenance, Range, RRAMCard
from devices.rram import RRAMParameters, conductance

Array = NDArray[np.float64]

PAPER_GEOMETRIES_NM = ((0.40, 45.0), (0.36, 49.0), (0.44, 41.0))
CROSS_GEOMETRIES_NM = ((0.36, 41.0), (0.44, 49.0))
FIT_CURRENTS_A = np.array([15, 20, 30, 42, 60, 85, 120, 165, 230, 300]) * 1e-6
HELD_OUT_CURRENTS_A = np.array([17, 25, 50, 100, 200, 265]) * 1e-6

FREE = (
    Free("r_series", 1400.0, 300.0, 2500.0, scale=1e3),
    Free("r_area", 200.0, 1.0, 1500.0, scale=1e3),
    Free("c_0", 7.4, 5.0, 10.0, scale=1.0),
    Free("c_1", -1.6, -4.0, 0.0, scale=1.0),
    Free("c_2", -0.1, -1.0, 1.0, scale=1.0),
    Free("c_length", 1.0, -5.0, 5.0, scale=1.0),
    Free("c_radius", 1.0, -5.0, 5.0, scale=1.0),
    Free("c_cross", 0.3, -5.0, 5.0, scale=1.0),
)
FIXED = {
    "g_level_min": (50e-6, "design: lowest of the eight levels"),
    "g_level_max": (500e-6, "design: highest of the eight levels"),
    "length_mean": (0.4e-9, "Fehlings et al., arXiv 2505.17791, Figure 4"),
    "radius_mean": (45e-9, "Fehlings et al., arXiv 2505.17791, Figure 4"),
    "length_sigma": (0.05, "the paper's limits, 0.36-0.44 nm, taken as two standard deviations"),
    "radius_sigma": (0.045, "the paper's limits, 41-49 nm, taken as two standard deviations"),
    "read_voltage": (0.2, "netlist"),
    "read_noise_conductance": (0.762 / 1.25e5, "jump of one vacancy in the disc"),
    "read_noise_resistance": (1605.0, "jump of one vacancy in the disc"),
    "read_noise_floor": (0.0075, "read circuit, middle of 0.5-1 %"),
}


@dataclass(frozen=True)
class Sweep:
    """Programming results: current (n,) in A, filament length and radius (n,) in m, read conductance (n,) in S."""

    i_prog_a: Array
    length_m: Array
    radius_m: Array
    g_s: Array


def relative_error(sweep: Sweep, parameters: RRAMParameters) -> Array:
    """(G_model - G_spice) / G_spice at each point of `sweep`, (n,)."""
    return np.asarray(conductance(sweep.i_prog_a, sweep.length_m, sweep.radius_m, parameters)) / sweep.g_s - 1


def fit_filament(sweep: Sweep, g_hrs_s: float) -> Fit:
    """Fit the filament model to `sweep`. Raises `FitError` where the result cannot be believed."""
    base = {name: value for name, (value, _source) in FIXED.items()} | {"g_hrs": g_hrs_s}

    def residual(values: dict[str, float]) -> Array:
        return relative_error(sweep, RRAMParameters(**(base | values)))

    return fit(residual, FREE, what="RRAM filament fit")


def rram_card(fitted: Sweep, held_out: Sweep, g_hrs_s: float, variant: str, provenance: Provenance) -> RRAMCard:
    """The card of a cell whose SPICE sweeps are `fitted` and, for validation only, `held_out`.

    `g_hrs_s` is the conductance of the cell before any SET, `variant` the thermal-resistance variant.
    """
    result = fit_filament(fitted, g_hrs_s)
    units = RRAMCard.units(1)
    parameters = result.parameters(units) | {
        name: Parameter(value=value, unit=units[name], source=source) for name, (value, source) in FIXED.items()
    }
    parameters["g_hrs"] = Parameter(value=g_hrs_s, unit="S", source="netlist: read before SET")
    model = RRAMParameters(**{name: entry.value for name, entry in parameters.items()})
    return RRAMCard.build(
        parameters,
        covariance=result.covariance(),
        envelope={
            "i_prog": _range(fitted.i_prog_a, "A"),
            "length": _range(fitted.length_m, "m"),
            "radius": _range(fitted.radius_m, "m"),
            "conductance": _range(fitted.g_s, "S"),
        },
        fit={"rth_variant": variant, "points": fitted.g_s.size, **_errors(fitted, model)},
        validation={"points": held_out.g_s.size, **_errors(held_out, model)},
        provenance=provenance,
    )


def _range(values: Array, unit: str) -> Range:
    return Range(min=float(values.min()), max=float(values.max()), unit=unit)


def _errors(sweep: Sweep, parameters: RRAMParameters) -> dict[str, float]:
    error = relative_error(sweep, parameters)
    return {"relative_rms": float(np.sqrt(np.mean(error**2))), "relative_worst": float(np.max(np.abs(error)))}
