"""The HERACLES capacitor, alone and as a neuron, integrated by scipy: what its netlist is held against.

    dp/dt  = k+ (1 - p) - k- p,   k+- = (kT/h) exp[-max(w_b -+ (E - E_off) d_e, 0) q/kT]
    P      = P_s (2 p - 1),   V_fe = t_fe E,   C_fe = eps0 eps_fe/t_fe,   D = C_fe V_fe + P
    V      = V_fe + D/C_depl + D/C_int,   C_int = eps0 eps_int/t_int
    C_depl = p C_d + (1 - p) C_u,   C_d,u = eps0 eps_depl/t_d,u,   t_d,u = max(1 pm, |C_fe V_fe +- Q_fix|/(q n_depl))
    d(A D + C_par V)/dt = I_in(t, V) - I_leak(V)

    I_in   = max(i, 0) [1 - exp(-(V_dd - V)/2U)] - max(-i, 0) [1 - exp(-V/U)],   I_leak = I_l [1 - exp(-V/U)]
    spike where V rises through V_th; from then on V is held at 0 V for a dead time, after which P = -P_s

p = 0 is polarization up (P = -P_s, Q_fix -0.0945 C/m^2), p = 1 down (P = +P_s, Q_fix +0.0945 C/m^2). States: V_fe and
p, in which everything else is explicit; dV_fe/dt follows from the balance of charge. Method: LSODA, events at V_th; for
the capacitor BDF. It shares the values with the netlist that is given, and no code with it.
Source: Fehlings et al., arXiv 2410.07791 (IEEE TED 72(11), 2025); the circuit after arXiv 2505.17791.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.constants import Boltzmann, Planck, elementary_charge, epsilon_0
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

Array = NDArray[np.float64]
THINNEST_DEPLETION_M = 1e-12
TOLERANCES = {"rtol": 1e-10, "atol": 1e-13}


@dataclass(frozen=True)
class Capacitor:
    """Parameters of the capacitor, in SI units; energies in eV."""

    area_m2: float = 25e-12
    t_fe_m: float = 9.8e-9
    eps_fe: float = 70.0
    p_s_c_m2: float = 0.27
    w_b_ev: float = 1.05
    d_e_m: float = 7.5e-9
    e_off_v_m: float = 2e7
    n_depl_m3: float = 1.4e28
    eps_depl: float = 3.6
    q_fix_c_m2: float = 0.0945
    t_int_m: float = 0.0
    eps_int: float = 90.0
    temperature_k: float = 294.0

    @property
    def c_fe_f_m2(self) -> float:
        """C_fe."""
        return epsilon_0 * self.eps_fe / self.t_fe_m

    def rates_hz(self, v_fe: float) -> tuple[float, float]:
        """k+ and k- at the voltage `v_fe` across the ferroelectric."""
        shift_ev = (v_fe / self.t_fe_m - self.e_off_v_m) * self.d_e_m
        thermal_ev = Boltzmann * self.temperature_k / elementary_charge
        attempt_hz = Boltzmann * self.temperature_k / Planck
        up, down = (np.exp(-max(self.w_b_ev - sign * shift_ev, 0.0) / thermal_ev) for sign in (1.0, -1.0))
        return attempt_hz * up, attempt_hz * down

    def displacement(self, v_fe: float, p: float) -> float:
        """D in C/m^2."""
        return self.c_fe_f_m2 * v_fe + self.p_s_c_m2 * (2.0 * p - 1.0)

    def voltage(self, v_fe: float, p: float) -> float:
        """V across the capacitor."""
        return self._voltage_and_slopes(v_fe, p)[0]

    def slopes(self, v_fe: float, p: float) -> tuple[float, float]:
        """dV/dV_fe and dV/dp."""
        return self._voltage_and_slopes(v_fe, p)[1:]

    def v_fe_at(self, voltage: float, p: float) -> float:
        """V_fe where the voltage across the capacitor is `voltage`."""
        return float(brentq(lambda v: self.voltage(v, p) - voltage, -5.0, 5.0, xtol=1e-15, rtol=1e-14))

    def _voltage_and_slopes(self, v_fe: float, p: float) -> tuple[float, float, float]:
        c_fe, d = self.c_fe_f_m2, self.displacement(v_fe, p)
        c_down, c_down_slope = self._depletion(c_fe * v_fe + self.q_fix_c_m2)
        c_up, c_up_slope = self._depletion(c_fe * v_fe - self.q_fix_c_m2)
        c = p * c_down + (1.0 - p) * c_up
        c_slope = c_fe * (p * c_down_slope + (1.0 - p) * c_up_slope)
        per_c = 1.0 / c + self.t_int_m / (epsilon_0 * self.eps_int)
        by_v_fe = 1.0 + c_fe * per_c - d * c_slope / c**2
        by_p = 2.0 * self.p_s_c_m2 * per_c - d * (c_down - c_up) / c**2
        return v_fe + d * per_c, by_v_fe, by_p

    def _depletion(self, charge_c_m2: float) -> tuple[float, float]:
        """Capacitance in F/m^2 of a layer that `charge_c_m2` depletes, and its derivative."""
        thickness = abs(charge_c_m2) / (elementary_charge * self.n_depl_m3)
        c = epsilon_0 * self.eps_depl / max(thickness, THINNEST_DEPLETION_M)
        return c, -c / charge_c_m2 if thickness > THINNEST_DEPLETION_M else 0.0


@dataclass(frozen=True)
class Neuron:
    """The capacitor with what is around it: comparator, leak, input mirrors, reset."""

    capacitor: Capacitor = field(default_factory=Capacitor)
    c_parallel_f: float = 15e-15
    v_threshold_v: float = 3.5
    leak_a: float = 10e-12
    thermal_v: float = 26e-3
    supply_v: float = 4.5
    dead_time_s: float = 306e-6
    """Of circuits/neuron_heracles.lib at its nominal 300 us, measured: the switch lets go a little below its level."""

    def current_a(self, i_syn_a: float, v: float) -> float:
        """I_in - I_leak at the membrane voltage `v`."""
        above_ground = -np.expm1(-max(v, -0.1) / self.thermal_v)
        below_supply = -np.expm1(-max(self.supply_v - v, 0.0) / (2.0 * self.thermal_v))
        return max(i_syn_a, 0.0) * below_supply - (max(-i_syn_a, 0.0) + self.leak_a) * above_ground

    def derivative(self, y: Array, i_syn_a: float) -> list[float]:
        """d(V_fe, p)/dt."""
        device, (v_fe, p) = self.capacitor, y
        k_plus, k_minus = device.rates_hz(v_fe)
        p_rate = k_plus * (1.0 - p) - k_minus * p
        by_v_fe, by_p = device.slopes(v_fe, p)
        switching = (2.0 * device.area_m2 * device.p_s_c_m2 + self.c_parallel_f * by_p) * p_rate
        stored = device.area_m2 * device.c_fe_f_m2 + self.c_parallel_f * by_v_fe
        return [(self.current_a(i_syn_a, device.voltage(v_fe, p)) - switching) / stored, p_rate]


@dataclass(frozen=True, eq=False)
class Trace:
    """Times (n,), membrane or drive voltage, V_fe, p, D, and spike times (m,)."""

    time_s: Array
    voltage_v: Array
    v_fe_v: Array
    p: Array
    d_c_m2: Array
    spike_times_s: Array


def simulate_neuron(
    neuron: Neuron, time_s: Sequence[float], i_syn_a: Sequence[float], t_stop_s: float, p_start: float = 0.0
) -> Trace:
    """The neuron from V = 0 under a current that is linear between the points (time_s, i_syn_a), constant after."""
    device = neuron.capacitor
    rest = [device.v_fe_at(0.0, 0.0), 0.0]

    def slopes(t: float, y: Array) -> list[float]:
        return neuron.derivative(y, float(np.interp(t, time_s, i_syn_a)))

    def threshold(_: float, y: Array) -> float:
        return device.voltage(*y) - neuron.v_threshold_v

    threshold.terminal, threshold.direction = True, 1.0
    corners = [t for t in time_s if 0.0 < t < t_stop_s] + [t_stop_s]
    t, y, spikes, pieces = 0.0, np.array([device.v_fe_at(0.0, p_start), p_start]), [], []
    while t < t_stop_s:
        end = next(c for c in corners if c > t)
        found = _solved(slopes, (t, end), y, "LSODA", threshold)
        pieces.append((found.t, found.y))
        t, y = float(found.t[-1]), found.y[:, -1]
        if found.status == 1:
            spikes.append(t)
            held = min(t + neuron.dead_time_s, t_stop_s)
            pieces.append((np.array([np.nextafter(t, np.inf), held]), np.tile(np.array(rest)[:, None], 2)))
            t, y = held, np.array(rest)
    return _trace(device, pieces, spikes)


def simulate_capacitor(device: Capacitor, time_s: Sequence[float], voltage_v: Sequence[float], p_start: float) -> Trace:
    """The capacitor alone under a voltage that is linear between the points (time_s, voltage_v)."""
    y, pieces = np.array([device.v_fe_at(voltage_v[0], p_start), p_start]), []
    for start, end, low, high in zip(time_s[:-1], time_s[1:], voltage_v[:-1], voltage_v[1:], strict=True):
        ramp = (high - low) / (end - start)

        def slopes(_: float, y: Array, ramp: float = ramp) -> list[float]:
            k_plus, k_minus = device.rates_hz(y[0])
            p_rate = k_plus * (1.0 - y[1]) - k_minus * y[1]
            by_v_fe, by_p = device.slopes(*y)
            return [(ramp - by_p * p_rate) / by_v_fe, p_rate]

        found = _solved(slopes, (start, end), y, "BDF")  # where a layer ceases to be depleted LSODA may not go on
        pieces.append((found.t, found.y))
        y = found.y[:, -1]
    return _trace(device, pieces, [])


def _solved(slopes: Callable, span: tuple[float, float], y: Array, method: str, event: Callable | None = None) -> Any:
    found = solve_ivp(slopes, span, y, method=method, events=event, **TOLERANCES)
    assert found.success, found.message
    return found


def _trace(device: Capacitor, pieces: Sequence[tuple[Array, Array]], spikes: Sequence[float]) -> Trace:
    time = np.concatenate([t for t, _ in pieces])
    v_fe, p = np.concatenate([y for _, y in pieces], axis=1)
    voltage = np.array([device.voltage(*y) for y in zip(v_fe, p, strict=True)])
    return Trace(time, voltage, v_fe, p, device.displacement(v_fe, p), np.array(spikes))
