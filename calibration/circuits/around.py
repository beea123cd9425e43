"""Decks around a Verilog-A model of the user's: the project's testbenches with its device in the place of theirs.

    ferroelectric capacitor   two electrodes, positive polarization from the first to the second, and a monitor of the
                              polarization: a port called pn, p, pol, ..., else the third
    resistive cell            active and ohmic electrode: V(first, second) < 0 sets, > 0 resets

What the model declares with a number becomes a ``.param`` of the deck, in small letters, with unit and meaning; a name
that the circuit around it has already gets ``va_`` in front. `FULL` is what the monitor reads where all of the film
points along: v(pn) is its share of that, -1...1. Further ports are open but for 1 GOhm.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
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


def fecap_deck(path: Path | str) -> Netlist:
    """The FeCAP testbench at `path`, or the project's around the ferroelectric capacitor in the Verilog-A file there.

    Raises `NetlistError` or `InputError`.
    """
    if not is_model(path):
        return Netlist.load(path)
    loaded = load_model(path)
    return _in_testbench("fecap_pv.cir", "xfe", _ferroelectric(loaded, ("te", "0")), loaded)


def rram_deck(path: Path | str) -> Netlist:
    """The RRAM testbench at `path`, or the project's around the resistive cell in the Verilog-A file there.

    Raises `NetlistError` or `InputError`, also where no parameter is the filament's length or radius.
    """
    if not is_model(path):
        return Netlist.load(path)
    loaded = load_model(path)
    names = {}
    for own, known in (("ldisc", LENGTHS), ("rdisc", RADII)):
        found = next((name for name in known if name in {p.name for p in loaded.parameters}), None)
        if found is None:
            raise NetlistError(
                f"{path}: {loaded.model.module} has no parameter for the filament's {known[-1]} ({', '.join(known)}), "
                "which a card of a cell is a function of"
            )
        names[found] = own
    placed = _placed("Xcell", loaded, {0: "ae", 1: "oe"}, names)
    return _in_testbench("rram.cir", "xcell", placed, loaded)


def neuron_around(path: Path | str) -> Netlist:
    """The project's neuron testbench, with the ferroelectric capacitor in the Verilog-A file at `path` on its membrane.

    A module with a neuron's six pins, such as an exported card, is the whole neuron.

    Raises `NetlistError` or `InputError`.
    """
    loaded = load_model(path)
    if loaded.model.ports == NEURON_PINS:
        placed = _placed("Xneuron", loaded, dict(enumerate(NEURON_PINS)))
        return _in_testbench("neuron.cir", "xneuron", placed, loaded)
    placed = _ferroelectric(loaded, ("vm", "pl"))
    deck = Netlist.load(NETLISTS / "testbenches" / "neuron.cir")
    circuit = deck.subcircuits["felif_neuron"]
    own = circuit.line.path
    film = next(s for s in deck.statements if s.scope == circuit.name and s.card == "xfe")
    of_film = {name.lower() for name, _, _ in assignments(film.code)}
    kept = [name for name in circuit.params if name not in of_film]
    head = next(s for s in deck.statements if s.card == ".subckt" and circuit.name in s.words)
    core = [line for i, line in enumerate(deck.lines) if line.path == own and not film.first <= i < film.end]
    core = [line for line in core if line not in deck.lines[head.first : head.end]]
    pins = [pin for pin in circuit.pins if pin != "pn"]
    defaults = " ".join(f"{name}={circuit.params[name]}" for name in kept)
    core.insert(0, Line(f".subckt felif_core {' '.join(pins)} {defaults}", head.line.path, head.line.number))
    core = [Line(".ends felif_core", l.path, l.number) if l.code.startswith(".ends") else l for l in core]
    given = " ".join(f"{name}={{{name}}}" for name in kept)
    neuron = Line(f"Xneuron {' '.join(pins)} felif_core {given}")
    return _in_testbench("neuron.cir", "xneuron", placed, loaded, (*core, neuron), kept)


def refuse_unscaled(raw: Waveform, job: Job) -> None:
    """Raise `SimulationError` where the monitor of a model's polarization leaves -1...1."""
    if job.models and (most := float(abs(raw["v(pn)"]).max())) > BEYOND:
        raise SimulationError(
            f"{job.label}: the polarization monitor of {job.models[0].module} reads up to {most:.4g} times {FULL}; say "
            f"what it reads where all of the film points along, by --set {FULL}=..."
        )


