"""The page Neuron: a card's membrane over the circuit's in SPICE, or over a measured one, under one current.

The model is what `bruno simulate neuron` gives for a card, SPICE what it gives with ``--engine spice``; the fit is that
of a calibration (`calibration.neuron.fit`) on this one transient, SPICE's or a measured trace. The circuit's parameters
are called ``deck.NAME``.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bruno_spice.calibration.cards.simulated import simulate_card
from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NETLISTS, NEURON_NETLIST, simulate_neuron
from bruno_spice.calibration.circuits.origin import Circuit, circuit_here
from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.workbench.page import (
    Array,
    Choice,
    Drawing,
    Fitted,
    Knob,
    Line,
    Page,
    Panel,
    Progress,
    Role,
    Saved,
    around,
    card_line,
    chosen,
    counted,
    counting,
    sets,
    value_of,
)
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform, rms_difference

if TYPE_CHECKING:
    from bruno_spice.calibration.traces.reading import Trace

DECK = "deck."
DC, FILE, TRACE = "dc", "file", "trace"
KINDS: dict[str, tuple[str, Callable[[], stimuli.Run]]] = {
    "train": ("pulse train", stimuli.pulse_train),
    "bursts": ("bursts with gaps", stimuli.bursts),
    "inhibition": ("excitation and inhibition", stimuli.inhibition),
    "noise": ("noise", lambda: stimuli.noise(1)),
}
CURRENT = Knob("current", "A", "constant, into the membrane", 3e-9, 60e-12, 30e-9, "Stimulus")
DRIVE = ("current", "end")
DC_END_S = 13e-3
END_S = (1e-3, 0.35)
LEFT_V = 0.3
"""Model minus SPICE is cut off here, so that a late spike does not hide the rest."""
SETS = "neuron.set"


class NeuronPage(Page):
    """Tune a neuron's card and its circuit against each other."""

    name: ClassVar[str] = "neuron"
    title: ClassVar[str] = "Neuron"
    intro: ClassVar[str] = "A neuron: a card under one current, over the circuit in SPICE or over a measured membrane."
    takes_files: ClassVar[str] = "a stimulus (a CSV file with time_s,i_syn_a) or a measured membrane trace"

    def choices(self, state: State, place: Place) -> Sequence[Choice]:
        """The stimulus and the card."""
        given = ((key, text) for key, (text, _) in KINDS.items())
        named = ((DC, "constant current"), *given, (FILE, "a file"), (TRACE, "a measured trace"))
        found = [Choice("stimulus", "Stimulus", DC, named)]
        if state.choices.get("stimulus") == FILE:
            found.append(Choice("file", "Stimulus file", "", hint="time_s,i_syn_a"))
        if state.choices.get("stimulus") == TRACE:
            found += [
                Choice("file", "Trace", "", hint="a file in this folder"),
                Choice("record", "Record", "", hint="the only one"),
                Choice("time", "Time column", "", hint="the only one"),
                Choice("voltage", "Voltage column", "", hint="the only one"),
                Choice("current", "Current", "", hint="column, 308p or a file"),
                Choice("unit", "Units of columns", "", hint="t=us v=mV i=nA"),
            ]
        return [
            *found,
            Choice("card", "Card", "", hint="calibrated FeLIF"),
            Choice("netlist", "Circuit", "", hint="the card's"),
        ]

    def knobs(self, state: State, place: Place) -> Sequence[Knob]:
        """Stimulus, card and circuit."""
        kind = state.choices.get("stimulus", DC)
        end = DC_END_S
        if kind in KINDS or (kind in (FILE, TRACE) and state.choices.get("file")):
            with suppress(*([InputError] if kind == TRACE else [])):  # `model` says what has to be said of its columns
                end = _given(kind, state, place)[1]
        drive = [*([CURRENT] if kind == DC else []), Knob("end", "s", "of the transient", end, *END_S, "Stimulus")]
        path, circuit = _card_path(state, place), _circuit(state, place)
        at = tuple(circuit.overrides.items())
        deck = _deck_knobs(circuit.netlist, circuit.sha256, at)
        return [*drive, *_card_knobs(path, path.stat().st_mtime_ns), *deck]

    def panels(self, state: State, place: Place) -> Sequence[Panel]:
        """Membrane, residual, polarization and current against time."""
        x, ms = "time (ms)", 1e-3
        return [
            Panel("membrane", "Membrane", x, "voltage (V)", x_scale=ms, region="s"),
            Panel(
                "left",
                f"Model minus {'measured' if _is_trace(state) else 'SPICE'}",
                x,
                "difference (mV)",
                x_scale=ms,
                low=True,
            ),
            Panel("film", "Polarization of the film", x, "P/Ps", x_scale=ms, low=True),
            Panel("current", "Stimulus", x, "current (nA)", x_scale=ms, low=True),
        ]

    def spice_key(self, state: State) -> object:
        """Only the circuit, which the card names, and the stimulus: the card's parameters are none of SPICE's."""
        values = {n: v for n, v in state.values.items() if n.startswith(DECK) or n in DRIVE}
        return values, dict(state.choices)

    def netlist(self, state: State, place: Place) -> str:
        """The circuit's, at what the card was calibrated at."""
        return _circuit(state, place).sha256

    def compared(self, state: State) -> object:
        """The circuit and the stimulus."""
        return self.spice_key(state)

    def opens_with(self, place: Place) -> Sequence[str] | None:
        """The card."""
        return [_card_path(State(), place).read_text()]

    def model(self, state: State, place: Place, spice: Drawing | None) -> Drawing:
        """The card's answer, and how far SPICE's is from it."""
        drive, end_s = self._drive(state, place)
        wave = _card_wave(state, place, drive, end_s)
        lines = _lines(wave, "model")
        numbers = _spikes(wave, "model")
        if _is_trace(state):
            from bruno_spice.calibration.workbench.trace import against

            trace = _trace(place, state)
            over = against(trace.recording, wave, state.region, _dead_time_s(state, place))
            both = {label: {**numbers.get(label, {}), **texts} for label, texts in over.numbers.items()}
            return Drawing({**lines, **over.lines}, {**numbers, **both}, over.rms, trace.said)
        if spice is None or ("membrane", "spice") not in spice.lines:
            return Drawing(lines, numbers)
        circuit = _wave_of(spice)
        times = wave.time_s
        left = wave["v_mem_v"] - circuit.resampled(times)["v_mem_v"]
        lines["left", "left"] = (1e3 * times, 1e3 * np.clip(left, -LEFT_V, LEFT_V))
        low, high = state.region or (0.0, np.inf)
        counts = times[(times >= low) & (times <= high)]
        if not counts.size:
            return Drawing(lines, numbers)
        rms_v = rms_difference(circuit, wave, "v_mem_v", counts)
        numbers["rms of the membrane"] = {"model": format_si(rms_v, "V", 3)}
        return Drawing(lines, numbers, rms_v / float(np.ptp(circuit["v_mem_v"])))

    def spice(self, state: State, place: Place, progress: Progress) -> Drawing | None:
        """The circuit's answer."""
        wave, simulator = self._in_spice(state, place, progress)
        said = _circuit(state, place).notes
        return Drawing(_lines(wave, "spice"), _spikes(wave, "spice"), said=said, simulator=simulator)

    def _in_spice(self, state: State, place: Place, progress: Progress) -> tuple[Waveform, str]:
        """The circuit's waveform, and the simulator that was found for the project's circuit."""
        drive, end_s = self._drive(state, place)
        circuit = _circuit(state, place)
        own = circuit.netlist == NEURON_NETLIST
        farm = counted((place if own else replace(place, found="")).farm(circuit.netlist, neuron_deck), progress)
        overrides = {**circuit.overrides, **_overrides(state, DECK)}
        return simulate_neuron(drive, end_s, circuit.netlist, overrides, farm), farm.simulator if own else ""

    def fit(self, state: State, place: Place, folder: Path, progress: Progress) -> Fitted:
        """The card's ticked parameters, moved to SPICE or a trace; in the region, or up to the first spike."""
        from bruno_spice.calibration.neuron.fit import fit_neuron, free_parameters

        start = NeuronParameters.from_card(_card(state, place).with_values(**_overrides(state)))
        free = [each for each in free_parameters(start) if each.name in state.free]
        if not free:
            raise InputError("tick the parameters of the card that the fit may move")
        if _is_trace(state):
            recording, who = _trace(place, state).recording, "the trace"
        else:
            wave, _ = self._in_spice(state, place, progress)
            recording, who = Recording(self._drive(state, place)[0], wave), "the circuit"
        if not recording.spice.spike_times_s.size:
            raise InputError(f"{who} does not spike under this current; a fit takes its first spike as the scale")
        report = counting(progress, f"fitting {', '.join(each.name for each in free)}")
        found, _ = fit_neuron([recording], start, free, region_s=state.region, progress=report)
        errors = [f"{name} = {found.values[name]:.5g} ± {error:.2g}" for name, error in found.stderr.items()]
        doubt = (f"not to be believed: {found.doubt}",) if found.doubt else ()
        return Fitted(found.values, (*doubt, *errors, f"{found.evaluations} evaluations"), "", folder, ())

    def save(self, state: State, place: Place, fitted: Fitted | None) -> Saved:
        """The card, where it was tuned, and the lines that simulate it and, where that was tuned, its circuit."""
        moved, deck = _overrides(state), _overrides(state, DECK)
        card, circuit, named = _card(state, place), _circuit(state, place), state.choices.get("card", "")
        folder = place.out / "neuron"
        drive, end_s = self._drive(state, place)
        source = ["--stimulus", state.choices["file"]] if state.choices.get("stimulus") == FILE else None
        if state.choices.get("stimulus", DC) == DC:
            source = ["--dc", repr(float(drive.i_syn_a[-1]))]
        paths = []
        if source is None:
            written = write_atomic(folder / "stimulus.csv", drive.to_csv_text())
            source = ["--stimulus", str(written.relative_to(place.root))]
            paths.append(written)
        words = ["bruno", "simulate", "neuron", *source, "--t-stop", repr(end_s)]
        lines = [shlex.join([*words, *(["--card", named] if named else []), *sets(moved)])]
        netlist = [] if circuit.netlist == NEURON_NETLIST else ["--netlist", str(circuit.netlist)]
        at = sets({**circuit.overrides, **deck})
        if deck:
            lines.append(shlex.join([*words, "--engine", "spice", *netlist, *at, "--simulator", place.simulator]))
        paths.append(write_atomic(folder / SETS, "\n".join([*lines, ""])))
        then = ["bruno", "train", "--task", "chorales", *(["--card", named] if named else [])]
        if moved:
            path = folder / f"{card.MODEL}.json"
            inside = str(path.relative_to(place.root))
            paths.insert(0, card.with_values(**moved).save(path))
            lines[0] = card_line(_card_path(state, place), moved, inside)
            then = ["bruno", "train", "--task", "chorales", "--card", inside]
        elif deck:
            model = [] if card.MODEL == "felif" else ["--model", card.MODEL]
            out = str((place.out / "cards").relative_to(place.root))
            then = ["bruno", "calibrate", "neuron", *model, *netlist, *at, "--out", out]
        return Saved(tuple(paths), "\n".join(lines), shlex.join(then))

    def file_chosen(self, state: State, name: str) -> State:
        """The file as the stimulus, or as the trace that the card is held against."""
        kept = {name: text for name, text in state.choices.items() if name in ("card", "netlist")}
        values = {n: v for n, v in state.values.items() if n not in DRIVE}
        from bruno_spice.calibration.workbench.trace import holds_a_trace

        kind = TRACE if holds_a_trace(Path(name)) else FILE
        return replace(state, choices={**kept, "stimulus": kind, "file": name}, values=values, region=None)

    def _drive(self, state: State, place: Place) -> tuple[Stimulus, float]:
        kind = chosen(self.choices(state, place), state)["stimulus"]
        values = value_of(self.knobs(state, place), state)
        end_s = values["end"]
        if not 0 < end_s <= 1.0:
            raise InputError(f"the end of the transient must be above 0 and at most 1 s, not {end_s:g} s")
        return (Stimulus.dc(values["current"]) if kind == DC else _given(kind, state, place)[0]), end_s


