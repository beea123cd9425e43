"""Neuron cards as Verilog-A modules: the equations of `calibration.cards.export` for simulators that compile them.

Pins of every neuron circuit: inj vm spk pl pn vdd. OpenVAF has neither events nor memory but nodes, so the spike is a
state of two nodes within, both 0...1:

    q      tau_q dq/dt = s[(c + q - 1/2 - 4 done)/0.05] - q         set where c, the comparator, passes its fold
    vr     dvr/dt = on (1 - vr)/tau_q - (1 - on) FALL/t_refractory  up at the spike, then falls: the dead time
    pull   smooth step of vr from `LOW` to `HIGH`                   equations cut off, V and p pulled to their reset

with c = s[(V - v_threshold)/`COMPARE_V` + ln(c*/(1 - c*))], s the logistic function, and c* the value of c at which the
lower of the two solutions for q ends (q = c* follows from s' = 1/20): so q is set at V = v_threshold. `done` is vr near
1, which lets q go. A node w loads nothing: the error control of its charge lets a simulator's steps shrink with the
distance to the threshold, for a step from afar to beyond it, taken back, could leave q set.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from bruno_spice.devices.cards.base import Card, FeLIFCard, HeraclesCard, NeuronCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.models.heracles import MOST_LN_RATE, THINNEST_M
from bruno_spice.devices.physics import EPS_0, K_B, PLANCK, Q_E

COMPARE_V = 0.2e-3
GAIN = 0.05
_SET = 0.5 * (1 - math.sqrt(1 - 4 * GAIN))
FOLD = 0.5 + GAIN * math.log(_SET / (1 - _SET)) - _SET
"""c*, where the lower solution for q ends."""
TAU_Q_S = 0.1e-6
LOW, HIGH = 0.1, 0.11
"""Of vr, between which the reset lets go."""
FALL, ONSET_S = 0.85332, 0.31e-6
"""How far vr falls within a dead time, and how long it takes to rise: of the equations above, from 20 us to 1 ms."""
PULL_S = 500e-9
STATE_SHIFT = 1.01
"""States are p less this, so that a relative tolerance follows what is left to switch."""
MAX_EXPONENT = 300.0


def felif_module(card: NeuronCard, name: str, source: str) -> str:
    """The FeLIF of `card` as a module called `name`, any number of domains."""
    film = _FELIF_FILM.format(eps0=f"{EPS_0:.12g}")
    domains = [_DOMAIN.format(k=k, most=f"{MAX_EXPONENT:g}", shift=STATE_SHIFT) for k in range(1, card.domains + 1)]
    says = f"FeLIF, K = {card.domains}: the compact neuron model of arXiv 2505.17791, with a compliance floor"
    of_domain = [f"s{k}" for k in range(1, card.domains + 1)]
    sums = " + ".join(f"domain_weight_{k}*(V(s{k}) + {STATE_SHIFT})" for k in range(1, card.domains + 1))
    variables = ["k_cap", "k_pol", *(f"{v}{k}" for k in range(1, card.domains + 1) for v in ("e", "d"))]
    body = [film.replace("SUM", sums), *domains]
    return _module(card, name, source, says, of_domain, variables, body, "vm", "v_reset", "0.0")


def heracles_module(card: NeuronCard, name: str, source: str) -> str:
    """The HERACLES of `card` as a module called `name`."""
    x = NeuronParameters.from_card(card)
    cleared = x.in_film(card["v_reset"], card["polarization_reset"])
    at_rest = x.in_film(0.0, card["polarization_reset"])
    film = _HERACLES_FILM.format(
        eps0=f"{EPS_0:.12g}", q=f"{Q_E:.12g}", kt=f"{K_B / Q_E:.12g}", k0=f"{1e-3 * K_B / PLANCK:.12g}",
        most=f"{MOST_LN_RATE:g}", thinnest=f"{THINNEST_M:g}", c_total=f"{x.c_total:.12g}", shift=STATE_SHIFT,
    )  # fmt: skip
    says = (
        "HERACLES: the compact neuron of arXiv 2410.07791; vm is a monitor, what loads it does not load the film;\n"
        "// the film's capacitance and its voltages after a reset and at rest are numbers of this card"
    )
    variables = ["c_fe", "efolds", "most_e", "ln_k0", "k_depl", "thin", "x", "e", "d1"]
    return _module(
        card, name, source, says, ["s1", "film"], variables, [film], "film", f"{cleared:.12g}", f"{at_rest:.12g}"
    )


def _module(
    card: NeuronCard, name: str, source: str, says: str, nodes: list[str], variables: list[str], body: list[str],
    node: str, cleared: str, at_rest: str,
) -> str:  # fmt: skip
    """The circuit around the film: input, leak, spike and reset, at the film's own `node`."""
    return _NEURON.format(
        name=name,
        says=says,
        source=source or "a card",
        nodes=", ".join(nodes),
        parameters=_parameters(card),
        variables=", ".join(variables),
        film="\n".join(body),
        node=node,
        cleared=cleared,
        at_rest=at_rest,
        start="\n".join(_START.format(k=k, shift=STATE_SHIFT) for k in range(1, card.domains + 1)),
        leak_size="V(vm)" if card.leak == "published" else "abs(V(vm))",
        offset=f"{math.log(FOLD / (1 - FOLD)):.12g}", compare=f"{COMPARE_V:g}", gain=f"{GAIN:g}",
        tau=f"{TAU_Q_S:g}", pull=f"{PULL_S:g}", low=f"{LOW:g}", span=f"{HIGH - LOW:g}", onset=f"{ONSET_S:g}",
        fall=f"{FALL:g}",
    )  # fmt: skip


