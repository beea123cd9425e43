"""One's own network in a run: ``network: my_file.py:Class``, a `torch.nn.Module` that is trained like any other.

    Class(n_inputs, n_outputs, **options)             or with `parts`, which makes layers as the run is configured
    logits (T, B, n_outputs) = network(inputs)        or (inputs, lengths); inputs (T, B, ...), of any rank

`n_inputs` is the number of channels, or the shape of a frame such as (2, 34, 34). What the layers of neurons in it do
is seen by hooks, and every weight matrix of `training.synapses` is found wherever it is; so rates, virtual chips,
programming tables, ages and the round trip into SPICE are those of any run.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry
from bruno_spice.training.networks.config import RunConfig, SynapseConfig, sentence, suffixed
from bruno_spice.training.networks.network import (
    V_UNIT_V,
    AnyNetwork,
    Output,
    SpikingLayer,
    check_neuron_options,
    neuron_maker,
    synapse_maker,
)
from bruno_spice.training.networks.shapes import BatchFirst
from bruno_spice.training.neurons import NEURONS
from bruno_spice.training.neurons.base import CircuitLayer
from bruno_spice.training.neurons.kinds import NeuronKind
from bruno_spice.training.neurons.shared import SharedDevices
from bruno_spice.training.numerics import check_lengths
from bruno_spice.training.synapses.arrays import on_arrays
from bruno_spice.training.synapses.base import Synapse

Shape = int | tuple[int, ...]


def _class(found: Any) -> type[nn.Module]:
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise InputError("a network is a class derived from torch.nn.Module")
    return found


OWN: Registry[type[nn.Module]] = Registry("network", {}, _class, "Class")
"""Holds none: networks by name are the package's `Network`, with its settings."""


@dataclass(frozen=True)
class Parts:
    """Makes synapses, neurons and layers as the run's configuration has them, each with settings of its own if asked.

    A class that has `parts` among its arguments is given one.
    """

    config: RunConfig
    neuron_card: Card | None
    synapse_card: Card | None

    def synapse(self, n_in: int, n_out: int, **settings: Any) -> Synapse:
        """Weights, 0 at first, of the run's kind; `settings` replace keys of ``synapse``: ``kind``, ``bits``, ..."""
        config = self._synapse(settings)
        card = None if config.kind == "float" else self.synapse_card
        return synapse_maker(config, card)(n_in, n_out)

    def on_arrays(self, module: nn.Module, **settings: Any) -> nn.Module:
        """`module`, its Linear and Conv layers on the run's kind of weights, biases included; float leaves them."""
        config = self._synapse(settings)
        return module if config.kind == "float" else on_arrays(module, synapse_maker(config, self.synapse_card))

    def neuron(self, width: int, kind: str | None = None, **options: Any) -> nn.Module:
        """A layer of `width` neurons: the run's, or of `kind`; `options` are added to ``neuron.options``."""
        kind = kind or self.config.network.neuron
        found = NEURONS.find(kind)
        if found.make is None:
            raise InputError(f"parts.neuron: a {found.label} has its weights in it; take torch's own")
        if unknown := sorted(set(options) - set(found.options)):
            raise InputError(f"parts.neuron: {kind} has no option '{unknown[0]}'; it has {', '.join(found.options)}")
        if found.card is not None and not isinstance(self.neuron_card, found.card):
            raise InputError(f"parts.neuron: {kind} needs the card of one; set network.neuron: {kind}")
        config = self.config.neuron.model_copy(update={"options": self.config.neuron.options | suffixed(options)})
        return neuron_maker(found, config, self.neuron_card)(width)

    def layer(
        self, n_in: int, width: int, neuron: str | None = None, recurrent: bool | None = None,
        unit_current_a: float | None = None, weight_std: float | None = None,
        synapse: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None,
    ) -> SpikingLayer:  # fmt: skip
        """Weights, bias and neurons, called as ``spikes, voltage = layer(inputs, lengths)``, each (T, B, width).

        What is None is as the configuration has it: `neuron` a kind, `unit_current_a` in A, `weight_std` of the start,
        `synapse` keys of that section, `options` those of ``neuron.options``.
        """
        network, settings = self.config.network, dict(synapse or {})
        kind: NeuronKind = NEURONS.find(neuron or network.neuron)
        back = self.synapse(width, width, **settings) if kind.feeds_back(
            network.recurrent if recurrent is None else recurrent
        ) else None  # fmt: skip
        unit_a = network.unit_current_a if unit_current_a is None else unit_current_a
        v_unit_v = V_UNIT_V if self.neuron_card is None else self.neuron_card["v_threshold"]
        made = self.neuron(width, neuron, **dict(options or {}))
        layer = SpikingLayer(self.synapse(n_in, width, **settings), made, back, unit_a, v_unit_v)
        nn.init.normal_(layer.synapse.weight, std=network.weight_std if weight_std is None else weight_std)
        nn.init.normal_(layer.bias, std=network.bias_std)
        if back is not None:
            nn.init.normal_(back.weight, std=network.recurrent_std / width**0.5)
        return layer

    def _synapse(self, settings: Mapping[str, Any]) -> SynapseConfig:
        try:
            return SynapseConfig.model_validate(self.config.synapse.model_dump() | dict(settings))
        except ValidationError as error:
            raise InputError(f"parts, synapse: {sentence(error, SynapseConfig)}") from None


