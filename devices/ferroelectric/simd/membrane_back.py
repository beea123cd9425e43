"""Backwards through what a substep does to the membrane: current, leak and field (`simd.substep_back` has the film).

L_X = dL/dX, and dL by the constants in the rows BY and BY_DOMAIN beyond theirs
"""

# mypy: allow-untyped-defs

from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.lanes.rows import (
    AT_V,
    BLOCK,
    BY,
    BY_DOMAIN,
    DRIVEN,
    HALF_FLOW,
    I_IN,
    L_CHANGE,
    L_DRIVEN,
    L_FIELD,
    L_H,
    L_I_IN,
    L_LEAK,
    L_P,
    L_PER_P,
    L_POLARIZATION,
    L_RISE,
    L_TAKEN,
    L_TURNED,
    L_V,
    L_V_PER_FIELD,
    LEAK_NOW,
    PER_V,
    POLARIZATION,
    RATE_SUM,
    TAKEN_FIRST,
    V_PER_FIELD,
    WEIGHT,
    H,
    P,
    V,
    domain_row,
)
from bruno_spice.devices.ferroelectric.lanes.vector_math import (
    LOG2_E,
    F,
    exp2,
    larger,
    smaller,
)
from bruno_spice.devices.ferroelectric.pullback import pull
from bruno_spice.devices.ferroelectric.simd.substep import (
    HALF,
    ONE,
    ZERO,
)
from bruno_spice.devices.models.rows import DRIVE, K_CAP, K_POL, PER_V_COMPLIANCE, V_FLOOR, V_PER_P


@template(simd=True)
def rise_back(w, leak):
    """From L_RISE to what raised the field, K_CAP (DRIVEN - leak H), with the leak in row `leak`."""
    for j in range(BLOCK):
        by_rise, h, k_cap = w[L_RISE + j], w[H + j], w[K_CAP * BLOCK + j]
        w[K_CAP * BLOCK + BY + j] += by_rise * (w[DRIVEN + j] - w[leak + j] * h)
        w[L_DRIVEN + j] += k_cap * by_rise
        w[L_LEAK + j] -= k_cap * h * by_rise
        w[L_H + j] -= k_cap * w[leak + j] * by_rise


@template(simd=True)
def leak_back(w):
    """From the leak at the middle of the substep to V there, and so to what moved it; L_CHANGE and TAKEN_FIRST too."""
    for j in range(BLOCK):
        per_field, taken, h = w[V_PER_FIELD + j], w[TAKEN_FIRST + j], w[H + j]
        drive = w[DRIVE * BLOCK + j]
        film = w[V + j] + HALF * (w[DRIVEN + j] - per_field * taken)
        v, per_v, turned = film, ONE, ZERO
        if law.TERMINAL:
            turned = w[POLARIZATION + j] + HALF * per_field * taken / w[V_PER_P * BLOCK + j]
            per_v = law.terminal_slope(film, turned, w, 0, j)
            v = law.terminal(film, turned, w, 0, j)
        steep = law.leak_slope(v, w, 0, j)
        slope = drive * steep * per_v
        implicit = ONE / (ONE + HALF * h * slope)
        by_leak = w[L_LEAK + j]
        by_implicit = -by_leak * w[LEAK_NOW + j] * implicit * HALF
        by_slope = by_implicit * h
        w[L_H + j] += by_implicit * slope
        w[DRIVE * BLOCK + BY + j] += (by_leak * w[LEAK_NOW + j] + by_slope * slope) / drive
        by_v = pull.leaks(v, by_leak * drive * implicit, by_slope * drive * per_v, w, 0, j)
        by_per_field, by_taken = ZERO, ZERO
        if law.TERMINAL:
            by_film, by_turned = pull.terminal(film, turned, by_v, w, 0, j)
            more, turns = pull.terminal_slope(film, turned, by_slope * drive * steep, w, 0, j)
            by_v = by_film + more
            w[L_TURNED + j] = by_turned + turns
            half = HALF * w[L_TURNED + j] / w[V_PER_P * BLOCK + j]
            by_per_field, by_taken = half * taken, half * per_field
            w[L_POLARIZATION + j] += w[L_TURNED + j]
            w[V_PER_P * BLOCK + BY + j] -= half * per_field * taken / w[V_PER_P * BLOCK + j]
        w[L_V + j] += by_v
        w[L_DRIVEN + j] += HALF * by_v
        w[L_V_PER_FIELD + j] += by_per_field - HALF * taken * by_v
        signed = by_taken - HALF * per_field * by_v - w[L_CHANGE + j]
        w[L_TAKEN + j] += signed if w[RATE_SUM + j] >= ZERO else -signed
        w[L_LEAK + j] = ZERO


