"""Tangents through one substep of the `logistic` method (`devices.ferroelectric.simd.substep`).

d(q, p)/d(q_0, p_0, I) go through each substep with the same M_k and lam: depletion, then the rank-one
relaxation

    dp_k' = e_k dp_k + G_k dE_mean,  e_k = 1 - Delta p_k / D_k,  G_k = lam_k Delta p_k,  X = sum_k b_k G_k
    dE_mean = phi (K_CAP dq - sum_k b_k e_k dp_k) + (1 - phi)/X K_CAP (dq' - dq),   phi = (1 - e^-X)/X
"""

# mypy: allow-untyped-defs

from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.lanes.rows import (
    BLOCK,
    BY_DECAY,
    BY_I,
    BY_STEADY,
    BY_V,
    COLUMN,
    COLUMN_FIELD,
    COLUMN_FLOW,
    COLUMN_MEAN,
    CROSSING_MOVED,
    DECAYED,
    DEPLETED,
    EXCESS,
    FIRED,
    FRACTION,
    GAIN,
    INDEX_MASK,
    KEPT,
    LAM,
    LEFT,
    MOVED,
    PER_P,
    PSI,
    SPENT,
    SPIKES,
    STEADY,
    TAKES,
    V_FLOW,
    WEIGHT,
    WHOLE,
    domain_row,
)
from bruno_spice.devices.ferroelectric.lanes.vector_math import LN_2, LOG2_E, ONE, ZERO, F, exp2, larger, log2
from bruno_spice.devices.ferroelectric.simd.flow import flow
from bruno_spice.devices.models.rows import DRIVE, K_CAP, V_PER_P

HALF = F(0.5)


@template(simd=True)
def carry_tangents(w, s, domains):
    """Take every tangent column through the substep."""
    for j in range(BLOCK):
        w[WHOLE + j] = ZERO
        w[DEPLETED + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            gain = w[LAM + row + j] * w[MOVED + row + j]
            kept = larger(ONE - w[MOVED + row + j] / w[LEFT + row + j], F(1e-6))
            spent = -log2(kept) * LN_2
            takes = w[TAKES + row + j] * gain
            w[KEPT + row + j] = kept
            w[SPENT + row + j] = spent
            w[GAIN + row + j] = gain
            w[WHOLE + j] += takes
            w[DEPLETED + j] += takes * spent
    for j in range(BLOCK):
        x = larger(w[WHOLE + j], F(1e-12))
        depleted = w[DEPLETED + j] / x
        whole = x + depleted
        decayed = exp2(-whole * LOG2_E)
        small = whole < F(1e-2)
        per_whole = ONE / (ONE if small else whole)
        phi = ONE - HALF * whole if small else (ONE - decayed) * per_whole
        w[DEPLETED + j] = depleted
        w[WHOLE + j] = whole
        w[DECAYED + j] = decayed
        w[PSI + j] = (HALF - whole * F(1.0 / 6.0) if small else (ONE - phi) * per_whole) * w[K_CAP * BLOCK + j]
        w[STEADY + j] = depleted / whole
        w[BY_V + j] = (ONE - w[BY_V + j]) * w[FRACTION + j]
        w[BY_I + j] *= w[FRACTION + j] * w[DRIVE * BLOCK + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            kept, spent, gain = w[KEPT + row + j], w[SPENT + row + j], w[GAIN + row + j]
            gap = w[WHOLE + j] - spent
            near = abs(gap) < F(1e-3)
            w[BY_STEADY + row + j] = gain * ((ONE - kept) / spent if spent > F(1e-4) else ONE)
            w[BY_DECAY + row + j] = gain * (kept if near else (kept - w[DECAYED + j]) / (ONE if near else gap))
            w[EXCESS + row + j] = w[TAKES + row + j] * (spent - w[DEPLETED + j]) / w[WHOLE + j]
    for column in range(2 + domains):
        carry_column(w, s, column, domains, column == 1 + domains)


@template(simd=True)
def carry_column(w, s, column, domains, by_current):
    """One tangent column, q and the p_k after it: relaxation of E, then what the leak and the current add to q."""
    q = (column * COLUMN) & INDEX_MASK
    p = q + BLOCK
    for j in range(BLOCK):
        w[COLUMN_MEAN + j] = w[K_CAP * BLOCK + j] * s[q + j]
        w[COLUMN_FIELD + j] = ZERO
        w[COLUMN_FLOW + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            before = s[p + row + j]
            w[COLUMN_MEAN + j] -= w[TAKES + row + j] * before
            w[COLUMN_FIELD + j] += w[EXCESS + row + j] * before
    for j in range(BLOCK):
        steady = w[STEADY + j] * w[K_CAP * BLOCK + j] * s[q + j] + w[COLUMN_FIELD + j]
        w[COLUMN_FIELD + j] = steady
        w[COLUMN_MEAN + j] -= steady
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            before = s[p + row + j]
            after = w[KEPT + row + j] * before
            after += w[BY_STEADY + row + j] * w[COLUMN_FIELD + j] + w[BY_DECAY + row + j] * w[COLUMN_MEAN + j]
            s[p + row + j] = after
            w[COLUMN_FLOW + j] += w[WEIGHT + row + j] * (before + after)
    unit = ONE if by_current else ZERO
    for j in range(BLOCK):
        per_p = w[V_PER_P * BLOCK + j]
        if law.TERMINAL:
            per_p -= w[PER_P + j]
        lost = w[BY_V + j] * (s[q + j] - HALF * per_p * w[COLUMN_FLOW + j])
        moved = unit * w[BY_I + j] - lost
        s[q + j] += moved
        w[COLUMN_MEAN + j] = w[PSI + j] * moved
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            s[p + row + j] += w[GAIN + row + j] * w[COLUMN_MEAN + j]


@template(simd=True)
def move_crossing(w, s, domains):
    """CROSSING_MOVED: what a second and a later spike of the macro step, about to be reset, add to the time in ms per A
    from its first crossing."""
    again = ZERO
    for j in range(BLOCK):
        again += w[FIRED + j] * w[SPIKES + j]
    if again == ZERO:
        return
    flow(w, domains)
    by_current = ((1 + domains) * COLUMN) & INDEX_MASK
    for j in range(BLOCK):
        w[COLUMN_MEAN + j] = s[by_current + j]
    for k in range(domains):
        row = domain_row(k)
        at = by_current + BLOCK
        for j in range(BLOCK):
            w[COLUMN_MEAN + j] -= w[V_PER_P * BLOCK + j] * w[WEIGHT + row + j] * s[at + row + j]
    for j in range(BLOCK):
        later = (w[FIRED + j] > ZERO) & (w[SPIKES + j] > ZERO)
        w[CROSSING_MOVED + j] -= (w[COLUMN_MEAN + j] if later else ZERO) / (w[V_FLOW + j] if later else ONE)
