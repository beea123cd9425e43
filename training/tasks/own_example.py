"""A task of your own in one short file: which of two channels gave more pulses? Copy it, change `load`, and run

bruno train --task my_task.py:load
"""

import numpy as np

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks.classification import Classification, classification


def load(trials: int = 240, steps: int = 20, seed: int = 7) -> Classification:
    """`trials` sequences of `steps` frames; the arguments are what ``task_options`` may set."""
    if not 1 <= trials * steps <= 10_000_000:
        raise InputError("pulses: trials times steps must lie within 1...10 million")
    rng = np.random.default_rng(seed)
    classes = np.arange(trials) % 2
    rates = np.where(classes[:, None] == [0, 1], 0.5, 0.2)
    pulses = rng.random((trials, steps, 2)) < rates[:, None, :]
    return classification(list(pulses.astype(np.float32)), classes, ["first", "second"], f"made from seed {seed}")
