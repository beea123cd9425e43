"""Cards as ngspice files: the compact model's own equations as a subcircuit, to run beside the circuit it came from.

FeLIF (equations: `devices.models.felif`) has the pins of a neuron circuit, inj vm spk pl pn vdd. Each domain is
a state p_k on a capacitor of 1 uF; node d_k carries dp_k/dt (in 1/ms) and drives both that capacitor and the
membrane's switching current, so charge is conserved. A spike: a switch closes when v(vm) crosses v_threshold; while it
is closed the equations are cut off and V and every p_k are pulled to their reset values within some `PULL_S`. A
capacitor charged at constant current counts t_refractory and opens it. Switches, because ngspice shortens its steps
before one moves; a latch made of smooth B-sources has two solutions in one long step, and ngspice may take the wrong
one.

The RRAM filament (equations: `devices.rram.filament`) is a resistor whose value follows from its programming current,
length and radius.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from bruno_spice.calibration.cards.export_va import MODULES
from bruno_spice.devices.cards.base import Card, FeLIFCard, HeraclesCard, NeuronCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.models.heracles import MOST_LN_RATE, THINNEST_M
from bruno_spice.devices.physics import EPS_0, K_B, PLANCK, Q_E

PULL_S = 500e-9
"""Time constant of the reset: slow enough that ngspice can step into it at the membrane's slowest crossing."""
ONSET_S = 1e-6
"""The reset sets in so much later than the spike, or the switch that v(vm) closes would at once be opened by it."""
SHORTEST_DEAD_TIME_S = 20e-6
STATE_SHIFT = 1.01
"""States are p_k less this, so that ngspice's relative tolerance follows what is left to switch."""
MAX_EXPONENT = 300.0
"""A switching rate below e^-300 / tau_0 counts as that."""
PARAMETERS_PER_LINE = 4


Format = Literal["spice", "verilog-a"]


def export_card(
    card: Card, folder: Path, name: str | None = None, source: str = "", form: Format = "spice"
) -> list[Path]:
    """Write ``NAME.lib`` (subcircuit) and ``NAME.param`` (the numbers, with units and errors) into `folder`.

    As ``verilog-a`` it is ``NAME.va`` alone, a module. `name` is that of the subcircuit or module too; by default the
    card's model. Raises `InputError` for a name that is no SPICE name or a dead time too short to reset in.
    """
    name = (name or card.model).lower()
    if not re.fullmatch(r"[a-z]\w*", name):
        raise InputError(f"'{name}' cannot name a subcircuit; use letters, digits and _, beginning with a letter")
    if card.model not in _WRITERS:
        raise InputError(f"a {card.model} card has tables and no equations that a netlist could hold")
    if isinstance(card, NeuronCard):
        _refuse_short_dead_time(card)
    if form == "verilog-a":
        return [write_atomic(folder / f"{name}.va", MODULES[card.model](card, name, source))]
    library = _WRITERS[card.model](card, name, source)
    return [
        write_atomic(folder / f"{name}.lib", library),
        write_atomic(folder / f"{name}.param", param_text(card, name, source)),
    ]


def param_text(card: Card, name: str, source: str) -> str:
    """Deck-level ``.param`` lines of `card`, one a parameter, with unit and standard error."""
    lines = [
        f"* Parameters of {name}.lib, from the {card.model} card {source}",
        f"* The defaults of {name}.lib are the same; .include this file where a deck wants them as its own parameters.",
    ]
    for parameter, p in card.parameters.items():
        error = f", +- {p.stderr:.3g}" if p.stderr is not None else ""
        lines.append(f".param {parameter}={p.value:.12g} ; [{p.unit}] {p.source}{error}")
    return "\n".join(lines) + "\n"


def felif_library(card: Card, name: str, source: str) -> str:
    """The FeLIF subcircuit of `card` as an ngspice library, any number of domains."""
    flow = "\n".join(
        _DOMAIN.format(k=k, max_exponent=f"{MAX_EXPONENT:g}", pull=f"{PULL_S:g}", shift=STATE_SHIFT)
        for k in range(1, card.domains + 1)
    )
    film = _FELIF_FILM.format(eps0=f"{EPS_0:.12g}")
    return _neuron_library(card, name, source, _FELIF_SAYS, film, flow, "vm", "{v_reset}", "V(vm)")


