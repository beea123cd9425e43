"""Training sequences of events as they might have come too: shifted, faster or slower, some events missing.

    x'[t] = x[round(c + (t - c) rate + shift)],    rate = 1 + U(-warp, warp),    shift = U(-shift, shift) frames

with the middle c of the sequence, and each event is lost with the probability `drop`. Only training sees this.
"""

from dataclasses import dataclass

import numpy as np
import torch

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks.base import Example


@dataclass(frozen=True)
class Augmentation:
    """How far training sequences are changed; zeros leave them as they are."""

    shift: float = 0.0
    """Largest shift in frames."""
    warp: float = 0.0
    """Largest relative change of speed."""
    drop: float = 0.0
    """Probability that an event is lost."""

    def __post_init__(self) -> None:
        for name, most in (("shift", 1e6), ("warp", 10.0), ("drop", 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= most:
                raise InputError(f"{name} must lie within 0...{most:g}, not {value!r}")

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """`example` changed by numbers from `rng`; frames that would lie outside are empty."""
        frames = example.inputs.numpy()
        middle = (len(frames) - 1) / 2
        rate, shift = 1 + rng.uniform(-self.warp, self.warp), rng.uniform(-self.shift, self.shift)
        source = np.rint(middle + (np.arange(len(frames)) - middle) * rate + shift).astype(np.int64)
        inside = (source >= 0) & (source < len(frames))
        moved = frames[source.clip(0, len(frames) - 1)] * inside.reshape(-1, *[1] * (frames.ndim - 1))
        if self.drop:
            moved = moved * (rng.random(moved.shape) >= self.drop)
        return Example(torch.from_numpy(moved.astype(np.float32)), example.target)
