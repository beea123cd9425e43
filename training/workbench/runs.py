"""The page Runs: training curves of several runs, and one neuron of the first of them on a test piece beside SPICE.

The neuron is validated as `bruno validate` does it (`training.roundtrip`): under the current that it saw in torch, by
the circuit of its card in SPICE and by the card's equations. What takes a network is a job.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from bruno_spice.calibration.workbench.page import (
    Choice,
    Drawing,
    Knob,
    Line,
    Page,
    Panel,
    Progress,
    Role,
    Table,
    joined,
)
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.errors import InputError
from bruno_spice.training.runs.folder import RunFolder, whole

ROLES: tuple[Role, ...] = ("a", "b", "c", "d")
MOST_RUNS = len(ROLES)
LONGEST = 100_000
SHOWN_P = 0.5
"""Keys that are predicted at least so probably are drawn."""
WINDOW = "60"
"""Milliseconds of a piece that are simulated unless more are asked for: a second's work of a compiled simulator."""
KEY_WIDTH = 0.8
"""Of a frame."""


class RunsPage(Page):
    """Look at runs."""

    name: ClassVar[str] = "runs"
    title: ClassVar[str] = "Runs"
    intro: ClassVar[str] = "Training runs: their curves, and what one neuron of the first run does on a test piece."
    preloaded: ClassVar[tuple[str, ...]] = (
        "bruno_spice.training.workbench.runs",
        "bruno_spice.training.roundtrip.circuit",
        "bruno_spice.training.roundtrip.recorded",
        "bruno_spice.training.runs.evaluation",
    )
    without: ClassVar[tuple[str, ...]] = ("fit", "best", "reset", "save")

    def choices(self, state: State, place: Place) -> Sequence[Choice]:
        """Runs, a piece and a neuron."""
        return [
            Choice("runs", "Run folders", "", hint="runs/chorales runs/other"),
            Choice("layer", "Layer", "", hint="the last with a circuit"),
            Choice("piece", "Test piece", "1"),
            Choice("neuron", "Neuron", "", hint="the most active"),
            Choice("window", "First milliseconds", WINDOW, hint="all"),
        ]

    def knobs(self, state: State, place: Place) -> Sequence[Knob]:
        """None: a run is looked at."""
        return []

    def panels(self, state: State, place: Place) -> Sequence[Panel]:
        """Curves, membrane, raster and, of a task with keys, the piano roll."""
        if not state.choices.get("runs", "").strip():
            return []
        folders = _folders(state, place)
        names: tuple[tuple[Role, str], ...] = tuple(
            (role, str(folder.path)) for role, folder in zip(ROLES, folders, strict=False)
        )
        metric = folders[0].read_result()["metric"]
        x = "time (ms)"
        return [
            Panel("curve", f"Validation {metric} by epoch", "epoch", metric, labels=names),
            Panel("membrane", "Membrane of the neuron", x, "voltage (V)",
                  labels=(("measured", "torch, each ms"), ("model", "the card's equations"))),
            Panel("raster", "Spikes of its layer in torch", x, "neuron", labels=(("measured", "a spike"),)),
            Panel("roll", "Predicted chords over the true ones", "frame", "key (MIDI)",
                  labels=(("measured", "true"), ("model", f"predicted, above {SHOWN_P:g}"))),
        ]  # fmt: skip

    def model(self, state: State, place: Place, spice: Drawing | None) -> Drawing:
        """The training curves."""
        if not state.choices.get("runs", "").strip():
            return Drawing(said=("name one run folder or several, such as runs/chorales, with blanks between them",))
        lines: dict[tuple[str, Role], Line] = {}
        for role, folder in zip(ROLES, _folders(state, place), strict=False):
            history, result = folder.read_metrics(), folder.read_result()
            with whole(folder.result, f"bruno train --out {folder.path} --resume"):
                metric = result["metric"]
                valid = [float(row["valid"][metric]) for row in history]
            lines["curve", role] = (np.arange(1.0, len(valid) + 1), np.array(valid))
        return Drawing(lines)

    def tables(self, state: State, place: Place) -> Sequence[Table]:
        """Scores of each run."""
        rows = []
        for folder in _folders(state, place):
            result = folder.read_result()
            with whole(folder.result, f"bruno train --out {folder.path} --resume"):
                metric = result["metric"]
                test = f"{result['test'][metric]:.4f}" if metric in result["test"] else "not scored"
                rows.append((str(folder.path), str(result["task"]), metric, test, str(result["best_epoch"])))
        return [Table("Scores", ("run", "task", "metric", "test", "best epoch"), tuple(rows))] if rows else []

    def spice(self, state: State, place: Place, progress: Progress) -> Drawing | None:
        """The first run's network on the piece, and one of its neurons in SPICE."""
        from bruno_spice.training.roundtrip.recorded import as_circuit, choose_layer, circuit_layers, record
        from bruno_spice.training.runs.evaluation import load_run

        if not state.choices.get("runs", "").strip():
            return None
        progress("the network is loaded")
        folder = _folders(state, place)[0]
        _, task, network = load_run(folder.path)
        as_circuit(network)
        piece = _number(state, "piece", 1, len(task.parts["test"])) - 1
        if not circuit_layers(network):
            raise InputError(f"{folder.path}: no layer of this network is a circuit, so none of its neurons is one")
        layer = choose_layer(network, state.choices.get("layer") or None)
        progress("the network hears the piece")
        asked = state.choices.get("window", WINDOW).strip()
        recorded = record(network, task, layer, (piece,), _number(state, "window", 1, LONGEST) if asked else None)
        count = recorded.spikes.shape[2]
        index = _number(state, "neuron", int(np.argmax(recorded.rates_hz)) + 1, count) - 1
        steps = int(recorded.lengths[0])
        when, who = np.nonzero(recorded.spikes[:steps, 0])
        lines: dict[tuple[str, Role], Line] = {("raster", "measured"): _line(when + 0.5, who + 1.0)}
        lines |= _roll(task, recorded)
        progress(f"neuron {index + 1} in SPICE")
        membrane, numbers, simulator = _neuron(recorded, circuit_layers(network)[layer], index, place)
        said = (f"neuron {index + 1} of {count} in {layer} on test piece {piece + 1}",)
        return Drawing(lines | membrane, numbers, said=said, simulator=simulator)


