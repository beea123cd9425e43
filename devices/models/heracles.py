"""HERACLES, a ferroelectric capacitor with two wells and a depletion layer, as a neuron: declared and spelled once.

    dp/dt    = k+ (1 - p) - k- (1 + p)                             p in [-1, 1],  P = Ps p
    k+-      = (kT/h) exp[-max(w_b -+ (E - E_off) d_e, 0) q/kT]
    d(A D + C_w V)/dt = I_in - I_leak                              D = eps0 eps_fe E + P
    V        = t_fe E + D/C_depl + D t_int/(eps0 eps_int)
    C_depl   = eps0 eps_depl [u/t_d + (1 - u)/t_u],  u = (1 + p)/2
    t_d,u    = max(1 pm, |eps0 eps_fe E +- Q_fix|/(q n_depl))
    spike where V crosses v_threshold upwards; then V = v_reset, p = polarization_reset, held for t_refractory

One lumped state, so one domain. With x = E - E_off both directions are

    ln r = ln(k+ + k-) = ln k_0 + min(|x| d_e, w_b) q/kT + ln(1 + e^(-2 |x| d_e q/kT)),  d = 2/(1 + e^(2 |x| d_e q/kT))

k_0 = (kT/h) e^(-w_b q/kT). The film's voltage t_fe E is the state: charge and field are linear in it, and the layers in
series are what `terminal` adds. (Solving V for the field instead has several roots where |eps0 eps_fe E| = Q_fix.)

Two things are simpler here than in the circuit. The charge of the wiring, C_w V, is counted as C_w' t_fe E with C_w'
such that it is exact at the reset and at the threshold. And a spike comes where t_fe E reaches what it has at
v_threshold with the film wholly switched, which a film driven so far is (to 1e-6 from 1.7 V on, for the values below).
No rate exceeds kT/h or one switching in 10 ns. Leakage of the layers and self-heating are left out.

Source: Fehlings et al., *Heracles*, arXiv 2410.07791; IEEE Trans. Electron Devices 72(11), 2025.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from bruno_spice.devices.models.maths import Number, absolute, exp, log1p, maximum, minimum, where
from bruno_spice.devices.models.model import Declared, NeuronModel, circuit, circuit_rows
from bruno_spice.devices.physics import EPS_0, K_B, PLANCK, Q_E

THINNEST_M = 1e-12
"""Of the depletion layer."""
NEWTON_STEPS = 4
"""From a well to a polarization within a hundredth of it; two are enough."""
MOST_LN_RATE = 11.5
"""Of k+ in 1/ms: a film that switches within 10 ns counts as switching so fast."""
MOST_SWITCHED = 1.0 - 1e-6
MOST_E_FOLDS = 40.0
"""Of what flows against the field: less is nothing."""


class HeraclesModel(NeuronModel):
    """The film of HERACLES: thermally activated switching both ways, layers in series with it."""

    name = "heracles"
    label = "HERACLES"
    netlist = "testbenches/neuron_heracles.cir"
    parameters: ClassVar[Mapping[str, Declared]] = {
        "area": Declared("m^2", "A: of the ferroelectric capacitor", "positive", published=25e-12, param="area"),
        "thickness_fe": Declared("m", "t_fe: of the ferroelectric film", "positive", published=9.8e-9, param="tfe"),
        "eps_fe": Declared(
            "1", "relative permittivity of the film", "positive", published=70.0, fit=(5.0, 500.0), near="eps"
        ),
        "saturation_polarization": Declared(
            "C/m^2", "Ps: all of the film along the field", "positive", published=0.27, fit=(0.01, 2.0), near="ps"
        ),
        "barrier": Declared("eV", "w_b: between the two wells", "positive", published=1.05, fit=(0.3, 3.0), near="wb"),
        "switching_distance": Declared(
            "m",
            "d_e: over which the field lowers the barrier",
            "positive",
            published=7.5e-9,
            fit=(1e-10, 1e-7),
            near="de",
        ),
        "offset_field": Declared("V/m", "E_off: imprint", published=2e7),
        "temperature": Declared("K", "T: of the film", "positive", published=294.0),
        "depletion_density": Declared(
            "1/m^3", "n_depl: charge density of the depletion layer", "positive", published=1.4e28, fit=(1e27, 1e30)
        ),
        "eps_depletion": Declared("1", "relative permittivity of the depletion layer", "positive", published=3.6),
        "fixed_charge": Declared(
            "C/m^2", "Q_fix: at the depletion layer, of the sign of the polarization", published=0.0945, fit=(1e-3, 1.0)
        ),
        "thickness_int": Declared("m", "t_int: of a dead layer in series, 0 for none", "not negative", published=0.0),
        "eps_int": Declared("1", "relative permittivity of the dead layer", "positive", published=90.0),
    } | circuit(
        leak_density=0.0,
        leak_v_scale=0.32,
        leak_discharge=10e-12,
        leak_v_smooth=26e-3,
        c_parallel=15e-15,
        v_threshold=3.5,
        v_reset=0.0,
        polarization_reset=-1.0,
        t_refractory=306e-6,
        v_floor=0.0,
        v_compliance=26e-3,
    )
    domain_parameters: ClassVar[Mapping[str, Declared]] = {}
    source = "Fehlings et al., arXiv 2410.07791"
    fitted = (
        "eps_fe",
        "saturation_polarization",
        "barrier",
        "switching_distance",
        "fixed_charge",
        "depletion_density",
        "leak_discharge",
    )
    own = ("barrier", "per_film_v", "p_sat", "q_fix", "per_depletion", "thinnest", "per_int")
    own_domain = "per_field"
    TERMINAL = True

    @staticmethod
    def ln_rate(size: Number, x: Number) -> Number:
        """ln(k+ + k-), k in 1/ms, at |E - E_off| = `size`."""
        forward = minimum(x.ln_rate + minimum(size * x.per_field, x.barrier), MOST_LN_RATE)
        return forward + log1p(exp(-2.0 * minimum(size * x.per_field, MOST_E_FOLDS)))

    @staticmethod
    def steepness(size: Number, x: Number) -> Number:
        """d ln(k+ + k-)/dE in nm/V: d_e q/kT, less what flows back; a thousandth of it above the barrier."""
        rises = x.ln_rate + size * x.per_field < minimum(x.ln_rate + x.barrier, MOST_LN_RATE)
        rising = where(rises, x.per_field, 1e-3 * x.per_field)
        return rising - x.per_field * 2.0 / (1.0 + exp(2.0 * minimum(size * x.per_field, MOST_E_FOLDS)))

    @staticmethod
    def steepness_slope(size: Number, x: Number) -> Number:
        """d^2 ln(k+ + k-)/dE^2 in nm^2/V^2."""
        back = 1.0 / (1.0 + exp(2.0 * minimum(size * x.per_field, MOST_E_FOLDS)))
        return 4.0 * x.per_field * x.per_field * back * (1.0 - back)

    @staticmethod
    def back(size: Number, x: Number) -> Number:
        """2 k-/(k+ + k-)."""
        return 2.0 / (1.0 + exp(2.0 * minimum(size * x.per_field, MOST_E_FOLDS)))

    @staticmethod
    def back_slope(size: Number, x: Number) -> Number:
        """d back/dE in nm/V."""
        back = 1.0 / (1.0 + exp(2.0 * minimum(size * x.per_field, MOST_E_FOLDS)))
        return -4.0 * x.per_field * back * (1.0 - back)

    @staticmethod
    def terminal(v: Number, polarization: Number, x: Number) -> Number:
        """V: the film's t_fe E, the depletion layer and the dead layer in series."""
        charge = x.per_film_v * v
        down = 0.5 * (1.0 + polarization)
        elastance = down / maximum(absolute(charge + x.q_fix), x.thinnest)
        elastance = elastance + (1.0 - down) / maximum(absolute(charge - x.q_fix), x.thinnest)
        return v + (charge + x.p_sat * polarization) * (x.per_depletion / elastance + x.per_int)

    @staticmethod
    def terminal_slope(v: Number, polarization: Number, x: Number) -> Number:
        """dV/d(t_fe E) at constant polarization; at least 0.1, where two roots would meet."""
        charge = x.per_film_v * v
        down = 0.5 * (1.0 + polarization)
        towards, away = charge + x.q_fix, charge - x.q_fix
        near, far = maximum(absolute(towards), x.thinnest), maximum(absolute(away), x.thinnest)
        elastance = down / near + (1.0 - down) / far
        by_near = where(absolute(towards) > x.thinnest, where(towards >= 0.0, 1.0, -1.0), 0.0)
        by_far = where(absolute(away) > x.thinnest, where(away >= 0.0, 1.0, -1.0), 0.0)
        bent = down * by_near / (near * near) + (1.0 - down) * by_far / (far * far)
        whole = charge + x.p_sat * polarization
        slope = x.per_depletion / elastance + x.per_int + whole * x.per_depletion * bent / (elastance * elastance)
        return maximum(1.0 + x.per_film_v * slope, 0.1)

    @staticmethod
    def terminal_by_p(v: Number, polarization: Number, x: Number) -> Number:
        """dV/dp at constant t_fe E, over `terminal_slope`; none in the well p = 1, where it jumps and p stays."""
        charge = x.per_film_v * v
        down = 0.5 * (1.0 + polarization)
        towards, away = charge + x.q_fix, charge - x.q_fix
        near, far = maximum(absolute(towards), x.thinnest), maximum(absolute(away), x.thinnest)
        elastance = down / near + (1.0 - down) / far
        by_near = where(absolute(towards) > x.thinnest, where(towards >= 0.0, 1.0, -1.0), 0.0)
        by_far = where(absolute(away) > x.thinnest, where(away >= 0.0, 1.0, -1.0), 0.0)
        bent = down * by_near / (near * near) + (1.0 - down) * by_far / (far * far)
        whole = charge + x.p_sat * polarization
        slope = x.per_depletion / elastance + x.per_int + whole * x.per_depletion * bent / (elastance * elastance)
        by_p = x.p_sat * (x.per_depletion / elastance + x.per_int)
        by_p = by_p - whole * x.per_depletion * 0.5 * (1.0 / near - 1.0 / far) / (elastance * elastance)
        return where(polarization < MOST_SWITCHED, by_p / maximum(1.0 + x.per_film_v * slope, 0.1), 0.0)

    @classmethod
    def rows(cls, x: Mapping[str, Any], domains: int, log: Callable[[Any], Any], leak: str) -> dict[str, Any]:
        """DRIVE = 1/C, K_CAP = 1/t_fe, K_POL = 0, V_PER_P = A Ps/C, LN_RATE = ln k_0; C = A C_fe + C_w'."""
        thermal_v = K_B / Q_E * x["temperature"]
        film = EPS_0 * x["eps_fe"] / x["thickness_fe"]
        rows = circuit_rows(x, leak) | {
            "per_film_v": film,
            "p_sat": x["saturation_polarization"],
            "q_fix": x["fixed_charge"],
            "per_depletion": 1.0 / (EPS_0 * x["eps_depletion"] * Q_E * x["depletion_density"]),
            "thinnest": THINNEST_M * Q_E * x["depletion_density"],
            "per_int": x["thickness_int"] / (EPS_0 * x["eps_int"]),
        }
        switched = cls._in_film(x["v_threshold"], 1.0, rows, 1.0)
        cleared = cls._in_film(x["v_reset"], x["polarization_reset"], rows, -1.0)
        swing = (x["v_threshold"] - x["v_reset"]) / (switched - cleared)
        c_total = x["area"] * film + x["c_parallel"] * swing
        zero = 0.0 * film
        return rows | {
            "drive": 1e-3 / c_total,
            "k_cap": 1e-9 / x["thickness_fe"],
            "k_pol": zero,
            "v_per_p": x["area"] * x["saturation_polarization"] / c_total,
            "v_threshold": switched,
            "v_reset": cleared,
            "ln_rate": log(1e-3 * K_B / PLANCK * x["temperature"]) - x["barrier"] / thermal_v,
            "barrier": x["barrier"] / thermal_v,
            "offset": [x["offset_field"] * 1e-9],
            "weight": [1.0 + zero],
            "smallest": [1e-9 + zero],
            "per_field": [1e9 * x["switching_distance"] / thermal_v],
        }

    @staticmethod
    def _in_film(v: Any, polarization: Any, x: Mapping[str, Any], switched: float) -> Any:
        """t_fe E where the membrane is at `v`, in the well `switched` = +-1 or near it.

        In the well itself V is quadratic in t_fe E; Newton's method goes from there to `polarization`.
        """
        film, q_fix, per_depletion = x["per_film_v"], x["q_fix"], x["per_depletion"]
        linear = 1.0 + film * (per_depletion * (q_fix + x["p_sat"]) + x["per_int"])
        missing = v - switched * x["p_sat"] * (per_depletion * q_fix + x["per_int"])
        quadratic = switched * per_depletion * film**2
        here = 2.0 * missing / (linear + (linear**2 + 4.0 * quadratic * missing) ** 0.5)
        down = 0.5 * (1.0 + polarization)
        for _ in range(NEWTON_STEPS):
            towards, away = film * here + q_fix, film * here - q_fix
            near, far = (towards**2) ** 0.5, (away**2) ** 0.5
            elastance = down / near + (1.0 - down) / far
            bent = down / (near * towards) + (1.0 - down) / (far * away)
            charge = film * here + x["p_sat"] * polarization
            series = per_depletion / elastance + x["per_int"]
            slope = 1.0 + film * (series + charge * per_depletion * bent / elastance**2)
            here = here - (here + charge * series - v) / slope
        return here
