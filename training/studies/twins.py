"""Whether test sequences have twins in the training part: a recording that lies in both, as it is or varied.

    r = d_1 / d_5,     d_k the distance of a test sequence to its k-th nearest training sequence

with counts smoothed over time (Gaussian, `SMOOTHING_FRAMES`) as coordinates and the Euclidean distance. Of recordings
that are independent the nearest is hardly nearer than the fifth; a copy that was shifted or given noise is far nearer
than any other recording. The fifth, because published sets hold up to four variants of each recording. Beside it the
accuracy of the nearest neighbour: a network that cannot beat it has learnt to look up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from bruno_spice.training.tasks.classification import Classification

SMOOTHING_FRAMES = 2.0
FAR = 5
TWIN = 0.5
"""Below this ratio a sequence counts as having a twin."""


@dataclass(frozen=True)
class Twins:
    """Nearest training sequences of each test sequence."""

    accuracy: float
    """Of the nearest one's class."""
    ratios: NDArray[np.float64]
    """d_1/d_5 (test sequences,)."""

    @property
    def share(self) -> float:
        """Share of test sequences with a twin."""
        return float(np.mean(self.ratios < TWIN))

    def summary(self) -> dict[str, float]:
        """Accuracy of the nearest neighbour, quantiles of the ratio, share of twins."""
        least, percent, median = (float(x) for x in np.quantile(self.ratios, (0.0, 0.01, 0.5)))
        found = {"nearest_neighbour_accuracy": self.accuracy, "twins": self.share}
        return found | {"ratio_least": least, "ratio_percentile_1": percent, "ratio_median": median}


def twins(task: Classification) -> Twins:
    """The twins of the test part of `task` in its training part."""
    train, test = (_coordinates(task, part) for part in ("train", "test"))
    classes = {part: np.array([int(each.target) for each in task.parts[part]]) for part in ("train", "test")}
    apart = (test**2).sum(1)[:, None] + (train**2).sum(1) - 2 * test @ train.T
    distance = np.sqrt(np.maximum(apart, 0.0))
    nearest = np.sort(np.partition(distance, min(FAR, len(train)) - 1, axis=1)[:, :FAR], axis=1)
    right = classes["train"][distance.argmin(axis=1)] == classes["test"]
    return Twins(float(right.mean()), nearest[:, 0] / np.maximum(nearest[:, -1], 1e-12))


def _coordinates(task: Classification, part: str) -> NDArray[np.float64]:
    """Smoothed counts (sequences, frames x channels), silence behind a sequence's end."""
    longest = max(len(each.inputs) for examples in task.parts.values() for each in examples)
    rows = np.zeros((len(task.parts[part]), longest, task.n_inputs))
    for row, each in zip(rows, task.parts[part], strict=True):
        row[: len(each.inputs)] = each.inputs.numpy()
    return gaussian_filter1d(rows, SMOOTHING_FRAMES, axis=1, mode="constant").reshape(len(rows), -1)
