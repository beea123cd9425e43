"""Where the switching groups of the FeCAP sit: a rank-1 lattice of normal quantiles.

    zA_i = Phi^-1((i + 1/2)/N),   zO_i = Phi^-1((((i step) mod N) + 1/2)/N),   i = 0...N-1

with `step` coprime to N and nearest to N/phi^2 (phi the golden ratio), so that both marginals are exact
quantiles and the pairs fill the plane evenly. Source: Korobov lattices; Niederreiter, Random Number
Generation and Quasi-Monte Carlo Methods, SIAM 1992, chapter 5.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from calibration.netlist import Netlist

BEGIN, END = "* groups: begin", "* groups: end"
GOLDEN_FRACTION = (3 - math.sqrt(5)) / 2


def group_lattice(groups: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal quantiles (N,) of the activation field and of the offset field for `groups` = N groups."""
    index = np.arange(groups)
    coprime = [k for k in range(1, groups + 1) if math.gcd(k, groups) == 1]
    step = min(coprime, key=lambda k: abs(k - groups * GOLDEN_FRACTION)) if groups > 2 else 1
    return norm.ppf((index + 0.5) / groups), norm.ppf(((index * step) % groups + 0.5) / groups)


def group_lines(groups: int) -> list[str]:
    """The instance lines of `groups` switching groups, as they stand between the markers of fecap.lib."""
    shared = (
        "ea={eat} sigma_a={sigma_a} imprint={imprint} sigma_o={sigma_o} tau0={tau0} nmerz={nmerz} qp={qpol} s0={s0}"
    )
    return [
        f"X{i} te be ef init pn fecap_group za={za:.5f} zo={zo:.5f} w={1 / groups:.10g}\n+ {shared}"
        for i, (za, zo) in enumerate(zip(*group_lattice(groups), strict=True))
    ]


def with_groups(netlist: Netlist, groups: int) -> Netlist:
    """A copy of a deck that includes fecap.lib, with `groups` switching groups.

    Raises `NetlistError` if the markers between which the groups stand are missing.
    """
    return netlist.with_block(BEGIN, END, group_lines(groups))
