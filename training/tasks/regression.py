"""Numbers as targets: a value of each output in every frame.

loss, mse     mean over frames and outputs of (y - target)^2
mae           mean over frames and outputs of |y - target|
r2            1 - sum (y - target)^2 / sum (target - mean)^2, the mean that of the part, over all outputs
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks.base import PARTS, Batch, Score, Task

RIDGE = 1e-6


@dataclass
class Regression(Task):
    """A task with float targets (T, n_outputs)."""

    metric: ClassVar[str] = "mse"
    higher_is_better: ClassVar[bool] = False

    @property
    def n_outputs(self) -> int:
        """Numbers a frame."""
        return self.parts["train"][0].target.shape[-1]

    def check(self) -> None:
        """Raise `InputError` for what `Task.check` refuses and for a target of another shape or no finite number."""
        super().check()
        width = self.parts["train"][0].target.shape[-1:]
        for part in PARTS:
            for index, each in enumerate(self.parts[part]):
                wanted, found = (len(each.inputs), *width), each.target
                if not found.is_floating_point() or found.shape != wanted or not bool(torch.isfinite(found).all()):
                    raise InputError(
                        f"sequence {index} of {part} has a target {tuple(found.shape)} of {found.dtype}; it must be "
                        f"finite floats {wanted}, a row a frame"
                    )

    def loss(self, logits: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """Squared error, summed over frames and outputs; the weight is their number."""
        errors = (logits - batch.target.to(logits)) * batch.mask[..., None]
        return errors.square().sum(), float(batch.mask.sum()) * self.n_outputs

    def scores(self, logits: Tensor, batch: Batch) -> dict[str, Score]:
        """``mse`` and ``mae``, and the sums that ``r2`` is made of."""
        mask = batch.mask[..., None].double()
        target = batch.target.double() * mask
        errors = logits.double() * mask - target
        count = float(mask.sum()) * self.n_outputs
        return {
            "mse": (float(errors.square().sum()), count),
            "mae": (float(errors.abs().sum()), count),
            "_sum": (float(target.sum()), count),
            "_squares": (float(target.square().sum()), count),
        }

    def finish(self, sums: Mapping[str, Score]) -> dict[str, float]:
        """``mse``, ``mae`` and, where the targets vary, ``r2``."""
        means = super().finish(sums)
        mean, square = means.pop("_sum"), means.pop("_squares")
        variance = square - mean * mean
        return means | ({"r2": 1.0 - means["mse"] / variance} if variance > 0.0 else {})

    def floors(self) -> dict[str, dict[str, float]]:
        """The mean of the training targets, and linear regression on the present frame."""
        inputs, targets = self._frames("train")
        here, wanted = self._frames("test")
        wide = np.column_stack([inputs, np.ones(len(inputs))])
        weights = np.linalg.solve(wide.T @ wide + RIDGE * len(wide) * np.eye(wide.shape[1]), wide.T @ targets)
        answers = {"mean": targets.mean(0), "linear": np.column_stack([here, np.ones(len(here))]) @ weights}
        return {
            name: {"mse": float(np.square(answer - wanted).mean()), "mae": float(np.abs(answer - wanted).mean())}
            for name, answer in answers.items()
        }

    def _frames(self, part: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        inputs = torch.cat([each.inputs.flatten(1) for each in self.parts[part]])
        return inputs.double().numpy(), torch.cat([each.target for each in self.parts[part]]).double().numpy()