class OwnNetwork(AnyNetwork):
    """`module`, a user's, as the network of a run with `n_outputs`; `batch_first`: it takes and gives (B, T, ...)."""

    def __init__(self, module: nn.Module, n_outputs: int, batch_first: bool) -> None:
        super().__init__()
        if next(module.parameters(), None) is None:
            raise InputError(f"network: {type(module).__name__} has no parameters, so that nothing could be trained")
        self.module, self.n_outputs, self.batch_first = module, n_outputs, batch_first
        self.takes_lengths = len(inspect.signature(module.forward).parameters) > 1
        self.watch(
            {n: each for n, each in module.named_modules() if not isinstance(each, BatchFirst)}
        )  # that is inside

    def neuron_layers(self) -> dict[str, nn.Module]:
        """Those that are circuits, by their names in the module."""
        return {name: each for name, each in self.module.named_modules() if isinstance(each, CircuitLayer)}

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Output:
        """The answer to `inputs` (T, B, ...), of which sequence b has `lengths`[b] frames."""
        check_lengths(lengths, inputs, "the network's lengths")
        self.seen()
        given = inputs.transpose(0, 1) if self.batch_first else inputs
        answer = self.module(given, lengths) if self.takes_lengths else self.module(given)
        logits = answer.logits if isinstance(answer, Output) else answer
        if self.batch_first and isinstance(logits, Tensor):
            logits = logits.transpose(0, 1)
        wanted = (*inputs.shape[:2], self.n_outputs)
        if not isinstance(logits, Tensor) or logits.shape != wanted:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(
                f"network: {type(self.module).__name__} must answer with logits {_order(self.batch_first)} = {wanted} "
                f"(here with time first), not with {found}"
            )
        layers = {name: each for name, each in self.seen().items() if each.spikes.shape[:2] == wanted[:2]}
        return Output(logits, {name: each.spikes for name, each in layers.items()}, {}, layers)


def _order(batch_first: bool) -> str:
    return "(B, T, n_outputs)" if batch_first else "(T, B, n_outputs)"


def build_own(
    config: RunConfig, n_inputs: Shape, n_outputs: int, neuron_card: Card | None, synapse_card: Card | None
) -> OwnNetwork:
    """The network of one's own that `config` names, from ``network.own`` and ``network.options``.

    Raises `InputError` where the file holds no such class, or an option or setting does not fit.
    """
    network = config.network
    assert network.own is not None
    made = OWN.find(network.own)
    check_neuron_options(config, [NEURONS.find(network.neuron)])
    known = inspect.signature(made).parameters
    options = dict(network.options)
    free = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values())
    if unknown := [] if free else sorted(set(options) - set(known)):
        there = ", ".join(name for name in list(known)[2:] if name != "parts") or "none"
        raise InputError(f"network.options: {made.__name__} has no option '{unknown[0]}'; there are {there}")
    if "parts" in known:
        options["parts"] = Parts(config, neuron_card, synapse_card)
    try:
        module = made(n_inputs, n_outputs, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"network '{network.own}': {made.__name__} could not be made ({error})") from None
    built = OwnNetwork(module, n_outputs, network.batch_first)
    if config.neuron.train:
        built.train_devices(SharedDevices(neuron_card, config.neuron.train, config.neuron.train_within))
    return built
