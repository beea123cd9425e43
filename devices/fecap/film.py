"""The FeCAP of models/fecap.lib in compiled Python: charge under a given voltage, fast enough to be fitted.

    ds_i/dt = [(1 - s_i) exp(-(Ea_i/E+)^n) - (1 + s_i) exp(-(Ea_i/E-)^n)] / tau0
    E+-     = (+-x + sqrt(x^2 + d^2))/2,  x = E - Eoff_i,  E = V/t_eff - k_d P
    q       = C_lin V + Ps (t_fe/t_eff) sum w_i s_i + integral of j1 sinh(E/ej)/sinh(1/ej) dt

and the rest as in that library's header, field in MV/cm. Between samples the voltage is linear. Within a step in
which E moves by at most `STEP_MV_CM`, the rates are integrated by Simpson's rule and s_i follows its equation, which
is linear in s_i, exactly: s <- s_inf + (s - s_inf) exp(-R), R the integral of both rates. With a dead layer E depends
on P, and each step is iterated until it agrees with its own end.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.compiled import kernel
from bruno_spice.devices.fecap.groups import DEFAULT_GROUPS, group_nodes
from bruno_spice.devices.physics import EPS_0

Array = NDArray[np.float64]
STEP_MV_CM = 0.02
SMOOTHING_MV_CM = 0.02
MAX_EXPONENT = 80.0
MV_PER_CM = 1e8
"""V/m in 1 MV/cm."""


def charge_density(time_s: Array, voltage_v: Array, values: Mapping[str, float]) -> Array:
    """Charge (n,) in C/m^2 that has flowed since the first sample, under `voltage_v` (n,) at `time_s` (n,).

    `values` are the library's parameters by name, in its units: tfe eps ps tau0 nmerz ea sigma_a sigma_o imprint tdl
    epsdl s0 j1 ej tempk, and `groups` where their number is not the library's. Before the first sample the film rests
    in state s0.
    """
    x = values
    t_eff = x["tfe"] + x["tdl"] * x["eps"] / x["epsdl"]
    z_activation, z_offset, weight = group_nodes(int(x.get("groups", DEFAULT_GROUPS)))
    activation = x["ea"] * (300.0 / x["tempk"]) ** (1.0 / x["nmerz"]) * np.exp(x["sigma_a"] * z_activation)
    offset = x["imprint"] + x["sigma_o"] * z_offset
    k_dep = x["tdl"] / (EPS_0 * x["epsdl"]) / t_eff * x["ps"] / MV_PER_CM
    polarization, leak = _transient(
        time_s,
        voltage_v / (t_eff * MV_PER_CM),
        activation,
        offset,
        weight,
        np.full(weight.size, float(x["s0"])),
        k_dep,
        x["nmerz"],
        x["tau0"],
        x["ej"],
    )
    linear = EPS_0 * x["eps"] / t_eff * (voltage_v - voltage_v[0])
    switched = x["ps"] * x["tfe"] / t_eff * (polarization - x["s0"])
    return np.asarray(linear + switched + x["j1"] / np.sinh(1.0 / x["ej"]) * leak)


def response(time_s: Array, charge: Array, kind: str) -> Array:
    """What an instrument reads: the charge (n,) itself, or the current (n,), its slope over neighbouring samples."""
    return charge if kind == "charge" else np.gradient(charge, time_s)


@kernel()
def _rate(field: float, activation: float, exponent: float, longest: float) -> float:
    """exp(-(Ea/E)^n) for the smooth positive part of `field`; beyond Ea/E = `longest` it counts as e^-80."""
    ratio = 2.0 * activation / (field + math.sqrt(field * field + SMOOTHING_MV_CM * SMOOTHING_MV_CM))
    if ratio >= longest:
        return math.exp(-MAX_EXPONENT)
    return math.exp(-(ratio**exponent))


@kernel()
def _transient(
    time_s: Array,
    applied: Array,
    activation: Array,
    offset: Array,
    weight: Array,
    s: Array,
    k_dep: float,
    exponent: float,
    tau_0: float,
    leak_field: float,
) -> tuple[Array, Array]:
    """Mean state (n,) and integral of sinh(E/leak_field) dt (n,) under the field V/t_eff = `applied` (n,) in MV/cm."""
    groups = s.size
    longest = MAX_EXPONENT ** (1.0 / exponent)
    polarization, leak = np.empty(time_s.size), np.empty(time_s.size)
    s_new, up, down = np.empty(groups), np.empty(groups), np.empty(groups)
    p, leaked = float(np.dot(weight, s)), 0.0
    polarization[0], leak[0] = p, leaked
    field = applied[0] - k_dep * p
    for i in range(groups):
        up[i] = _rate(field - offset[i], activation[i], exponent, longest)
        down[i] = _rate(offset[i] - field, activation[i], exponent, longest)
    for n in range(1, time_s.size):
        duration, rise = time_s[n] - time_s[n - 1], applied[n] - applied[n - 1]
        share = 1.0 / np.ceil(max(abs(rise) / STEP_MV_CM, 1.0))
        done = 0.0
        while done < 1.0:
            share = min(share, 1.0 - done)
            if 1.0 - done - share < 1e-9:
                share = 1.0 - done
            end_applied = applied[n - 1] + rise * (done + share)
            p_new, change = p, 1.0
            for _ in range(20):
                end = end_applied - k_dep * p_new
                middle = 0.5 * (field + end)
                p_old, p_new = p_new, 0.0
                for i in range(groups):
                    scale = share * duration / tau_0 / 6.0
                    x = middle - offset[i]
                    y = end - offset[i]
                    rise_sum = scale * (
                        up[i]
                        + 4.0 * _rate(x, activation[i], exponent, longest)
                        + _rate(y, activation[i], exponent, longest)
                    )
                    fall_sum = scale * (
                        down[i]
                        + 4.0 * _rate(-x, activation[i], exponent, longest)
                        + _rate(-y, activation[i], exponent, longest)
                    )
                    total = rise_sum + fall_sum
                    s_new[i] = s[i]
                    if total > 0.0:
                        s_new[i] += ((rise_sum - fall_sum) / total - s[i]) * -np.expm1(-total)
                    p_new += weight[i] * s_new[i]
                change = k_dep * abs(p_new - p_old)
                if change < 1e-9:
                    break
            end = end_applied - k_dep * p_new
            if (change >= 1e-9 or abs(end - field) > 2.0 * STEP_MV_CM) and share > 1e-5:
                share *= 0.5
                continue
            step = share * duration / 6.0
            middle = 0.5 * (field + end)
            leaked += step * (
                np.sinh(field / leak_field) + 4.0 * np.sinh(middle / leak_field) + np.sinh(end / leak_field)
            )
            field, p = end, p_new
            for i in range(groups):
                s[i] = s_new[i]
                up[i] = _rate(field - offset[i], activation[i], exponent, longest)
                down[i] = _rate(offset[i] - field, activation[i], exponent, longest)
            done += share
            share *= 2.0
        polarization[n], leak[n] = p, leaked
    return polarization, leak
