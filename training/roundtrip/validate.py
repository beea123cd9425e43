"""A trained network back in SPICE: its neurons as circuits, under the currents that they really saw on test pieces.

    frames, RRAM conductances, recorded spikes -> synaptic current of each neuron, a value a millisecond
    current -> the circuit that the card was calibrated on (ngspice);  -> the card's equations;  -> torch, as trained
    spikes and voltages of the three side by side; the readout's answer with SPICE's neurons in the place of torch's

Each neuron is validated under the recorded currents (recurrent spikes are torch's), so that an early difference of one
does not become everyone's. What is left is the neuron's own, and `training.roundtrip.verdict` says whose doing it is.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from bruno_spice.calibration.circuits.crossbar import CrossbarRun, crossbar_job, crossbar_waveforms
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.origin import Circuit
from bruno_spice.calibration.errors import CalibrationError
from bruno_spice.calibration.neuron.validation import matched_fraction, rate_error
from bruno_spice.calibration.spice.farm import Farm, Job, version_of
from bruno_spice.calibration.targets.inspection import taken
from bruno_spice.calibration.verilog_a.choice import settled
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.waveform import Waveform
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.network import AnyNetwork
from bruno_spice.training.neurons.base import CircuitLayer
from bruno_spice.training.progress import threads
from bruno_spice.training.roundtrip.circuit import deck_overrides, felif_parameters, find_circuit, run_trials
from bruno_spice.training.roundtrip.compare import Trial, score_trial
from bruno_spice.training.roundtrip.crossbar import choose, compare_crossbar, crossbar_run, why_not
from bruno_spice.training.roundtrip.decision import decisions
from bruno_spice.training.roundtrip.recorded import (
    Recorded,
    as_circuit,
    choose_layer,
    choose_neurons,
    circuit_layers,
    record,
    spread_over_ranks,
)
from bruno_spice.training.roundtrip.verdict import KnownError, NeuronRow, summarise
from bruno_spice.training.runs.evaluation import load_run
from bruno_spice.training.runs.folder import RunFolder, versions
from bruno_spice.training.tasks import Task

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What to validate, and in what."""

    neurons: int = 20
    """Spiking neurons, spread over the ranks of their rates; up to two silent ones come on top."""
    pieces: int = 10
    """Test pieces, spread evenly over the test part."""
    milliseconds: int | None = None
    """Of each piece, from its start; all of it by default."""
    layer: str | None = None
    """``hidden.0``, ..., ``output``; by default the last hidden layer that is a circuit, else the output."""
    level: str = "a"
    """``a``: the netlist that the card was calibrated on; ``b``: its version of transistors."""
    netlist: Path | None = None
    """Another neuron testbench instead."""
    crossbar: bool = True
    """Also a few neurons in one deck with their resistors and mirrors."""


@dataclass(frozen=True, eq=False)
class RoundTrip:
    """`figures` as they go into validation.json, and what is drawn."""

    figures: dict[str, Any]
    rows: list[NeuronRow]
    trials: dict[int, list[Trial]]
    netlist: Path
    overrides: dict[int, dict[str, float]]
    """Of the netlist's parameters, for each neuron."""
    crossbar: list[Trial]
    crossbar_deck: str


def validate_run(
    run_dir: Path | str,
    options: Options | None = None,
    farm: Farm | None = None,
    tell: Tell = lambda _: None,
    trust_code: bool = False,
) -> RoundTrip:
    """Validate the run in `run_dir`; nothing is written. `tell` hears what deserves a word.

    Raises `InputError` where there is no run, circuit or spike or, without `trust_code`, where it names a Python
    file, and `NetlistError` for a faulty netlist.
    """
    options, farm = options or Options(), farm or Farm(progress="neurons in ngspice")
    started = time.monotonic()
    config, task, network = load_run(run_dir, tell, trust_code)
    if task.asks_for_spikes:
        raise InputError(f"{run_dir}: its task is scored by spikes, and a round trip compares what a network decides")
    layer = choose_layer(network, options.layer)
    neuron = circuit_layers(network)[layer]
    circuit = find_circuit(neuron.card, options.level, options.netlist)
    deck = neuron_deck(circuit.netlist).with_params(circuit.overrides)
    tell(taken(deck).sentence)
    farm = settled(farm, [deck], tell)
    with threads(config.threads):
        notes = [*circuit.notes, *_other_data(run_dir, task), *_follow_circuit(network)]
        recorded = record(network, task, layer, _pieces(task, options.pieces), options.milliseconds)
        if not recorded.rates_hz.any():
            raise InputError(
                f"{run_dir}: no neuron of {layer} spikes on these pieces, so there is nothing to compare; take more "
                "with --pieces, another --layer, or train with a larger network.unit_current_a"
            )
        chosen = choose_neurons(recorded.rates_hz, options.neurons)
        notes += _remarks(recorded, options.neurons)
        for note in notes:
            tell(note)
        overrides = {index: deck_overrides(circuit, neuron, index) for index in chosen}
        few = choose(recorded, chosen)
        array = _crossbar_run(network, recorded, few, overrides[few[0]], tell) if options.crossbar else None
        job = array and crossbar_job(array, circuit.netlist)
        trials, failures, beside = run_trials(recorded, neuron, overrides, circuit.netlist, farm, [job] if job else [])
        known = KnownError.of(neuron.card)
        scores = {n: [score_trial(t, felif_parameters(neuron, n)) for t in trials[n]] for n in chosen}
        rows = [summarise(n, recorded, scores[n], known, failures[n]) for n in chosen]
        decision = decisions(network, task, recorded, trials)
        crossbar: dict[str, Any] | None = None
        crossbar_trials: list[Trial] = []
        if array and job:
            crossbar, crossbar_trials = _crossbar(array, job, beside[0], few, recorded, neuron, tell)
    figures = {
        "run": str(run_dir),
        "weights_sha256": RunFolder(Path(run_dir)).weights_sha256(),
        "layer": layer,
        "circuit": _describe(circuit, options, farm),
        "options": to_jsonable_python(options),
        **_overall(rows),
        "known_error": to_jsonable_python(known),
        "milliseconds": int(recorded.lengths.sum()),
        "notes": notes,
        "decision": {name: value for name, value in decision.items() if name != "pieces"},
        "pieces": decision["pieces"],
        "neurons": [asdict(row) for row in rows],
        "crossbar": crossbar,
        "kernel": _kernel(config, neuron.solver),
        "wall_time_s": time.monotonic() - started,
        "versions": versions(),
    }
    return RoundTrip(figures, rows, trials, circuit.netlist, overrides, crossbar_trials, job.deck if job else "")


