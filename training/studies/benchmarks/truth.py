"""An integrator that shares nothing with the solvers: FeLIF's equations written out anew, through scipy.

    E_k = k_cap V - k_dep Ps sum_j w_j p_j - Eoff_k       dp_k/dt = (sign(E_k) - p_k) / tau_k
    C dV/dt = I_in - I_leak - A Ps sum_k w_k dp_k/dt       spike at V = v_threshold; then reset, held for t_refractory

in ms, V and V/ms, one neuron and one millisecond at a time, by Radau's method at a relative tolerance of 1e-10 (event
reset). Slow, and for that alone to be believed. The equations: `devices.models.felif`.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.constants import epsilon_0
from scipy.integrate import solve_ivp

from bruno_spice.devices.cards.base import FeLIFCard

Array = NDArray[np.float64]
RTOL, ATOL = 1e-10, 1e-12


def right_hand_side(card: FeLIFCard) -> Callable[[float, Array, float], list[float]]:
    """dy/dt of y = (V, p_1, ..., p_K) in V/ms and 1/ms at the synaptic current i_a in A."""
    domains = range(1, card.domains + 1)
    activation = [card[f"activation_field_{k}"] for k in domains]
    offset = [card[f"offset_field_{k}"] for k in domains]
    weight = [card[f"domain_weight_{k}"] for k in domains]
    area, alpha, e_soft = card["area"], card["alpha"], card["e_soft"]
    capacitance = epsilon_0 * card["eps_hzo"] * area / card["thickness_hzo"] + card["c_parallel"]
    thickness = card["thickness_hzo"] + card["thickness_int"] * card["eps_hzo"] / card["eps_int"]
    depolarising = card["thickness_int"] * card["saturation_polarization"] / (epsilon_0 * card["eps_int"] * thickness)
    charge = area * card["saturation_polarization"]
    per_ms = 1e-3 / card["tau_0"]

    def flow(t: float, y: Array, i_a: float) -> list[float]:
        v = float(y[0])
        polarization = sum(w * p for w, p in zip(weight, y[1:], strict=True))
        field = v / thickness - depolarising * polarization
        turned = []
        for p, e_a, e_off in zip(y[1:], activation, offset, strict=True):
            size = abs(field - e_off) + e_soft
            exponent = (e_a / size) ** alpha
            rate = per_ms * math.exp(-exponent) if exponent < 700.0 else 0.0
            turned.append(rate * (math.copysign(1.0, field - e_off) - p))
        size = v if card.leak == "published" else abs(v)
        leak_a = card["leak_density"] * area * math.expm1(size / card["leak_v_scale"]) * math.copysign(1.0, v)
        leak_a += card["leak_discharge"] * math.tanh(v / card["leak_v_smooth"])
        u = (v - card["v_floor"]) / card["v_compliance"]
        in_a = i_a if i_a >= 0.0 else i_a * (-math.expm1(-u) if u >= 0.0 else u)
        switched_a = charge * sum(w * each for w, each in zip(weight, turned, strict=True)) * 1e3
        return [(in_a - leak_a - switched_a) * 1e-3 / capacitance, *turned]

    return flow


def millisecond(
    flow: Callable[[float, Array, float], list[float]], card: FeLIFCard, y: Array, hold_ms: float, i_a: float
) -> tuple[Array, int]:
    """The state (V, p_1, ..., p_K) after 1 ms from `y`, held for `hold_ms` first, and the number of spikes."""
    threshold = card["v_threshold"]

    def missing(t: float, y: Array, i_a: float) -> float:
        return float(y[0] - threshold)

    crossing: Callable[..., float] = missing
    crossing.terminal, crossing.direction = True, 1.0  # type: ignore[attr-defined]  # where scipy looks for it
    t, spikes = min(hold_ms, 1.0), 0
    while t < 1.0:
        run = solve_ivp(flow, (t, 1.0), y, "Radau", events=crossing, rtol=RTOL, atol=ATOL, args=(i_a,))
        t, y = float(run.t[-1]), run.y[:, -1]
        if run.status == 1:
            spikes += 1
            t += card["t_refractory"] * 1e3
            y = np.array([card["v_reset"], *[card["polarization_reset"]] * card.domains])
    return y, spikes