def heracles_library(card: Card, name: str, source: str) -> str:
    """The HERACLES subcircuit of `card` as an ngspice library."""
    assert isinstance(card, NeuronCard)
    x = NeuronParameters.from_card(card)
    film = _HERACLES_FILM.format(
        eps0=f"{EPS_0:.12g}", q=f"{Q_E:.12g}", kt=f"{K_B / Q_E:.12g}", k0=f"{1e-3 * K_B / PLANCK:.12g}",
        most=f"{MOST_LN_RATE:g}", thinnest=f"{THINNEST_M:g}", c_total=f"{x.c_total:.12g}",
        cleared=f"{x.in_film(card['v_reset'], card['polarization_reset']):.12g}",
        at_rest=f"{x.in_film(0.0, card['polarization_reset']):.12g}", pull=f"{PULL_S:g}", shift=STATE_SHIFT,
    )  # fmt: skip
    return _neuron_library(card, name, source, _HERACLES_SAYS, film, "", "film", "{cleared}", "V(film)-({at_rest})")


def _refuse_short_dead_time(card: NeuronCard) -> None:
    if card["t_refractory"] < SHORTEST_DEAD_TIME_S:
        raise InputError(
            f"the dead time t_refractory, {card['t_refractory']:g} s, is too short for a circuit to reset in; "
            f"set at least {SHORTEST_DEAD_TIME_S:g} s in the card"
        )


def _neuron_library(
    card: Card, name: str, source: str, says: str, film: str, domains: str, node: str, cleared: str, start: str
) -> str:
    """The circuit around the film: input, leak, spike and reset, at the film's own `node`, which a spike leaves at
    `cleared`; the film starts where `start` says how far it is from there."""
    published = isinstance(card, NeuronCard) and card.leak == "published"
    leak_said = "V" if published else "|V|"
    return _NEURON.format(
        name=name,
        says=says.format(domains=card.domains, leak_said=leak_said, source=source or "a card"),
        parameters=_defaults(card, list(card.parameters)),
        film=film,
        node=node,
        cleared=cleared,
        start=start,
        pull=f"{PULL_S:g}",
        onset=f"{ONSET_S / 1e3:g}",
        clear=f"{5 * PULL_S:g}",
        domain_lines=domains,
        leak_size="V(vm)" if published else "abs(V(vm))",
    )


def rram_library(card: Card, name: str, source: str) -> str:
    """The filament of `card` as a resistor subcircuit with the parameters iprog, length and radius."""
    names = ["r_series", "r_area", "c_0", "c_1", "c_2", "c_length", "c_length_cross", "c_radius", "c_cross", "g_hrs"]
    return _RRAM.format(
        name=name,
        source=source or "a card",
        parameters=_defaults(card, names),
        length=f"{card['length_mean']:.12g}",
        radius=f"{card['radius_mean']:.12g}",
    )


def _defaults(card: Card, names: list[str]) -> str:
    """``+ name=value ...`` continuation lines; a term that the card lacks counts as 0."""
    values = {name: card[name] if name in card.parameters else 0.0 for name in names}
    pairs = [f"{name}={value:.12g}" for name, value in values.items()]
    rows = [pairs[i : i + PARAMETERS_PER_LINE] for i in range(0, len(pairs), PARAMETERS_PER_LINE)]
    return "\n".join("+ " + " ".join(row) for row in rows)


_WRITERS: dict[str, Callable[[Card, str, str], str]] = {
    FeLIFCard.MODEL: felif_library,
    HeraclesCard.MODEL: heracles_library,
    RRAMCard.MODEL: rram_library,
}

_DOMAIN = """\
* domain {k}: field e{k} in MV/cm, rate node d{k} = dp/dt in 1/ms, state s{k} = p_{k} - {shift} on 1 uF
.param ea{k} = {{activation_field_{k}*1e-8}}
.param low{k} = {{activation_field_{k}*1e-8/{max_exponent}**(1/alpha)}}
Be{k} e{k} 0 V = ({{kcap}})*V(vm) - ({{kpol}})*V(pn) - ({{offset_field_{k}*1e-8}})
Bd{k} d{k} 0 V = V(run)*({{1m/tau_0}})*(sgn(V(e{k}))-V(s{k})-{shift})
+ *exp(-(({{ea{k}}})/max(abs(V(e{k}))+({{e_soft*1e-8}}),({{low{k}}})))**({{alpha}}))
Gs{k} 0 s{k} d{k} 0 1m
Cs{k} s{k} 0 1u
Bf{k} 0 s{k} I = V(pull)*(({{polarization_reset}})-V(s{k})-{shift})*({{1u/{pull}}})
Gp{k} vm 0 d{k} 0 {{1e3*area*saturation_polarization*domain_weight_{k}}}
Bn{k} 0 pn I = ({{domain_weight_{k}}})*(V(s{k})+{shift})"""

