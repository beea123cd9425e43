"""Layers of other shapes in a sequence that has time first: pictures a frame, and batches first."""

from dataclasses import fields, replace
from typing import Any

from torch import Tensor, nn

from bruno_spice.training.networks.network import Output
from bruno_spice.training.neurons.base import Outputs, State


class PerFrame(nn.Module):
    """`module`, which takes (batch, ...), on every frame of (T, B, ...): a convolution before spiking layers."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor) -> Tensor:
        """(T, B, ...) for `inputs` (T, B, ...)."""
        answer: Tensor = self.module(inputs.flatten(0, 1))
        return answer.unflatten(0, inputs.shape[:2])


class BatchFirst(nn.Module):
    """`layer`, which takes and gives (T, B, ...), called with (B, T, ...) and answering so.

    Any layer of neurons, any network: a sequence, `Outputs`, an `Output` or a tuple of sequences. A `State` stays as it
    is, and so do the arguments behind the first.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor, *arguments: Any, **named: Any) -> Any:
        """What `layer` answers to `inputs` (B, T, ...), with the batch first."""
        return swapped(self.layer(inputs.transpose(0, 1), *arguments, **named))


def swapped(answer: Any) -> Any:
    """`answer` with the first two dimensions of its sequences exchanged."""
    if isinstance(answer, Tensor):
        return answer.transpose(0, 1)
    if isinstance(answer, Outputs):
        return Outputs(*map(swapped, answer))
    if isinstance(answer, Output):
        return replace(answer, **{each.name: swapped(getattr(answer, each.name)) for each in fields(answer)})
    if isinstance(answer, dict):
        return {name: swapped(value) for name, value in answer.items()}
    if isinstance(answer, tuple) and not isinstance(answer, State):
        return tuple(map(swapped, answer))
    return answer
