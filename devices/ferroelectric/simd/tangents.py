"""Tangents through one substep of the `logistic` method (`devices.ferroelectric.simd.substep`, whose rows they use).

d(q, p)/d(q_0, p_0, I) go through each substep with the same M_k and lam: depletion, then the rank-one
relaxation

    dp_k' = e_k dp_k + G_k dE_mean,  e_k = 1 - Delta p_k / D_k,  G_k = lam_k Delta p_k,  X = sum_k b_k G_k
    dE_mean = phi (K_CAP dq - sum_k b_k e_k dp_k) + (1 - phi)/X K_CAP (dq' - dq),   phi = (1 - e^-X)/X
"""

# mypy: allow-untyped-defs

from bruno_spice.devices.compiled import FAST_MATH, kernel
from bruno_spice.devices.ferroelectric.constants import K_CAP, V_PER_P
from bruno_spice.devices.ferroelectric.simd.substep import (
    BLOCK,
    BY_I,
    BY_V,
    COLUMN,
    EXPONENT,
    FIELD,
    FRACTION,
    HALF,
    HALF_FLOW,
    INDEX_MASK,
    LAM,
    LEFT,
    MEAN,
    MOVED,
    ONE,
    PART,
    PHI,
    PSI,
    RATE,
    RATE_END,
    STEADY,
    TAKES,
    WEIGHT,
    ZERO,
    domain_row,
)
from bruno_spice.devices.ferroelectric.simd.vector_math import LN_2, LOG2_E, F, exp2, larger, log2


@kernel(fastmath=FAST_MATH)
def carry_tangents(w, s, domains):
    """Take every tangent column through the substep."""
    for j in range(BLOCK):
        w[PART + j] = ZERO
        w[MEAN + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            gain = w[LAM + row + j] * w[MOVED + row + j]
            kept = larger(ONE - w[MOVED + row + j] / w[LEFT + row + j], F(1e-6))
            spent = -log2(kept) * LN_2
            takes = w[TAKES + row + j] * gain
            w[LEFT + row + j] = kept
            w[EXPONENT + row + j] = spent
            w[LAM + row + j] = gain
            w[PART + j] += takes
            w[MEAN + j] += takes * spent
    for j in range(BLOCK):
        x = larger(w[PART + j], F(1e-12))
        depleted = w[MEAN + j] / x
        whole = x + depleted
        decayed = exp2(-whole * LOG2_E)
        small = whole < F(1e-2)
        per_whole = ONE / (ONE if small else whole)
        phi = ONE - HALF * whole if small else (ONE - decayed) * per_whole
        w[MEAN + j] = depleted
        w[PART + j] = whole
        w[PHI + j] = decayed
        w[PSI + j] = (HALF - whole * F(1.0 / 6.0) if small else (ONE - phi) * per_whole) * w[K_CAP * BLOCK + j]
        w[STEADY + j] = depleted / whole
        w[BY_V + j] = (ONE - w[BY_V + j]) * w[FRACTION + j]
        w[BY_I + j] *= w[FRACTION + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            kept, spent, gain = w[LEFT + row + j], w[EXPONENT + row + j], w[LAM + row + j]
            gap = w[PART + j] - spent
            near = abs(gap) < F(1e-3)
            w[RATE + row + j] = gain * ((ONE - kept) / spent if spent > F(1e-4) else ONE)
            w[RATE_END + row + j] = gain * (kept if near else (kept - w[PHI + j]) / (ONE if near else gap))
            w[MOVED + row + j] = w[TAKES + row + j] * (spent - w[MEAN + j]) / w[PART + j]
    for column in range(2 + domains):
        carry_column(w, s, column, domains, column == 1 + domains)


@kernel(fastmath=FAST_MATH)
def carry_column(w, s, column, domains, by_current):
    """One tangent column, q and the p_k after it: relaxation of E, then what the leak and the current add to q."""
    q = (column * COLUMN) & INDEX_MASK
    p = q + BLOCK
    for j in range(BLOCK):
        w[MEAN + j] = w[K_CAP * BLOCK + j] * s[q + j]
        w[FIELD + j] = ZERO
        w[HALF_FLOW + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            before = s[p + row + j]
            w[MEAN + j] -= w[TAKES + row + j] * before
            w[FIELD + j] += w[MOVED + row + j] * before
    for j in range(BLOCK):
        steady = w[STEADY + j] * w[K_CAP * BLOCK + j] * s[q + j] + w[FIELD + j]
        w[FIELD + j] = steady
        w[MEAN + j] -= steady
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            before = s[p + row + j]
            after = w[LEFT + row + j] * before
            after += w[RATE + row + j] * w[FIELD + j] + w[RATE_END + row + j] * w[MEAN + j]
            s[p + row + j] = after
            w[HALF_FLOW + j] += w[WEIGHT + row + j] * (before + after)
    unit = ONE if by_current else ZERO
    for j in range(BLOCK):
        lost = w[BY_V + j] * (s[q + j] - HALF * w[V_PER_P * BLOCK + j] * w[HALF_FLOW + j])
        moved = unit * w[BY_I + j] - lost
        s[q + j] += moved
        w[MEAN + j] = w[PSI + j] * moved
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            s[p + row + j] += w[LAM + row + j] * w[MEAN + j]