_NEURON = """\
{says}
*
* .subckt {name} inj vm spk pl pn vdd       (the pins of every neuron circuit of this project)
*   inj   signed input current: pulled out of the pin excites, pushed into it inhibits
*   vm    membrane            spk   spike output, 0...vdd         pl    plate, at rest (the reset writes p itself)
*   pn    monitor: normalised polarization, -1...1 (V)            vdd   supply
* Parameters are those of the card, in SI units. Use reltol <= 1e-5 and chgtol <= 1e-16; time starts with p at reset.
.subckt {name} inj vm spk pl pn vdd
{parameters}
{film}
* input: inj sits 0.3 V below the supply
Vdrop vdd injs 0.3
Vsense injs inj 0
* membrane; run = 1 while it integrates, 0 while it is held
Cm {node} 0 {{ctot}}
Rm {node} 0 1e15
Bin 0 {node} I = V(run)*(max(I(Vsense),0) + min(I(Vsense),0)
+ *(1 - exp(-max((V(vm)-({{v_floor}}))/({{v_compliance}}),0)) + min((V(vm)-({{v_floor}}))/({{v_compliance}}),0)))
Bleak {node} 0 I = V(run)*(({{leak_density*area}})*sgn(V(vm))*(exp(min({leak_size}/({{leak_v_scale}}),60))-1)
+ + ({{leak_discharge}})*tanh(V(vm)/({{leak_v_smooth}})))
Bhold {node} 0 I = V(h)*V(pull)*(V({node})-({cleared}))*({{ctot/{pull}}})
Bstart {node} 0 I = V(st)*({start})*({{ctot/{pull}}})
Rpn pn 0 1
{domain_lines}
* time starts with every p_k at reset, whatever the operating point would be
Vst st 0 PWL(0 1 50n 1 150n 0)
Brun run 0 V = 1 - V(pull)
* The event: a switch that closes when v(vm) passes v_threshold and stays closed (hysteresis); ngspice shortens its
* steps before a switch closes, which is all that the switches at 200, 50 and 10 mV below do. h = 1 meanwhile, and pull
* a microsecond later: in the step in which the switch closes nothing may yet take v(vm) back. vr counts the dead time
* from 1 to 2 V, then another switch opens the first. Nodes rest at 1 or 100 V, not at 0: for a kink that starts from
* no charge at all no step is short enough for ngspice's relative tolerance.
Vone one 0 1
Bcmp cmp 0 V = 10k + 100k*(V(vm)-({{v_threshold}})) - 1g*(V(done)+V(st))
Sspike one h cmp 0 {name}_spike off
Rh h 0 1k
Snear1 one near cmp 0 {name}_near1 off
Snear2 one near cmp 0 {name}_near2 off
Snear3 one near cmp 0 {name}_near3 off
Rnear near 0 1k
Bhf hs 0 V = 100 + V(h)
Rhf hs hf 1k
Chf hf 0 {onset}
Bpull pull 0 V = V(h)/(1+exp(min(max(-(V(hf)-100.5)/50m,-60),60))) + V(st)
Bvr 0 vr I = V(h)*({{1p/t_refractory}}) - (1-V(h))*(V(vr)-1)*({{1p/{clear}}})
Cvr vr 0 1p
Bend end 0 V = 1k*(V(vr)-1)
Sdone one done end 0 {name}_done off
Rdone done 0 1k
.model {name}_spike sw(vt=-100meg vh=100.01meg ron=1m roff=1e15)
.model {name}_near1 sw(vt=-10k vh=0 ron=1k roff=1e15)
.model {name}_near2 sw(vt=5k vh=0 ron=1k roff=1e15)
.model {name}_near3 sw(vt=9k vh=0 ron=1k roff=1e15)
.model {name}_done sw(vt=550 vh=450 ron=1m roff=1e15)
Bspk spk 0 V = V(vdd)*V(h)
Rpl pl 0 1k
.ends {name}
"""

_FELIF_SAYS = """\
* FeLIF: the compact neuron model, K = {domains}, from {source}
*
*   E_k      = k_cap V - k_dep P - Eoff_k,   P = Ps sum w_k p_k
*   dp_k/dt  = (sign(E_k) - p_k) / tau_k,    tau_k = tau_0 exp[(Ea_k/(|E_k| + e_soft))^alpha]
*   C dV/dt  = I_in - I_leak - area dP/dt,   C = eps0 eps_hzo area/thickness_hzo + c_parallel
*   I_leak   = leak_density area (exp({leak_said}/leak_v_scale) - 1) sign(V) + leak_discharge tanh(V/leak_v_smooth)
*   I_in     = I for I >= 0, I c((V - v_floor)/v_compliance) for I < 0;  c(u) = 1 - exp(-u) for u >= 0, u below
*   spike at V > v_threshold; then V = v_reset, p_k = polarization_reset, held for t_refractory
* Source: Fehlings et al., arXiv 2505.17791, with K domains and a compliance floor."""

