"""FeLIF, the ferroelectric leaky integrate-and-fire neuron: its equations, declared and spelled once.

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

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from bruno_spice.devices.models.maths import Number, power
from bruno_spice.devices.models.model import SLOWEST_LN_RATE, Declared, NeuronModel, circuit, circuit_rows
from bruno_spice.devices.physics import EPS_0


class FeLIFModel(NeuronModel):
    """The film of FeLIF: nucleation-limited switching along the field, a linear capacitor with a dead layer."""

    name = "felif"
    label = "FeLIF"
    parameters: ClassVar[Mapping[str, Declared]] = {
        "area": Declared("m^2", "A: of the ferroelectric capacitor", "positive", published=25e-12, param="area"),
        "thickness_hzo": Declared("m", "t_hzo: of the ferroelectric film", "positive", published=10e-9, param="tfe"),
        "thickness_int": Declared(
            "m", "t_int: of the dead layer in series with it", "not negative", published=1.375e-9, fit=(1e-11, 1e-8)
        ),
        "eps_hzo": Declared(
            "1", "relative permittivity of the film", "positive", published=25.2, fit=(3.0, 300.0), near="eps"
        ),
        "eps_int": Declared("1", "relative permittivity of the dead layer", "positive", published=33.0),
        "saturation_polarization": Declared(
            "C/m^2", "Ps: all domains along the field", "positive", published=0.22, fit=(0.01, 2.0), near="ps"
        ),
        "tau_0": Declared("s", "tau0: switching time at an infinite field", "positive", published=1e-13),
        "alpha": Declared("1", "exponent of Merz's law", "positive", published=1.3, fit=(0.3, 30.0)),
        "e_soft": Declared("V/m", "E_soft: keeps the activation finite at zero field", "positive", published=5e-6),
    } | circuit(
        leak_density=1e-4,
        leak_v_scale=0.32,
        leak_discharge=10e-12,
        leak_v_smooth=10e-3,
        c_parallel=15e-15,
        v_threshold=2.5,
        v_reset=-1.5,
        polarization_reset=-1.0,
        t_refractory=1e-3,
        v_floor=-5.0,
        v_compliance=26e-3,
    )
    domain_parameters: ClassVar[Mapping[str, Declared]] = {
        "activation_field": Declared(
            "V/m", "Ea_k of Merz's law", "positive", published=12.7e8, fit=(0.1e8, 100e8), near="ea"
        ),
        "offset_field": Declared("V/m", "Eoff_k: imprint", published=0.0),
        "domain_weight": Declared("1", "w_k: share of the film", "not negative", published=1.0, fit=(1e-4, 0.5)),
    }
    source = "Fehlings et al., arXiv 2505.17791"
    published_leak = "published"
    fitted = (
        "eps_hzo",
        "saturation_polarization",
        "alpha",
        "leak_discharge",
        "leak_density",
        "thickness_int",
        "activation_field",
        "domain_weight",
    )
    own = ("alpha", "e_soft")
    own_domain = "per_activation"

    @staticmethod
    def softened(size: Number, x: Number) -> Number:
        """|E_k| + E_soft in V/nm."""
        return size + x.e_soft

    @staticmethod
    def ln_rate(size: Number, x: Number) -> Number:
        """ln(1/tau_k), tau_k in ms, at the softened field `size`: Merz's law."""
        return x.ln_rate - power(size * x.per_activation, -x.alpha)

    @staticmethod
    def steepness(size: Number, x: Number) -> Number:
        """d ln(1/tau_k)/dE in nm/V."""
        return x.alpha * power(size * x.per_activation, -x.alpha) / size

    @staticmethod
    def steepness_slope(size: Number, x: Number) -> Number:
        """d^2 ln(1/tau_k)/dE^2 in nm^2/V^2."""
        return -(x.alpha + 1.0) * x.alpha * power(size * x.per_activation, -x.alpha) / (size * size)

    @staticmethod
    def chord(size: Number, ahead: Number, x: Number) -> Number:
        """By the bound 1 - (E/E')^alpha >= 1 - E/E'; with it a lower bound is this over alpha."""
        return size / ahead

    @classmethod
    def rows(cls, x: Mapping[str, Any], domains: int, log: Callable[[Any], Any], leak: str) -> dict[str, Any]:
        """DRIVE = 1/C, K_CAP = k_cap, K_POL = k_dep Ps, V_PER_P = A Ps/C, LN_RATE = ln(1/tau0)."""
        dielectric = x["thickness_hzo"] * x["eps_int"] + x["thickness_int"] * x["eps_hzo"]
        c_total = EPS_0 * x["eps_hzo"] * x["area"] / x["thickness_hzo"] + x["c_parallel"]
        ln_rate = log(1e-3 / x["tau_0"])
        largest_exponent = (ln_rate - SLOWEST_LN_RATE) ** (-1.0 / x["alpha"])
        each = range(1, domains + 1)
        return circuit_rows(x, leak) | {
            "drive": 1e-3 / c_total,
            "k_cap": x["eps_int"] / dielectric * 1e-9,
            "k_pol": x["thickness_int"] / (EPS_0 * dielectric) * x["saturation_polarization"] * 1e-9,
            "v_per_p": x["area"] * x["saturation_polarization"] / c_total,
            "ln_rate": ln_rate,
            "alpha": x["alpha"],
            "e_soft": x["e_soft"] * 1e-9,
            "offset": [x[f"offset_field_{k}"] * 1e-9 for k in each],
            "weight": [x[f"domain_weight_{k}"] for k in each],
            "smallest": [x[f"activation_field_{k}"] * 1e-9 * largest_exponent for k in each],
            "per_activation": [1e9 / x[f"activation_field_{k}"] for k in each],
        }
