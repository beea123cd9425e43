"""A running average of the weights, which scores better than the last weights of a noisy descent.

    a <- d a + (1 - d) w,      d = min(decay, (1 + n) / (10 + n))       after update n

Source: Polyak & Juditsky 1992, SIAM J. Control Optim. 30(4); the rising decay is that of TensorFlow's
ExponentialMovingAverage. Only trained values are averaged: devices stay as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of `network`'s parameters; `decay` per update within 0...1."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = dict(network.named_parameters())
        self.values: dict[str, Tensor] = {name: each.detach().clone() for name, each in self.parameters.items()}

    def update(self, updates: int) -> None:
        """Take in the weights after `updates` updates."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        for name, value in self.values.items():
            value.lerp_(self.parameters[name].detach(), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this block the network computes with the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            with torch.no_grad():
                parameter.data, self.values[name] = self.values[name], parameter.data
