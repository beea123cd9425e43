"""Scores of a trained network, on its own chip or on many virtual ones."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bruno_spice.devices.errors import CardError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.config_file import code_files
from bruno_spice.training.networks.network import AnyNetwork, build_network
from bruno_spice.training.networks.own import build_own
from bruno_spice.training.parallel import own_device
from bruno_spice.training.progress import Reporter, Silent, threads
from bruno_spice.training.runs.checkpoint import kept_hashes, load_model
from bruno_spice.training.runs.folder import Cards, RunFolder, card_models, check_cards
from bruno_spice.training.runs.monitor import Rates
from bruno_spice.training.tasks import Task, load_task
from bruno_spice.training.tasks.base import Example

EVALUATION_BATCH = 64


def by_length(examples: Sequence[Example], batch_size: int) -> list[list[Example]]:
    """Batches of sequences of like length, shortest first."""
    ordered = sorted(examples, key=lambda example: len(example.inputs))
    return [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]


def score_part(
    network: AnyNetwork, task: Task, part: str, seed: int, answers: dict[int, Tensor] | None = None
) -> tuple[dict[str, float], Rates]:
    """Scores of `network` on ``valid`` or ``test``; read noise is drawn from `seed`, other random numbers stay.

    Logits (T, n_outputs) go into `answers`, where it is given, by the `id` of their example.
    """
    parameter = next(network.parameters())
    was_training = network.training
    network.eval()
    sums: dict[str, tuple[float, float]] = {}
    rates = Rates()
    devices = [parameter.device] if parameter.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        for examples in by_length(task.parts[part], EVALUATION_BATCH):
            batch = task.collate(examples).to(parameter.device, parameter.dtype)
            output = network(batch.inputs, batch.lengths)
            rates.add(output.spikes, batch.mask)
            if answers is not None:
                answers |= {id(each): output.logits[: len(each.inputs), n].cpu() for n, each in enumerate(examples)}
            for name, (total, weight) in task.scores_of(output, batch).items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + total, before[1] + weight)
    network.train(was_training)
    return task.finish(sums), rates


def make_network(config: RunConfig, task: Task, cards: Cards) -> AnyNetwork:
    """The untrained network of `config` on its device, weights and chip drawn from ``config.seed``."""
    torch.manual_seed(config.seed)
    network: AnyNetwork
    if config.network.own is None:
        network = build_network(config, task.n_inputs, task.n_outputs, cards.neuron, cards.synapse)
    else:
        shape = task.input_shape
        n_inputs = shape[0] if len(shape) == 1 else shape
        network = build_own(config, n_inputs, task.n_outputs, cards.neuron, cards.synapse)
    return network.to(own_device(torch.device(config.device)))


def changed_parts(kept: Mapping[str, str], task: Task) -> str:
    """The parts of the data of `task` whose hashes are not the `kept` ones, in words; empty where nothing was kept."""
    now = task.data_hashes()
    return " and ".join(part for part in now if kept and kept.get(part) != now[part])


def changed_code(kept: Mapping[str, str], config: RunConfig) -> str:
    """The files of `config` whose hashes are not the `kept` ones, in words; empty where nothing was kept."""
    now = code_files(config)
    return " and ".join(name for name in sorted({*kept, *now}) if kept and kept.get(name) != now.get(name))


def card_notes(config: RunConfig, cards: Cards) -> list[str]:
    """What to say where the cards that `config` names are no longer the `cards` that its run was begun with."""
    try:
        present = Cards.of(config).hashes()
    except CardError:
        return []  # gone: the run has its own copies
    return [
        f"note: the {model} card has changed since the run was begun, which goes on with its own copy"
        for model, kept in cards.hashes().items()
        if present.get(model) != kept
    ]


def load_run(
    run_dir: Path | str, report: Callable[[str], None] | None = None, trust_code: bool = False
) -> tuple[RunConfig, Task, AnyNetwork]:
    """The configuration, the task and the network (best epoch, its own chip) of the run in `run_dir`.

    `report` hears where data, cards or code of one's own are others now than those that it was trained on.
    Raises `InputError` where there is no run or no checkpoint, and, without `trust_code`, where its configuration names
    a Python file.
    """
    folder = RunFolder(Path(run_dir))
    config = folder.load_config(trust_code)
    cards = folder.load_cards(config)
    if folder.result.is_file():
        check_cards(folder, card_models(config), folder.read_result())
    identity, tell = folder.identity(config), report or warnings.warn
    if changed := changed_code(kept_hashes(folder.best, "best", identity, "code"), config):
        tell(f"warning: the code of {changed} is not as it was when the run was trained")
    task = load_task(config.task, config.task_options, report)
    network = make_network(config, task, cards)
    load_model(folder.best, network, identity)
    for note in card_notes(config, cards):
        tell(note)
    if changed := changed_parts(kept_hashes(folder.best, "best", identity, "data"), task):
        tell(f"warning: the data of {changed} are not those that the run was trained on")
    return config, task, network.eval()


def evaluate(
    run_dir: Path | str, chips: int = 0, reporter: Reporter | None = None, trust_code: bool = False
) -> dict[str, Any]:
    """Scores of the run `run_dir` on its own chip, and on `chips` virtual ones drawn anew, a step of `reporter` each.

    Returns ``{"task", "source", "valid": {...}, "test": {...}}`` and, with chips,
    ``"chips": {"n", "mean", "std", "min", "max"}`` of each test score. `trust_code` and errors: as `load_run`.
    """
    reporter = reporter or Silent()
    reporter.start(0, 1 + chips)
    try:
        config, task, network = load_run(run_dir, reporter.line, trust_code)
        with threads(config.threads):
            scores = {part: score_part(network, task, part, config.seed)[0] for part in ("valid", "test")}
            reporter.advance()
            result: dict[str, Any] = {"run": str(run_dir), "task": config.task, "source": task.source, **scores}
            if chips:
                result["chips"] = over_chips(network, task, chips, config.seed, reporter)
    finally:
        reporter.close()
    return result


def deviation(values: NDArray[np.float64], axis: int | None = None) -> Any:
    """Standard deviation of what `values` are samples of; 0 of a single one."""
    return np.std(values, axis=axis, ddof=min(1, (values.size if axis is None else values.shape[axis]) - 1))


MEASURES: dict[str, Callable[..., Any]] = {"mean": np.mean, "std": deviation, "min": np.min, "max": np.max}


def chip_seed(seed: int, chip: int) -> int:
    """The seed of a run's virtual chip; runs of neighbouring seeds have none in common."""
    return int(np.random.SeedSequence([seed, chip]).generate_state(1)[0])


def over_chips(network: AnyNetwork, task: Task, chips: int, seed: int, reporter: Reporter) -> dict[str, Any]:
    """Mean, standard deviation and range of the test scores over `chips` chips; the network keeps the last one."""
    rows = []
    with torch.random.fork_rng(devices=[]):
        for chip in range(chips):
            own_seed = chip_seed(seed, chip + 1)
            torch.manual_seed(own_seed)
            network.redraw()
            rows.append(score_part(network, task, "test", own_seed)[0])
            reporter.advance()
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    table = {
        measure: {name: float(function(values)) for name, values in columns.items()}
        for measure, function in MEASURES.items()
    }
    return {"n": chips, **table}
