"""Networks from a configuration: input weights -> spiking layers -> readout of spikes, trace and voltage.

    i_syn   = i_unit (W x[t] + W_rec s[t-1] + b)                                one value a macro step
    tr[t]   = a tr[t-1] + (1 - a) s[t],     a = sigmoid(learned)                 a neuron its own
    logits  = W_out [s, 3 tr, V / V_th] + W_skip x[t] + b_out

With `input_stages`, x are the taps of an RC ladder on each input line (`training.networks.ladder`). With
`readout_windows`, W_out is another matrix in each window of time. Time comes first, (T, B, N). Every W is of a kind in
`training.synapses.SYNAPSES`, every layer of one in `training.neurons.NEURONS`; biases are currents of their own and
stay float. With an output neuron, the logits are its trace and voltage, a learned gain each.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.config import NetworkConfig, NeuronConfig, RunConfig, SynapseConfig
from bruno_spice.training.networks.ladder import ladder
from bruno_spice.training.neurons import NEURONS
from bruno_spice.training.neurons.base import Outputs, stacked
from bruno_spice.training.neurons.kinds import NeuronKind
from bruno_spice.training.neurons.shared import SharedDevices
from bruno_spice.training.numerics import check_lengths
from bruno_spice.training.synapses import SYNAPSES
from bruno_spice.training.synapses.base import Synapse
from bruno_spice.training.synapses.kinds import MakeSynapse

TRACE_GAIN = 3.0
VOLTAGE_CLIP = 3.0
MOST_WEIGHTS = 100_000_000

V_UNIT_V = 1.0
"""The voltage that reads as 1 where no card has a threshold."""

MakeNeuron = Callable[[int], nn.Module]
"""From the number of neurons."""


@dataclass(frozen=True)
class Output:
    """`logits` (T, B, n_outputs) and what the layers did: `spikes` {layer: (T, B, N)}."""

    logits: Tensor
    spikes: dict[str, Tensor] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)
    """Of the last hidden layer: spikes, trace, voltage, each (T, B, N)."""
    layers: dict[str, Outputs] = field(default_factory=dict)
    """All that each layer of neurons showed, by the names of `spikes`."""


class SharedDropout(nn.Module):
    """Dropout whose mask, of a frame or a sequence, covers the whole batch before each process takes its rows of it.

    So that `world_size` processes, each at the same random state, do what one would.
    """

    def __init__(self, probability: float, whole_sequence: bool = False) -> None:
        super().__init__()
        self.probability, self.whole_sequence = probability, whole_sequence
        self.rank, self.world_size, self.whole_batch = 0, 1, 0

    def forward(self, inputs: Tensor) -> Tensor:
        """`inputs` (T, B, N) with elements set to zero in training, the others scaled up."""
        if not self.training or self.probability == 0:
            return inputs
        steps, batch, width = inputs.shape
        whole = self.whole_batch if self.world_size > 1 else batch
        steps = 1 if self.whole_sequence else steps
        mask = torch.rand(steps, whole, width, device=inputs.device, dtype=inputs.dtype) >= self.probability
        mask = torch.nn.functional.pad(mask, (0, 0, 0, batch * self.world_size - whole), value=True)
        return inputs * mask[:, self.rank :: self.world_size] / (1 - self.probability)


class Trace(nn.Module):
    """Leaky average of spikes with a learned time constant a neuron."""

    def __init__(self, width: int, tau_steps: float) -> None:
        super().__init__()
        decay = math.exp(-1 / tau_steps)
        self.logit_decay = nn.Parameter(torch.full((width,), math.log(decay / (1 - decay))))

    def forward(self, spikes: Tensor) -> Tensor:
        """Trace (T, B, N) of `spikes` (T, B, N)."""
        decay = torch.sigmoid(self.logit_decay)
        trace = spikes.new_zeros(spikes.shape[1:])
        steps = []
        for driven in ((1 - decay) * spikes).unbind(0):
            trace = torch.addcmul(driven, decay, trace)
            steps.append(trace)
        return stacked(steps, spikes)


class SpikingLayer(nn.Module):
    """Weights, bias and neurons; recurrent where `recurrent` is given."""

    def __init__(
        self, synapse: Synapse, neuron: nn.Module, recurrent: Synapse | None, unit_current_a: float, v_unit_v: float
    ) -> None:
        super().__init__()
        self.synapse, self.neuron, self.recurrent = synapse, neuron, recurrent
        self.unit_current_a, self.v_unit_v = unit_current_a, v_unit_v
        self.bias = nn.Parameter(torch.zeros(synapse.weight.shape[0]))

    def forward(self, inputs: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Spikes and normalised voltage, each (T, B, N), for `inputs` (T, B, n_in)."""
        current_a = (self.synapse(inputs) + self.bias) * self.unit_current_a
        recurrent_a = None
        if self.recurrent is not None:
            recurrent_a = self.recurrent.effective_weight().T * self.unit_current_a
        out, _ = self.neuron(current_a, None, recurrent_a, lengths)
        return out.spikes, (out.voltage_v / self.v_unit_v).clamp(-VOLTAGE_CLIP, VOLTAGE_CLIP)


