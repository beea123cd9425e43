"""The FeCAP of models/fecap.lib in compiled Python: charge under a given voltage, fast enough to be fitted.

    ds_i/dt = [(1 - s_i) exp(-(Ea_i/E+)^n) - (1 + s_i) exp(-(Ea_i/E-)^n)] / tau0
    E+-     = (+-x + sqrt(x^2 + d^2))/2,  x = E - Eoff_i,  E = V/t_eff - k_d P
    q       = C_lin V + Ps (t_fe/t_eff) sum w_i s_i + integral of j_leak dt
    j_leak  = j1 sinh(E/ej)/sinh(1/ej)

and the rest as in that library's header, field in MV/cm. The terms of models/fecap_film.lib, each of them 0 and so
absent unless a value says otherwise: Ps and eps that change with temperature, a leak that is larger on one side and
thermally activated, a resistance in series, the capacitance of the fixture:

    j_leak <- j_leak (1 + ja tanh(E/ej)),  j1 <- j1 exp[-(jact/k)(1/T - 1/300 K)]
    Ps <- Ps (1 + kps (T - 300 K)),  eps <- eps (1 + keps (T - 300 K))
    V  <- V - rs A dq/dt,  q <- q + (cfix/A) V

Between samples the voltage is linear. Steps begin at `STEP_MV_CM` of E (less where the film's activation field is low,
`STEP_OF_ACTIVATION`) and grow to twice that at most; within one, the rates are integrated
by Simpson's rule and s_i follows its equation, which is linear in s_i, exactly: s <- s_inf + (s - s_inf) exp(-R), R
the integral of both rates. With a dead layer E depends on P and behind a resistance on dq/dt, and each step is
iterated (by secants) until it agrees with its own end.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.compiled import kernel
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.groups import DEFAULT_GROUPS, group_nodes
from bruno_spice.devices.fecap.limits import refuse_beyond
from bruno_spice.devices.physics import EPS_0, K_B, Q_E

Array = NDArray[np.float64]
STEP_MV_CM = 0.02
STEP_OF_ACTIVATION = 0.04
"""Of the activation field: the largest step for films that switch at low fields."""
SMOOTHING_MV_CM = 0.02
MAX_EXPONENT = 80.0
MV_PER_CM = 1e8
"""V/m in 1 MV/cm."""
REFERENCE_K = 300.0
BOLTZMANN_EV_K = K_B / Q_E
STEPS, STEPS_OF_SAMPLE = 250_000, 20
"""At most so many steps are tried, and so many more for each sample: some seconds. A film that is read takes two
for each sample, and a hundred for each MV/cm."""
TERMS = {"ja": 0.0, "jact": 0.0, "kps": 0.0, "keps": 0.0, "rs": 0.0, "cfix": 0.0, "area": 1.0}
"""What models/fecap_film.lib adds, where no value says so."""


def charge_density(time_s: Array, voltage_v: Array, values: Mapping[str, float]) -> Array:
    """Charge (n,) in C/m^2 that has flowed since the first sample, as `charge_and_polarization` gives it."""
    return charge_and_polarization(time_s, voltage_v, values)[0]


def charge_and_polarization(time_s: Array, voltage_v: Array, values: Mapping[str, float]) -> tuple[Array, Array]:
    """Charge (n,) in C/m^2 since the first sample and polarization (n,), -1 to 1, under `voltage_v` (n,) at `time_s`.

    `values` are the library's parameters by name, in its units: tfe eps ps tau0 nmerz ea sigma_a sigma_o imprint tdl
    epsdl s0 j1 ej tempk, `groups` where their number is not the library's, and those of `TERMS` that are not 0; rs and
    cfix want the electrode's area, too. Before the first sample the film rests in state s0. Raises `InputError` for
    values beyond their limits, and for a film that switches too fast under this drive to be followed in `STEPS`.
    """
    x = {**TERMS, **values}
    refuse_beyond(x)
    warmer = x["tempk"] - REFERENCE_K
    ps, eps = x["ps"] * (1.0 + x["kps"] * warmer), x["eps"] * (1.0 + x["keps"] * warmer)
    leak = x["j1"] * math.exp(-x["jact"] / BOLTZMANN_EV_K * (1.0 / x["tempk"] - 1.0 / REFERENCE_K))
    t_eff = x["tfe"] + x["tdl"] * eps / x["epsdl"]
    z_activation, z_offset, weight = group_nodes(int(x.get("groups", DEFAULT_GROUPS)))
    activation = x["ea"] * (REFERENCE_K / x["tempk"]) ** (1.0 / x["nmerz"]) * np.exp(x["sigma_a"] * z_activation)
    offset = x["imprint"] + x["sigma_o"] * z_offset
    k_dep = x["tdl"] / (EPS_0 * x["epsdl"]) / t_eff * ps / MV_PER_CM
    leak_scale = leak / np.sinh(1.0 / x["ej"])
    film_v, polarization, leaked = _transient(
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
        x["ja"],
        x["rs"] * x["area"] / (t_eff * MV_PER_CM),
        EPS_0 * eps * MV_PER_CM,
        ps * x["tfe"] / t_eff,
        leak_scale,
        min(STEP_MV_CM, STEP_OF_ACTIVATION * float(activation @ weight)),
        STEPS + STEPS_OF_SAMPLE * time_s.size,
    )
    if not math.isfinite(polarization[-1]):
        raise InputError(
            f"the film cannot be followed: {100 * np.isfinite(polarization).mean():.2g} % of the drive are done "
            f"after {STEPS:,} steps; fields are too large, or its activation field too low"
        )
    film_v *= t_eff * MV_PER_CM
    linear = EPS_0 * eps / t_eff * (film_v - film_v[0])
    fixture = x["cfix"] / x["area"] * (voltage_v - voltage_v[0])
    charge = linear + ps * x["tfe"] / t_eff * (polarization - x["s0"]) + leak_scale * leaked + fixture
    return np.asarray(charge), polarization


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
def _leak(field: float, scale: float, side: float) -> float:
    """Shape of the leak at `field`."""
    return float(np.sinh(field / scale) * (1.0 + side * np.tanh(field / scale)))


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
    leak_side: float,
    series: float,
    linear: float,
    switched: float,
    leak_scale: float,
    largest_step: float,
    most_steps: int,
) -> tuple[Array, Array, Array]:
    """V/t_eff of the film (n,) in MV/cm, mean state (n,) and integral of the leak's shape (n,) dt.

    `applied` (n,) is V/t_eff at the electrodes in MV/cm, `series` what of it 1 A/m^2 takes away; `linear` and
    `switched` are dq/d(V/t_eff) and dq/dP of the film, `leak_scale` the factor of the leak's shape; `largest_step` in
    MV/cm is of the field. Behind `most_steps` all is NaN.
    """
    groups = s.size
    longest = MAX_EXPONENT ** (1.0 / exponent)
    across, polarization, leak = np.empty(time_s.size), np.empty(time_s.size), np.empty(time_s.size)
    s_new, up, down = np.empty(groups), np.empty(groups), np.empty(groups)
    up_end, down_end = np.empty(groups), np.empty(groups)
    p, leaked = float(np.dot(weight, s)), 0.0
    film = applied[0]
    across[0], polarization[0], leak[0] = film, p, leaked
    field = film - k_dep * p
    for i in range(groups):
        up[i] = _rate(field - offset[i], activation[i], exponent, longest)
        down[i] = _rate(offset[i] - field, activation[i], exponent, longest)
    tried = 0
    for n in range(1, time_s.size):
        duration, rise = time_s[n] - time_s[n - 1], applied[n] - applied[n - 1]
        share = 1.0 / np.ceil(max(abs(rise) / largest_step, 1.0))
        done = 0.0
        while done < 1.0:
            tried += 1
            if tried > most_steps:
                across[n:], polarization[n:], leak[n:] = np.nan, np.nan, np.nan
                return across, polarization, leak
            share = min(share, 1.0 - done)
            if 1.0 - done - share < 1e-9:
                share = 1.0 - done
            end_applied = applied[n - 1] + rise * (done + share)
            drag = series / (share * duration)
            feedback = k_dep + drag * switched / (1.0 + drag * linear)
            guess, before, off_before, end, p_new, change = p, p, 0.0, field, p, 1.0
            for k in range(20):
                end_film = end_applied
                if series > 0.0:
                    lost = leak_scale * _leak(0.5 * (field + end), leak_field, leak_side) * series
                    end_film = (end_applied + drag * (linear * film - switched * (guess - p)) - lost) / (
                        1.0 + drag * linear
                    )
                end = end_film - k_dep * guess
                middle = 0.5 * (field + end)
                p_new = 0.0
                for i in range(groups):
                    scale = share * duration / tau_0 / 6.0
                    x = middle - offset[i]
                    y = end - offset[i]
                    up_end[i] = _rate(y, activation[i], exponent, longest)
                    down_end[i] = _rate(-y, activation[i], exponent, longest)
                    rise_sum = scale * (up[i] + 4.0 * _rate(x, activation[i], exponent, longest) + up_end[i])
                    fall_sum = scale * (down[i] + 4.0 * _rate(-x, activation[i], exponent, longest) + down_end[i])
                    total = rise_sum + fall_sum
                    s_new[i] = s[i]
                    if total > 0.0:
                        s_new[i] += ((rise_sum - fall_sum) / total - s[i]) * -np.expm1(-total)
                    p_new += weight[i] * s_new[i]
                off = p_new - guess
                change = feedback * abs(off)
                if change < 1e-9:
                    break
                turn = off - off_before
                move = off if k == 0 or turn == 0.0 else -off * (guess - before) / turn
                before, off_before, guess = guess, off, min(max(guess + move, -1.0), 1.0)
            if (change >= 1e-9 or abs(end - field) > 2.0 * largest_step) and share > 1e-5:
                share *= 0.5
                continue
            step = share * duration / 6.0
            middle = 0.5 * (field + end)
            leaked += step * (
                _leak(field, leak_field, leak_side)
                + 4.0 * _leak(middle, leak_field, leak_side)
                + _leak(end, leak_field, leak_side)
            )
            field, film, p = end, end_film, p_new
            for i in range(groups):
                s[i], up[i], down[i] = s_new[i], up_end[i], down_end[i]
            done += share
            share *= 2.0
        across[n], polarization[n], leak[n] = film, p, leaked
    return across, polarization, leak
