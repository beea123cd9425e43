"""The JART VCM v1b cell in its testbench, written from the published equations and integrated by scipy: nothing of the
project's netlists or translations.

    dN/dt   = -I_ion/(z e A l),   I_ion = z e c a nu0 A [exp(-W-/kT) - exp(-W+/kT)] F,   c = (Nplug + N)/2
    F       = 1 - (N/Nmax)^10 (SET),  1 - (Nmin/N)^10 (RESET)
    W-+     = dW [sqrt(1-g^2) -+ g pi/2 + g asin g],   g = z e E a/(pi dW)
    E       = V_disc/l (SET),  (V_sch + V_disc + V_plug)/l_cell (RESET)
    C_th dT/dt = I (V_sch + V_disc + V_plug) - (T - T0)/R_th,   R_th = R_th0 (45 nm/r)^2 ("var"), times 0.27 in RESET
    C_j dV_sch/dt = I - I_sch(V_sch),   I (R_disc + R_plug + R_tiox + R0 + R0^2 alpha R_line I^2) = V - V_sch
    C_lim dV_lim/dt = -I - I_lim(V_lim),   V = V_lim - V_drive

with I into the active electrode, which the limiter holds: I_lim = I_prog tanh(V/(100 Ohm I_prog)) above 0 V, else
V/1 Ohm. The capacitances of heat (16 ps), contact and limiter are the netlist's.
Source: Bengel et al., IEEE TCAS-I 67(12), 4618 (2020); JART VCM v1 user guide (2021).
"""

from dataclasses import dataclass
from itertools import pairwise
from math import asin, cosh, exp, pi, sqrt, tanh

import numpy as np
from scipy.integrate import solve_ivp

E, K, H, M_E, EPS_0 = 1.602177e-19, 8.617333e-5, 6.62607e-34, 9.10938e-31, 8.854188e-12
"""C, eV/K, J s, kg, F/m."""
Z = 2.0
RAMP_S = np.array([0, 20, 30, 1030, 1040, 1080, 1090, 1200, 1210, 1220, 1230, 2230, 2240, 2280, 2290, 2400]) * 1e-9
SET_V, READ_V = 1.5, 0.2
READS_S = (1.19e-6, 2.39e-6)
"""After SET, after RESET."""


