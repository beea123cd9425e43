"""FeLIF, the ferroelectric leaky integrate-and-fire neuron: equations, Jacobian and transient simulation.

    E_k      = k_cap V - k_dep P - Eoff_k                 P = Ps sum_k w_k p_k,  p_k in [-1, 1]
    tau_k    = tau0 exp[(Ea_k / (|E_k| + E_soft))^alpha]
    dp_k/dt  = (sign(E_k) - p_k) / tau_k
    I_leak   = I0 A (exp(|V|/V_t) - 1) sign(V) + I_dsc tanh(V/V_s)
    I_in     = I_syn where I_syn >= 0,  I_syn c((V - v_floor)/v_compliance) where I_syn < 0
    C dV/dt  = I_in - I_leak - A dP/dt                    C = eps0 eps_hzo A / t_hzo + C_par
    spike where V crosses v_threshold upwards; then V = v_reset, p_k = polarization_reset, held for t_refractory

    k_cap = eps_int / (t_hzo eps_int + t_int eps_hzo),   k_dep = t_int / (eps0 (t_hzo eps_int + t_int eps_hzo))

Source: Fehlings et al., *Bruno*, arXiv 2505.17791 (K = 1, Eoff = 0). Three things differ from the paper's text:

- K domains instead of one, each with its own activation field, offset field and weight (weights sum to 1).
- tanh(V/V_s) replaces sign(V) in the discharge current, which jumps at V = 0 and chatters there.
- The compliance floor c(u) = 1 - exp(-u) for u >= 0, and u below. An inhibitory current comes from a
  transistor mirror, which pulls the membrane down only as long as there is voltage across it; c is the
  sub-threshold law of a MOSFET, as in the neuron netlist. Below the floor it continues linearly, so that the
  current there is restoring and no stiffer than |I_syn| / (C v_compliance). The published card has its floor
  at -5 V, as the paper. The discharge needs no such factor: tanh already turns it around at V = 0.

The authors' code has exp(V/V_t) instead of exp(|V|/V_t) in the leak, so that a membrane at -5 V leaks the discharge
current alone: that law is a card's `leak` = ``published``, the one above ``symmetric``.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.constants import EPS_0, constant_rows

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeLIFParameters:
    """The numbers of a `FeLIFCard` by the same names, SI units; the last three are arrays (K,), one entry a
    domain."""

    area: float
    thickness_hzo: float
    thickness_int: float
    eps_hzo: float
    eps_int: float
    saturation_polarization: float
    tau_0: float
    alpha: float
    e_soft: float
    leak_density: float
    leak_v_scale: float
    leak_discharge: float
    leak_v_smooth: float
    c_parallel: float
    v_threshold: float
    v_reset: float
    polarization_reset: float
    t_refractory: float
    v_floor: float
    v_compliance: float
    activation_field: Array
    offset_field: Array
    domain_weight: Array
    leak: str = "symmetric"
    """Law of the leak below 0 V (`FeLIFCard.leak`)."""

    def __post_init__(self) -> None:
        for name in FeLIFCard.DOMAIN_UNITS:
            object.__setattr__(self, name, np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64)))
        if not self.v_reset < self.v_threshold:
            raise InputError(
                f"v_reset ({self.v_reset:g} V) must lie below v_threshold ({self.v_threshold:g} V), "
                "or the neuron never stops spiking"
            )

    @classmethod
    def from_card(cls, card: FeLIFCard) -> Self:
        """The parameters of `card`."""
        domains = range(1, card.domains + 1)
        vectors = {name: np.array([card[f"{name}_{k}"] for k in domains]) for name in card.DOMAIN_UNITS}
        values: dict[str, Any] = {name: card[name] for name in card.UNITS} | vectors
        return cls(**values, leak=card.leak)

    @property
    def domains(self) -> int:
        """Number K of polarization domains."""
        return self.activation_field.size

    @property
    def c_total(self) -> float:
        """Membrane capacitance C in F: the film's linear one and the parasitic one."""
        return EPS_0 * self.eps_hzo * self.area / self.thickness_hzo + self.c_parallel

    @property
    def k_cap(self) -> float:
        """Field in the film per membrane voltage, in 1/m."""
        return self.eps_int / self._dielectric_thickness

    @property
    def k_dep(self) -> float:
        """Depolarization field per polarization, in V/m per C/m^2."""
        return self.thickness_int / (EPS_0 * self._dielectric_thickness)

    @property
    def _dielectric_thickness(self) -> float:
        return self.thickness_hzo * self.eps_int + self.thickness_int * self.eps_hzo

    def constants(self) -> Array:
        """What the kernels read, (18 + 3 K,), in ms, V and V/nm (`devices.ferroelectric.constants`)."""
        values = {name: getattr(self, name) for name in FeLIFCard.UNITS}
        for name in FeLIFCard.DOMAIN_UNITS:
            values |= {f"{name}_{k + 1}": value for k, value in enumerate(getattr(self, name))}
        return np.array(constant_rows(values, self.domains, math.log, self.leak), dtype=np.float64)