def rram_module(card: Card, name: str, source: str) -> str:
    """The filament of `card` as a resistor with the parameters iprog, length and radius; what it lacks is 0."""
    lacks = [term for term in RRAM_TERMS if term not in card.parameters]
    return _RRAM.format(
        name=name,
        source=source or "a card",
        parameters="\n".join([_parameters(card, RRAM_TERMS), *(f"  parameter real {term} = 0.0;" for term in lacks)]),
        length=f"{card['length_mean']:.12g}",
        radius=f"{card['radius_mean']:.12g}",
    )


def _parameters(card: Card, names: Sequence[str] | None = None) -> str:
    """A declaration a line, with meaning and unit."""
    declared = {**card.NEURON.parameters, **card.NEURON.domain_parameters} if isinstance(card, NeuronCard) else {}
    lines = []
    for name, p in card.parameters.items():
        if names is None or name in names:
            stem, _, index = name.rpartition("_")
            found = declared.get(name) or declared.get(stem if index.isdigit() else name)
            says = re.sub(r'["\\\s]+', " ", found.meaning if found else p.source)
            lines.append(f'  (* desc="{says}", units="{p.unit}" *) parameter real {name} = {p.value:.12g};')
    return "\n".join(lines)


RRAM_TERMS = ("r_series", "r_area", "c_0", "c_1", "c_2", "c_length", "c_length_cross", "c_radius", "c_cross", "g_hrs")
MODULES: dict[str, Callable[[Any, str, str], str]] = {
    FeLIFCard.MODEL: felif_module,
    HeraclesCard.MODEL: heracles_module,
    RRAMCard.MODEL: rram_module,
}
"""What writes the cards of a model."""

_START = "    if ($abstime == 0.0) I(s{k}) <+ 1e3*(V(s{k}) + {shift} - polarization_reset);"

_DOMAIN = """\
    // domain {k}: field e{k} in MV/cm, d{k} = dp/dt in 1/s, state s{k} = p - {shift} on 1 uF
    e{k} = k_cap*V(vm) - k_pol*p - offset_field_{k}*1e-8;
    d{k} = run/tau_0*((e{k} > 0.0 ? 1.0 : (e{k} < 0.0 ? -1.0 : 0.0)) - V(s{k}) - {shift})
         *exp(-pow(activation_field_{k}*1e-8/max(abs(e{k}) + e_soft*1e-8,
                                                activation_field_{k}*1e-8/pow({most}, 1.0/alpha)), alpha));
    I(s{k}) <+ ddt(1e-6*V(s{k})) - 1e-6*d{k} + 1e-6/pull_time*pull*(V(s{k}) + {shift} - polarization_reset);
    I(vm) <+ area*saturation_polarization*domain_weight_{k}*d{k};"""

_FELIF_FILM = """\
    k_cap = 1e-8*eps_int/(thickness_hzo*eps_int + thickness_int*eps_hzo);
    k_pol = 1e-8*thickness_int/({eps0}*(thickness_hzo*eps_int + thickness_int*eps_hzo))*saturation_polarization;
    c_total = {eps0}*eps_hzo*area/thickness_hzo + c_parallel;
    p = SUM;"""

_HERACLES_FILM = """\
    c_fe = {eps0}*eps_fe/thickness_fe;
    c_total = {c_total};
    efolds = switching_distance/({kt}*temperature);
    most_e = barrier/({kt}*temperature);
    ln_k0 = ln({k0}*temperature) - most_e;
    k_depl = {eps0}*eps_depletion*{q}*depletion_density;
    thin = {thinnest}*{q}*depletion_density;
    // V(film) = thickness_fe E; x = charge density of its linear part; layers in series make V(vm)
    p = V(s1) + {shift};
    x = c_fe*V(film);
    V(vm) <+ V(film) + (x + saturation_polarization*p)*(thickness_int/({eps0}*eps_int)
          + 1.0/(k_depl*(0.5*(1.0 + p)/max(abs(x + fixed_charge), thin)
                       + 0.5*(1.0 - p)/max(abs(x - fixed_charge), thin))));
    // state s1 = p - {shift} on 1 uF, its rate d1 = dp/dt in 1/s, driving field e in e-folds of the rate
    e = efolds*(V(film)/thickness_fe - offset_field);
    d1 = 1e3*run*(exp(min(ln_k0 + min(e, most_e), {most}))*(1.0 - p)
                - exp(min(ln_k0 + min(-e, most_e), {most}))*(1.0 + p));
    I(s1) <+ ddt(1e-6*V(s1)) - 1e-6*d1 + 1e-6/pull_time*pull*(p - polarization_reset);
    I(film) <+ area*saturation_polarization*d1;"""

