"""What an engineer asks of a netlist before a run: its parameters, whether ngspice takes it, what an edit changes."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from calibration.errors import NetlistError
from calibration.netlist import Netlist
from calibration.netlist_faults import refuse_faults
from calibration.ngspice import Job, Worker
from calibration.store import Store

CHECK_STEPS = 10


@dataclass(frozen=True)
class Difference:
    """How two versions of a deck differ, in what ngspice sees; comments and spacing do not count."""

    changed_params: dict[str, tuple[str, str]]
    """Texts before and after, by name; an empty text where the parameter is missing."""
    changed_lines: list[str]
    """Other code, as ``- old`` and ``+ new`` lines."""
    stored_results: int
    """Results in the store that were simulated from a deck of this name; all of them are of no use to the new one."""

    @property
    def same(self) -> bool:
        """Whether a run of the new deck would be found in the store."""
        return not self.changed_params and not self.changed_lines


def check(path: Path | str, overrides: Mapping[str, float] | None = None) -> Netlist:
    """Let ngspice read the deck at `path`, with `overrides` of its parameters, and take its first steps.

    Raises `NetlistError` with file and line where the deck is at fault, `SimulationError` where no operating point
    is found.
    """
    netlist = Netlist.load(path)
    refuse_faults(netlist)
    netlist = netlist.with_params(overrides or {})
    for param in netlist.params.values():
        if param.value is None and not param.text:
            raise NetlistError(f"{param.where}: .param {param.name} has no value")
    nodes = sorted(_deck_nodes(netlist))
    if not nodes:
        raise NetlistError(f"{path}: has no elements at deck level; a file of subcircuits needs a testbench to run in")
    stop = netlist.t_stop_s() / 1000
    with Worker(time_limit_s=60) as worker:
        worker.run(Job.from_netlist(netlist, [f"v({nodes[0]})"], stop, str(path)))
    return netlist


def difference(old: Netlist, new: Netlist, store: Store | None = None) -> Difference:
    """What changed from `old` to `new`, and how many stored results that leaves behind."""
    before, after = old.params, new.params
    params = {}
    for name in sorted({*before, *after}):
        texts = tuple(deck[name].text if name in deck else "" for deck in (before, after))
        values = tuple(deck[name].value if name in deck else None for deck in (before, after))
        if texts[0] != texts[1] and (None in values or values[0] != values[1]):
            params[name] = (texts[0], texts[1])
    compared = difflib.ndiff(_code_without_params(old), _code_without_params(new))
    lines = [line for line in compared if line[:2] in ("- ", "+ ")]
    kept = 0
    if store is not None and (params or lines):
        kept = sum(entry.label.split(" ")[0] == new.path.name for entry in store.entries())
    return Difference(params, lines, kept)


def _deck_nodes(netlist: Netlist) -> set[str]:
    """First nodes of deck-level elements, ground left out."""
    found = set()
    depth = 0
    for line in netlist.lines[1:]:
        words = line.code.lower().split()
        if not words or words[0].startswith("+"):
            continue
        depth += words[0] == ".subckt"
        if depth == 0 and words[0][0].isalpha() and len(words) > 2 and words[1] not in ("0", "gnd"):
            found.add(words[1])
        depth -= words[0] == ".ends"
    return found


def _code_without_params(netlist: Netlist) -> list[str]:
    codes = (" ".join(line.code.split()) for line in netlist.lines[1:])
    return [code for code in codes if code and not code.lower().startswith(".param")]