def _folders(state: State, place: Place) -> list[RunFolder]:
    """The runs that are named. Raises `InputError` for what is none, or too many."""
    names = state.choices.get("runs", "").split()
    if len(names) > MOST_RUNS:
        raise InputError(f"{len(names)} runs are too many for one figure; name at most {MOST_RUNS}")
    return [RunFolder(place.path(str(Path(name) / "result.json")).parent) for name in names]


def _line(x: Any, y: Any) -> Line:
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


def _number(state: State, name: str, default: int, most: int) -> int:
    """A piece or a neuron, counted from 1."""
    text = state.choices.get(name, WINDOW if name == "window" else "").strip()
    number = int(text) if text.isdecimal() and len(text) < 9 else default if not text else 0
    if not 1 <= number <= most:
        raise InputError(f"{name}: write a number from 1 to {most}")
    return number


def _neuron(
    recorded: Any, neuron: Any, index: int, place: Place
) -> tuple[dict[tuple[str, Role], Line], dict[str, dict[Role, str]], str]:
    """The membrane of neuron `index` three ways, its spikes counted, and the simulator."""
    from bruno_spice.training.roundtrip.circuit import deck_overrides, find_circuit, run_trials

    circuit = find_circuit(neuron.card)
    farm = place.farm(circuit.netlist)
    overrides = {index: deck_overrides(circuit, neuron, index)}
    trials, failures, _ = run_trials(recorded, neuron, overrides, circuit.netlist, farm)
    if failures[index]:
        raise InputError(failures[index][0])
    (trial,) = trials[index]
    ends_ms = np.arange(1.0, trial.torch.voltage_v.size + 1)
    lines: dict[tuple[str, Role], Line] = {
        ("membrane", "measured"): (ends_ms, trial.torch.voltage_v),
        ("membrane", "model"): (1e3 * trial.model.time_s, trial.model["v_mem_v"]),
        ("membrane", "spice"): (1e3 * trial.spice.time_s, trial.spice["v_mem_v"]),
    }
    spikes: dict[Role, str] = {
        "model": str(trial.model.spike_times_s.size),
        "spice": str(trial.spice.spike_times_s.size),
        "measured": f"{trial.torch.counts.sum():g} in torch",
    }
    return lines, {"spikes": spikes}, farm.simulator


def _roll(task: Any, recorded: Any) -> dict[tuple[str, Role], Line]:
    """True keys as points and predicted ones as bars, of a task with a lowest key."""
    lowest = getattr(task, "lowest_midi_key", None)
    if lowest is None:
        return {}
    steps = int(recorded.batch.lengths[0])
    truth = recorded.batch.target[:steps, 0].numpy()
    predicted = torch.sigmoid(recorded.logits[:steps, 0]).numpy()
    frame, key = np.nonzero(truth > 0)
    at, bar = np.nonzero(predicted > SHOWN_P)
    half = KEY_WIDTH / 2
    bars = [(np.array([n - half, n + half]), np.full(2, float(k))) for n, k in zip(at + 1.0, bar + lowest, strict=True)]
    found: dict[tuple[str, Role], Line] = {("roll", "measured"): _line(frame + 1.0, key + float(lowest))}
    return found | ({("roll", "model"): joined(bars)} if bars else {})


PAGE = RunsPage()
