"""The right-hand side of a block of neurons, in single-precision SIMD: how fast V and p move at a crossing or after it.

dV/dt = (I_in - I_leak)/C - V_PER_P sum_k w_k dp_k/dt,      dp_k/dt = sign(E_k) (1 - sign p_k - d_k) r_k
"""

# mypy: allow-untyped-defs

from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.lanes.rows import (
    AT_V,
    BLOCK,
    FIELD,
    I_IN,
    OFFSET,
    P_FLOW,
    SMALLEST,
    V_FLOW,
    WEIGHT,
    P,
    V,
    domain_row,
)
from bruno_spice.devices.ferroelectric.lanes.vector_math import ONE, ZERO, exp, larger
from bruno_spice.devices.ferroelectric.simd.substep import at_membrane
from bruno_spice.devices.models.rows import DRIVE, K_CAP, K_POL, V_PER_P


@template(simd=True)
def field(w, domains):
    """FIELD = E at V and P."""
    for j in range(BLOCK):
        w[FIELD + j] = w[K_CAP * BLOCK + j] * w[V + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[FIELD + j] -= w[K_POL * BLOCK + j] * w[WEIGHT + row + j] * w[P + row + j]


@template(simd=True, inline=True)
def switching(w, row, j):
    """sign(E_k), softened |E_k|, r_k and what is left to switch at FIELD and P."""
    here = w[FIELD + j] - w[OFFSET + row + j]
    sign = ONE if here >= ZERO else -ONE
    size = larger(law.softened(abs(here), w, row, j), w[SMALLEST + row + j])
    left = ONE - sign * w[P + row + j] - law.back(size, w, row, j)
    return sign, size, exp(law.ln_rate(size, w, row, j)), left


@template(simd=True)
def flow(w, domains):
    """V_FLOW = dV/dt in V/ms and P_FLOW = dp_k/dt in 1/ms at V and P, under I_IN."""
    if law.TERMINAL:
        at_membrane(w, domains)
    for j in range(BLOCK):
        v = w[AT_V + j] if law.TERMINAL else w[V + j]
        i_in = w[I_IN + j]
        i_in *= law.compliance(v, w, 0, j) if i_in < ZERO else ONE
        w[V_FLOW + j] = i_in - w[DRIVE * BLOCK + j] * law.leak(v, w, 0, j)
    field(w, domains)
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            sign, _, rate, left = switching(w, row, j)
            p_flow = sign * left * rate
            w[P_FLOW + row + j] = p_flow
            w[V_FLOW + j] -= w[V_PER_P * BLOCK + j] * w[WEIGHT + row + j] * p_flow
