"""Backwards through one substep of the `logistic` method (`devices.ferroelectric.simd.substep`), line by line.

    L_X = dL/dX:  of V, p and the leak at the end of a substep -> of those at its start, of the current, and, in the
    rows BY and BY_DOMAIN beyond those of the constants, of everything that a neuron is

The derivative is that of the discrete step, with the fraction of a substep up to a crossing held, as in
`training.dynamics.logistic`, which autograd goes through. Rates go by their logarithms, r = e^(ln r), and so do sums of
rates: what is handed on is dL/d ln r, which stays in range where r itself is next to nothing. The laws of the film go
by their own pull-backs (`devices.ferroelectric.pullback`); what is left is the membrane's (`simd.membrane_back`).
"""

# mypy: allow-untyped-defs

from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.lanes.rows import (
    AVAILABLE,
    BLOCK,
    BY,
    BY_DOMAIN,
    CHANGE,
    DEPLETION,
    DRIVEN,
    FIELD,
    FRACTION,
    HALF_FLOW,
    L_AVAILABLE,
    L_BARE,
    L_CHANGE,
    L_DEPLETION,
    L_DRIVEN,
    L_FIELD,
    L_FLOW,
    L_H,
    L_LAM,
    L_LEAK,
    L_LEFT,
    L_LN_RATE,
    L_MOVED,
    L_P,
    L_PART,
    L_PER_P,
    L_POLARIZATION,
    L_RATE_END,
    L_RISE,
    L_SCALE,
    L_SIZE,
    L_SLOPE,
    L_START,
    L_TAKEN,
    L_TAKES,
    L_V,
    LAM,
    LAM_FIRST,
    LEAK_BEFORE,
    LEAK_NOW,
    LEFT,
    MEAN,
    MOVED,
    OFFSET,
    OVER,
    RATE,
    RATE_END,
    RATE_SUM,
    SIGN,
    SLOPE,
    SMALLEST,
    SWITCHED,
    TAKEN,
    TAKEN_FIRST,
    TAKES,
    WEIGHT,
    WHOLE_PART,
    WITH,
    H,
    domain_row,
)
from bruno_spice.devices.ferroelectric.lanes.vector_math import (
    LN_2,
    LOG2_E,
    F,
    chosen,
    exp2_minus_1,
    larger,
    log2,
    smaller,
)
from bruno_spice.devices.ferroelectric.pullback import pull
from bruno_spice.devices.ferroelectric.simd.substep import (
    E_FOLDS,
    HALF,
    LEAST_LEFT,
    ONE,
    SMALLEST_FLOW,
    TINY,
    TWO,
    ZERO,
)
from bruno_spice.devices.models.rows import K_CAP, K_POL, V_PER_P


