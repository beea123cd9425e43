"""FeLIF's equations in SI units, written apart from the laws that the product is made of, which are tested against it.

    E_k      = k_cap V - k_dep P - Eoff_k                 P = Ps sum_k w_k p_k,  p_k in [-1, 1]
    tau_k    = tau0 exp[(Ea_k / (|E_k| + E_soft))^alpha]
    dp_k/dt  = (sign(E_k) - p_k) / tau_k
    I_leak   = I0 A (exp(|V|/V_t) - 1) sign(V) + I_dsc tanh(V/V_s)
    I_in     = I_syn where I_syn >= 0,  I_syn c((V - v_floor)/v_compliance) where I_syn < 0
    C dV/dt  = I_in - I_leak - A dP/dt                    C = eps0 eps_hzo A / t_hzo + C_par
    spike where V crosses v_threshold upwards; then V = v_reset, p_k = polarization_reset, held for t_refractory

    k_cap = eps_int / (t_hzo eps_int + t_int eps_hzo),   k_dep = t_int / (eps0 (t_hzo eps_int + t_int eps_hzo))

Source: Fehlings et al., *Bruno*, arXiv 2505.17791 (K = 1, Eoff = 0).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bruno_spice.devices.ferroelectric.neuron import NeuronParameters

Array = NDArray[np.float64]


def derivatives(v: ArrayLike, p: ArrayLike, i_syn_a: ArrayLike, parameters: NeuronParameters) -> tuple[Array, Array]:
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


def _leak_exponent(v: ArrayLike, x: NeuronParameters) -> Array:
    size = np.asarray(v) if x.leak == "published" else np.abs(v)
    return size / x.leak_v_scale


def jacobian(v: float, p: ArrayLike, i_syn_a: float, parameters: NeuronParameters) -> Array:
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
