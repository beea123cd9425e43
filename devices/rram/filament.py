"""The RRAM filament: read conductance against programming current and filament geometry.

    G(I, l, r) = 1 / (R_series + R_area / b^2 + R_disc),   floored at G_hrs
    ln R_disc = c_0 + c_1 u + c_2 u^2 + (c_length + c_length_cross u) ln a + (c_radius + c_cross u) ln b
    a = l / 0.4 nm,   b = r / 45 nm,   u = ln(I / 100 uA)

`R_series` and `R_area` are the resistances of the leads and of the plug, `R_disc` that of the disc
that a SET at current I leaves behind: the JART VCM v1b cell (Bengel et al., IEEE TCAS-I 67(12), 2020), simulated
in ngspice, read at +0.2 V. The cross terms let the power of the current depend on the geometry: a narrower filament
is hotter at the same current. G rises monotonically with I, so a level has one current.

Device-to-device spread enters through l and r, which makes the error of a device fully correlated across its
levels. Read noise, from the jump of single vacancies in the disc, relative to G:

    sigma_G / G = sqrt( [ G_noise (1 - G R_noise)^2 / (G a^2) ]^2 + floor^2 )

Every function takes numpy arrays or torch tensors (differentiably) and broadcasts.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import EnvelopeError
from bruno_spice.devices.units import format_si

LENGTH_REFERENCE_M = 0.4e-9
RADIUS_REFERENCE_M = 45e-9
CURRENT_REFERENCE_A = 100e-6
CUT_SIGMA = 2.0
"""Filaments are drawn within so many standard deviations of the mean one, which is the box of the calibration."""

Numbers = Any
"""A float, a numpy array or a torch tensor."""


@dataclass(frozen=True)
class RRAMParameters:
    """The card's values, same names, SI units (see `devices.cards.rram.RRAMCard`)."""

    r_series: float
    r_area: float
    c_0: float
    c_1: float
    c_2: float
    c_length: float
    c_radius: float
    c_cross: float
    g_hrs: float
    g_level_min: float
    g_level_max: float
    length_mean: float
    radius_mean: float
    length_sigma: float
    radius_sigma: float
    read_voltage: float
    read_noise_conductance: float
    read_noise_resistance: float
    read_noise_floor: float
    c_length_cross: float = 0.0

    @classmethod
    def from_card(cls, card: RRAMCard) -> Self:
        """The plain numbers of `card`."""
        return cls(**{field.name: card[field.name] for field in fields(cls) if field.name in card.parameters})


def library(*values: Numbers) -> Any:
    """Torch where a value is a tensor, else numpy."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and any(isinstance(v, torch.Tensor) for v in values) else np


def log(value: Numbers) -> Numbers:
    """Natural logarithm of either kind of number."""
    return library(value).log(value) if library(value) is not np else np.log(value)


def conductance(i_prog_a: Numbers, length_m: Numbers, radius_m: Numbers, parameters: RRAMParameters) -> Numbers:
    """Read conductance in S after a SET at `i_prog_a` (A, > 0) of a filament of `length_m` and `radius_m`."""
    u = log(i_prog_a / CURRENT_REFERENCE_A)
    ln_a = log(length_m / LENGTH_REFERENCE_M)
    b = radius_m / RADIUS_REFERENCE_M
    p = parameters
    exponent = p.c_0 + p.c_1 * u + p.c_2 * u**2
    exponent = exponent + (p.c_length + p.c_length_cross * u) * ln_a + (p.c_radius + p.c_cross * u) * log(b)
    r_disc = library(exponent).exp(exponent)
    g = 1.0 / (p.r_series + p.r_area / b**2 + r_disc)
    return np.maximum(g, p.g_hrs) if library(g) is np else g.clamp(min=p.g_hrs)


def programming_current(
    g_s: Numbers, parameters: RRAMParameters, i_range_a: tuple[float, float]
) -> NDArray[np.float64]:
    """Current in A that programs the mean device to `g_s`, within `i_range_a`: the root in ln I, bracketed.

    Raises `EnvelopeError` where a conductance is not reached within the range.
    """
    from scipy.optimize.elementwise import find_root

    target = np.asarray(g_s, dtype=np.float64)

    def excess_s(log_i: NDArray[np.float64], wanted_s: NDArray[np.float64] | float) -> NDArray[np.float64]:
        mean = (parameters.length_mean, parameters.radius_mean, parameters)
        return np.asarray(conductance(np.exp(log_i), *mean) - wanted_s)

    ends = np.log(i_range_a)
    lowest_s, highest_s = excess_s(ends, 0.0)
    outside = ~((target >= lowest_s) & (target <= highest_s))
    if np.any(outside):
        raise EnvelopeError(
            f"a conductance of {format_si(float(target[outside].flat[0]), 'S')} is outside "
            f"{format_si(float(lowest_s), 'S')}...{format_si(float(highest_s), 'S')}, which the "
            f"programming currents {format_si(i_range_a[0], 'A')}...{format_si(i_range_a[1], 'A')} of the card reach"
        )
    return np.exp(find_root(excess_s, tuple(ends), args=(target,)).x)


@dataclass(frozen=True)
class Levels:
    """The programmable levels of a device: conductances (n,) in S, rising, and their programming currents (n,) in A."""

    conductance_s: NDArray[np.float64]
    i_prog_a: NDArray[np.float64]


def levels(card: RRAMCard, bits: int = 3) -> Levels:
    """``2**bits`` levels, evenly spaced in conductance from the card's `g_level_min` to `g_level_max`."""
    parameters = RRAMParameters.from_card(card)
    g_s = np.linspace(parameters.g_level_min, parameters.g_level_max, 2**bits)
    return Levels(g_s, programming_current(g_s, parameters, current_range(card)))


