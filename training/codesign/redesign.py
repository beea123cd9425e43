"""A trained network on a changed circuit: the netlist moved, recalibrated, the network retrained and validated.

    netlist --set--> ngspice -> fit -> card --frozen weights--> score        what the move did to the network as it is
                                         |----train----------> score        what a network that knows it makes of it
                                                    |--validate--> ngspice

Each step is kept in the folder, so that a command that was stopped goes on with the step that it was in: simulations
and fits in the store, the card where the netlist is the same, the training from its checkpoint, the validation where
the weights are the same.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic_core import to_jsonable_python

from bruno_spice.calibration.cards.catalogue import changes
from bruno_spice.calibration.cards.provenance import in_project
from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.neuron.twins import netlist_of, settings
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.targets import TARGETS
from bruno_spice.calibration.targets.calibrate import save_card
from bruno_spice.calibration.targets.target import Asked
from bruno_spice.calibration.verilog_a.choice import settled
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.reading import shown
from bruno_spice.training.codesign.response import Trained
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.network import Network, SpikingLayer
from bruno_spice.training.progress import Reporter, Silent, threads
from bruno_spice.training.roundtrip.output import write_outputs
from bruno_spice.training.roundtrip.recorded import circuit_layers
from bruno_spice.training.roundtrip.validate import Options as RoundTripOptions
from bruno_spice.training.roundtrip.validate import validate_run
from bruno_spice.training.runs.evaluation import make_network, score_part
from bruno_spice.training.runs.folder import Cards, RunFolder, read_object, sealed
from bruno_spice.training.runs.trainer import train
from bruno_spice.training.tasks import Task

Tell = Callable[[str], None]
FILE = "redesign.json"


@dataclass(frozen=True)
class Effort:
    """How much work each step is."""

    network_traces: int = 20
    """That validate the card."""
    retrain: bool = True
    """Whether the network is trained on the new card and validated; else only scored with its weights as they are."""
    epochs: int | None = None
    """Of the training; None: as many as the run."""
    round_trip: RoundTripOptions = field(default_factory=RoundTripOptions)


QUICK = Effort(0, epochs=1, round_trip=RoundTripOptions(neurons=2, pieces=1, milliseconds=30, crossbar=False))


def redesign(
    run: Path,
    asked: Mapping[str, float],
    out: Path,
    effort: Effort | None = None,
    farm: Farm | None = None,
    reporter: Callable[[], Reporter] = Silent,
    trust_code: bool = False,
    netlist: Path | None = None,
) -> dict[str, Any]:
    """Move the netlist behind `run` to the numbers `asked`, or to those that the run proposes; leave all in `out`.

    `netlist` is a file of your own that the run's card was calibrated on, of which the card knows the name alone.
    `reporter` makes one for each step. Returns what ``redesign.json`` holds. Raises `InputError` where there is nothing
    to move or no netlist, `FitError` where the new card cannot be believed, `Interrupted` after Ctrl-C.
    """
    effort, farm = effort or Effort(), farm or Farm()
    say = reporter()
    trained = Trained(run, None, trust_code, say)
    path = netlist or _netlist(trained.card)
    numbers = dict(asked) or proposed_settings(RunFolder(run), trained.card, path)
    if trained.config.neuron.values:
        raise InputError(f"{run}: neuron.values replaced numbers of its card, so that no netlist is behind it")
    farm = settled(farm, [neuron_deck(path).with_params(numbers)], say.line)
    say.line(f"1/4 recalibrating at {', '.join(f'{name}={value:.6g}' for name, value in numbers.items())}")
    card = recalibrated(trained.card, path, trained.config, numbers, out, effort, farm, say.line)
    say.line("2/4 the network as it is, on the moved card and on the recalibrated one")
    scores = {"as trained": _scores(trained.network, trained.task, trained.config)}
    if (moved := _as_asked(trained, path, numbers)) is not None:
        scores["same weights, card moved as asked"] = moved
    frozen = on_card(trained, card)
    scores["same weights, recalibrated card"] = _scores(frozen, trained.task, trained.config)
    validation = None
    if effort.retrain:
        say.line("3/4 retraining")
        config = _config_of(trained.config, out / "cards" / f"{card.MODEL}.json", effort)
        result = train(config, out / "run", resume=True, overwrite=True, reporter=reporter())
        scores["retrained"] = {part: result[part] for part in ("valid", "test")}
        say.line("4/4 back into SPICE")
        options = replace(effort.round_trip, netlist=path)
        validation = _validation(out / "run", options, farm, say.line, trust_code)
    say.close()
    found = _told(run, trained, path, numbers, card, scores, validation)
    write_atomic(out / FILE, json.dumps(sealed(found), indent=2, allow_nan=False) + "\n")
    return found


def _config_of(config: RunConfig, card: Path, effort: Effort) -> RunConfig:
    """`config` on `card`, which is not moved further."""
    values: dict[str, Any] = {"neuron__card": str(card), "neuron__train": {}}
    return config.with_values(**values | ({} if effort.epochs is None else {"training__epochs": effort.epochs}))


def _netlist(card: NeuronCard) -> Path:
    found = netlist_of(card)
    if found is None:
        named = card.provenance.netlist
        raise InputError(
            f"the run's card was calibrated on {shown(named)}, which is not here; give --netlist FILE"
            if named
            else "the run's card was not calibrated on a netlist, so that none can be moved"
        )
    return found


def proposed_settings(folder: RunFolder, start: NeuronCard, netlist: Path) -> dict[str, float]:
    """The numbers of `netlist` for the card that the run proposes.

    Raises `InputError` where it proposes none, or something that the netlist has no number for.
    """
    path = folder.proposed_file(start.MODEL)
    if not path.is_file():
        raise InputError(
            f"{folder.path}: proposes no card (neuron.train is empty); say with --set NAME=VALUE what of the netlist "
            "is to change"
        )
    values = {change.name: change.second for change in changes(start, type(start).load(path)) if change.second}
    found = settings(start, values, netlist)
    if without := [name for name in values if name not in found]:
        raise InputError(
            f"{path}: {netlist.name} has no number for {', '.join(without)}; say with "
            "--set NAME=VALUE what of the netlist is to change"
        )
    return {setting.param: setting.value for setting in found.values()}


def recalibrated(
    start: NeuronCard, netlist: Path, config: RunConfig, numbers: Mapping[str, float], out: Path, effort: Effort,
    farm: Farm, tell: Tell,
) -> NeuronCard:  # fmt: skip
    """The card of `netlist` at `numbers` beside the overrides of `start`, of as many domains, in ``out/cards``."""
    path = out / "cards" / f"{start.MODEL}.json"
    overrides = start.provenance.overrides | dict(numbers)
    expected = neuron_deck(netlist).sha256(overrides)
    if path.is_file():
        try:
            kept = type(start).load(path)
        except CardError as error:
            tell(f"calibrates anew: {error}")
        else:
            traces = kept.validation.get("network_like", {}).get("traces")
            if kept.provenance.sha256 == expected and traces == effort.network_traces and not kept.doubt:
                tell(f"{path} is of this netlist already")
                return kept
    target, model = TARGETS.find("neuron"), start.NEURON
    options = target.options(
        Asked(
            netlist=netlist,
            overrides=overrides,
            domains=(start.domains,) if model.domain_parameters else None,
            monte_carlo=None if config.neuron.spread == "card" else 0,
            network_traces=effort.network_traces,
            model=model.name,
        )
    )
    card: NeuronCard = target.calibrate(farm=farm, command="bruno redesign", notice=tell, **options).card
    save_card(card, path)
    if card.doubt:
        raise FitError(f"{card.doubt}; {path} holds the best values found, marked as such")
    return type(start).load(path)


def on_card(trained: Trained, card: NeuronCard) -> Network:
    """The network of `trained` with its weights, its limits and the scale of its readout, its neurons made from `card`.

    Neurons that differ are drawn anew.
    """
    config, old = trained.config.with_values(neuron__train={}), trained.network
    synapse = RunFolder(trained.run).load_cards(trained.config).synapse
    with torch.random.fork_rng(devices=[]):
        network = make_network(config, trained.task, Cards(card, synapse))
    assert isinstance(network, Network), "codesign refuses others"
    state = {name: value for name, value in old.state_dict().items() if not name.startswith("shared.")}
    own = network.state_dict()
    network.load_state_dict({name: own[name] if ".device_" in name else state[name] for name in own})
    network.v_unit_v = old.v_unit_v
    for new, before in zip(network.hidden, old.hidden, strict=True):
        if isinstance(new, SpikingLayer) and isinstance(before, SpikingLayer):
            new.v_unit_v = before.v_unit_v
    for layer, former in zip(circuit_layers(network).values(), trained.layers, strict=True):
        layer.limits = former.limits
    return network.eval()


def _scores(network: Network, task: Task, config: RunConfig) -> dict[str, dict[str, float]]:
    with threads(config.threads):
        return {part: score_part(network, task, part, config.seed)[0] for part in ("valid", "test")}


def factors_asked(card: NeuronCard, netlist: Path, numbers: Mapping[str, float]) -> dict[str, float] | None:
    """By what factor each card parameter with a twin among `numbers` should move; None where a number has no twin."""
    model = card.NEURON
    found: dict[str, float] = {}
    for param, number in numbers.items():
        names = [name for name in card.parameters if model.deck_parameter(name) == param]
        now = _now(card, netlist, param)
        if not names or not now:
            return None
        found |= {name: number / now for name in names if card[name] != 0.0}
    return found


def _as_asked(trained: Trained, netlist: Path, numbers: Mapping[str, float]) -> dict[str, dict[str, float]] | None:
    """Scores with the card's parameters moved by what the netlist's are; None where one of those has no twin."""
    factors = factors_asked(trained.card, netlist, numbers)
    if factors is None:
        return None
    with trained.moved(factors, from_card=True):
        return _scores(trained.network, trained.task, trained.config)


def _validation(run: Path, options: RoundTripOptions, farm: Farm, tell: Tell, trust_code: bool) -> dict[str, Any]:
    folder, path = RunFolder(run), run / "validation.json"
    if path.is_file():
        figures = read_object(path, f"bruno validate {run}")
        if _is_of(figures, folder) and figures.get("options") == to_jsonable_python(options):
            tell(f"{path} is of these weights already")
            return figures
    result = validate_run(run, options, farm, tell, trust_code)
    with folder.writing():
        write_outputs(run, result)
    return result.figures


def _is_of(figures: Mapping[str, Any], folder: RunFolder) -> bool:
    """Whether a validation is of the weights that `folder` holds now."""
    return figures.get("weights_sha256") == folder.weights_sha256()


def _told(
    run: Path, trained: Trained, netlist: Path, numbers: Mapping[str, float], card: NeuronCard, scores: dict[str, Any],
    validation: dict[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    start, asked = trained.card, factors_asked(trained.card, netlist, numbers) or {}
    parameters = [
        {
            "name": name,
            "unit": entry.unit,
            "before": entry.value,
            "asked": entry.value * asked.get(name, 1.0),
            "recalibrated": card[name],
            "stderr": card.parameters[name].stderr,
        }
        for name, entry in start.parameters.items()
        if name in card.parameters
    ]
    before = RunFolder(run)
    old = before.path / "validation.json"
    figures = read_object(old, f"bruno validate {run}") if old.is_file() else None
    return {
        "run": str(run),
        "task": trained.config.task,
        "metric": trained.task.metric,
        "higher_is_better": trained.task.higher_is_better,
        "netlist": in_project(netlist) or netlist.name,
        "settings": dict(numbers),
        "settings_before": {name: _now(start, netlist, name) for name in numbers},
        "parameters": parameters,
        "scores": scores,
        "validation_before": _matched(figures) if figures is not None and _is_of(figures, before) else None,
        "validation": None if validation is None else _matched(validation),
    }


def _now(card: NeuronCard, netlist: Path, param: str) -> float | None:
    """The number that the card was calibrated at."""
    params = neuron_deck(netlist).params
    return card.provenance.overrides.get(param, params[param].value if param in params else None)


def _matched(figures: dict[str, Any]) -> dict[str, Any]:
    keys = ("spikes_matched_fraction", "spikes_torch", "spikes_spice", "rate_error", "verdicts")
    return {name: figures[name] for name in keys}
