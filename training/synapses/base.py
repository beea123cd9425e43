"""Weights: a latent matrix, and what the hardware makes of it."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Synapse(nn.Module, ABC):
    """A weight matrix `weight` (out, in), latent, and what the hardware makes of it."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_out, n_in))

    @abstractmethod
    def effective_weight(self) -> Tensor:
        """The weights (out, in) that act in this forward pass, differentiable to `weight`."""

    def redraw(self) -> None:
        """Take another chip: new devices, from torch's global random numbers."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Weighted sums (..., out) of `inputs` (..., in)."""
        weight = self.effective_weight()
        dtype = torch.promote_types(inputs.dtype, weight.dtype)
        return inputs.to(dtype) @ weight.T.to(dtype)


class FloatLinear(Synapse):
    """Weights without a device."""

    def effective_weight(self) -> Tensor:
        """The weights themselves."""
        return self.weight


def straight_through(latent: Tensor, actual: Tensor) -> Tensor:
    """The value of `actual` with the gradient of `latent`."""
    return latent + (actual - latent).detach()


def round_levels(steps: Tensor, stochastic: bool) -> Tensor:
    """`steps` rounded to whole numbers, up with a probability equal to the fraction if `stochastic`."""
    return torch.floor(steps + torch.rand_like(steps)) if stochastic else torch.round(steps)