@template(simd=True)
def advance_back(w, domains):
    """From the end of the substep, or the crossing, to what moved V and p."""
    for j in range(BLOCK):
        by_moved = w[FRACTION + j] * w[L_V + j]
        w[L_DRIVEN + j] = by_moved
        w[L_LEAK + j] -= by_moved * w[H + j]
        w[L_H + j] = -by_moved * w[LEAK_NOW + j]
        w[HALF_FLOW + j] = ZERO
        w[L_POLARIZATION + j] = ZERO
        w[L_FIELD + j] = ZERO
        w[L_FLOW + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            share = w[SIGN + row + j] * larger(w[FRACTION + j], w[OVER + row + j])
            per_p, weight = w[V_PER_P * BLOCK + j], w[WEIGHT + row + j]
            moved = share * w[MOVED + row + j]
            w[L_MOVED + row + j] = share * (w[L_P + row + j] - per_p * weight * w[L_V + j])
            w[WEIGHT + BY_DOMAIN + row + j] -= w[L_V + j] * per_p * moved
            w[HALF_FLOW + j] += weight * moved
    for j in range(BLOCK):
        w[V_PER_P * BLOCK + BY + j] -= w[L_V + j] * w[HALF_FLOW + j]


@template(simd=True)
def distribute_back(w, domains):
    """From what each domain switches to what all of them do, L_TAKEN, and how it is shared; TAKEN is meant by size."""
    for j in range(BLOCK):
        w[L_TAKEN + j] = ZERO
        w[L_PART + j] = ZERO
        w[L_AVAILABLE + j] = ZERO
        w[L_SCALE + j] = ZERO
    if domains == 1:
        for j in range(BLOCK):
            takes, by_moved = w[TAKES + j], w[L_MOVED + j]
            free = abs(w[TAKEN + j]) < w[LEFT + j] * takes
            by_taken = chosen(free, by_moved / takes, ZERO)
            w[L_TAKEN + j] = by_taken
            w[L_TAKES + j] = -by_taken * w[MOVED + j]
            w[L_LEFT + j] = chosen(free, ZERO, by_moved)
            w[L_RATE_END + j] = ZERO
        return
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            left, by_moved, both = w[LEFT + row + j], w[L_MOVED + row + j], w[RATE_END + row + j]
            scale = abs(w[TAKEN + j]) / larger(abs(w[SWITCHED + j]), SMALLEST_FLOW)
            gone = larger(-exp2_minus_1(-both * w[MEAN + j]), ZERO)
            moved = left * gone
            w[L_SIZE + row + j] = gone
            with_most = w[WITH + row + j] > ZERO
            scaled = with_most & (moved * scale < left)
            alone = HALF * both * w[H + j]
            slow = (not with_most) & (alone < ONE)
            w[L_MOVED + row + j] = by_moved * scale if scaled else ZERO
            w[L_SCALE + j] += by_moved * moved if scaled else ZERO
            by_left = ZERO if scaled else by_moved
            w[L_LEFT + row + j] = by_left if with_most else by_moved * smaller(alone, ONE)
            w[L_RATE_END + row + j] = by_moved * left * alone if slow else ZERO
            w[L_H + j] += by_moved * left * HALF * both if slow else ZERO
    for j in range(BLOCK):
        switched = larger(abs(w[SWITCHED + j]), SMALLEST_FLOW)
        by_taken = w[L_SCALE + j] / switched
        w[L_TAKEN + j] = by_taken
        w[L_SCALE + j] = -by_taken * abs(w[TAKEN + j]) / switched
        w[L_CHANGE + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            left, both, with_most = w[LEFT + row + j], w[RATE_END + row + j], w[WITH + row + j]
            gone = w[L_SIZE + row + j]
            by_moved = w[L_MOVED + row + j] + w[L_SCALE + j] * with_most * w[TAKES + row + j]
            w[L_TAKES + row + j] = w[L_SCALE + j] * with_most * left * gone
            w[L_LEFT + row + j] += by_moved * gone
            by_kept = by_moved * left * (ONE - gone) * both
            w[L_RATE_END + row + j] += by_kept * w[MEAN + j] * LN_2
            w[L_CHANGE + j] += by_kept
    for j in range(BLOCK):
        available, size = larger(w[AVAILABLE + j], SMALLEST_FLOW), abs(w[TAKEN + j])
        part = larger(abs(w[WHOLE_PART + j]), SMALLEST_FLOW)
        by_mean = w[L_CHANGE + j] * w[MEAN + j] * LN_2
        kept = ONE - size / available
        by_kept = w[L_CHANGE + j] / (part * kept) if kept > F(1e-6) else ZERO
        w[L_PART + j] = -by_mean
        w[L_TAKEN + j] += by_kept
        w[L_AVAILABLE + j] = (by_mean - by_kept * size) / available


@template(simd=True)
def take_back(w):
    """From the size of Y = TAKEN, taken under LEAK_NOW, to SLOPE, DEPLETION, RISE, the logarithm of the flow, and H."""
    for j in range(BLOCK):
        flow, h, slope, by_taken = w[RATE_SUM + j], w[H + j], w[SLOPE + j], w[L_TAKEN + j]
        sign = ONE if flow >= ZERO else -ONE
        rise = sign * w[K_CAP * BLOCK + j] * (w[DRIVEN + j] - w[LEAK_NOW + j] * h)
        free = slope * rise * LOG2_E
        z = smaller(larger(free, F(-100.0)), F(80.0)) + TINY
        full = slope + w[DEPLETION + j]
        grows = exp2_minus_1(z)
        per_h = abs(flow) * LOG2_E * grows / z
        grown = smaller(per_h * h, F(1e20))
        relaxed = full * grown
        much = relaxed > F(1e-3)
        fell = ONE / (ONE + relaxed)
        taken = log2(ONE + relaxed) * LN_2 / full if much else grown * (ONE - HALF * relaxed)
        limited = taken >= w[AVAILABLE + j]
        w[L_AVAILABLE + j] += by_taken if limited else ZERO
        by_taken = ZERO if limited else by_taken
        by_full = (grown * fell - taken) / full if much else -HALF * grown * grown
        by_grown = by_taken * (fell if much else ONE - relaxed)
        by_grown = by_grown if per_h * h < F(1e20) else ZERO
        w[L_H + j] += by_grown * per_h
        by_ln = by_grown * grown
        w[L_FLOW + j] += by_ln
        e_folds = z * LN_2
        near = abs(e_folds) < F(2e-2)
        bent = (grows + ONE) / (ONE if near else grows) - ONE / (ONE if near else e_folds)
        bent = HALF + e_folds * F(1.0 / 12.0) if near else bent
        by_z = by_ln * bent if (free > F(-100.0)) & (free < F(80.0)) else ZERO
        w[L_SLOPE + j] = by_z * rise + by_taken * by_full
        w[L_DEPLETION + j] = by_taken * by_full
        w[L_RISE + j] = by_z * slope * sign


@template(simd=True)
def shares_back(w, domains):
    """From SLOPE and DEPLETION of the correction to LAM, and to D and the logarithms of rates at both ends."""
    for j in range(BLOCK):
        w[L_TAKEN + j] = ZERO
        w[L_CHANGE + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            left, takes = w[LEFT + row + j], w[TAKES + row + j]
            per_part = w[RATE_END + row + j] / larger(abs(w[WHOLE_PART + j]), SMALLEST_FLOW)
            share = w[WITH + row + j] * takes * left * per_part
            spent = abs(w[TAKEN_FIRST + j]) * per_part
            half = ONE - HALF * smaller(spent, ONE)
            per_halfway = share / (takes * left * half)
            by_halfway = -w[L_DEPLETION + j] * per_halfway * share
            by_spent = -HALF * by_halfway / half if spent < ONE else ZERO
            by_share = (w[L_SLOPE + j] * w[LAM + row + j] + w[L_DEPLETION + j] * TWO * per_halfway) * share
            w[L_LAM + row + j] = w[L_SLOPE + j] * share
            w[L_LEFT + row + j] += (by_halfway + by_share) / left
            w[L_TAKES + row + j] += (by_halfway + by_share) / takes
            w[L_RATE_END + row + j] += by_share + by_spent * spent
            w[L_PART + j] -= by_share + by_spent * spent
            w[L_TAKEN + j] += by_spent * per_part
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            left, takes = w[LEFT + row + j], w[TAKES + row + j]
            per_part = w[RATE_END + row + j] / larger(abs(w[WHOLE_PART + j]), SMALLEST_FLOW)
            by_part = w[L_PART + j] * w[WITH + row + j] * per_part
            w[L_LEFT + row + j] += by_part * takes
            w[L_TAKES + row + j] += by_part * left
            w[L_RATE_END + row + j] += by_part * takes * left


@template(simd=True)
def ends_back(w, domains):
    """From LAM and the rate at the predicted end to the rate at the start, and to where the field went."""
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            sign, smallest = w[SIGN + row + j], w[SMALLEST + row + j]
            field = sign * (w[FIELD + j] - w[OFFSET + row + j])
            bare = law.softened(field, w, row, j)
            start = larger(bare, smallest)
            went = larger(field + sign * w[CHANGE + j], ZERO)
            ahead = law.softened(went, w, row, j)
            faded = start - E_FOLDS / w[LAM_FIRST + row + j]
            kept = larger(ahead, smallest)
            end = larger(kept, faded)
            rises = ahead > bare
            moved = ahead - bare if rises else end - start
            far = abs(moved) > F(1e-3) * end
            lam = w[LAM + row + j]
            by_lam = chosen(lam > ONE, w[L_LAM + row + j], ZERO)
            by_secant = chosen(far, by_lam / chosen(far, moved, ONE), ZERO)
            by_moved = -by_secant * lam
            starts = w[RATE + row + j] / w[RATE_END + row + j]
            by_rate = w[L_RATE_END + row + j]
            by_end = pull.rates(end, by_rate * (ONE - starts) + by_secant, chosen(far, ZERO, by_lam), w, row, j)
            by_end += chosen(rises, ZERO, by_moved)
            fades = faded >= kept
            reaches = (not fades) & (ahead > smallest)
            by_ahead = chosen(rises, by_moved, ZERO) + chosen(reaches, by_end, ZERO)
            w[SMALLEST + BY_DOMAIN + row + j] += chosen(fades | reaches, ZERO, by_end)
            w[L_BARE + row + j] = chosen(rises, -by_moved, ZERO)
            w[L_START + row + j] = chosen(rises, ZERO, -by_moved) + chosen(fades, by_end, ZERO)
            per_lam = ONE / w[LAM_FIRST + row + j]
            w[L_LAM + row + j] = chosen(fades, by_end * E_FOLDS * per_lam * per_lam, ZERO)
            w[L_LN_RATE + row + j] = by_rate * starts - by_secant
            by_went = pull.softened(went, by_ahead, w, row, j)
            w[L_SIZE + row + j] = chosen(went > ZERO, by_went, ZERO)
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[L_CHANGE + j] += w[SIGN + row + j] * w[L_SIZE + row + j]


@template(simd=True)
def flow_back(w, domains):
    """From SLOPE, DEPLETION and the flow of the prediction to LAM, D and the logarithms of rates at the start."""
    for j in range(BLOCK):
        w[L_RISE + j] += w[L_CHANGE + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            per_flow = w[RATE + row + j] / larger(abs(w[RATE_SUM + j]), SMALLEST_FLOW)
            share = w[WITH + row + j] * w[TAKES + row + j] * w[LEFT + row + j] * per_flow
            by_rate = w[L_DEPLETION + j] * share * per_flow
            by_share = w[L_SLOPE + j] * w[LAM_FIRST + row + j] * share + by_rate
            w[L_LAM + row + j] += w[L_SLOPE + j] * share
            w[L_LN_RATE + row + j] += by_rate
            w[L_MOVED + row + j] = by_share
            w[L_FLOW + j] -= by_share + by_rate
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            left, takes = w[LEFT + row + j], w[TAKES + row + j]
            per_flow = w[RATE + row + j] / larger(abs(w[RATE_SUM + j]), SMALLEST_FLOW)
            by_share = w[L_MOVED + row + j] + w[L_FLOW + j] * w[WITH + row + j] * takes * left * per_flow
            by_available = w[L_AVAILABLE + j] * w[WITH + row + j]
            w[L_LEFT + row + j] += by_share / left + by_available * takes
            w[L_TAKES + row + j] += by_share / takes + by_available * left
            w[L_LN_RATE + row + j] += by_share


@template(simd=True)
def rates_back(w, domains):
    """From the rates at the start to the field there, p, and what raises the field; L_RISE gains."""
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            sign, smallest = w[SIGN + row + j], w[SMALLEST + row + j]
            field = sign * (w[FIELD + j] - w[OFFSET + row + j])
            bare = law.softened(field, w, row, j)
            size = larger(bare, smallest)
            rise = sign * w[K_CAP * BLOCK + j] * (w[DRIVEN + j] - w[LEAK_BEFORE + j] * w[H + j])
            ahead = larger(bare + rise, smallest)
            rises = rise > F(1e-3) * size
            per_rise = ONE / (rise if rises else ONE)
            chord = law.chord(size, ahead, w, row, j)
            bent = chord * (ahead - size) * per_rise
            by_lam = w[L_LAM + row + j]
            bent = bent if rises else ONE
            by_bent = by_lam * w[LAM_FIRST + row + j] / (bent if bent > ZERO else ONE) if rises else ZERO
            by_size, by_ahead = pull.chord(size, ahead, by_bent * (ahead - size) * per_rise, w, row, j)
            by_ahead += by_bent * chord * per_rise
            by_size -= by_bent * chord * per_rise
            by_size += pull.rates(size, w[L_LN_RATE + row + j], by_lam * bent, w, row, j)
            by_left = w[L_LEFT + row + j] if w[LEFT + row + j] > LEAST_LEFT else ZERO
            by_size += pull.back(size, -by_left, w, row, j) + w[L_START + row + j]
            w[L_P + row + j] -= sign * by_left
            free, open_ = bare + rise > smallest, bare > smallest
            by_bare = w[L_BARE + row + j] + (by_ahead if free else ZERO) + (by_size if open_ else ZERO)
            w[SMALLEST + BY_DOMAIN + row + j] += (ZERO if free else by_ahead) + (ZERO if open_ else by_size)
            w[L_MOVED + row + j] = sign * ((by_ahead if free else ZERO) - by_bent * bent * per_rise)
            by_field = sign * (w[L_SIZE + row + j] + pull.softened(field, by_bare, w, row, j))
            w[OFFSET + BY_DOMAIN + row + j] -= by_field
            w[L_SIZE + row + j] = by_field
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            per_p = w[K_CAP * BLOCK + j] * w[V_PER_P * BLOCK + j] + w[K_POL * BLOCK + j]
            w[WEIGHT + BY_DOMAIN + row + j] += w[L_TAKES + row + j] * per_p
            w[L_FIELD + j] += w[L_SIZE + row + j]
            w[L_RISE + j] += w[L_MOVED + row + j]
            w[L_PER_P + j] += w[L_TAKES + row + j] * w[WEIGHT + row + j]
