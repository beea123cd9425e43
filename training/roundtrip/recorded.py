"""What a trained network did on test pieces, and what it would have done with other neurons in the place of some.

The arrays are read once and without noise, so that torch and SPICE see the very same conductances: those of
``DeviceLinear.programming()``, on the run's own chip. Neurons follow the circuit's reset (``reset="event"``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bruno_spice.devices.errors import InputError
from bruno_spice.training.networks.network import AnyNetwork, Output
from bruno_spice.training.neurons.base import CircuitLayer, Outputs
from bruno_spice.training.synapses.device import DeviceLinear
from bruno_spice.training.tasks import Task
from bruno_spice.training.tasks.base import Batch

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shown:
    """One neuron in torch, a value a millisecond, (T,): spikes in it, and the state at its end."""

    counts: Array
    voltage_v: Array
    polarization: Array


@dataclass(frozen=True, eq=False)
class Recorded:
    """A layer of neurons on test pieces: what its neurons saw and did, (T, B, N) each, one value a millisecond."""

    layer: str
    pieces: tuple[int, ...]
    """Places of the pieces in the test part."""
    lengths: NDArray[np.int64]
    """Milliseconds of each piece that are kept, (B,)."""
    current_a: Array
    """Synaptic current: input, recurrence and bias, within the limits."""
    spikes: Array
    voltage_v: Array
    """At the end of each millisecond, as `polarization`."""
    polarization: Array
    logits: torch.Tensor
    batch: Batch

    def shown(self, steps: int, place: int, index: int) -> "Shown":
        """What the neuron at `index` did in the first `steps` milliseconds of the piece at `place`."""
        at = (slice(0, steps), place, index)
        return Shown(self.spikes[at], self.voltage_v[at], self.polarization[at])

    def currents_a(self, index: int) -> Array:
        """Currents of the neuron at `index` over all milliseconds of all pieces in A, one after another."""
        within = np.arange(len(self.spikes))[:, None] < self.lengths
        return self.current_a[..., index][within]

    @property
    def rates_hz(self) -> Array:
        """Mean rate of each neuron over all pieces, (N,), in Hz."""
        within = np.arange(len(self.spikes))[:, None] < self.lengths
        return (self.spikes * within[..., None]).sum((0, 1)) / (self.lengths.sum() * 1e-3)


def circuit_layers(network: AnyNetwork) -> dict[str, CircuitLayer]:
    """The layers that are circuits by the names that `Output.spikes` uses, in the order of the signal."""
    return {name: neuron for name, neuron in network.neuron_layers().items() if isinstance(neuron, CircuitLayer)}


def choose_layer(network: AnyNetwork, name: str | None) -> str:
    """`name`, or the last hidden layer that is a circuit, else the output. Raises `InputError` where there is none."""
    layers = list(circuit_layers(network))
    if not layers:
        raise InputError("this run has no FeLIF neurons, so there is no circuit to validate it in")
    if name is not None and name not in layers:
        raise InputError(f"this run has no FeLIF layer '{name}'; it has {', '.join(layers)}")
    hidden = [each for each in layers if each != "output"]
    return name or (hidden[-1] if hidden else layers[-1])


def as_circuit(network: AnyNetwork) -> list[str]:
    """Make `network` answer as its circuit would: read without noise, reset at the crossing. Returns what changed."""
    network.eval()
    changed = []
    for synapse in network.synapses().values():
        if isinstance(synapse, DeviceLinear):
            synapse.noisy_reads = False
    for name, neuron in circuit_layers(network).items():
        if neuron.reset != "event":
            neuron.reset = "event"
            changed.append(name)
    return changed


def run_network(network: AnyNetwork, batch: Batch) -> Output:
    """The network's answer to `batch`, without gradient."""
    parameter = next(network.parameters())
    on = batch.to(parameter.device, parameter.dtype)
    with torch.no_grad():
        output: Output = network(on.inputs, on.lengths)
    return output


def record(
    network: AnyNetwork, task: Task, layer: str, pieces: tuple[int, ...], milliseconds: int | None = None
) -> Recorded:
    """Run `network` on the test pieces at `pieces` and keep what the neurons of `layer` saw and did.

    Only the first `milliseconds` of each piece are kept; all by default. The answers are those to whole pieces.
    """
    batch = task.collate([task.parts["test"][piece] for piece in pieces])
    shown: list[Outputs] = []
    hook = circuit_layers(network)[layer].register_forward_hook(lambda _, __, result: shown.append(result[0]))
    try:
        logits = run_network(network, batch).logits.cpu()
    finally:
        hook.remove()
    out = shown[0]
    lengths = batch.lengths.numpy()
    kept = lengths if milliseconds is None else np.minimum(lengths, milliseconds)
    of_interest = (out.current_a, out.spikes, out.voltage_v, out.polarization)
    current_a, spikes, voltage_v, polarization = (x[: kept.max()].cpu().double().numpy() for x in of_interest)
    return Recorded(layer, pieces, kept, current_a, spikes, voltage_v, polarization, logits, batch)


@contextmanager
def neurons_replaced(neuron: CircuitLayer, index: list[int], spikes: Array, voltage_v: Array) -> Iterator[None]:
    """Within the block, neurons `index` (k,) of the layer show `spikes` and `voltage_v`, each (t, B, k), at first.

    Whatever reads the layer reads these; the layer's own recurrence does not.
    """

    def swap(module: CircuitLayer, arguments: Any, result: tuple[Outputs, Any]) -> tuple[Outputs, Any]:
        out, state = result
        swapped = []
        for kept, new in ((out.spikes, spikes), (out.voltage_v, voltage_v)):
            changed = kept.clone()
            changed[: len(new), :, index] = torch.from_numpy(new).to(kept)
            swapped.append(changed)
        return out._replace(spikes=swapped[0], voltage_v=swapped[1]), state

    hook = neuron.register_forward_hook(swap)
    try:
        yield
    finally:
        hook.remove()


def spread_over_ranks(ordered: NDArray[np.int64], count: int) -> list[int]:
    """`count` entries of `ordered`, the first and the last among them, at even distances; all where there are fewer."""
    if len(ordered) <= count:
        return [int(x) for x in ordered]
    if count == 1:
        return [int(ordered[len(ordered) // 2])]
    return [int(ordered[k]) for k in np.linspace(0, len(ordered) - 1, count).round().astype(int)]


def choose_neurons(rates_hz: Array, count: int, silent: int = 2) -> list[int]:
    """`count` spiking neurons, spread evenly over the ranks of `rates_hz`, slowest and fastest included, slowest first.

    Up to `silent` neurons that never spiked follow, as a check that the circuit keeps silent too.
    """
    order = np.argsort(rates_hz, kind="stable")
    active, quiet = order[rates_hz[order] > 0], order[rates_hz[order] == 0]
    return spread_over_ranks(active, count) + spread_over_ranks(quiet, silent)[:silent]
