"""The numbers that kernels read, row by row: one layout for every model and every number of domains.

First the rows of `MEMBRANE`, in ms, V, V/nm and A, then `OWN` places that a model names for its own law
(`NeuronModel.own`). Then groups of K rows each, one row a domain: the offset field, the share of the film, the smallest
field that counts, and a place of the model's own (`NeuronModel.own_domain`). Rows are numbers (R,), or columns (R, m),
one a neuron.
"""

from collections.abc import Sequence

MEMBRANE = (
    "DRIVE",
    "K_CAP",
    "K_POL",
    "V_PER_P",
    "LEAK",
    "PER_V_LEAK",
    "PER_V_LEAK_BELOW",
    "DISCHARGE",
    "PER_V_SMOOTH",
    "V_FLOOR",
    "PER_V_COMPLIANCE",
    "V_THRESHOLD",
    "V_RESET",
    "P_RESET",
    "T_REFRACTORY",
    "LN_RATE",
)
OWN = 8
DOMAINS_FROM = len(MEMBRANE) + OWN
(
    DRIVE,
    K_CAP,
    K_POL,
    V_PER_P,
    LEAK,
    PER_V_LEAK,
    PER_V_LEAK_BELOW,
    DISCHARGE,
    PER_V_SMOOTH,
    V_FLOOR,
    PER_V_COMPLIANCE,
    V_THRESHOLD,
    V_RESET,
    P_RESET,
    T_REFRACTORY,
    LN_RATE,
) = range(len(MEMBRANE))
MOST_DOMAINS = 16
"""Of a film: so many rows a group have room in the kernels."""
OFFSET, WEIGHT, SMALLEST, SCALE = GROUPS = (0, 1, 2, 3)
"""Groups of domain rows: row DOMAINS_FROM + group K + k is that of domain k."""


def row_count(domains: int) -> int:
    """Number R of rows for K `domains`."""
    return DOMAINS_FROM + len(GROUPS) * domains


def domain_count(rows: int) -> int:
    """Number K of domains among so many rows."""
    return (rows - DOMAINS_FROM) // len(GROUPS)


def shared_names(own: Sequence[str]) -> tuple[str, ...]:
    """What the shared rows are called in a law's `x`; the places that a model leaves empty are spare."""
    spare = [f"spare_{n}" for n in range(len(own), OWN)]
    return (*(name.lower() for name in MEMBRANE), *own, *spare)


def domain_names(own_domain: str) -> tuple[str, ...]:
    """What the rows of a domain are called in a law's `x`."""
    return ("offset", "weight", "smallest", own_domain)


def group_of(which: int, domains: int) -> slice:
    """Where the K `domains` rows of a group lie, such as those of `WEIGHT`."""
    first = DOMAINS_FROM + which * domains
    return slice(first, first + domains)