@dataclass(frozen=True)
class Verified:
    """Devices after program-and-verify: current (n,) in A and conductance (n,) in S of the last SET, pulses (n,)."""

    i_prog_a: NDArray[np.float64]
    g_s: NDArray[np.float64]
    pulses: NDArray[np.int64]


def program_and_verify(
    g_target_s: NDArray[np.float64],
    program: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]],
    parameters: RRAMParameters,
    i_range_a: tuple[float, float],
    tolerance_s: float = 2e-6,
    max_pulses: int = 6,
) -> Verified:
    """Program devices to `g_target_s` (n,), read them, and program those again that missed by more than `tolerance_s`.

    Main: `program` takes currents (m,) in A and the indices (m,) of the devices, RESETs and SETs these, and returns
    their conductances (m,) in S: the model (`conductance`), ngspice, or a chip. The first SET uses the mean
    device's current; each further one corrects ln I by what was missed over the mean device's d ln G / d ln I.
    Other: currents stay within `i_range_a`; a device that still misses after `max_pulses` keeps its last state.
    """
    target = np.asarray(g_target_s, dtype=np.float64)
    current = programming_current(target, parameters, i_range_a)
    mean = (parameters.length_mean, parameters.radius_mean, parameters)
    slope = np.log(np.asarray(conductance(1.01 * current, *mean)) / np.asarray(conductance(current / 1.01, *mean)))
    slope /= 2 * np.log(1.01)
    todo = np.arange(target.size)
    reached, pulses = np.zeros(target.shape), np.zeros(target.shape, dtype=np.int64)
    for _ in range(max_pulses):
        reached[todo] = program(current[todo], todo)
        pulses[todo] += 1
        todo = todo[np.abs(reached[todo] - target[todo]) > tolerance_s]
        if todo.size == 0 or pulses[todo[0]] == max_pulses:
            break
        wanted = current[todo] * (target[todo] / reached[todo]) ** (1 / slope[todo])
        current[todo] = np.clip(wanted, *i_range_a)
    return Verified(current, reached, pulses)


def current_range(card: RRAMCard) -> tuple[float, float]:
    """The programming currents in A that the card was calibrated for."""
    envelope = card.envelope.get("i_prog")
    if envelope is None:
        raise EnvelopeError("the RRAM card has no envelope for i_prog; calibrate it with `bruno calibrate rram`")
    return envelope.min, envelope.max


def remaining_sigma(bound_sigma: float = CUT_SIGMA) -> float:
    """Standard deviation of a normal quantity cut off at +-`bound_sigma` of its own: 0.880 of it at 2, 0.987 at 3."""
    from scipy.stats import truncnorm

    return float(truncnorm.std(-bound_sigma, bound_sigma))


def sample_geometry(
    shape: int | tuple[int, ...],
    parameters: RRAMParameters,
    rng: np.random.Generator,
    bound_sigma: float = CUT_SIGMA,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Filament lengths and radii in m, of `shape`, normal around the mean and truncated at `bound_sigma`.

    At two standard deviations that is the +-10 % box of the calibration for 5 % spread, of which 4.40 % remain
    (`remaining_sigma`).
    """
    from scipy.stats import truncnorm

    z_length, z_radius = (truncnorm.rvs(-bound_sigma, bound_sigma, size=shape, random_state=rng) for _ in range(2))
    length = parameters.length_mean * (1 + parameters.length_sigma * z_length)
    radius = parameters.radius_mean * (1 + parameters.radius_sigma * z_radius)
    return length, radius


def read_noise(g_s: Numbers, length_m: Numbers, parameters: RRAMParameters) -> Numbers:
    """Standard deviation in S of one read of a device at conductance `g_s` with a filament of `length_m`."""
    p = parameters
    a = length_m / LENGTH_REFERENCE_M
    vacancy_jump = p.read_noise_conductance * (1 - g_s * p.read_noise_resistance) ** 2 / (g_s * a**2)
    return g_s * (vacancy_jump**2 + p.read_noise_floor**2) ** 0.5
