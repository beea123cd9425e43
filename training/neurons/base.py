"""What every layer of spiking neurons gives and carries."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.training.dynamics.limits import CurrentLimits


class Outputs(NamedTuple):
    """What a layer shows, each (T, B, N)."""

    spikes: Tensor
    """Number of spikes in each macro step: 0 or 1, or more with event reset."""
    voltage_v: Tensor
    """Membrane voltage at the end of each macro step, before the reset of the macro rule."""
    polarization: Tensor
    """Sum of w_k p_k at the same instant; zero where the neuron has none."""
    current_a: Tensor
    """Synaptic current that the neurons saw in A: input and recurrence, within the limits; without gradient."""
    crossing_ms: Tensor | None = None
    """When within its macro step, 0...1 ms, a neuron first crossed its threshold, and 0 where it did not; without
    gradient. None where the neurons know whole milliseconds only: a spike is then at their end."""


class State(NamedTuple):
    """What a layer carries from one call to the next; (B, N) but for the domains."""

    voltage_v: Tensor
    domains: Tensor
    """(K, B, N), each in -1...1."""
    hold_ms: Tensor
    step_ms: Tensor
    """Step size that the adaptive solver would try next."""
    spikes: Tensor
    """Of the last macro step."""


def stacked(steps: list[Tensor], like: Tensor) -> Tensor:
    """One tensor (T, B, N) of `steps`, (B, N) each; where there is none, one of the shape of `like`, (0, B, N)."""
    return torch.stack(steps) if steps else torch.zeros_like(like)


class CircuitLayer(nn.Module):
    """Neurons that are a circuit in SPICE too: what a round trip (`training.roundtrip`) asks of them."""

    card: NeuronCard
    """With the netlist that it was calibrated on."""
    devices: dict[str, Tensor]
    """Names of the card's parameters that each neuron has its own of, as ``device_NAME`` (N,)."""
    factors: Callable[[], Mapping[str, Tensor]]
    """What the card's parameters, or those of `devices`, are multiplied with: by name, () or (N,); asked for at each
    call, so that what is trained (`training.neurons.shared`) passes its gradient."""
    reset: str
    """``event`` is the circuit's."""
    solver: str
    limits: CurrentLimits | None
