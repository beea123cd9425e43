"""RESET of the RRAM filament: conductance after a voltage pulse, from whatever state the device is in.

    1/G = [ G_0^-k + (s R_lim)^k ]^(1/k)
    R_lim    = R_series + R_area / b^2 + exp(reset_c_0 + reset_c_1 w + reset_c_2 w^2
                                             + reset_c_length ln a + (reset_c_radius + reset_c_cross w) ln b),
               at most a / (b^2 G_hrs)
    s        = exp(-exp(-(V - V_on) / reset_onset_width))
    V_on     = reset_onset_v + reset_onset_divider R_series / R_disc + reset_onset_radius ln b
    R_disc   = 1/G_0 - R_series - R_area / b^2
    w = ln(V / 1 V),   a = l / 0.4 nm,   b = r / 45 nm,   k = reset_sharpness

RESET limits itself: the disc is emptied until it no longer heats itself enough, which happens at a resistance R_lim
that the voltage sets and the state before does not; at the latest when the disc is empty (G_hrs). A device that is
already more resistive stays as it is (the k-norm is a smooth maximum of both resistances). A low-resistive
device sees only part of the voltage, the rest drops over its series resistance, and starts to reset only above V_on;
s is a Gumbel step because thermal runaway makes the onset abrupt. R_series, R_area, a and b: `devices.rram.filament`.

Cell: JART VCM v1b (Bengel et al., IEEE TCAS-I 67(12), 2020), simulated in ngspice with pulses of 1 us.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import EnvelopeError
from bruno_spice.devices.rram.filament import (
    LENGTH_REFERENCE_M,
    RADIUS_REFERENCE_M,
    Numbers,
    RRAMParameters,
    library,
    log,
)

LEAST_DISC_OHM = 1.0
"""Bound on R_disc of a state that is as conductive as its series resistance allows."""


@dataclass(frozen=True)
class ResetParameters:
    """The card's RESET values by the names without ``reset_``, and the filament that they belong to."""

    c_0: float
    c_1: float
    c_2: float
    c_length: float
    c_radius: float
    c_cross: float
    onset_v: float
    onset_divider: float
    onset_radius: float
    onset_width: float
    sharpness: float
    filament: RRAMParameters

    @classmethod
    def from_card(cls, card: RRAMCard) -> Self:
        """The plain numbers of `card`. Raises `EnvelopeError` for a card without a RESET model."""
        names = [field.name for field in fields(cls) if field.name != "filament"]
        if any(f"reset_{name}" not in card.parameters for name in names):
            raise EnvelopeError("the RRAM card has no RESET model; calibrate it with `bruno calibrate rram`")
        return cls(**{name: card[f"reset_{name}"] for name in names}, filament=RRAMParameters.from_card(card))


def reset_conductance(
    g_s: Numbers, v_reset_v: Numbers, length_m: Numbers, radius_m: Numbers, parameters: ResetParameters
) -> Numbers:
    """Read conductance in S after 1 us at `v_reset_v` (V, > 0) of a device at `g_s` (S).

    The filament has `length_m` and `radius_m`. Takes numpy arrays or torch tensors (differentiably), broadcasts.
    """
    p, filament = parameters, parameters.filament
    ln_a, b, w = log(length_m / LENGTH_REFERENCE_M), radius_m / RADIUS_REFERENCE_M, log(v_reset_v)
    r_fixed = filament.r_series + filament.r_area / b**2
    exponent = p.c_0 + p.c_1 * w + p.c_2 * w**2 + p.c_length * ln_a + (p.c_radius + p.c_cross * w) * log(b)
    ln_empty = ln_a - log(filament.g_hrs * b**2)
    ln_limit = -_at_least(-log(r_fixed + library(exponent).exp(exponent)), -ln_empty)
    r_disc = _at_least(1.0 / g_s - r_fixed, LEAST_DISC_OHM)
    onset_v = p.onset_v + p.onset_divider * filament.r_series / r_disc + p.onset_radius * log(b)
    below = -_at_least((v_reset_v - onset_v) / p.onset_width, -50.0)
    ln_limit = ln_limit - library(below).exp(below)
    ln_before = -log(g_s)
    difference = p.sharpness * (ln_limit - ln_before)
    # ln of the k-norm: the larger of both plus ln(1 + the smaller part); ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|).
    lib = library(difference)
    softplus = _at_least(difference, 0.0) + lib.log1p(lib.exp(-abs(difference)))
    ln_after = ln_before + softplus / p.sharpness
    return library(ln_after).exp(-ln_after)


def _at_least(value: Numbers, bound: Numbers) -> Numbers:
    lib = library(value, bound)
    return np.maximum(value, bound) if lib is np else lib.maximum(*map(lib.as_tensor, (value, bound)))