@template(simd=True)
def driven_back(w, inhibited):
    """From what the synaptic current does to V to that current, V, the mirror's floor and its compliance."""
    if not inhibited:
        for j in range(BLOCK):
            w[L_I_IN + j] += w[L_DRIVEN + j] * w[H + j]
            w[L_H + j] += w[L_DRIVEN + j] * w[I_IN + j]
        return
    for j in range(BLOCK):
        step, scale = w[H + j], w[PER_V_COMPLIANCE * BLOCK + j]
        above = (w[AT_V + j] if law.TERMINAL else w[V + j]) - w[V_FLOOR * BLOCK + j]
        film = w[PER_V + j] if law.TERMINAL else ONE
        u, per_v = above * scale, scale * film
        pulled = smaller(-w[I_IN + j] * step * per_v, F(1e6))
        lost = exp2(-pulled * LOG2_E)
        ahead = u - pulled
        grown = exp2(smaller(ahead, F(20.0)) * LOG2_E)
        inside = larger(ONE + grown - lost, F(1e-6))
        far = ahead > F(20.0)
        by_u = (ONE if far else grown / inside) if u > ZERO else lost
        by_pulled = (-ONE if far else (lost - grown) / inside) if u > ZERO else -u * lost
        held = pulled <= ZERO
        by_u = ONE if held else by_u
        by_new = w[L_DRIVEN + j] / per_v
        by_pulled = by_new * by_pulled
        by_u = by_new * (by_u - ONE)
        by_per_v = -by_new * w[DRIVEN + j] - w[I_IN + j] * step * by_pulled
        w[L_I_IN + j] -= step * per_v * by_pulled
        w[L_H + j] -= w[I_IN + j] * per_v * by_pulled
        by_v = scale * by_u
        w[V_FLOOR * BLOCK + BY + j] -= by_v
        w[PER_V_COMPLIANCE * BLOCK + BY + j] += by_u * above + by_per_v * film
        if law.TERMINAL:
            by_film, by_turned = pull.terminal(w[V + j], w[POLARIZATION + j], by_v, w, 0, j)
            more, turns = pull.terminal_slope(w[V + j], w[POLARIZATION + j], by_per_v * scale, w, 0, j)
            by_v = by_film + more
            w[L_POLARIZATION + j] += by_turned + turns
        w[L_V + j] += by_v


@template(simd=True)
def field_back(w, domains):
    """From the field and sum_k w_k p_k at the start to V, p, and the shares of the film."""
    for j in range(BLOCK):
        by_field = w[L_FIELD + j]
        w[K_CAP * BLOCK + BY + j] += by_field * w[V + j]
        w[L_V + j] += by_field * w[K_CAP * BLOCK + j]
        w[HALF_FLOW + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            by_turned = w[L_POLARIZATION + j] - w[L_FIELD + j] * w[K_POL * BLOCK + j]
            w[HALF_FLOW + j] += w[WEIGHT + row + j] * w[P + row + j]
            w[WEIGHT + BY_DOMAIN + row + j] += by_turned * w[P + row + j]
            w[L_P + row + j] += by_turned * w[WEIGHT + row + j]
    for j in range(BLOCK):
        w[K_POL * BLOCK + BY + j] -= w[L_FIELD + j] * w[HALF_FLOW + j]


@template(simd=True)
def leak_at_start_back(w):
    """From the leak before the first substep to V there."""
    for j in range(BLOCK):
        drive, by_leak = w[DRIVE * BLOCK + j], w[L_LEAK + j]
        v = w[AT_V + j] if law.TERMINAL else w[V + j]
        w[DRIVE * BLOCK + BY + j] += by_leak * law.leak(v, w, 0, j)
        by_v = pull.leak(v, by_leak * drive, w, 0, j)
        if law.TERMINAL:
            by_v, _ = pull.terminal(w[V + j], w[POLARIZATION + j], by_v, w, 0, j)
        w[L_V + j] += by_v


@template(simd=True)
def derived_back(w):
    """From what is derived of the constants, before any substep, to themselves: b_k, V_PER_FIELD, and I/C."""
    for j in range(BLOCK):
        k_cap, per_p, k_pol = w[K_CAP * BLOCK + j], w[V_PER_P * BLOCK + j], w[K_POL * BLOCK + j]
        whole = k_cap * per_p + k_pol
        by_whole = w[L_PER_P + j] - w[L_V_PER_FIELD + j] * per_p / (whole * whole)
        w[K_CAP * BLOCK + BY + j] += by_whole * per_p
        w[V_PER_P * BLOCK + BY + j] += by_whole * k_cap + w[L_V_PER_FIELD + j] / whole
        w[K_POL * BLOCK + BY + j] += by_whole
        w[DRIVE * BLOCK + BY + j] += w[L_I_IN + j] * w[I_IN + j] / w[DRIVE * BLOCK + j]