class Watch:
    """A forward hook that keeps what the layer of neurons called `name` shows in `shown`."""

    def __init__(self, name: str, shown: dict[str, Outputs]) -> None:
        self.name, self.shown = name, shown

    def __call__(self, _: nn.Module, __: Any, result: Any) -> None:
        """Keep it where it is one of neurons."""
        if isinstance(result, tuple) and result and isinstance(result[0], Outputs):
            self.shown[self.name] = result[0]


class AnyNetwork(nn.Module):
    """What runs ask of a network, the package's (`Network`) or one's own (`training.networks.own`).

    It is called with inputs (T, B, ...) and the lengths of sequences, and answers with an `Output`.
    """

    n_outputs: int

    def __init__(self) -> None:
        super().__init__()
        self.shared: SharedDevices | None = None
        self._shown: dict[str, Outputs] = {}

    def watch(self, layers: Mapping[str, nn.Module]) -> None:
        """See what these show in every pass."""
        for name, layer in layers.items():
            layer.register_forward_hook(Watch(name, self._shown))

    def seen(self) -> dict[str, Outputs]:
        """What was shown since it was last asked for."""
        found = dict(self._shown)
        self._shown.clear()
        return found

    def train_devices(self, shared: SharedDevices) -> None:
        """Let all neurons have `shared`, trained beside the weights; the last of the parameters."""
        self.shared = shared
        shared.give_to(self.modules())

    def neuron_layers(self) -> dict[str, nn.Module]:
        """The layers of neurons by the names that `Output.spikes` uses, in the order of the signal."""
        raise NotImplementedError

    def synapses(self) -> dict[str, Synapse]:
        """Every weight matrix by its name."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Synapse)}

    def redraw(self) -> None:
        """Take another chip: new devices everywhere, from torch's global random numbers."""
        for module in self.modules():
            if module is not self and callable(redraw := getattr(module, "redraw", None)):
                redraw()

    def set_process(self, rank: int, world_size: int, whole_batch: int) -> None:
        """Tell the dropouts which rows of a batch of `whole_batch` sequences this process holds."""
        for module in self.modules():
            if isinstance(module, SharedDropout):
                module.rank, module.world_size, module.whole_batch = rank, world_size, whole_batch


