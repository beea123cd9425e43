"""What an epoch is made of: its batches, and how the learning rate goes on from one to the next."""

import math

import numpy as np

from bruno_spice.training.networks.config import TrainingConfig
from bruno_spice.training.tasks import Example


def schedule_factor(config: TrainingConfig, epoch: float) -> float:
    """Share of the learning rate in force after `epoch` epochs."""
    if config.schedule == "constant":
        return 1.0
    cosine = (1 + math.cos(math.pi * min(epoch / config.epochs, 1.0))) / 2
    return config.final_fraction + (1 - config.final_fraction) * cosine


def epoch_batches(examples: list[Example], config: TrainingConfig, seed: int, epoch: int) -> list[list[Example]]:
    """The batches of `epoch`: like lengths together, everything else shuffled from `seed` and `epoch` alone."""
    rng = np.random.default_rng([seed, epoch])
    shuffled = [examples[i] for i in rng.permutation(len(examples))]
    jitter = rng.uniform(0, config.length_jitter, len(shuffled))
    order = np.argsort([len(each.inputs) for each in shuffled] + jitter, kind="stable")
    ordered = [shuffled[i] for i in order]
    batches = [ordered[start : start + config.batch_size] for start in range(0, len(ordered), config.batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]
