"""Decks around a Verilog-A model of the user's: the project's testbenches with its device in the place of theirs.

    ferroelectric capacitor   two electrodes, positive polarization from the first to the second, and a monitor of the
                              polarization: a port called pn, p, pol, ..., else the third
    resistive cell            active and ohmic electrode: V(first, second) < 0 sets, > 0 resets

What the model declares with a number becomes a ``.param`` of the deck, in small letters, with unit and meaning; a name
that the circuit around it has already gets ``va_`` in front. `FULL` is what the monitor reads where all of the film
points along: v(pn) is its share of that, -1...1. Further ports are open but for 1 GOhm.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bruno_spice import spice_netlists
from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.calibration.spice.lines import Line
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.spice.ngspice import Job
from bruno_spice.calibration.spice.statements import assignments
from bruno_spice.calibration.verilog_a.foreign.model import Loaded, Settable, is_model, load_model
from bruno_spice.devices.waveform import Waveform

NETLISTS = Path(spice_netlists.__file__).parent
MONITORS = ("pn", "p", "pol", "polarization", "polarisation", "p_mon", "pmon", "p_out", "pout", "p_norm")
"""What the port of a polarization monitor is called, in small letters."""
NEURON_PINS = ("inj", "vm", "spk", "pl", "pn", "vdd")
FULL = "monitor_full"
BEYOND = 1.1
"""A monitor that shows more than this is not a share of the saturation."""
LENGTHS, RADII = ("ldisc", "ldet", "lnew", "lfil", "length"), ("rdisc", "rdet", "rnew", "rfil", "radius")
"""What a filament's length and radius are called; the first is the testbench's own name."""
LARGEST_M = 1e-6
"""A length above it does not count in m, unless the model says so."""


@dataclass(frozen=True)
class _Placed:
    """A model as lines of a deck: the ``.param`` cards of what it declares, its instance and what it hangs on."""

    params: dict[str, Line]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class _Bench:
    """A testbench of the project without the device that it is there for."""

    deck: Netlist
    left: Netlist
    """The deck without the device's instance."""
    used: frozenset[str]
    """The parameters that its sources and other elements name."""

    @classmethod
    def of(cls, file: str, instance: str) -> "_Bench":
        deck = Netlist.load(NETLISTS / "testbenches" / file)
        left = deck.without([deck.element(instance)])
        texts = re.findall(r"\{[^}]*\}", " ".join(s.code.lower() for s in left.elements()))
        return cls(deck, left, frozenset(re.findall(r"[a-z_]\w*", " ".join(texts))))

    @property
    def names(self) -> dict[str, str]:
        """What the deck calls parameters of a model whose names the testbench has, but for one that means the same."""
        return {name: f"va_{name}" for name in self.used - {"area"}}

    def around(
        self, placed: _Placed, loaded: Loaded, circuit: Sequence[Line] = (), of_circuit: frozenset[str] = frozenset()
    ) -> Netlist:
        """The testbench with `placed` and `circuit`, and of its parameters those in use: its own and `of_circuit`."""
        lines = []
        for line in (line for line in self.left.lines[1:] if line.path == self.deck.path):
            name = next((n.lower() for n, _, _ in assignments(line.code) if line.code.startswith(".param")), "")
            if not name or (name in self.used | of_circuit and name not in placed.params):
                lines.append(line)
        title = Line(f"* {loaded.model.module} of {loaded.path.name}")
        every = (title, *placed.params.values(), *lines, *circuit, *placed.lines)
        return Netlist(loaded.path, every, (), (loaded.model,))


def fecap_deck(path: Path | str) -> Netlist:
    """The FeCAP testbench at `path`, or the project's around the ferroelectric capacitor in the Verilog-A file there.

    Raises `NetlistError` or `InputError`.
    """
    if not is_model(path):
        return Netlist.load(path)
    loaded = load_model(path)
    bench = _Bench.of("fecap_pv.cir", "xfe")
    return bench.around(_ferroelectric(loaded, ("te", "0"), bench.names), loaded)


def rram_deck(path: Path | str) -> Netlist:
    """The RRAM testbench at `path`, or the project's around the resistive cell in the Verilog-A file there.

    A parameter for a filament's length or radius becomes the testbench's own. Raises `NetlistError` or `InputError`.
    """
    if not is_model(path):
        return Netlist.load(path)
    loaded = load_model(path)
    declared = {p.name for p in loaded.parameters}
    of_filament = (("ldisc", LENGTHS), ("rdisc", RADII))
    names = {next((name for name in known if name in declared), own): own for own, known in of_filament}
    bench = _Bench.of("rram.cir", "xcell")
    return bench.around(_placed("Xcell", loaded, {0: "ae", 1: "oe"}, bench.names | names), loaded)


