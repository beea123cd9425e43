"""From measured conductances to a card's distributions: quantiles at normal scores, and whose variance is whose.

Quantiles. n values, sorted, lie at the scores z_i = Phi^-1((i - 1/2)/n). The line through the nodes of the table that
comes nearest to them, in least squares, keeps their mean and nearly all of their variance, tails included; it does not
fall, and stays within what was measured.

Variance. y_dc is the conductance of device d in its write c; C_d writes of it, D devices, N in all:

    sigma_w^2 = sum_dc (y_dc - y_d)^2 / (N - D)                                          from write to write
    sigma_d^2 = [ sum_d C_d (y_d - y)^2 / (D - 1) - sigma_w^2 ] / C_0                    from device to device
    C_0 = (N - sum_d C_d^2 / N) / (D - 1)

(one-way analysis of variance, unequal numbers; Searle, Casella, McCulloch, Variance Components, 1992, section 3.6).
The device's share r of the score is the one for which two writes of a device have the covariance sigma_d^2:

    Cov[ Q(z_1), Q(z_2) ] = sigma_d^2,     z_1, z_2 standard normal with correlation r
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, isotonic_regression
from scipy.special import ndtri

Array = NDArray[np.float64]
SCORES = np.linspace(-3.0, 3.0, 13)
"""Of the tables; beyond them lie 0.3 % of a normal distribution."""
POINTS = 41
"""Of the Gauss-Hermite rule."""


def hats(values: Array, nodes: Array) -> Array:
    """Weights (len(values), len(nodes)) of linear interpolation between rising `nodes`."""
    return np.stack([np.interp(values, nodes, row) for row in np.eye(len(nodes))], axis=1)


def quantiles(values: Array, weights: Array | None = None, scores: Array = SCORES) -> Array:
    """The quantiles (len(scores),) of `values` (n,) with `weights` (n,) at normal `scores`, never falling."""
    order = np.argsort(values, kind="stable")
    weight = np.ones(len(values)) if weights is None else weights[order]
    share = np.cumsum(weight) - 0.5 * weight
    basis = hats(ndtri(share / weight.sum()), scores)
    held = weight @ basis
    reached = held > 0.0
    root = np.sqrt(weight)[:, None]
    found = np.linalg.lstsq(root * basis[:, reached], root[:, 0] * values[order])[0]
    inside = np.clip(found, values.min(), values.max())
    return np.interp(scores, scores[reached], isotonic_regression(inside, weights=held[reached]).x)


@dataclass(frozen=True)
class Spread:
    """Standard deviations in the unit of the values: from device to device, and from write to write."""

    mean: float
    device: float
    cycle: float


def spread(values: Array, device: Array) -> Spread:
    """Of `values` (n,), each measured on `device` (n,)."""
    _, index, counts = np.unique(device, return_inverse=True, return_counts=True)
    total, many = len(values), len(counts)
    means = np.bincount(index, values) / counts
    within = float(((values - means[index]) ** 2).sum() / max(total - many, 1))
    if many < 2:
        return Spread(float(values.mean()), 0.0, within**0.5)
    among = float((counts * (means - values.mean()) ** 2).sum() / (many - 1))
    each = (total - (counts**2).sum() / total) / (many - 1)
    return Spread(float(values.mean()), max((among - within) / each, 0.0) ** 0.5, within**0.5)


def device_share(table: Array, device_variance: float, scores: Array = SCORES) -> float:
    """The correlation r at which two writes of a device, of quantiles `table`, have `device_variance` as covariance."""
    points, weights = np.polynomial.hermite_e.hermegauss(POINTS)
    weights = weights / weights.sum()

    def covariance(r: float) -> float:
        first, second = points[:, None], r * points[:, None] + np.sqrt(1 - r**2) * points
        a, b = (np.interp(z, scores, table) for z in (first, second))
        mean = float(weights @ np.interp(points, scores, table))
        return float(weights @ ((a - mean) * (b - mean)) @ weights)

    if device_variance <= 0.0:
        return 0.0
    if covariance(1.0) <= device_variance:
        return 1.0
    return float(brentq(lambda r: covariance(r) - device_variance, 0.0, 1.0, xtol=1e-6))
