"""The converged film, alone and in the neuron, integrated by scipy: what ngspice and the fits are held against.

    ds_i/dt = [(1 - s_i) r_i(E) - (1 + s_i) r_i(-E)] / tau0,   r_i(+-E) = exp(-(Ea_i/E+-)^n),   dP/dt = sum w_i ds_i/dt
    E       = u/t_eff - k_d P,   E+- = (+-x + sqrt(x^2 + d^2))/2,  x = E - Eoff_i
    C_lin du/dt  = I_fe - A Ps (t_fe/t_eff) dP/dt - A j1 sinh(E/ej)/sinh(1/ej),   I_fe = (v - u - plate(vr))/R_pl
    C_par dv/dt  = I_in(v) - I_leak(v) - I_reset(v, vr) - I_fe
    RC dq/dt     = latch(v, q, vr) - q,   C_vr dvr/dt = I_up(q, vr) - I_down(vr)

with u the voltage across the film, v the membrane, q the latch (a spike is its rise through half the supply) and vr the
relaxation capacitor: circuits/felif_neuron.lib and models/fecap.lib written down once more, as one system of equations.
It shares parameters, nodes and stimulus with them, and no code with ngspice, the twin of `fecap_model` or the compact
models. Method: BDF of variable order (Shampine and Reichelt, SIAM J. Sci. Comput. 18, 1, 1997) with the sparse
Jacobian, begun anew at every corner of the drive. A thousand groups, which ngspice is too slow for, cost seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.sparse import csc_array
from scipy.special import expit

from bruno_spice.calibration.circuits.experiments import NETLISTS, NEURON_NETLIST, pwl
from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.fecap.groups import group_nodes
from bruno_spice.devices.physics import EPS_0
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

Array = NDArray[np.float64]
CONVERGED_GROUPS = 1024
FILM_NETLIST = NETLISTS / "testbenches" / "fecap_pv.cir"
SMOOTHING_MV_CM = 0.02
MAX_EXPONENT = 80.0
MV_PER_CM = 1e8
R_PLATE_OHM, RC_LATCH_S, C_RELAX_F, R_OPEN_OHM = 10e3, 1e-7, 1e-12, 1e14
STEP = 1e-6
"""In V or 1: for the derivatives of the circuit's few equations."""


def parameters(netlist: Path = NEURON_NETLIST, overrides: Mapping[str, float] | None = None) -> dict[str, float]:
    """The numbers that a testbench gives its ``.param``, by name."""
    deck = Netlist.load(netlist).with_params(overrides or {})
    return {name: float(p.value) for name, p in deck.params.items() if p.value is not None}


@dataclass(frozen=True, eq=False)
class Film:
    """The switching groups, their fields and weights (N,), and what makes a field of a voltage, a current of a rate."""

    values: Mapping[str, float]
    activation: Array
    offset: Array
    weight: Array
    field_per_v: float
    field_per_p: float
    c_linear_f: float
    charge_c: float

    @classmethod
    def build(cls, values: Mapping[str, float], groups: int) -> "Film":
        """The film of `values` (a testbench's parameters) with `groups` groups."""
        x = values
        z_activation, z_offset, weight = group_nodes(groups)
        t_eff = x["tfe"] + x["tdl"] * x["eps"] / x["epsdl"]
        return cls(
            values,
            x["ea"] * (300.0 / x["tempk"]) ** (1.0 / x["nmerz"]) * np.exp(x["sigma_a"] * z_activation),
            x["imprint"] + x["sigma_o"] * z_offset,
            weight,
            1.0 / (t_eff * MV_PER_CM),
            x["ps"] * x["tdl"] / (EPS_0 * x["epsdl"] * t_eff * MV_PER_CM),
            x["area"] * EPS_0 * x["eps"] / t_eff,
            x["area"] * x["ps"] * x["tfe"] / t_eff,
        )

    @property
    def groups(self) -> int:
        """How many."""
        return self.weight.size

    def switching(self, s: Array, field: float) -> tuple[Array, Array, Array]:
        """ds/dt, and its derivatives by s and by the field in MV/cm, (N,) each."""
        x = field - self.offset
        root = np.sqrt(x * x + SMOOTHING_MV_CM**2)
        n, tau_0 = self.values["nmerz"], self.values["tau0"]
        up_power, down_power = (
            np.minimum((2.0 * self.activation / side) ** n, MAX_EXPONENT)
            for side in (np.maximum(root + x, 1e-9), np.maximum(root - x, 1e-9))
        )
        up, down = np.exp(-up_power) / tau_0, np.exp(-down_power) / tau_0
        slope = n / root * ((1.0 - s) * up * up_power + (1.0 + s) * down * down_power)
        return (1.0 - s) * up - (1.0 + s) * down, -(up + down), slope

    def leak_a(self, field: float) -> float:
        """Leakage in A at a field in MV/cm."""
        x = self.values
        return float(x["area"] * x["j1"] * np.sinh(np.clip(field, -5.0, 5.0) / x["ej"]) / np.sinh(1.0 / x["ej"]))