_FELIF_FILM = """\
.param kcap = {{1e-8*eps_int/(thickness_hzo*eps_int+thickness_int*eps_hzo)}}
.param kpol = {{1e-8*thickness_int/({eps0}*(thickness_hzo*eps_int+thickness_int*eps_hzo))*saturation_polarization}}
.param ctot = {{{eps0}*eps_hzo*area/thickness_hzo+c_parallel}}"""

_HERACLES_SAYS = """\
* HERACLES: the compact neuron on that capacitor, from {source}
*
*   dp/dt = k+ (1 - p) - k- (1 + p),  k+- = (kT/h) exp[-max(barrier -+ (E - offset_field) switching_distance, 0) q/kT]
*   d(area D + C_w V)/dt = I_in - I_leak,  D = eps0 eps_fe E + Ps p,  V = thickness_fe E + D/C_depl + D/C_int
*   I_leak   = leak_density area (exp({leak_said}/leak_v_scale) - 1) sign(V) + leak_discharge tanh(V/leak_v_smooth)
*   I_in     = I for I >= 0, I c((V - v_floor)/v_compliance) for I < 0;  c(u) = 1 - exp(-u) for u >= 0, u below
*   spike at V > v_threshold; then V = v_reset, p = polarization_reset, held for t_refractory
* C_w V is counted in proportion to the film's voltage, exact at the reset and at the threshold. ctot, cleared, at_rest
* (the film's voltage after a reset, and at 0 V) are numbers of this card: export again for other parameters.
* Source: Fehlings et al., arXiv 2410.07791. vm is a monitor here: what loads it does not load the film.
*"""

_HERACLES_FILM = """\
.param ctot = {c_total}
.param cleared = {cleared}
.param at_rest = {at_rest}
.param cfe = {{{eps0}*eps_fe/thickness_fe}}
.param efolds = {{switching_distance/({kt}*temperature)}}
.param most = {{barrier/({kt}*temperature)}}
.param lnk0 = {{ln({k0}*temperature)-barrier/({kt}*temperature)}}
.param kdepl = {{{eps0}*eps_depletion*{q}*depletion_density}}
.param thin = {{{thinnest}*{q}*depletion_density}}
* film: V(film) = thickness_fe E; x = charge density of its linear part; layers in series make V(vm)
Bx x 0 V = ({{cfe}})*V(film)
Bvm vm 0 V = V(film) + (V(x)+({{saturation_polarization}})*V(pn))*(({{thickness_int/({eps0}*eps_int)}})
+ + 1/(({{kdepl}})*(0.5*(1+V(pn))/max(abs(V(x)+({{fixed_charge}})),({{thin}}))
+ + 0.5*(1-V(pn))/max(abs(V(x)-({{fixed_charge}})),({{thin}})))))
* state s = p - {shift} on 1 uF, its rate d = dp/dt in 1/ms, driving field e in e-folds of the rate
Be e 0 V = ({{efolds}})*(V(film)/({{thickness_fe}})-({{offset_field}}))
Bd d 0 V = V(run)*(exp(min(({{lnk0}})+min(V(e),({{most}})),{most}))*(1-{shift}-V(s))
+ - exp(min(({{lnk0}})+min(-V(e),({{most}})),{most}))*(1+{shift}+V(s)))
Gs 0 s d 0 1m
Cs s 0 1u
Bf 0 s I = V(pull)*(({{polarization_reset}})-V(s)-{shift})*({{1u/{pull}}})
Gp film 0 d 0 {{1e3*area*saturation_polarization}}
Bn 0 pn I = V(s)+{shift}"""

_RRAM = """\
* RRAM filament after a SET, from {source}
*
*   G = max{{g_hrs, 1/(r_series + r_area/b^2 + r_disc)}}
*   ln r_disc = c_0 + c_1 u + c_2 u^2 + (c_length + c_length_cross u) ln a + (c_radius + c_cross u) ln b
*   u = ln(iprog/100 uA), a = length/0.4 nm, b = radius/45 nm
*
* .subckt {name} p n      a resistor between p and n, read at low voltage
* Parameters: iprog (A), length (m), radius (m); the rest as in the card, SI units.
.subckt {name} p n  iprog=100u length={length} radius={radius}
{parameters}
.param u = {{ln(iprog/100u)}}
.param lna = {{ln(length/0.4n)}}
.param lnb = {{ln(radius/45n)}}
.param lnrd = {{c_0+c_1*u+c_2*u*u+(c_length+c_length_cross*u)*lna+(c_radius+c_cross*u)*lnb}}
.param rset = {{r_series+r_area*exp(-2*lnb)+exp(lnrd)}}
Rfil p n {{min(rset,1/g_hrs)}}
.ends {name}
"""