class Network(AnyNetwork):
    """The network of `config`, from `n_inputs` to `n_outputs`; see `build_network`."""

    def __init__(
        self,
        config: NetworkConfig,
        n_inputs: int,
        n_outputs: int,
        make_synapse: MakeSynapse,
        kind: NeuronKind,
        make_neuron: dict[str, MakeNeuron],
        v_unit_v: float,
    ) -> None:
        super().__init__()
        self.config = config
        self.gated = kind.gated is not None
        n_inputs *= max(config.input_stages, 1)
        widths = [n_inputs, *config.hidden]

        def layer(n_in: int, width: int) -> nn.Module:
            if kind.gated is not None:
                return kind.gated(n_in, width)
            recurrent = make_synapse(width, width) if kind.feeds_back(config.recurrent) else None
            neuron = make_neuron[config.neuron](width)
            return SpikingLayer(make_synapse(n_in, width), neuron, recurrent, config.unit_current_a, v_unit_v)

        self.hidden = nn.ModuleList(layer(n, width) for n, width in pairwise(widths))
        uses_trace = not self.gated and "trace" in config.readout
        self.trace = Trace(widths[-1], config.trace_tau_steps) if uses_trace else None
        n_features = widths[-1] * (1 if self.gated else len(config.readout))
        self.n_outputs = n_outputs
        self.readout = make_synapse(n_features, n_outputs * config.readout_windows)
        self.skip = make_synapse(n_inputs, n_outputs) if config.input_skip else None
        self.output_bias = nn.Parameter(torch.full((n_outputs,), config.output_bias))
        self.dropout = SharedDropout(config.dropout, config.dropout_whole)
        self.input_dropout = SharedDropout(config.input_dropout)
        self.output_neuron: nn.Module | None = None
        if config.output_neuron != "none":
            self.output_neuron = make_neuron[config.output_neuron](n_outputs)
            self.output_trace = Trace(n_outputs, config.trace_tau_steps)
            self.output_gain = nn.Parameter(torch.tensor([10.0, 1.0]))
        self.v_unit_v = v_unit_v
        self._start_weights()
        self.watch(self.neuron_layers())

    def neuron_layers(self) -> dict[str, nn.Module]:
        """``hidden.0``, ... and, where it has neurons, ``output``."""
        hidden = {f"hidden.{n}": each.neuron for n, each in enumerate(self.hidden) if isinstance(each, SpikingLayer)}
        return hidden if self.output_neuron is None else hidden | {"output": self.output_neuron}

    def _start_weights(self) -> None:
        config = self.config
        for depth, layer in enumerate(self.hidden):
            if not isinstance(layer, SpikingLayer):
                continue
            width, n_in = layer.synapse.weight.shape
            std = config.weight_std * (1 if depth == 0 else math.sqrt(10 / n_in))
            nn.init.normal_(layer.synapse.weight, std=std)
            nn.init.normal_(layer.bias, std=config.bias_std)
            if layer.recurrent is not None:
                nn.init.normal_(layer.recurrent.weight, std=config.recurrent_std / math.sqrt(width))
        nn.init.normal_(self.readout.weight, std=0.05)
        if self.skip is not None:
            nn.init.normal_(self.skip.weight, std=0.05)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Output:
        """Logits for `inputs` (T, B, n_inputs), of which sequence b has `lengths`[b] frames; all T by default."""
        check_lengths(lengths, inputs, "the network's lengths")
        inputs = self.input_dropout(inputs)
        if self.config.input_stages:
            inputs = ladder(inputs, self.config.input_stages, self.config.input_tau_steps)
        values, spikes = inputs, {}
        features: dict[str, Tensor] = {}
        for depth, layer in enumerate(self.hidden):
            if self.gated:
                values = layer(values)
            else:
                values, voltage = layer(values, lengths)
                spikes[f"hidden.{depth}"] = values
        if self.gated:
            read = values
        else:
            features = {"spikes": values, "voltage": voltage}
            if self.trace is not None:
                features["trace"] = TRACE_GAIN * self.trace(values)
            read = torch.cat([features[name] for name in self.config.readout], dim=-1)
        logits = self._read_out(self.dropout(read) * self.config.readout_gain) + self.output_bias
        if self.skip is not None:
            logits = logits + self.skip(inputs)
        if self.output_neuron is not None:
            out, _ = self.output_neuron(logits * self.config.unit_current_a, None, None, lengths)
            spikes["output"] = out.spikes
            voltage = (out.voltage_v / self.v_unit_v).clamp(-VOLTAGE_CLIP, VOLTAGE_CLIP)
            logits = self.output_gain[0] * self.output_trace(out.spikes) + self.output_gain[1] * voltage
        return Output(logits, spikes, features, self.seen())

    def _read_out(self, features: Tensor) -> Tensor:
        """Logits (T, B, n_outputs): in every window of time, other weights read the features (T, B, F)."""
        windows = self.config.readout_windows
        if windows == 1:
            return self.readout(features)
        weight = self.readout.effective_weight().view(windows, self.n_outputs, -1)
        steps = self.config.window_steps
        parts = [features[steps * w : steps * (w + 1)] for w in range(windows - 1)]
        parts.append(features[steps * (windows - 1) :])
        return torch.cat([part @ each.T for part, each in zip(parts, weight, strict=True)])


