"""The deck of a neuron: a testbench as it is, or one written around a circuit of the user's own."""

from collections.abc import Sequence
from pathlib import Path

from bruno_spice.calibration.circuits.around import NEURON_PINS, neuron_around
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.lines import Line
from bruno_spice.calibration.spice.netlist import Netlist, Subcircuit
from bruno_spice.calibration.verilog_a.foreign.model import is_model

NEURON_SOURCES = ("Istim", "Vsupply")
SUPPLY_V = 3.3
"""Of a circuit that says nothing of its supply."""


def neuron_deck(path: Path | str) -> Netlist:
    """The testbench at `path`, or one written around the neuron circuit, or the film in Verilog-A, at `path`.

    A circuit is a file without ``.tran`` that defines one subcircuit with the pins inj vm spk pl pn vdd; its
    parameters become deck-level parameters. What a file includes counts only where it defines no subcircuit itself,
    and what is a part of another circuit with these pins does not count.
    Raises `NetlistError` where pins, nodes or sources are missing, or where several circuits fit.
    """
    if is_model(path):
        return neuron_around(path)
    netlist = Netlist.load(path)
    if netlist.has_card(".tran") or not netlist.subcircuits:
        return _complete(netlist)
    return _around(circuit_of(netlist), Netlist.library(path))


def circuit_of(library: Netlist) -> Subcircuit:
    """The neuron circuit that `library` defines. Raises `NetlistError` where none or several have the pins."""
    own = [circuit for circuit in library.subcircuits.values() if circuit.line.path == library.path]
    circuits = own or list(library.subcircuits.values())
    fitting = [circuit for circuit in circuits if circuit.pins == NEURON_PINS]
    if not fitting:
        found = ", ".join(f"subcircuit {c.name} has the pins {' '.join(c.pins)}" for c in circuits)
        raise NetlistError(f"{circuits[0].line.where}: {found}, but must have {' '.join(NEURON_PINS)}, in this order")
    fitting = [circuit for circuit in fitting if not _is_part(circuit, fitting, library)] or fitting
    if len(fitting) > 1:
        names = " and ".join(c.name for c in fitting)
        raise NetlistError(
            f"{fitting[1].line.where}: the file has several circuits with a neuron's pins, {names}; write a file "
            f"that includes it and defines the one that you mean, '.subckt mine {' '.join(NEURON_PINS)}' with "
            f"'X1 {' '.join(NEURON_PINS)} {fitting[0].name}' and '.ends'"
        )
    return fitting[0]


def _is_part(circuit: Subcircuit, others: Sequence[Subcircuit], library: Netlist) -> bool:
    """Whether one of `others` has an instance of `circuit` in its body."""
    names = {other.name for other in others if other is not circuit}
    bodies = (s for s in library.statements if s.scope in names and s.card.startswith("x"))
    return any(circuit.name in s.words for s in bodies)


def _complete(netlist: Netlist) -> Netlist:
    for name in NEURON_SOURCES:
        netlist.element(name)
    missing = [pin for pin in ("vm", "spk", "pn", "vdd") if pin not in netlist.nodes]
    if missing:
        raise NetlistError(
            f"{netlist.path}: has no node {' and no node '.join(missing)} at deck level; "
            f"a neuron testbench needs {' '.join(NEURON_PINS)}"
        )
    netlist.t_stop_s()
    return netlist


def _around(circuit: Subcircuit, library: Netlist) -> Netlist:
    passed = " ".join(f"{name}={{{name}}}" for name in circuit.params)
    texts = [
        *(f".param {name}={text}" for name, text in _own_params(circuit, library).items()),
        "Vsupply vdd 0 {vdd}",
        "Istim inj 0 PWL(0 0)",
        f"Xneuron {' '.join(NEURON_PINS)} {circuit.name} {passed}",
        ".ic v(vm)=0",
        ".options method=gear maxord=2 reltol=1e-5 trtol=1 abstol=1e-14 vntol=1e-6 chgtol=1e-16",
        ".tran 5u 122m 0 20u",
    ]
    lines = [Line(text, circuit.line.path, circuit.line.number) for text in texts]
    named = "vdd" in circuit.params or "vdd" in library.declarations
    assumed = () if named else (f"the file names no supply: vdd is {SUPPLY_V:g} V unless --set vdd=... says another",)
    return Netlist(library.path, (*library.lines, *lines), (*library.remarks, *assumed))


def _own_params(circuit: Subcircuit, library: Netlist) -> dict[str, str]:
    """What becomes deck-level ``.param`` cards: the supply and the circuit's parameters, but for those that are."""
    wanted = {"vdd": f"{SUPPLY_V} ; [V] supply"} | dict(circuit.params)
    given = {name: library.declarations[name] for name in wanted if name in library.declarations}
    for name, declared in given.items():
        if name in circuit.params and declared.text != circuit.params[name]:
            raise NetlistError(
                f"{declared.where}: .param {name} is {declared.text} here, but {circuit.params[name]} in the "
                f"subcircuit {circuit.name}; rename one of them"
            )
    return {name: text for name, text in wanted.items() if name not in given}
