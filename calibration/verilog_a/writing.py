"""A circuit of a netlist as a Verilog-A file of its own: the module of `calibration.verilog_a.module`, with a head.

`spice_netlists/veriloga/` holds what this makes of the project's own circuits; a test compares them.
"""

from pathlib import Path

from bruno_spice.calibration.errors import NetlistError, unknown_name
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.verilog_a.circuit import Deck, translating
from bruno_spice.calibration.verilog_a.module import Module, subcircuit_module

HEAD = """\
{title}

Written by `bruno va write` from the subcircuit {name} of {file}, which says what its equations
mean and where they come from. Nodes of inner subcircuits carry their path; nodes that nothing loads are variables."""


def write_circuit(netlist: Path, circuit: str | None = None) -> Module:
    """The subcircuit called `circuit` in the file `netlist`, or the only one of which a testbench has an instance.

    Raises `NetlistError` where there is no such circuit, several, or no translation.
    """
    deck = Netlist.load(netlist)
    if not deck.has_card(".tran"):
        deck = Netlist.library(netlist)
    if circuit is None:
        used = list(dict.fromkeys(found.name for _, found in deck.instances()))
        own = [name for name, found in deck.subcircuits.items() if found.line.path == deck.path]
        names = used or own
        if len(names) != 1:
            raise NetlistError(
                f"{netlist}: which circuit? --circuit takes one of {', '.join(names or deck.subcircuits)}"
            )
        circuit = names[0]
    circuit = circuit.lower()
    if circuit not in deck.subcircuits:
        raise NetlistError(unknown_name(circuit, deck.subcircuits, f"{netlist}: no subcircuit"))
    origin = deck.subcircuits[circuit].line.path or netlist
    about = {d.name: (d.unit, d.comment) for d in deck.declarations.values() if d.unit or d.comment}
    title = origin.read_text().splitlines()[0].lstrip("* ")
    head = HEAD.format(title=title, name=circuit, file=f"{origin.parent.name}/{origin.name}")
    with translating(deck.rendered):
        return subcircuit_module(Deck.of(deck.rendered), circuit, about=about, head=head)