def neuron_around(path: Path | str) -> Netlist:
    """The project's neuron testbench, with the ferroelectric capacitor in the Verilog-A file at `path` on its membrane.

    A module with a neuron's six pins, such as an exported card, is the whole neuron.
    Raises `NetlistError` or `InputError`.
    """
    loaded = load_model(path)
    bench = _Bench.of("neuron.cir", "xneuron")
    if loaded.model.ports == NEURON_PINS:
        return bench.around(_placed("Xneuron", loaded, dict(enumerate(NEURON_PINS)), bench.names), loaded)
    deck = bench.deck
    circuit = deck.subcircuits["felif_neuron"]
    head = next(s for s in deck.statements if s.card == ".subckt" and circuit.name in s.words)
    film = next(s for s in deck.statements if s.scope == circuit.name and s.card == "xfe")
    of_film = {name.lower() for name, _, _ in assignments(film.code)}
    params = {name: text for name, text in circuit.params.items() if name not in of_film}
    pins = " ".join(pin for pin in circuit.pins if pin != "pn")
    defaults = " ".join(f"{name}={text}" for name, text in params.items())
    given = " ".join(f"{name}={{{name}}}" for name in params)
    circuit_lines = (
        replace(head.line, text=f".subckt {circuit.name} {pins} {defaults}"),
        *(line for line in deck.without([head, film]).lines if line.path == circuit.line.path),
        Line(f"Xneuron {pins} {circuit.name} {given}"),
    )
    placed = _ferroelectric(loaded, ("vm", "pl"), bench.names | {name: f"va_{name}" for name in params})
    return bench.around(placed, loaded, circuit_lines, frozenset(params))


def refuse_unscaled(raw: Waveform, job: Job) -> None:
    """Raise `SimulationError` where the monitor of a model's polarization leaves -1...1."""
    if job.models and (most := float(abs(raw["v(pn)"]).max())) > BEYOND:
        raise SimulationError(
            f"{job.label}: the polarization monitor of {job.models[0].module} reads up to {most:.4g} times {FULL}; say "
            f"what it reads where all of the film points along, by --set {FULL}=..."
        )


def _ferroelectric(loaded: Loaded, electrodes: tuple[str, str], called: Mapping[str, str]) -> _Placed:
    ports = loaded.model.ports
    if len(ports) < 3:
        raise NetlistError(
            f"{loaded.path}: {loaded.model.module} has the ports {' and '.join(ports)} alone, so its polarization "
            "cannot be seen; give it a third one, whose voltage is the polarization"
        )
    monitor = next((i for i, port in enumerate(ports) if i > 1 and port.lower() in MONITORS), 2)
    placed = _placed("Xfe", loaded, {0: electrodes[0], 1: electrodes[1], monitor: "monitor"}, called)
    params = {FULL: Line(f".param {FULL}=1 ; [V] the monitor where all of the film points along"), **placed.params}
    return _Placed(params, (*placed.lines, Line(f"Epn pn 0 monitor 0 {{1/{FULL}}}"), Line("Rpn pn 0 1g")))


def _placed(instance: str, loaded: Loaded, nodes: Mapping[int, str], called: Mapping[str, str]) -> _Placed:
    """The model as an instance on `nodes` by port; parameters are `called` as they say, else as in the model."""
    names = {p.name: called.get(p.name, p.name) for p in loaded.parameters}
    on = [nodes.get(i, f"open_{port.lower()}") for i, port in enumerate(loaded.model.ports)]
    given = " ".join(f"{name}={{{outer}}}" for name, outer in names.items())
    placed = Line(f"{instance} {' '.join(on)} {loaded.model.name} {given}".rstrip(), loaded.path, 1)
    opens = [Line(f"R{name} {name} 0 1g") for i, name in enumerate(on) if i not in nodes]
    return _Placed({names[p.name]: _param(p, names[p.name]) for p in loaded.parameters}, (placed, *opens))


def _param(p: Settable, name: str) -> Line:
    """The ``.param`` of `p`. A length or an area that the model gives no unit counts in SI where it is small enough."""
    unit = p.unit
    if not unit and name in ("ldisc", "rdisc"):
        unit = "m" if p.default < LARGEST_M else "nm"
    if not unit and name in ("area", "tfe") and p.default > LARGEST_M:
        unit = "not said"
    meaning = re.sub(r"[^\w ,.()/*+-]", " ", p.meaning)
    path, _, number = p.where.rpartition(":")
    return Line(f".param {name}={p.default!r} ; [{unit}] {meaning}".rstrip(), Path(path), int(number))
