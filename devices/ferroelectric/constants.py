"""The numbers that FeLIF's kernels read: card parameters turned into ms, V and V/nm, in one fixed order.

    DRIVE = 1/C     K_CAP = k_cap     K_POL = k_dep Ps     V_PER_P = A Ps / C     LN_RATE = ln(1/tau0)

so that dV/dt = DRIVE I_in - leak - V_PER_P sum_k w_k dp_k/dt and E = K_CAP V - K_POL sum_k w_k p_k
(`devices.ferroelectric.felif`). The leak grows with exp(PER_V_LEAK |V|) above 0 V and exp(PER_V_LEAK_BELOW |V|) below,
which says the leak's law. The rows of `SHARED` come first, then Ea_k, Eoff_k and w_k of the K domains. The same
arithmetic serves floats, NumPy arrays and torch tensors, so that device spread and gradients to device parameters pass
through it.
"""

from collections.abc import Callable, Mapping
from typing import Any

EPS_0 = 8.8541878128e-12
"""Permittivity of vacuum in F/m (CODATA 2018)."""

SHARED = (
    "DRIVE",
    "K_CAP",
    "K_POL",
    "ALPHA",
    "LN_RATE",
    "E_SOFT",
    "V_PER_P",
    "LEAK",
    "PER_V_LEAK",
    "DISCHARGE",
    "PER_V_SMOOTH",
    "V_FLOOR",
    "PER_V_COMPLIANCE",
    "V_THRESHOLD",
    "V_RESET",
    "P_RESET",
    "T_REFRACTORY",
    "PER_V_LEAK_BELOW",
)
DOMAINS_FROM = len(SHARED)
(
    DRIVE,
    K_CAP,
    K_POL,
    ALPHA,
    LN_RATE,
    E_SOFT,
    V_PER_P,
    LEAK,
    PER_V_LEAK,
    DISCHARGE,
    PER_V_SMOOTH,
    V_FLOOR,
    PER_V_COMPLIANCE,
    V_THRESHOLD,
    V_RESET,
    P_RESET,
    T_REFRACTORY,
    PER_V_LEAK_BELOW,
) = range(DOMAINS_FROM)


def domain_count(rows: int) -> int:
    """Number K of domains among so many rows."""
    return (rows - DOMAINS_FROM) // 3


def constant_rows(x: Mapping[str, Any], domains: int, log: Callable[[Any], Any], leak: str) -> list[Any]:
    """The 18 + 3 K rows from card values `x` by the card's names, in SI units, with the card's `leak` law; `log` fits
    the kind of number."""
    dielectric = x["thickness_hzo"] * x["eps_int"] + x["thickness_int"] * x["eps_hzo"]
    c_total = EPS_0 * x["eps_hzo"] * x["area"] / x["thickness_hzo"] + x["c_parallel"]
    shared = {
        "DRIVE": 1e-3 / c_total,
        "K_CAP": x["eps_int"] / dielectric * 1e-9,
        "K_POL": x["thickness_int"] / (EPS_0 * dielectric) * x["saturation_polarization"] * 1e-9,
        "ALPHA": x["alpha"],
        "LN_RATE": log(1e-3 / x["tau_0"]),
        "E_SOFT": x["e_soft"] * 1e-9,
        "V_PER_P": x["area"] * x["saturation_polarization"] / c_total,
        "LEAK": x["leak_density"] * x["area"] * 1e-3 / c_total,
        "PER_V_LEAK": 1.0 / x["leak_v_scale"],
        "DISCHARGE": x["leak_discharge"] * 1e-3 / c_total,
        "PER_V_SMOOTH": 1.0 / x["leak_v_smooth"],
        "V_FLOOR": x["v_floor"],
        "PER_V_COMPLIANCE": 1.0 / x["v_compliance"],
        "V_THRESHOLD": x["v_threshold"],
        "V_RESET": x["v_reset"],
        "P_RESET": x["polarization_reset"],
        "T_REFRACTORY": x["t_refractory"] * 1e3,
        "PER_V_LEAK_BELOW": (-1.0 if leak == "published" else 1.0) / x["leak_v_scale"],
    }
    each = range(1, domains + 1)
    activation = [x[f"activation_field_{k}"] * 1e-9 for k in each]
    offset = [x[f"offset_field_{k}"] * 1e-9 for k in each]
    return [shared[name] for name in SHARED] + activation + offset + [x[f"domain_weight_{k}"] for k in each]
