"""Where the switching groups of the FeCAP sit, and what share of the film each one is.

A rising field switches the groups in the order of u = (z_A + z_O)/sqrt 2 and a falling one in that of
v = (z_A - z_O)/sqrt 2, since the spreads of the activation field and of the offset field count nearly alike. So the
nodes are spread in (u, v): each coordinate is the mean of a standard normal over its cell, and every node has a mirror
image with u and v exchanged and the same weight, which is the film under E -> -E. With N groups, m = N/2 pairs, phi
the golden ratio:

    x_j = sqrt((j + 1/2)/m),  y_j = x_j frac(j/phi^2 + 1/2)                 even over the triangle y < x
    w_j ~ exp(-TAIL (a_j^2 + b_j^2)),  a, b the normal quantiles of the ranks of x_j and y_j among all 2m of them

Lighter nodes away from the centre put more of them into the tails, where a group's switching is seen alone. Source:
Kronecker sequences (Niederreiter, Random Number Generation and Quasi-Monte Carlo Methods, SIAM 1992, chapter 3);
how many groups are enough is measured against a film of a thousand.
"""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.errors import InputError

GROUPS_BEGIN, GROUPS_END = "* groups: begin", "* groups: end"
DEFAULT_GROUPS = 24
"""As many as models/fecap.lib holds."""
MAX_GROUPS = 4096
GOLDEN_FRACTION = (3 - math.sqrt(5)) / 2
TAIL = 0.4

Array = NDArray[np.float64]


def _quantile(share: Array) -> Array:
    """Of the standard normal distribution, infinite at 0 and 1. (Importing scipy for it takes half a second.)"""
    inside = NormalDist().inv_cdf
    return np.array([inside(y) if 0.0 < y < 1.0 else math.copysign(math.inf, y - 0.5) for y in share.tolist()])


def _density(deviate: Array) -> Array:
    """Of the standard normal distribution."""
    return np.exp(-0.5 * deviate**2) / math.sqrt(2.0 * math.pi)


def group_nodes(groups: int = DEFAULT_GROUPS) -> tuple[Array, Array, Array]:
    """Deviates of the activation field and of the offset field, and the weights, (N,) each, for `groups` = N groups.

    Node and mirror image stand side by side; an odd N has one more in the middle, its own image.
    """
    z_activation, z_offset, weight = _nodes(groups)
    return z_activation.copy(), z_offset.copy(), weight.copy()


@lru_cache(maxsize=16)
def _nodes(groups: int) -> tuple[Array, Array, Array]:
    pairs = np.arange(groups // 2)
    x = np.sqrt((pairs + 0.5) / max(pairs.size, 1))
    y = x * ((pairs * GOLDEN_FRACTION + 0.5) % 1.0)
    order = np.argsort(np.concatenate([np.stack([x, y], axis=1).ravel(), [0.5] * (groups % 2)]))
    index = np.arange(groups)
    mirror = np.where((index ^ 1) < groups, index ^ 1, index)
    quantile, u = np.empty(groups), np.empty(groups)
    quantile[order] = _quantile((index + 0.5) / groups)
    weight = np.exp(-TAIL * (quantile**2 + quantile[mirror] ** 2))
    weight /= weight.sum()
    edges = _quantile(np.concatenate([[0.0], np.cumsum(weight[order])[:-1], [1.0]]))
    u[order] = -np.diff(_density(edges)) / weight[order]
    v = u[mirror]
    return (u + v) / math.sqrt(2), (u - v) / math.sqrt(2), weight


def group_lines(groups: float) -> list[str]:
    """The instance lines of `groups` switching groups, as they stand between the markers of fecap.lib.

    Raises `InputError` for what is no number of groups.
    """
    if groups != int(groups) or not 1 <= groups <= MAX_GROUPS:
        raise InputError(f"groups must be a whole number from 1 to {MAX_GROUPS}, not {groups:g}")
    shared = (
        "ea={eat} sigma_a={sigma_a} imprint={imprint} sigma_o={sigma_o} tau0={tau0} nmerz={nmerz} qp={qpol} s0={s0}"
    )
    return [
        f"X{i} te be ef init pn fecap_group za={za:.6f} zo={zo:.6f} w={w:.9g}\n+ {shared}"
        for i, (za, zo, w) in enumerate(zip(*group_nodes(int(groups)), strict=True))
    ]
