"""Faults in a netlist that ngspice passes over in silence, or reports at another line.

- a ``.param`` without ``name=value``;
- a parameter of an instance that its subcircuit does not have: ngspice takes the default instead;
- a resistor, capacitor or inductor without a value: ngspice takes 1 mOhm, 0 F, 0 H.

Source: ngspice manual, sections 2.4-2.11, 3.2 and 15.
"""

from collections.abc import Mapping

from bruno_spice.calibration.errors import NetlistError, unknown_name
from bruno_spice.calibration.spice.netlist import Netlist, Subcircuit
from bruno_spice.calibration.spice.statements import PARAM_FUNCTION, Statement, assignments

NEED_A_VALUE = {"r": "resistor", "c": "capacitor", "l": "inductor"}


def refuse_faults(netlist: Netlist) -> None:
    """Raise `NetlistError` with file and line at the first fault."""
    for statement in netlist.statements:
        if fault := _fault(statement, netlist.subcircuits):
            raise NetlistError(f"{statement.line.where}: {fault}")


def _fault(statement: Statement, subcircuits: Mapping[str, Subcircuit]) -> str | None:
    words = statement.words
    given = [name.lower() for name, _, _ in assignments(statement.code)]
    if statement.card == ".param" and not given and not PARAM_FUNCTION.match(statement.code):
        return "a .param is written as name=value"
    kind = NEED_A_VALUE.get(words[0][0])
    if kind and len(words) < 4 and not given:
        return f"the {kind} {words[0]} has no value"
    if words[0].startswith("x"):
        head = [word for word in words[1:] if "=" not in word]
        found = next((subcircuits[word] for word in reversed(head) if word in subcircuits), None)
        unknown = [name for name in given if found and name not in {*found.params, *found.inner, "m"}]
        if found and unknown:
            return unknown_name(unknown[0], found.params, f"the subcircuit {found.name} has no parameter")
    return None
