"""The score of trained networks with their device parameters moved and their weights frozen.

    S(x) = score on the test part with p = p_card (1 + x) in every neuron, or (1 + sigma z_j) in neuron j

The network is run again at each x, so that S is right whatever the gradient does. Reads of noisy devices draw the same
numbers each time; what is left of noise are spikes that change their millisecond, and more reads average over them.
Voltages that the readout sees keep the scale that it was trained with. A score is a ratio of sums over test pieces,
which are kept apart, so that they can be drawn anew (`training.codesign.levers`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import truncnorm

from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.network import Network
from bruno_spice.training.neurons.base import CircuitLayer
from bruno_spice.training.neurons.shared import members
from bruno_spice.training.neurons.spread import CUT
from bruno_spice.training.progress import Reporter, threads
from bruno_spice.training.roundtrip.recorded import circuit_layers
from bruno_spice.training.runs.evaluation import EVALUATION_BATCH, by_length, load_run
from bruno_spice.training.tasks import Task

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pieces:
    """Sum and weight of a score of each test piece, (n,); the score is sum / weight over them."""

    total: Array
    weight: Array

    @property
    def score(self) -> float:
        """Over all pieces."""
        return float(self.total.sum() / self.weight.sum())

    def drawn(self, counts: Array) -> Array:
        """Scores (draws,) of the pieces taken `counts` (draws, n) times."""
        found: Array = (counts @ self.total) / (counts @ self.weight)
        return found


@dataclass(frozen=True, eq=False)
class Moves:
    """What moving one lever does in one network."""

    steps: Array
    """Relative steps (m,), rising, all above 0."""
    at_card: Pieces
    below: list[Pieces]
    """At each -step."""
    above: list[Pieces]
    """At each +step."""
    spread: list[tuple[Pieces, Pieces]]
    """Neurons that differ, in pairs of opposite devices."""


class Trained:
    """The network of a run that can be scored with its devices moved.

    Raises `InputError` where there is no run, it has no such neurons, or no such score.
    """

    def __init__(self, run: Path, score: str | None, trust_code: bool, reporter: Reporter, reads: int = 1) -> None:
        self.run, self.reads = run, reads
        self.config: RunConfig
        self.task: Task
        self.network: Network
        self.config, self.task, network = load_run(run, reporter.line, trust_code)
        if not isinstance(network, Network):
            raise InputError(f"{run}: its network is one's own, whose neurons can be moved by its own file alone")
        if self.task.asks_for_spikes:
            raise InputError(f"{run}: its task is scored by spikes, and codesign looks at logits")
        self.network = network
        found = circuit_layers(self.network)
        self.layers: list[CircuitLayer] = list(found.values())
        if not found:
            raise InputError(f"{run}: its {self.config.network.neuron} neurons are made without a card of a device")
        self.trained = [layer.factors for layer in self.layers]
        sizes = dict(enumerate(self.network.config.hidden))
        self.widths = [sizes.get(int(name[7:]), 0) if name != "output" else self.network.n_outputs for name in found]
        self.metric = score or self.task.metric
        self.at_card = self.pieces()

    @property
    def card(self) -> NeuronCard:
        """The card that its neurons were made from."""
        return self.layers[0].card

    def value(self, name: str) -> float:
        """Card parameter `name` as the run ended with it: the card's, or what was trained beside the weights."""
        factor = self.trained[0]().get(name)
        return self.card[name] * (1.0 if factor is None else float(factor.detach()))

    def moves(self, lever: str, steps: Array, spread: float, pairs: int, reporter: Reporter) -> Moves:
        """`lever` moved by every one of `steps` to either side, and spread by `spread` in `pairs` of opposite draws."""
        below: list[Pieces] = []
        above: list[Pieces] = []
        for step in steps:
            for sign, found in ((-1.0, below), (1.0, above)):
                found.append(self.pieces({lever: 1.0 + sign * step}))
                reporter.advance()
        drawn = []
        for pair in range(pairs):
            rng = np.random.default_rng([self.config.seed, pair])
            z = [truncnorm.rvs(-CUT, CUT, size=width, random_state=rng) for width in self.widths]
            both = []
            for sign in (1.0, -1.0):
                both.append(self.pieces({lever: [1.0 + sign * spread * each for each in z]}))
                reporter.advance()
            drawn.append((both[0], both[1]))
        return Moves(steps, self.at_card, below, above, drawn)

    def pieces(self, factors: Mapping[str, float | list[Array]] | None = None) -> Pieces:
        """The score of each test piece with the devices `moved`."""
        with self.moved(factors or {}):
            return self._scored()

    @contextmanager
    def moved(self, factors: Mapping[str, float | list[Array]], from_card: bool = False) -> Iterator[None]:
        """Within the block, card parameters are multiplied by `factors`, one number or (N,) of each layer.

        They come on top of what was trained beside the weights, or, `from_card`, take its place.
        """
        for index, (layer, trained) in enumerate(zip(self.layers, self.trained, strict=True)):
            found = {} if from_card else {name: value.detach() for name, value in trained().items()}
            for name, factor in factors.items():
                own = torch.as_tensor(factor if isinstance(factor, float) else factor[index], dtype=torch.float64)
                for each in members(self.card, name):
                    found[each] = found.get(each, torch.ones((), dtype=torch.float64)) * own
            layer.factors = found.copy
        try:
            yield
        finally:
            for layer, trained in zip(self.layers, self.trained, strict=True):
                layer.factors = trained

    def _scored(self) -> Pieces:
        found = [self._read(self.config.seed + read) for read in range(self.reads)]
        return Pieces(np.mean([total for total, _ in found], axis=0), found[0][1])

    def _read(self, seed: int) -> tuple[Array, Array]:
        """Sum and weight of the score of each test piece, noise drawn from `seed`."""
        parameter = next(self.network.parameters())
        sums: list[tuple[float, float]] = []
        with threads(self.config.threads), torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for examples in by_length(self.task.parts["test"], EVALUATION_BATCH):
                batch = self.task.collate(examples).to(parameter.device, parameter.dtype)
                logits = self.network(batch.inputs, batch.lengths).logits
                for row in range(len(examples)):
                    scores = self.task.scores(logits[:, row : row + 1], batch.shard(row, len(examples)))
                    if self.metric not in scores:
                        raise InputError(f"the task has no score '{self.metric}'; there are {', '.join(scores)}")
                    sums.append(scores[self.metric])
        total, weight = np.array(sums, dtype=np.float64).T
        return total, weight
