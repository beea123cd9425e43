"""The page Runs: training curves of several runs, and one neuron of the first of them on a test piece beside SPICE.

The neuron is validated as `bruno validate` does it (`training.roundtrip`): under the current that it saw in torch, by
the circuit of its card in SPICE and by the card's equations. What takes a network is a job.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bruno_spice.calibration.circuits.deck import neuron_deck
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
    counted,
    joined,
)
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.errors import BrunoError, InputError

if TYPE_CHECKING:
    from bruno_spice.training.networks.network import AnyNetwork
    from bruno_spice.training.roundtrip.recorded import Recorded
    from bruno_spice.training.tasks import Task

ROLES: tuple[Role, ...] = ("a", "b", "c", "d")
MOST_RUNS = len(ROLES)
LONGEST = 100_000
SHOWN_P = 0.5
"""Keys that are predicted at least so probably are drawn."""
WINDOW = "60"
"""Milliseconds of a piece that are simulated unless more are asked for: a second's work of a compiled simulator."""
KEY_WIDTH = 0.8
"""Of a frame."""


@dataclass(frozen=True)
class Run:
    """A run so far: a row of its history an epoch, and its result where it has ended."""

    folder: Path
    history: list[dict[str, Any]]
    result: dict[str, Any] | None
    metric: str
    """The score that its task is about; of a run that goes on the first of those that it tells."""

    def curve(self, part: str, score: str) -> Line:
        """A score by epoch."""
        values = [float(row[part][score]) for row in self.history]
        return np.arange(1.0, len(values) + 1), np.array(values)


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
        runs = _runs(state, place)
        several = len({run.metric for run in runs}) > 1
        names: tuple[tuple[Role, str], ...] = tuple(
            (role, f"{run.folder} ({run.metric})" if several else str(run.folder))
            for role, run in zip(ROLES, runs, strict=False)
        )
        x, metric = "time (ms)", "score" if several else runs[0].metric
        return [
            Panel("curve", f"Validation {metric} by epoch", "epoch", metric, labels=names),
            Panel("loss", "Training loss by epoch", "epoch", "loss", low=True, labels=names),
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
        said = []
        for role, run in zip(ROLES, _runs(state, place), strict=False):
            with whole_run(run):
                lines["curve", role], lines["loss", role] = run.curve("valid", run.metric), run.curve("train", "loss")
            if run.result is None:
                said.append(f"{run.folder}: {len(run.history)} epochs so far; a reload shows how far it is then")
        return Drawing(lines, said=tuple(said))

    def tables(self, state: State, place: Place) -> Sequence[Table]:
        """Scores of each run."""
        rows = []
        for run in _runs(state, place):
            task, test, best = "", f"not ended: {len(run.history)} epochs", ""
            with whole_run(run):
                if (result := run.result) is not None:
                    known = run.metric in result["test"]
                    test = f"{result['test'][run.metric]:.4f}" if known else "not scored"
                    task, best = str(result["task"]), str(result["best_epoch"])
                rows.append((str(run.folder), task, run.metric, test, best))
        return [Table("Scores", ("run", "task", "metric", "test", "best epoch"), tuple(rows))] if rows else []

    def spice_key(self, state: State) -> object:
        """Only the first run: of the others nothing but curves is shown."""
        return state.choices.get("runs", "").split()[:1], {n: v for n, v in state.choices.items() if n != "runs"}

    def spice(self, state: State, place: Place, progress: Progress) -> Drawing | None:
        """The first run's network on the piece, and one of its neurons in SPICE."""
        if not state.choices.get("runs", "").strip():
            return None
        from bruno_spice.training.roundtrip.recorded import as_circuit, circuit_layers
        from bruno_spice.training.runs.evaluation import load_run

        progress("the network is loaded")
        folder = _runs(state, place)[0].folder
        _, task, network = load_run(folder)
        as_circuit(network)
        piece = _number(state, "piece", 1, len(task.parts["test"])) - 1
        progress("the network hears the piece")
        layer = state.choices.get("layer", "").strip()
        if not circuit_layers(network) or (layer and layer not in circuit_layers(network)):
            return _in_torch(network, task, piece, layer, state)
        return _beside_spice(network, task, piece, layer, state, place, progress)


@contextmanager
def whole_run(run: Run) -> Iterator[None]:
    """Within the block, what the files of `run` lack is one sentence."""
    from bruno_spice.training.runs.folder import whole

    with whole(run.folder, f"bruno train --out {run.folder} --resume"):
        yield


def _runs(state: State, place: Place) -> list[Run]:
    """The runs that are named, at work or ended. Raises `InputError` for what is none, or too many."""
    names = state.choices.get("runs", "").split()
    if len(names) > MOST_RUNS:
        raise InputError(f"{len(names)} runs are too many for one figure; name at most {MOST_RUNS}")
    return [_run(place.path(str(Path(name) / "config.yaml")).parent, place) for name in names]


def _run(folder: Path, place: Place) -> Run:
    from bruno_spice.training.runs.folder import RunFolder, whole  # torch: for whom a run is named

    files = RunFolder(folder)
    there = [path for path in (files.metrics, files.result) if path.is_file() and place.path(str(path))]
    history = files.read_metrics() if files.metrics in there else []
    result = files.read_result() if files.result in there else None
    with whole(folder, f"bruno train --out {folder} --resume"):
        told = next(iter(history[0]["valid"])) if history else "score"
        return Run(folder, history, result, str(told if result is None else result["metric"]))


def _in_torch(network: "AnyNetwork", task: "Task", piece: int, layer: str, state: State) -> Drawing:
    """What the network does where there is no circuit: spikes of a layer and chords."""
    from bruno_spice.training.roundtrip.recorded import run_network

    batch = task.collate([task.parts["test"][piece]])
    output = run_network(network, batch)
    steps = int(batch.lengths[0])
    lines, said = _roll(task, batch, output.logits.cpu()), []
    if layer and layer not in output.spikes:
        there = ", ".join(output.spikes) or "none"
        raise InputError(f"no layer '{layer}' of this network spikes; those that do: {there}")
    if output.spikes:
        layer = layer or next(reversed([name for name in output.spikes if name != "output"] or [*output.spikes]))
        shown = steps if (asked := _window(state)) is None else min(steps, asked)
        lines |= _raster(output.spikes[layer][:shown, 0].cpu().numpy())
        said.append(f"{layer} on test piece {piece + 1}; it is no circuit, so none of its neurons lies beside SPICE")
    else:
        said.append("no layer of this network spikes, and none is a circuit that could lie beside SPICE")
    return Drawing(lines, said=tuple(said))


def _beside_spice(
    network: "AnyNetwork", task: "Task", piece: int, name: str, state: State, place: Place, progress: Progress
) -> Drawing:
    """What a circuit's layer does, and one of its neurons in SPICE; where SPICE fails, why."""
    from bruno_spice.training.roundtrip.recorded import choose_layer, circuit_layers, record

    layer = choose_layer(network, name or None)
    recorded = record(network, task, layer, (piece,), _window(state))
    count = recorded.spikes.shape[2]
    index = _number(state, "neuron", int(np.argmax(recorded.rates_hz)) + 1, count) - 1
    lines = _raster(recorded.spikes[: int(recorded.lengths[0]), 0]) | _roll(task, recorded.batch, recorded.logits)
    said = f"neuron {index + 1} of {count} in {layer} on test piece {piece + 1}"
    try:
        membrane = _neuron(recorded, circuit_layers(network)[layer], index, place, progress)
    except BrunoError as error:
        return Drawing(lines, said=(said, f"SPICE: {error}"))
    return Drawing({**lines, **membrane.lines}, membrane.numbers, said=(said, *membrane.said))


def _line(x: Any, y: Any) -> Line:
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


def _number(state: State, name: str, default: int, most: int) -> int:
    """A piece or a neuron, counted from 1."""
    text = state.choices.get(name, WINDOW if name == "window" else "").strip()
    number = int(text) if text.isdecimal() and len(text) < 9 else default if not text else 0
    if not 1 <= number <= most:
        raise InputError(f"{name}: write a number from 1 to {most}")
    return number


def _window(state: State) -> int | None:
    """Milliseconds of the piece that are shown; all of it where the field is empty."""
    asked = state.choices.get("window", WINDOW).strip()
    return _number(state, "window", 1, LONGEST) if asked else None


def _neuron(recorded: "Recorded", neuron: Any, index: int, place: Place, progress: Progress) -> Drawing:
    """The membrane of neuron `index` three ways, and its spikes counted.

    Raises `InputError` where its card names no circuit that may be read, `CalibrationError` where SPICE fails.
    """
    from bruno_spice.training.roundtrip.circuit import deck_overrides, find_circuit, run_trials

    circuit = find_circuit(neuron.card, inside=place.root)
    farm = counted(replace(place, found="").farm(circuit.netlist, neuron_deck), progress)
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
    return Drawing(lines, {"spikes": spikes}, said=circuit.notes)


def _raster(spikes: Any) -> dict[tuple[str, Role], Line]:
    """Spikes (T, N), a row a millisecond, as points in its middle, neurons counted from 1."""
    when, who = np.nonzero(spikes)
    return {("raster", "measured"): _line(when + 0.5, who + 1.0)}


def _roll(task: Any, batch: Any, logits: Any) -> dict[tuple[str, Role], Line]:
    """True keys as points and predicted ones as bars, of a task with a lowest key."""
    lowest = getattr(task, "lowest_midi_key", None)
    if lowest is None:
        return {}
    steps = int(batch.lengths[0])
    truth = batch.target[:steps, 0].numpy()
    predicted = logits[:steps, 0].sigmoid().numpy()
    frame, key = np.nonzero(truth > 0)
    at, bar = np.nonzero(predicted > SHOWN_P)
    half = KEY_WIDTH / 2
    bars = [(np.array([n - half, n + half]), np.full(2, float(k))) for n, k in zip(at + 1.0, bar + lowest, strict=True)]
    found: dict[tuple[str, Role], Line] = {("roll", "measured"): _line(frame + 1.0, key + float(lowest))}
    return found | ({("roll", "model"): joined(bars)} if bars else {})


PAGE = RunsPage()
