"""Is the network healthy? Firing rates and gradient norms by layer, and warnings that name the layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

SILENT_RATE = 0.005
SATURATED_RATE = 0.8
WARN_FRACTION = 0.5
"""Of a layer's neurons, silent or saturated."""


@dataclass
class Rates:
    """Sums of spikes by neuron over batches."""

    spikes: dict[str, Tensor] = field(default_factory=dict)
    frames: float = 0.0

    def add(self, spikes: Mapping[str, Tensor], mask: Tensor) -> None:
        """Count `spikes` {layer: (T, B, N)} where `mask` (T, B) is 1."""
        self.frames += float(mask.sum())
        for layer, values in spikes.items():
            counted = (values.detach() * mask[..., None]).sum((0, 1))
            self.spikes[layer] = self.spikes.get(layer, 0) + counted

    def summary(self) -> dict[str, dict[str, float]]:
        """By layer: mean spikes per macro step, and the fractions of silent and of saturated neurons."""
        rates = {layer: total / max(self.frames, 1.0) for layer, total in self.spikes.items()}
        return {
            layer: {
                "rate": float(rate.mean()),
                "silent": float((rate < SILENT_RATE).float().mean()),
                "saturated": float((rate > SATURATED_RATE).float().mean()),
            }
            for layer, rate in rates.items()
        }


def rate_warnings(summary: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A sentence for each layer that is mostly silent or mostly saturated."""
    found = []
    for layer, values in summary.items():
        for state, advice in (("silent", "raise"), ("saturated", "lower")):
            if values[state] > WARN_FRACTION:
                found.append(
                    f"warning: {values[state]:.0%} of the neurons of layer {layer} are {state}; "
                    f"{advice} network.weight_std or network.unit_current_a"
                )
    return found


def gradient_norms(network: nn.Module) -> dict[str, float | None]:
    """Norm of the present gradient of every parameter; None where it is not finite."""
    norms = {
        name: float(torch.linalg.vector_norm(parameter.grad))
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }
    return {name: norm if math.isfinite(norm) else None for name, norm in norms.items()}


def broken_gradients(network: nn.Module) -> list[str]:
    """Names of the parameters whose gradient is not finite."""
    return [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all())
    ]
