"""Faults in a netlist that ngspice passes over in silence, or reports at another line.

- a card that there is not (``.parm``): ngspice leaves it out;
- a ``.param`` without ``name=value``;
- a parameter of an instance that its subcircuit does not have: ngspice takes the default instead;
- a resistor, capacitor or inductor without a value: ngspice takes 1 mOhm, 0 F, 0 H.

Source: ngspice manual, sections 2.4-2.11, 3.2 and 15.
"""

from collections.abc import Mapping

from calibration.errors import NetlistError
from calibration.netlist import Netlist, Subcircuit, assignments, unknown_name

CARDS = (
    ".ac", ".csparam", ".dc", ".disto", ".else", ".elseif", ".end", ".endif", ".endl", ".ends", ".four", ".func",
    ".global", ".ic", ".if", ".inc", ".include", ".lib", ".meas", ".measure", ".model", ".nodeset", ".noise", ".op",
    ".opt", ".option", ".options", ".param", ".plot", ".print", ".probe", ".pz", ".save", ".sens", ".sp", ".step",
    ".subckt", ".temp", ".tf", ".title", ".tran", ".width",
)  # fmt: skip
NEED_A_VALUE = {"r": "resistor", "c": "capacitor", "l": "inductor"}


def refuse_faults(netlist: Netlist) -> None:
    """Raise `NetlistError` with file and line at the first fault."""
    for index, code in netlist.statements():
        fault = _fault(code, netlist.subcircuits)
        if fault:
            raise NetlistError(f"{netlist.lines[index].where}: {fault}")


def _fault(code: str, subcircuits: Mapping[str, Subcircuit]) -> str | None:
    words = code.lower().split()
    given = [name.lower() for name, _, _ in assignments(code)]
    if words[0].startswith("."):
        if words[0] not in CARDS:
            return unknown_name(words[0], dict.fromkeys(CARDS), "there is no card")
        if words[0] == ".param" and not given:
            return "a .param is written as name=value"
        return None
    kind = NEED_A_VALUE.get(words[0][0])
    if kind and len(words) < 4 and not given:
        return f"the {kind} {words[0]} has no value"
    if words[0].startswith("x"):
        head = [word for word in words[1:] if "=" not in word]
        found = next((subcircuits[word] for word in reversed(head) if word in subcircuits), None)
        unknown = [name for name in given if found and name not in found.params and name != "m"]
        if found and unknown:
            return unknown_name(unknown[0], found.params, f"the subcircuit {found.name} has no parameter")
    return None