@dataclass(frozen=True)
class Cell:
    """A cell and what is done to it: currents in A, lengths in m, densities in 1/m^3, voltages in V."""

    i_prog: float
    length: float = 0.4e-9
    radius: float = 45e-9
    heats_by_radius: bool = True
    v_reset: float = 1.5
    n_min: float = 0.008e26
    n_max: float = 20e26
    n_plug: float = 20e26
    l_cell: float = 3e-9
    phi_b: float = 0.18
    phi_n: float = 0.1
    eps_s: float = 17 * EPS_0
    eps_phi: float = 5.5 * EPS_0
    mobility: float = 4e-6
    hop: float = 0.25e-9
    nu_0: float = 2e13
    dw: float = 1.35
    r_th0: float = 15.72e6
    r_tiox: float = 650.0
    r_0: float = 719.2437
    r_line: float = 90471.47
    alpha: float = 3.92e-3
    richardson: float = 6.01e5
    t_0: float = 293.0
    bend: float = np.inf
    """The netlist bends g = bend tanh(g/bend), with 0.98, to stay where the root of 1 - g^2 is one."""
    c_heat: float = 1e-18
    c_contact: float = 3e-16
    c_limiter: float = 0.1e-15

    @property
    def area(self) -> float:
        return pi * self.radius**2

    def contact_a(self, v: float, n: float, t: float) -> float:
        """Through the Schottky contact: thermionic emission forwards, field emission backwards."""
        kt = K * t
        lowering = E * Z * n * max(self.phi_b - self.phi_n - v, 0.0) / (8 * pi**2 * self.eps_phi**3)
        phi = max(self.phi_b - (E**2 * lowering) ** 0.25, 0.0)
        if v >= 0:
            return self.area * self.richardson * t**2 * exp(-phi / kt) * (exp(v / kt) - 1)
        w_00 = H / (4 * pi) * sqrt(Z * n / (M_E * self.eps_s))
        w_0, xi = w_00 / tanh(w_00 / kt), w_00 / (w_00 / kt - tanh(w_00 / kt))
        root = sqrt(pi * w_00 * (-v + phi / cosh(w_00 / kt) ** 2))
        return -self.area * self.richardson * t / K * root * exp(-phi / w_0) * (exp(-v / xi) - 1)

    def chain_a(self, v: float, n: float) -> tuple[float, float, float]:
        """Current through disc, plug and line under `v`, and the two resistances of the disc and the plug."""
        disc = self.length / (Z * E * n * self.mobility * self.area)
        plug = (self.l_cell - self.length) / (Z * E * self.n_plug * self.mobility * self.area)
        linear, cubic = disc + plug + self.r_tiox + self.r_0, self.r_0**2 * self.alpha * self.r_line
        i = v / linear
        for _ in range(8):
            i -= (i * linear + cubic * i**3 - v) / (linear + 3 * cubic * i**2)
        return i, disc, plug

    def ions(self, field: float, n: float, t: float, sets: bool) -> float:
        """dN/dt."""
        g = Z * field * self.hop / (pi * self.dw)
        g = self.bend * tanh(g / self.bend) if np.isfinite(self.bend) else g
        middle = self.dw * (sqrt(1 - g * g) + g * asin(g))
        jumps = exp(-(middle - self.dw * g * pi / 2) / (K * t)) - exp(-(middle + self.dw * g * pi / 2) / (K * t))
        limit = 1 - (n / self.n_max) ** 10 if sets else 1 - (self.n_min / n) ** 10
        return -(self.n_plug + n) / 2 * self.hop * self.nu_0 * jumps * limit / self.length

    def slopes(self, drive_v: float, y: np.ndarray) -> list[float]:
        """Of ln N, T, V_sch and V_lim; not a number where an iterate is beyond what the laws are made for."""
        try:
            return self._slopes(drive_v, y)
        except (ValueError, OverflowError, ZeroDivisionError):
            return [np.nan] * 4

    def _slopes(self, drive_v: float, y: np.ndarray) -> list[float]:
        n, t, v_sch, v_lim = exp(y[0]), y[1], y[2], y[3]
        v = v_lim - drive_v
        sets = v <= 0
        i, disc, plug = self.chain_a(v - v_sch, n)
        hot = v_sch + i * (disc + plug)
        r_th = self.r_th0 * ((45e-9 / self.radius) ** 2 if self.heats_by_radius else 1.0) * (1.0 if sets else 0.27)
        limiter = self.i_prog * tanh(v_lim / (100 * self.i_prog)) if v_lim > 0 else v_lim
        return [
            self.ions(i * disc / self.length if sets else hot / self.l_cell, n, t, sets) / n,
            (i * hot - (t - self.t_0) / r_th) / self.c_heat,
            (i - self.contact_a(v_sch, n, t)) / self.c_contact,
            (-i - limiter) / self.c_limiter,
        ]

    def conductances(self) -> tuple[float, float]:
        """In S, at the two reads."""
        ramp = np.array([0, 0, SET_V, SET_V, 0, 0, -READ_V, -READ_V, 0, 0, -self.v_reset, -self.v_reset])
        ramp = np.concatenate([ramp, [0, 0, -READ_V, -READ_V]])
        y, found = np.array([np.log(self.n_min), self.t_0, 0.0, 0.0]), []
        for start, stop in pairwise(RAMP_S):
            done = solve_ivp(
                lambda time, y: self.slopes(float(np.interp(time, RAMP_S, ramp)), y), (start, stop), y, "BDF",
                rtol=1e-6, atol=[1e-8, 1e-4, 1e-7, 1e-7], dense_output=True,
            )  # fmt: skip
            for read in READS_S:
                if start < read < stop:
                    n, _, v_sch, v_lim = done.sol(read)
                    v = v_lim + READ_V
                    found.append(self.chain_a(v - v_sch, exp(n))[0] / v)
            y = done.y[:, -1]
        return found[0], found[1]