def _pieces(task: Task, count: int) -> tuple[int, ...]:
    return tuple(spread_over_ranks(np.arange(len(task.parts["test"])), count))


def _other_data(run_dir: Path | str, task: Task) -> list[str]:
    folder = RunFolder(Path(run_dir))
    trained_on = folder.read_result().get("source") if folder.result.is_file() else task.source
    return [] if trained_on == task.source else [f"trained on {trained_on}, but validated on {task.source}"]


def _follow_circuit(network: AnyNetwork) -> list[str]:
    changed = as_circuit(network)
    if not changed:
        return []
    return [
        f"{' and '.join(changed)} was trained with a reset at the end of the millisecond, which no circuit follows; "
        "validated with reset=event "
        "(train with neuron.options: {reset: event} for a network that knows it)"
    ]


def _remarks(recorded: Recorded, asked: int) -> list[str]:
    active = int((recorded.rates_hz > 0).sum())
    silent = recorded.rates_hz.size - active
    notes = []
    if active < asked:
        notes.append(
            f"only {active} of {recorded.rates_hz.size} neurons spike on these pieces; all of them are validated"
        )
    if silent:
        notes.append(f"{silent} of {recorded.rates_hz.size} neurons never spike on these pieces")
    return notes


def _crossbar_run(
    network: AnyNetwork, recorded: Recorded, few: list[int], overrides: dict[str, float], tell: Tell
) -> CrossbarRun | None:
    if reason := why_not(network, recorded.layer):
        tell(f"no crossbar deck: {reason}")
        return None
    return crossbar_run(network, recorded, few, overrides)


def _crossbar(
    run: CrossbarRun,
    job: Job,
    outcome: Waveform | CalibrationError,
    few: list[int],
    recorded: Recorded,
    neuron: CircuitLayer,
    tell: Tell,
) -> tuple[dict[str, Any], list[Trial]]:
    """Figures and trials of what the crossbar's `job` brought."""
    try:
        if isinstance(outcome, CalibrationError):
            raise outcome
        return compare_crossbar(run, crossbar_waveforms(run, job, outcome), few, recorded, neuron)
    except CalibrationError as error:
        if isinstance(error, InputError):
            raise
        tell(f"the crossbar deck failed: {error}")
        return {"failed": str(error)}, []


def _overall(rows: list[NeuronRow]) -> dict[str, Any]:
    torch_spikes, spice_spikes, matched = (
        sum(getattr(row, f"spikes_{name}") for row in rows) for name in ("torch", "spice", "matched")
    )
    compared = [row.matched_fraction for row in rows if row.matched_fraction is not None]
    return {
        "decks": sum(row.decks for row in rows),
        "decks_failed": sum(row.decks_failed for row in rows),
        "spikes_matched_fraction": matched_fraction(matched, torch_spikes, spice_spikes) if compared else None,
        "lowest_matched_fraction": min(compared, default=None),
        "rate_error": rate_error(torch_spikes, spice_spikes),
        "spikes_torch": torch_spikes,
        "spikes_spice": spice_spikes,
        "spikes_matched": matched,
        "verdicts": {name: sum(row.verdict == name for row in rows) for name in ("ok", "explained", "flagged")},
    }


def _describe(circuit: Circuit, options: Options, farm: Farm) -> dict[str, Any]:
    return {
        "level": options.level if options.netlist is None else None,
        "netlist": circuit.netlist.name,
        "sha256": circuit.sha256,
        "overrides": circuit.overrides,
        "ngspice_version": version_of(farm.simulator),
    }


def _kernel(config: RunConfig, solver: str) -> dict[str, str]:
    return {"gradient": config.neuron.gradient, "solver": solver}