def _given(kind: str, state: State, place: Place) -> tuple[Stimulus, float]:
    """A stimulus that is not a constant current, and its end in s."""
    if kind in KINDS:
        return KINDS[kind][1]()
    if kind == TRACE:
        recording = _trace(place, state).recording
        return recording.stimulus, recording.t_stop_s
    if kind == FILE and state.choices.get("file"):
        found = Stimulus.from_csv(place.path(state.choices["file"]))
        return found, float(min(max(found.time_s[-1], END_S[0]), END_S[1]))
    raise InputError("choose or upload a stimulus: a CSV file with time_s,i_syn_a")


def _trace(place: Place, state: State) -> "Trace":
    from bruno_spice.calibration.workbench.trace import measured_trace  # readers of files, for whom they are

    return measured_trace(place, state)


def _dead_time_s(state: State, place: Place) -> float:
    return NeuronParameters.from_card(_card(state, place).with_values(**_overrides(state))).t_refractory


def _is_trace(state: State) -> bool:
    return state.choices.get("stimulus") == TRACE


def _card_path(state: State, place: Place) -> Path:
    name = state.choices.get("card", "")
    return place.path(name) if name else calibrated_card("felif")


def _card(state: State, place: Place) -> NeuronCard:
    return _loaded(path := _card_path(state, place), path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _loaded(path: Path, _changed: int) -> NeuronCard:
    return NeuronCard.load(path)


@lru_cache(maxsize=8)
def _card_knobs(path: Path, changed: int) -> list[Knob]:
    card = _loaded(path, changed)
    knobs = []
    for name, parameter in card.parameters.items():
        stem, _, index = name.rpartition("_")
        declared = card.NEURON.domain_parameters.get(stem if index.isdigit() else name) or card.NEURON.parameters[name]
        free = declared.fit is not None and name != "domain_weight_1"
        low, high = declared.fit or around(parameter.value, declared.sign != "any")
        knobs.append(Knob(name, parameter.unit, declared.meaning, parameter.value, low, high, "Card", free))
    return knobs


def _circuit(state: State, place: Place) -> Circuit:
    """The circuit that is chosen, or the card's own; of a card that has none here the project's, which it says."""
    card, name = _card(state, place), state.choices.get("netlist", "")
    return circuit_here(card, NETLISTS / card.NEURON.netlist, place.root, place.path(name) if name else None)


@lru_cache(maxsize=8)
def _deck_knobs(netlist: Path, _sha256: str, at: tuple[tuple[str, float], ...]) -> list[Knob]:
    """The circuit's parameters, from where the card was calibrated."""
    found = []
    for name, param in neuron_deck(netlist).params.items():
        if param.value is None:
            continue
        value = dict(at).get(name, float(param.value or 0.0))
        low, high = around(value, value > 0)
        meaning = param.comment or "of the circuit"
        found.append(Knob(f"{DECK}{name}", param.unit, meaning, value, low, high, "Circuit (SPICE)"))
    return found


def _overrides(state: State, prefix: str = "") -> dict[str, float]:
    """What was moved: of the circuit with its `prefix`, else of the card."""
    if prefix:
        return {n.removeprefix(prefix): float(v) for n, v in state.values.items() if n.startswith(prefix)}
    return {n: float(v) for n, v in state.values.items() if not n.startswith(DECK) and n not in DRIVE}


def _card_wave(state: State, place: Place, drive: Stimulus, end_s: float) -> Waveform:
    where = str(_card_path(state, place))
    return simulate_card(_card(state, place), where, drive, end_s, _overrides(state))


def _lines(wave: Waveform, role: Role) -> dict[tuple[str, Role], Line]:
    """Membrane, film and current of `wave`; ms, V, nA."""
    time = 1e3 * wave.time_s
    lines: dict[tuple[str, Role], Line] = {
        ("membrane", role): (time, wave["v_mem_v"]),
        ("film", role): (time, wave["polarization"]),
    }
    if role == "model":
        lines["current", role] = (time, 1e9 * wave["i_syn_a"])
    return lines


def _wave_of(drawing: Drawing) -> Waveform:
    """The membrane that `_lines` put into `drawing`."""
    time, membrane = drawing.lines["membrane", "spice"]
    return Waveform(1e-3 * time, {"v_mem_v": membrane})


def _spikes(wave: Waveform, role: Role) -> dict[str, Mapping[Role, str]]:
    spikes: Array = wave.spike_times_s
    first = format_si(float(spikes[0]), "s", 5) if spikes.size else "none"
    return {"spikes": {role: str(spikes.size)}, "first spike": {role: first}}


PAGE = NeuronPage()