def derivatives(v: ArrayLike, p: ArrayLike, i_syn_a: ArrayLike, parameters: FeLIFParameters) -> tuple[Array, Array]:
    """Right-hand side of the FeLIF equations: dV/dt in V/s, shape (...), and dp/dt in 1/s, shape (..., K).

    `v` (...) in V, `p` (..., K) in -1...1, `i_syn_a` (...) in A. No spike, no reset.
    """
    v, p, i_syn_a = np.asarray(v, float), np.asarray(p, float), np.asarray(i_syn_a, float)
    x = parameters
    polarization = x.saturation_polarization * (p @ x.domain_weight)
    field = (x.k_cap * v - x.k_dep * polarization)[..., None] - x.offset_field
    rate = np.exp(-((x.activation_field / (np.abs(field) + x.e_soft)) ** x.alpha)) / x.tau_0
    dp_dt = (np.sign(field) - p) * rate

    leak = x.leak_density * x.area * np.expm1(_leak_exponent(v, x)) * np.sign(v)
    leak = leak + x.leak_discharge * np.tanh(v / x.leak_v_smooth)
    headroom = (v - x.v_floor) / x.v_compliance
    compliance = np.where(headroom >= 0.0, -np.expm1(-np.maximum(headroom, 0.0)), headroom)
    i_in = np.where(i_syn_a < 0.0, i_syn_a * compliance, i_syn_a)
    i_polarization = x.area * x.saturation_polarization * (dp_dt @ x.domain_weight)
    return (i_in - leak - i_polarization) / x.c_total, dp_dt


def _leak_exponent(v: ArrayLike, x: FeLIFParameters) -> Array:
    size = np.asarray(v) if x.leak == "published" else np.abs(v)
    return size / x.leak_v_scale


def jacobian(v: float, p: ArrayLike, i_syn_a: float, parameters: FeLIFParameters) -> Array:
    """Jacobian of `derivatives` with respect to (V, p_1, ..., p_K), shape (1 + K, 1 + K), at one state."""
    x = parameters
    p = np.asarray(p, float)
    k_pol = x.k_dep * x.saturation_polarization
    field = x.k_cap * v - k_pol * (p @ x.domain_weight) - x.offset_field
    softened = np.abs(field) + x.e_soft
    exponent = (x.activation_field / softened) ** x.alpha
    rate = np.exp(-exponent) / x.tau_0
    sign = np.sign(field)
    with np.errstate(invalid="ignore"):
        gain = np.where(rate > 0.0, (sign - p) * rate * x.alpha * exponent / softened * sign, 0.0)
    out = np.empty((1 + p.size, 1 + p.size))
    out[1:, 0] = gain * x.k_cap
    out[1:, 1:] = -np.outer(gain, k_pol * x.domain_weight) - np.diag(rate)
    leak_slope = x.leak_density * x.area * np.exp(_leak_exponent(v, x)) / x.leak_v_scale
    leak_slope *= -1.0 if v < 0.0 and x.leak == "published" else 1.0
    leak_slope += x.leak_discharge * (1.0 - np.tanh(v / x.leak_v_smooth) ** 2) / x.leak_v_smooth
    headroom = (v - x.v_floor) / x.v_compliance
    in_slope = min(i_syn_a, 0.0) * np.exp(-max(headroom, 0.0)) / x.v_compliance
    out[0] = -x.area * x.saturation_polarization * (x.domain_weight @ out[1:])
    out[0, 0] += in_slope - leak_slope
    out[0] /= x.c_total
    return out
