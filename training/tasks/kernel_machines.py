"""Regularised least-squares classifiers in closed form: what a classification task has to beat.

    linear     W = argmin |Z W - Y|^2 + c |W|^2,       Z standardised features, Y = +-1 for one class against the rest
    Gaussian   a = (K + c 1)^-1 Y,       K = exp(-|z - z'|^2 / (2 m s^2)),  m the median squared distance

The penalty c (and the width s) that does best on the validation part is used on test.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Features = dict[str, NDArray[np.float64]]
"""Part to (sequences, features)."""
Targets = dict[str, NDArray[np.int64]]

LINEAR_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""In units of the number of training sequences."""
KERNEL_PENALTIES = (0.03, 0.3)
WIDTHS = (0.35, 0.6)


def _standardised(features: Features) -> Features:
    mean, spread = features["train"].mean(0), features["train"].std(0)
    varies = spread > 1e-12
    return {part: (values[:, varies] - mean[varies]) / spread[varies] for part, values in features.items()}


def _one_against_rest(classes: NDArray[np.int64]) -> NDArray[np.float64]:
    return 2.0 * (classes[:, None] == np.arange(classes.max() + 1)) - 1.0


def _scores(answers: Features, targets: Targets) -> tuple[float, float]:
    """Accuracy on validation and on test."""
    valid, test = (float(np.mean(answers[part].argmax(1) == targets[part])) for part in ("valid", "test"))
    return valid, test


def linear(features: Features, targets: Targets) -> float:
    """Test accuracy of the linear machine."""
    z = {part: np.hstack([v, np.ones((len(v), 1))]) for part, v in _standardised(features).items()}
    gram, aim = z["train"].T @ z["train"], z["train"].T @ _one_against_rest(targets["train"])
    tried = []
    for penalty in LINEAR_PENALTIES:
        weights = cho_solve(cho_factor(gram + penalty * len(z["train"]) * np.eye(len(gram))), aim)
        tried.append(_scores({part: values @ weights for part, values in z.items()}, targets))
    return max(tried, key=lambda pair: pair[0])[1]


def gaussian(features: Features, targets: Targets) -> float:
    """Test accuracy of the machine with a Gaussian kernel on square roots of counts."""
    z = {part: np.sqrt(np.maximum(values, 0)).astype(np.float32) for part, values in features.items()}
    squares = {part: (values**2).sum(1) for part, values in z.items()}
    distance = {
        part: np.maximum(squares[part][:, None] + squares["train"] - 2 * values @ z["train"].T, 0)
        for part, values in z.items()
    }
    median = float(np.median(distance["train"]))
    aim = _one_against_rest(targets["train"]).astype(np.float32)
    tried = []
    for width in WIDTHS:
        kernel = {part: np.exp(-each / (2 * median * width**2)) for part, each in distance.items()}
        for penalty in KERNEL_PENALTIES:
            ridge = kernel["train"] + np.float32(penalty) * np.eye(len(aim), dtype=np.float32)
            weights = cho_solve(cho_factor(ridge), aim)
            tried.append(_scores({part: each @ weights for part, each in kernel.items()}, targets))
    return max(tried, key=lambda pair: pair[0])[1]