def _ferroelectric(loaded: Loaded, electrodes: tuple[str, str]) -> _Placed:
    ports = loaded.model.ports
    if len(ports) < 3:
        raise NetlistError(
            f"{loaded.path}: {loaded.model.module} has the ports {' and '.join(ports)} alone, so its polarization "
            "cannot be seen; give it a third one, whose voltage is the polarization"
        )
    monitor = next((i for i, port in enumerate(ports) if i > 1 and port.lower() in MONITORS), 2)
    placed = _placed("Xfe", loaded, {0: electrodes[0], 1: electrodes[1], monitor: "monitor"})
    params = {FULL: Line(f".param {FULL}=1 ; [V] the monitor where all of the film points along"), **placed.params}
    return _Placed(params, (*placed.lines, Line(f"Epn pn 0 monitor 0 {{1/{FULL}}}"), Line("Rpn pn 0 1g")))


def _placed(
    instance: str, loaded: Loaded, nodes: dict[int, str], called: dict[str, str] | None = None
) -> _Placed:
    """The model as an instance on `nodes` by port; parameters are `called` as they say, else as in the model."""
    model = loaded.model
    names = [nodes.get(i, f"open_{port.lower()}") for i, port in enumerate(model.ports)]
    params = {(called or {}).get(p.name, p.name): _param(p, (called or {}).get(p.name, p.name)) for p in loaded.parameters}
    given = " ".join(f"{p.name}={{{(called or {}).get(p.name, p.name)}}}" for p in loaded.parameters)
    opens = [Line(f"R{name} {name} 0 1g") for i, name in enumerate(names) if i not in nodes]
    return _Placed(params, (Line(f"{instance} {' '.join(names)} {model.name} {given}".rstrip(), loaded.path, 1), *opens))


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


def _in_testbench(
    file: str, instance: str, placed: _Placed, loaded: Loaded, more: Sequence[Line] = (), kept: Sequence[str] = ()
) -> Netlist:
    """The project's testbench `file` with `placed` for its `instance`: of its parameters those that something names."""
    bench = Netlist.load(NETLISTS / "testbenches" / file)
    own = bench.without([bench.element(instance)])
    rest = [s for s in own.statements if not s.scope and s.card not in (".param", ".subckt", ".ends")]
    words = {word for s in rest for word in re.findall(r"[a-z_]\w*", " ".join(re.findall(r"\{[^}]*\}", s.code.lower())))}
    needed = words | set(kept)
    lines, taken = [], set()
    for line in (line for line in own.lines[1:] if line.path == bench.path):
        name = next((n.lower() for n, _, _ in assignments(line.code)), "") if line.code.startswith(".param") else ""
        if name and name not in needed:
            continue
        if name and name in placed.params and name not in kept:
            line = placed.params[name]
        taken |= {name} if name else set()
        lines.append(line)
    clash = {name for name in placed.params if name in kept}
    params = [line for name, line in placed.params.items() if name not in taken | clash]
    params += [Line(line.text.replace(f".param {name}=", f".param va_{name}=", 1), line.path, line.number)
               for name, line in placed.params.items() if name in clash]
    instance_lines = list(placed.lines)
    for name in clash:
        instance_lines = [Line(l.text.replace(f"{{{name}}}", f"{{va_{name}}}"), l.path, l.number) for l in instance_lines]
    title = Line(f"* {loaded.model.module} of {loaded.path.name}")
    return Netlist(Path(loaded.path), (title, *params, *lines, *more, *instance_lines), (), (loaded.model,))
