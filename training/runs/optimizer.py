"""The optimiser of a run: weights and, where they are trained too, device parameters, each at its own rate and clip."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.network import AnyNetwork

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adamax": torch.optim.Adamax}


def make_optimizer(config: RunConfig, network: AnyNetwork) -> torch.optim.Optimizer:
    """The optimiser that `config` names; ``start`` of each of its groups is the learning rate at the start."""
    optimizer: torch.optim.Optimizer = OPTIMIZERS[config.training.optimizer](
        parameter_groups(config, network), betas=config.training.betas
    )
    return optimizer


def parameter_groups(config: RunConfig, network: AnyNetwork) -> list[dict[str, Any]]:
    """What the optimiser moves, in the order of `network`: the weights, then device parameters with their own rate.

    Each has its own clip too: a device parameter sums the gradients of all neurons.
    """
    settings, shared = config.training, network.shared
    devices = [] if shared is None else list(shared.parameters())
    own = {id(each) for each in devices}
    weights = [each for each in network.parameters() if id(each) not in own]
    groups = [{"params": weights, "start": settings.learning_rate, "weight_decay": settings.weight_decay}]
    if devices:
        groups.append({"params": devices, "start": config.neuron.train_rate, "weight_decay": 0.0})
    return [{**group, "lr": group["start"]} for group in groups]


def descend(optimizer: torch.optim.Optimizer, network: AnyNetwork, clip: float | None) -> None:
    """One step along the present gradients, those of each group at most `clip` long; devices stay within bounds."""
    if clip is not None:
        for group in optimizer.param_groups:
            clip_grad_norm_(group["params"], clip)
    optimizer.step()
    if network.shared is not None:
        network.shared.keep_within()


def rescale(gradients: Sequence[torch.Tensor]) -> None:
    """Bring gradients that are beyond what numbers hold, or whose norm is, to a largest value of 1.

    Beside an infinite value, which keeps its sign, a finite one is nothing; NaN has no direction and becomes 0.
    """
    largest = max(
        float(each.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf).abs().max()) for each in gradients
    )
    for each in gradients:
        infinite = torch.where(each.isinf(), each.sign(), torch.zeros_like(each))
        each.copy_(infinite if largest == torch.inf else each.nan_to_num(nan=0.0) / (largest or 1.0))