class Leg(NamedTuple):
    """A straight piece of the drive: from `start_s` to `stop_s`, at `value` (V or A) in the beginning."""

    start_s: float
    stop_s: float
    value: float
    slope: float

    def at(self, time_s: float) -> float:
        """The drive at `time_s`."""
        return self.value + self.slope * (time_s - self.start_s)


def reference_film(
    time_s: Array,
    voltage_v: Array,
    values: Mapping[str, float] | None = None,
    groups: int = CONVERGED_GROUPS,
    rtol: float = 1e-6,
) -> Waveform:
    """The film alone under `voltage_v` (n,) at `time_s` (n,): ``voltage_v``, ``polarization`` and ``charge_c_m2``.

    `values` are a testbench's parameters (default: those of fecap_pv.cir). Raises `SimulationError` where the
    integration fails.
    """
    film = Film.build(values or parameters(FILM_NETLIST), groups)
    n, area = film.groups, film.values["area"]

    def field(t: float, p: float, leg: Leg) -> float:
        return film.field_per_v * leg.at(t) - film.field_per_p * p

    def slopes(t: float, y: Array, leg: Leg) -> Array:
        rate = film.switching(y[:n], field(t, y[n], leg))[0]
        return np.concatenate([rate, [film.weight @ rate, film.leak_a(field(t, y[n], leg)) / area]])

    def jacobian(t: float, y: Array, leg: Leg) -> csc_array:
        _, by_state, by_field = film.switching(y[:n], field(t, y[n], leg))
        by_p, none = -film.field_per_p * by_field, np.zeros(n)
        high, low = (film.leak_a(field(t, y[n] + h, leg)) for h in (STEP, -STEP))
        corner = np.array([[film.weight @ by_p, 0.0], [(high - low) / (2 * STEP * area), 0.0]])
        return _arrow(by_state, np.stack([by_p, none], axis=1), np.stack([film.weight * by_state, none]), corner)

    start = np.concatenate([np.full(n + 1, film.values["s0"]), [0.0]])
    times, states, _ = _integrate(slopes, jacobian, start, _legs(time_s, voltage_v, time_s[-1]), rtol, n)
    voltage = np.interp(times, time_s, voltage_v)
    charge = film.c_linear_f / area * (voltage - voltage[0]) + film.charge_c / area * (states[0] - states[0, 0])
    return Waveform(times, {"voltage_v": voltage, "polarization": states[0], "charge_c_m2": charge + states[1]})


def reference_neuron(
    stimulus: Stimulus,
    t_stop_s: float,
    values: Mapping[str, float] | None = None,
    groups: int = CONVERGED_GROUPS,
    rtol: float = 1e-6,
) -> Waveform:
    """The neuron (level A) under `stimulus` as `experiments.simulate_neuron` gives it, with the converged film.

    `values` are a testbench's parameters (default: those of neuron.cir). Raises `SimulationError` where the
    integration fails.
    """
    circuit = _Circuit(Film.build(values or parameters(), groups))
    n = circuit.film.groups
    time, current = pwl(stimulus, t_stop_s)
    start = np.concatenate([np.full(n + 1, circuit.film.values["s0"]), np.zeros(4)])
    times, states, spikes = _integrate(
        circuit.slopes, circuit.jacobian, start, _legs(time, current, t_stop_s), rtol, n, circuit.spike
    )
    signals = {"i_syn_a": np.interp(times, time, current), "v_mem_v": states[2], "polarization": states[0]}
    return Waveform(times, signals, spikes)


