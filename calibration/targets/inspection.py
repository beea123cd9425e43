"""What an engineer asks of a netlist before a run: its parameters, whether ngspice takes it, what an edit changes."""

import difflib
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bruno_spice.calibration.benches.fecap import FECAP_VECTORS
from bruno_spice.calibration.cards.provenance import in_project
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import (
    NEURON_VECTORS,
    RRAM_VECTORS,
    NeuronRun,
    kept_where_refused,
    neuron_job,
    tightened,
)
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.faults import refuse_faults
from bruno_spice.calibration.spice.lines import Line
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.spice.ngspice import MEMORY_LIMIT_BYTES
from bruno_spice.calibration.spice.store import Store
from bruno_spice.devices.stimulus import Stimulus

CHECK_LIMIT_S = 25.0


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


@dataclass(frozen=True)
class Taken:
    """What is simulated of a netlist: its circuits and parameters as ngspice reads them."""

    netlist: str
    circuits: dict[str, str]
    """By instance: the subcircuit with the place where it is defined."""
    parameters: dict[str, float | None]
    """Deck-level ``.param``s in the netlist's units; None for a text."""
    remarks: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        netlist = in_project(Path(self.netlist)) or self.netlist
        return {"netlist": netlist, "circuits": self.circuits, "parameters": self.parameters}

    @property
    def sentence(self) -> str:
        """For the user, in one line."""
        circuits = ", ".join(f"{name} = {circuit}" for name, circuit in self.circuits.items())
        names = " ".join(self.parameters)
        count = f"{len(self.parameters)} parameter{'' if len(self.parameters) == 1 else 's'}"
        parts = [circuits or "no subcircuit", f"{count}: {names}" if names else count, *self.remarks]
        return f"{self.netlist}: {'; '.join(parts)}"


def taken(deck: Netlist) -> Taken:
    """What `deck` simulates. Raises `NetlistError` where ngspice cannot evaluate a parameter."""
    circuits = {s.card: f"{circuit.name} ({_place(circuit.line)})" for s, circuit in deck.instances()}
    models = {model.name: model for model in deck.models}
    for s in deck.elements():
        for word in set(s.words) & models.keys() if s.card.startswith("x") and s.card not in circuits else ():
            circuits[s.card] = f"{models[word].module} (Verilog-A, {s.line.path.name if s.line.path else s.line.where})"
    values = {name: param.value for name, param in deck.params.items()}
    return Taken(str(deck.path), circuits, values, deck.remarks)


def _place(line: Line) -> str:
    return f"{line.path.name}:{line.number}" if line.path else line.where


def deck_of(path: Path | str, overrides: Mapping[str, float] | None = None) -> Netlist:
    """The deck that the experiments simulate of the file at `path`, with `overrides` of its parameters.

    Raises `NetlistError` with file and line where it is at fault.
    """
    netlist = Netlist.load(path)
    refuse_faults(netlist)
    whole = not netlist.subcircuits or netlist.has_card(".tran")
    deck = neuron_deck(path) if not whole or _has_istim(netlist) else netlist
    return deck.with_params(overrides or {})


def _has_istim(netlist: Netlist) -> bool:
    return "istim" in {s.card for s in netlist.elements()}


def check(path: Path | str, overrides: Mapping[str, float] | None = None, simulator: str = "ngspice") -> Netlist:
    """Let `simulator` read the deck at `path`, with `overrides` of its parameters, and take the first steps of its run.

    The deck is the one that the experiments simulate. Raises `NetlistError` with file and line where the deck is at
    fault, `SimulationError` where no operating point is found.
    """
    deck = deck_of(path, overrides)
    first_steps = deck.t_stop_s() / 1000
    deck.params  # noqa: B018  (ngspice evaluates every one)
    chosen = SIMULATORS.find(simulator)
    inner = _inner_nodes(deck) if chosen.sees_inside else []
    if _has_istim(deck):
        job = neuron_job(tightened(deck), NeuronRun(Stimulus.dc(1e-9), first_steps), (*NEURON_VECTORS, *inner))
    else:
        job = transient_job(deck, [*_vectors(deck), *inner], first_steps, str(path))
    worker = chosen.worker(CHECK_LIMIT_S, MEMORY_LIMIT_BYTES)
    with closing(worker), kept_where_refused(job, Farm(simulator=simulator)):
        worker.run(job)
    return deck


def _inner_nodes(deck: Netlist) -> list[str]:
    """A node within each instance, which ngspice must know if it has the same circuit in its flattened deck."""
    if deck.has_card(".if"):
        return []
    shared = {"0", "gnd", *(word for s in deck.statements if s.card == ".global" for word in s.words)}
    found = []
    for instance, circuit in deck.instances():
        elements = (s for s in deck.statements if s.scope == circuit.name and s.card[0] in "rclvibd")
        nodes = (node for s in elements for node in s.words[1:3] if re.fullmatch(r"\w+", node))
        inner = next((node for node in nodes if node not in shared and node not in circuit.pins), None)
        found += [f"v({instance.card}.{inner})"] if inner else []
    return found


def _vectors(deck: Netlist) -> Sequence[str]:
    """What an experiment brings back of a deck with this source, or else the voltage of its first node."""
    elements = deck.elements()
    names = {s.card for s in elements}
    if "vcell" in names:
        return RRAM_VECTORS
    if "vdrive" in names:
        return FECAP_VECTORS
    nodes = sorted({s.words[1] for s in elements if len(s.words) > 2} - {"0", "gnd"})
    if not nodes:
        raise NetlistError(
            f"{deck.path}: has no elements at deck level; a file of subcircuits needs a testbench to run in"
        )
    return [f"v({nodes[0]})"]


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


def _code_without_params(netlist: Netlist) -> list[str]:
    return [s.code for s in netlist.statements if s.card != ".param" or s.scope]