def synapse_maker(config: SynapseConfig, card: Card | None) -> MakeSynapse:
    """The function that makes the weights of `config`, of devices of `card` where they have one."""
    kind = SYNAPSES.find(config.kind)
    if unknown := sorted(set(config.options) - set(kind.options)):
        there = f"there are {', '.join(kind.options)}" if kind.options else f"{kind.label} weights have none"
        raise InputError(f"synapse.options: there is no '{unknown[0]}'; {there}")
    return kind.maker(config, card)


def neuron_maker(kind: NeuronKind, config: NeuronConfig, card: Card | None) -> MakeNeuron:
    """The function that makes layers of `kind`; of the options it takes those that it knows."""
    make = kind.make
    if make is None:
        raise InputError(f"network.output_neuron: a {kind.label} has no neurons")
    options = {name: value for name, value in config.options.items() if name in kind.options}
    return lambda width: make(config, options, card, width)


def check_neuron_options(config: RunConfig, kinds: Iterable[NeuronKind]) -> None:
    """Raise `InputError` for one of ``neuron.options`` that neither `kinds` nor any of the package knows."""
    kinds = list(kinds)
    known = {name for each in (*NEURONS.values(), *kinds) for name in each.options}
    if unknown := sorted(set(config.neuron.options) - known):
        there = ", ".join(kinds[0].options) or "none"
        raise InputError(f"neuron.options: there is no '{unknown[0]}'; there are {there}")


def weight_count(config: NetworkConfig, kind: NeuronKind, n_inputs: int, n_outputs: int) -> int:
    """Weights of the network of `config`, about: those of a GRU or LSTM count once."""
    n_inputs *= max(config.input_stages, 1)
    widths = [n_inputs, *config.hidden]
    forward = sum(a * b for a, b in pairwise(widths))
    recurrent = sum(n * n for n in config.hidden) if kind.feeds_back(config.recurrent) or kind.gated else 0
    readout = widths[-1] * len(config.readout) * n_outputs * config.readout_windows
    return forward + recurrent + readout + n_inputs * n_outputs


def build_network(
    config: RunConfig, n_inputs: int, n_outputs: int, neuron_card: Card | None, synapse_card: Card | None
) -> Network:
    """The network of `config`, its weights and devices drawn from torch's global random numbers.

    Raises `InputError` for too many weights and for an option that no neuron or weight has.
    """
    network = config.network
    kinds = {name: NEURONS.find(name) for name in (network.neuron, network.output_neuron) if name != "none"}
    kind = kinds[network.neuron]
    if (weights := weight_count(network, kind, n_inputs, n_outputs)) > MOST_WEIGHTS:
        raise InputError(
            f"network: it would have {weights:,} weights, more than the {MOST_WEIGHTS:,} that are sensible"
        )
    check_neuron_options(config, kinds.values())
    neurons = {
        name: neuron_maker(each, config.neuron, neuron_card) for name, each in kinds.items() if each.make is not None
    }
    make_synapse = synapse_maker(config.synapse, synapse_card)
    v_unit_v = V_UNIT_V if neuron_card is None else neuron_card["v_threshold"]
    built = Network(network, n_inputs, n_outputs, make_synapse, kind, neurons, v_unit_v)
    if config.neuron.train:
        built.train_devices(SharedDevices(neuron_card, config.neuron.train, config.neuron.train_within))
    return built