class _Circuit:
    """The neuron's equations: states s (N,), then P, u, v, q, vr."""

    def __init__(self, film: Film) -> None:
        self.film = film

    def spike(self, _: float, y: Array, __: Leg) -> float:
        """Zero where the latch passes half the supply."""
        return float(y[self.film.groups + 3] - 0.5 * self.film.values["vdd"])

    def field(self, z: Array) -> float:
        """MV/cm in the ferroelectric."""
        return float(self.film.field_per_v * z[1] - self.film.field_per_p * z[0])

    def slopes(self, t: float, y: Array, leg: Leg) -> Array:
        """dy/dt."""
        film, n = self.film, self.film.groups
        rate = film.switching(y[:n], self.field(y[n:]))[0]
        rest = self._without_switching(leg.at(t), y[n:])
        switched = film.weight @ rate
        rest[:2] += switched * np.array([1.0, -film.charge_c / film.c_linear_f])
        return np.concatenate([rate, rest])

    def jacobian(self, t: float, y: Array, leg: Leg) -> csc_array:
        """d(dy/dt)/dy; the five by five of the circuit by central differences."""
        film, n = self.film, self.film.groups
        _, by_state, by_field = film.switching(y[:n], self.field(y[n:]))
        columns = np.zeros((n, 5))
        columns[:, 0], columns[:, 1] = -film.field_per_p * by_field, film.field_per_v * by_field
        share = np.array([1.0, -film.charge_c / film.c_linear_f, 0.0, 0.0, 0.0])
        high, low = (
            np.stack([self._without_switching(leg.at(t), y[n:] + h) for h in nudge], axis=1)
            for nudge in (STEP * np.eye(5), -STEP * np.eye(5))
        )
        corner = (high - low) / (2 * STEP) + np.outer(share, film.weight @ columns)
        return _arrow(by_state, columns, np.outer(share, film.weight * by_state), corner)

    def _without_switching(self, i_syn: float, z: Array) -> Array:
        """Slopes of P, u, v, q and vr at the input `i_syn` (A), but for what the switching groups add."""
        x = self.film.values
        _, u, v, q, vr = z
        vdd, ut = x["vdd"], x["ut"]
        plate = x["vplate_rest"] + (x["vplate"] - x["vplate_rest"]) * expit((vr - vdd / 3) / 20e-3)
        i_film = (v - u - plate) / R_PLATE_OHM
        above_ground = -np.expm1(-max(v, -0.1) / ut)
        below_supply = -np.expm1(-max(vdd - v, 0.0) / (2 * ut))
        i_in = max(i_syn, 0.0) * below_supply - max(-i_syn, 0.0) * above_ground
        i_out = x["ileak"] * above_ground + v / R_OPEN_OHM + 100e-6 * v * expit((vr - vdd / 6) / 10e-3)
        compared = vdd * expit((v - x["vth"]) / 2e-3)
        cleared = 4 * vdd * expit((vr - 0.9 * vdd) / 10e-3)
        latch = vdd * expit((compared + q - 0.5 * vdd - cleared) / 50e-3)
        i_up = (vdd - vr) * 1e-6 * expit((q - 0.8 * vdd) / 20e-3)
        i_down = 0.73333 * C_RELAX_F / x["tref"] * vdd * np.tanh(vr / 50e-3) + vr / 1e12
        return np.array(
            [
                0.0,
                (i_film - self.film.leak_a(self.field(z))) / self.film.c_linear_f,
                (i_in - i_out - i_film) / x["cpar"],
                (latch - q) / RC_LATCH_S,
                (i_up - i_down) / C_RELAX_F,
            ]
        )


def _arrow(diagonal: Array, columns: Array, rows: Array, corner: Array) -> csc_array:
    """A matrix of N groups that see each other only through k shared states: (N,), (N, k), (k, N) and (k, k)."""
    n, k = columns.shape
    group, shared = np.arange(n), np.arange(n, n + k)
    row = [group, np.repeat(group, k), np.repeat(shared, n), np.repeat(shared, k)]
    column = [group, np.tile(shared, n), np.tile(group, k), np.tile(shared, k)]
    entries = [diagonal, columns.ravel(), rows.ravel(), corner.ravel()]
    places = (np.concatenate(row), np.concatenate(column))
    return csc_array((np.concatenate(entries), places), shape=(n + k, n + k))


def _legs(time_s: Array, value: Array, t_stop_s: float) -> list[Leg]:
    """The pieces of a drive up to `t_stop_s`; after its last point it stays as it is."""
    if time_s[-1] < t_stop_s:
        time_s, value = np.append(time_s, t_stop_s), np.append(value, value[-1])
    pieces = zip(time_s[:-1], time_s[1:], value[:-1], np.diff(value) / np.diff(time_s), strict=True)
    return [Leg(a, min(b, t_stop_s), level, slope) for a, b, level, slope in pieces if a < t_stop_s]


def _integrate(
    slopes: Callable[[float, Array, Leg], Array],
    jacobian: Callable[[float, Array, Leg], csc_array],
    start: Array,
    legs: Sequence[Leg],
    rtol: float,
    groups: int,
    event: Callable[[float, Array, Leg], float] = lambda *_: 1.0,
) -> tuple[Array, Array, Array]:
    """Times (n,), the states behind the groups (k, n), and the times at which `event` passes through zero, rising."""
    times, states, events = [np.array([0.0])], [start[groups:, None]], [np.empty(0)]
    y = start

    def crossing(t: float, state: Array, leg: Leg) -> float:
        return event(t, state, leg)

    crossing.direction = 1.0  # type: ignore[attr-defined]  # where scipy looks for it
    options: dict[str, Any] = {"method": "BDF", "jac": jacobian, "rtol": rtol, "atol": 0.1 * rtol, "events": crossing}
    for leg in legs:
        found = solve_ivp(slopes, (leg.start_s, leg.stop_s), y, args=(leg,), **options)
        if not found.success:
            raise SimulationError(f"the reference integration stopped at {found.t[-1]:g} s: {found.message}")
        y = found.y[:, -1]
        times.append(found.t[1:])
        states.append(found.y[groups:, 1:])
        events.extend(found.t_events or [])
    return np.concatenate(times), np.concatenate(states, axis=1), np.concatenate(events)