_NEURON = """\
// {says}
//
// Written by `bruno card export --format verilog-a` from {source}; bruno-spice's docs/explanation has the equations
//   inj   signed input current: pulled out of the pin excites, pushed into it inhibits
//   vm    membrane            spk   spike output, 0...vdd         pl    plate, at rest (the reset writes p itself)
//   pn    monitor: normalised polarization, -1...1 (V)            vdd   supply
// Parameters are those of the card, in SI units. Use reltol <= 1e-5; time starts with p at reset and V at 0.
`include "disciplines.vams"

module {name}(inj, vm, spk, pl, pn, vdd);
  inout inj, vm, spk, pl, pn, vdd;
  electrical inj, vm, spk, pl, pn, vdd, q, vr, w, {nodes};
  branch (vdd, inj) drop;
{parameters}
  parameter real pull_time = {pull} from (0:inf);  // of the reset, in s
  real i_in, headroom, c_total, p, compared, done, set, on, share, pull, run, near, {variables};

  analog begin
    // vr lets go of the membrane between {low} and {low} + {span}
    share = min(max((V(vr) - {low})/{span}, 0.0), 1.0);
    pull = share*share*(3.0 - 2.0*share);
    run = $abstime == 0.0 ? 0.0 : 1.0 - pull;  // time starts from the reset
{film}
    V(pn) <+ p;
    // input: inj sits 0.3 V below the supply
    V(drop) <+ 0.3;
    i_in = I(drop);
    headroom = (V(vm) - v_floor)/v_compliance;
    I({node}) <+ -run*(max(i_in, 0.0) + min(i_in, 0.0)*(1.0 - exp(-max(headroom, 0.0)) + min(headroom, 0.0)));
    I({node}) <+ run*(leak_density*area*(V(vm) < 0.0 ? -1.0 : 1.0)*(exp(min({leak_size}/leak_v_scale, 60.0)) - 1.0)
       + leak_discharge*tanh(V(vm)/leak_v_smooth));
    I({node}) <+ ddt(c_total*V({node})) + V({node})/1e15 + c_total/pull_time*pull*(V({node}) - ({cleared}));
    // q is set at v_threshold, and let go once vr is up
    compared = 1.0/(1.0 + exp(-min(max((V(vm) - v_threshold)/{compare} + ({offset}), -60.0), 60.0)));
    done = 4.0/(1.0 + exp(-min(max((V(vr) - 0.95)/2e-3, -60.0), 60.0)));
    set = min(max((compared + V(q) - 0.5 - done)/{gain}, -60.0), 60.0);
    I(q) <+ ddt({tau}*V(q)) + V(q) - 1.0/(1.0 + exp(-set));
    on = 1.0/(1.0 + exp(-min(max((V(q) - 0.8)/5e-3, -60.0), 60.0)));
    I(vr) <+ ddt({tau}*V(vr)) - on*(1.0 - V(vr))
       + (1.0 - on)*{tau}*{fall}/(t_refractory - {onset})*tanh(V(vr)/1e-3);
    near = v_threshold - V(vm);
    I(w) <+ V(w) - 2e-3/(near + sqrt(near*near + 16e-6)) + ddt(1e-11*V(w));
    V(spk) <+ V(vdd)*V(q);
    I(pl) <+ V(pl)/1e3;
{start}
    if ($abstime == 0.0) I({node}) <+ 1e3*(V({node}) - ({at_rest}));
  end
endmodule
"""

_RRAM = """\
// RRAM filament after a SET, a resistor between p and n that is read at low voltage
//
//   G = max[g_hrs, 1/(r_series + r_area/b^2 + r_disc)]
//   ln r_disc = c_0 + c_1 u + c_2 u^2 + (c_length + c_length_cross u) ln a + (c_radius + c_cross u) ln b
//   u = ln(iprog/100 uA), a = length/0.4 nm, b = radius/45 nm
//
// Written by `bruno card export --format verilog-a` from {source}
`include "disciplines.vams"

module {name}(p, n);
  inout p, n;
  electrical p, n;
  (* desc="programming current", units="A" *) parameter real iprog = 1e-4 from (0:inf);
  (* desc="filament length", units="m" *) parameter real length = {length} from (0:inf);
  (* desc="filament radius", units="m" *) parameter real radius = {radius} from (0:inf);
{parameters}
  real u, ln_a, ln_b, disc;

  analog begin
    u = ln(iprog/1e-4);
    ln_a = ln(length/0.4e-9);
    ln_b = ln(radius/45e-9);
    disc = exp(c_0 + c_1*u + c_2*u*u + (c_length + c_length_cross*u)*ln_a + (c_radius + c_cross*u)*ln_b);
    I(p, n) <+ V(p, n)*max(g_hrs, 1.0/(r_series + r_area*exp(-2.0*ln_b) + disc));
  end
endmodule
"""
