"""One substep of FeLIF by the `logistic` method, for a block of neurons in single-precision SIMD.

    q = V + (A Ps/C) sum_k w_k p_k   is slow: only currents change it, switching does not
    y = sum_k b_k D_k r_k            what switching takes from the field E,
                                     b_k = w_k (K_CAP V_PER_P + K_POL),  D_k = |sign - p_k|
    dy/dt = lam y (a - y) - (depletion),      lam = d ln r/dE,  a = K_CAP dq/dt
                                     a logistic equation: 1/y obeys a linear one
    Y = int y dt = ln(1 + L y_0 h (e^z - 1)/z) / L,      z = lam a h,  L = lam + sum_k (share_k)^2/(b_k D_k)

Where the ferroelectric switches, E relaxes within microseconds onto the value at which switching takes up all of the
current. The logistic equation has that relaxation, and the onset and the end of switching, in closed form, so a substep
may be 10 times longer than the relaxation. A substep predicts with the slope lam at its start, then corrects with the
secant slope, D at its middle, and the leak at its middle; where the rate falls away, the secant ends where
`FADED_E_FOLDS` are gone, as what switches later does not count. Where the field rises, the prediction takes for lam the
slope of the chord to where it would rise without switching, by the bound 1 - (E/E')^alpha >= 1 - E/E': ln r bends so
much that its slope at a small field promises a rate e^40 too large. Y counts the domains that switch the way most do
(the others follow their own rate), shared among domains in proportion to D_k (1 - e^-M_k), M_k from the rates at both
ends. Inhibition has a closed form too: with u = (V - v_floor)/v_compliance and G = |I| h / (C v_compliance),
e^u' - 1 = (e^u - 1) e^-G.

Substeps and their number: `devices.ferroelectric.paces`; tangents: `devices.ferroelectric.simd.tangents`.

Layout: neurons go through in blocks of BLOCK. All working numbers of a block live in one flat array, row after row, and
every loop runs over the whole block, so the compiler can see that rows never overlap and vectorises without asking.
"""

# mypy: allow-untyped-defs

from bruno_spice.devices.compiled import FAST_MATH, inlined, kernel
from bruno_spice.devices.ferroelectric.constants import (
    ALPHA,
    DISCHARGE,
    DOMAINS_FROM,
    E_SOFT,
    K_CAP,
    K_POL,
    LEAK,
    LN_RATE,
    P_RESET,
    PER_V_COMPLIANCE,
    PER_V_LEAK,
    PER_V_LEAK_BELOW,
    PER_V_SMOOTH,
    T_REFRACTORY,
    V_FLOOR,
    V_PER_P,
    V_RESET,
    V_THRESHOLD,
)
from bruno_spice.devices.ferroelectric.paces import FADED_E_FOLDS
from bruno_spice.devices.ferroelectric.simd.vector_math import (
    LN_2,
    LOG2_E,
    F,
    exp2,
    exp2_minus_1,
    larger,
    log2,
    smaller,
)

BLOCK = 64
MAX_DOMAINS = 16
ROWS_OF_CONSTANTS = DOMAINS_FROM
# Rows of the working array: the constants first, then one row each, then MAX_DOMAINS rows each.
(
    V,
    HOLD,
    H,
    I_IN,
    LEAK_NOW,
    FIELD,
    DRIVEN,
    BY_V,
    BY_I,
    RATE_SUM,
    SLOPE,
    DEPLETION,
    AVAILABLE,
    TAKEN,
    PART,
    SEEN_V,
    PHI,
    PSI,
    SPIKES,
    LEAD,
    FREE,
    FRACTION,
    FIRED,
    SMALLEST_FIELD,
    V_PER_FIELD,
    MEAN,
    HALF_FLOW,
    STEADY,
) = ((ROWS_OF_CONSTANTS + row) * BLOCK for row in range(28))
_DOMAIN_ROWS = ROWS_OF_CONSTANTS + 28
(
    P,
    INVERSE_EA,
    OFFSET,
    WEIGHT,
    TAKES,
    LEFT,
    SIGN,
    EXPONENT,
    RATE,
    LAM,
    RATE_END,
    MOVED,
    SEEN_P,
    WITH,
    TAIL_FIELD,
    TAIL_LEFT,
) = ((_DOMAIN_ROWS + group * MAX_DOMAINS) * BLOCK for group in range(16))
WORK_SIZE = (_DOMAIN_ROWS + 16 * MAX_DOMAINS) * BLOCK
COLUMN = (1 + MAX_DOMAINS) * BLOCK
SEEN_TANGENT = (2 + MAX_DOMAINS) * COLUMN
TANGENTS_SIZE = 2 * SEEN_TANGENT

INDEX_MASK = (1 << 18) - 1
assert max(WORK_SIZE, TANGENTS_SIZE) <= INDEX_MASK
FROZEN_MS = F(1e9)
TINY = F(1e-20)
ZERO, ONE, HALF, TWO = F(0.0), F(1.0), F(0.5), F(2.0)
LEAST_LEFT = F(1e-9)
SMALLEST_FLOW = F(1e-18)
SLOWEST_RATE_BITS = F(40.0)
E_FOLDS = F(FADED_E_FOLDS)


@inlined
def domain_row(k):
    """Offset of domain k's row; the mask tells the compiler that it is not negative, or nothing vectorises."""
    return (k * BLOCK) & INDEX_MASK


@kernel(fastmath=FAST_MATH)
def leak_at_start(w):
    """LEAK_NOW = I_leak/C at V."""
    for j in range(BLOCK):
        v = w[V + j]
        size = abs(v)
        above_0, below_0 = w[PER_V_LEAK * BLOCK + j], w[PER_V_LEAK_BELOW * BLOCK + j]
        per_v = above_0 if v >= ZERO else below_0
        grown = exp2(smaller(size * per_v * LOG2_E, F(60.0)))
        turned = exp2(smaller(size * w[PER_V_SMOOTH * BLOCK + j] * (TWO * LOG2_E), F(60.0)))
        leak = w[LEAK * BLOCK + j] * (grown - ONE) + w[DISCHARGE * BLOCK + j] * (ONE - TWO / (turned + ONE))
        w[LEAK_NOW + j] = leak if v >= ZERO else -leak


@kernel(fastmath=FAST_MATH)
def begin_substep(w, h, inhibited):
    """Each lane's own step H (less what is left of a hold), and what the synaptic current does to V within it; all
    lanes are `inhibited`, or none."""
    for j in range(BLOCK):
        hold = w[HOLD + j]
        w[H + j] = larger(h - hold, ZERO)
        w[HOLD + j] = larger(hold - h, ZERO)
    if inhibited:
        inhibit(w)
        return
    for j in range(BLOCK):
        step = w[H + j]
        w[DRIVEN + j] = w[I_IN + j] * step
        w[BY_V + j] = ONE
        w[BY_I + j] = step


@kernel(fastmath=FAST_MATH)
def inhibit(w):
    """What a negative current does to V: DRIVEN, and its slopes by V and by the current."""
    for j in range(BLOCK):
        step = w[H + j]
        per_v = w[PER_V_COMPLIANCE * BLOCK + j]
        u = (w[V + j] - w[V_FLOOR * BLOCK + j]) * per_v
        pulled = smaller(-w[I_IN + j] * step * per_v, F(1e6))
        lost = exp2(-pulled * LOG2_E)
        ahead = u - pulled
        grown = exp2(smaller(ahead, F(20.0)) * LOG2_E)
        inside = larger(ONE + grown - lost, F(1e-6))
        u_above = ahead if ahead > F(20.0) else log2(inside) * LN_2
        u_new = u_above if u > ZERO else u * lost
        u_new = u if pulled <= ZERO else u_new
        w[DRIVEN + j] = (u_new - u) / per_v
        w[BY_V + j] = (ONE if ahead > F(20.0) else grown / inside) if u > ZERO else lost
        compliance = (ONE - ONE / (inside if ahead < F(20.0) else F(1e20))) if u > ZERO else u_new
        w[BY_I + j] = step * compliance


@kernel(fastmath=FAST_MATH)
def rates_at_start(w, domains):
    """FIELD = E; per domain SIGN, LEFT = D, EXPONENT, RATE, LAM; RATE_SUM = y and the SLOPE and DEPLETION of L."""
    for j in range(BLOCK):
        w[FIELD + j] = w[K_CAP * BLOCK + j] * w[V + j]
        w[RATE_SUM + j] = ZERO
        w[SLOPE + j] = ZERO
        w[DEPLETION + j] = ZERO
        w[AVAILABLE + j] = ZERO
        w[TAKEN + j] = ZERO
        w[MEAN + j] = w[K_CAP * BLOCK + j] * (w[DRIVEN + j] - w[LEAK_NOW + j] * w[H + j])
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[FIELD + j] -= w[K_POL * BLOCK + j] * w[WEIGHT + row + j] * w[P + row + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            field = w[FIELD + j] - w[OFFSET + row + j]
            sign = ONE if field >= ZERO else -ONE
            scale, smallest = w[INVERSE_EA + row + j], w[SMALLEST_FIELD + j]
            bare = (abs(field) + w[E_SOFT * BLOCK + j]) * scale
            size = larger(bare, smallest)
            rise = sign * w[MEAN + j]
            ahead = larger(bare + rise * scale, smallest)
            rises = rise * scale > F(1e-3) * size
            left = larger(ONE - sign * w[P + row + j], LEAST_LEFT)
            alpha = w[ALPHA * BLOCK + j]
            exponent = exp2(-alpha * log2(size)) * LOG2_E
            rate = exp2(w[LN_RATE * BLOCK + j] * LOG2_E - exponent)
            per_field = (ahead - size if rises else scale) / (ahead * rise if rises else size)
            taken = w[TAKES + row + j] * left * rate
            w[SIGN + row + j] = sign
            w[LEFT + row + j] = left
            w[EXPONENT + row + j] = exponent
            w[RATE + row + j] = rate
            w[LAM + row + j] = alpha * exponent * LN_2 * per_field
            w[TAKEN + j] += sign * taken
            w[MOVED + row + j] = taken
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            sign = w[SIGN + row + j]
            majority = ONE if sign * w[TAKEN + j] >= ZERO else ZERO
            taken = majority * w[MOVED + row + j]
            w[WITH + row + j] = majority
            w[RATE_SUM + j] += sign * taken
            w[SLOPE + j] += taken * w[LAM + row + j]
            w[DEPLETION + j] += taken * w[RATE + row + j]
            w[AVAILABLE + j] += majority * w[TAKES + row + j] * w[LEFT + row + j]
    for j in range(BLOCK):
        per_y = ONE / larger(abs(w[RATE_SUM + j]), SMALLEST_FLOW)
        w[SLOPE + j] *= per_y
        w[DEPLETION + j] *= per_y * per_y


@kernel(fastmath=FAST_MATH)
def take(w):
    """TAKEN = Y with its sign: what switching takes from the field within the substep."""
    for j in range(BLOCK):
        flow = w[RATE_SUM + j]
        sign = ONE if flow >= ZERO else -ONE
        rise = sign * w[K_CAP * BLOCK + j] * (w[DRIVEN + j] - w[LEAK_NOW + j] * w[H + j])
        z = smaller(larger(w[SLOPE + j] * rise * LOG2_E, F(-100.0)), F(80.0)) + TINY
        full = w[SLOPE + j] + w[DEPLETION + j]
        grown = smaller(abs(flow) * w[H + j] * LOG2_E * exp2_minus_1(z) / z, F(1e20))
        relaxed = full * grown
        taken = log2(ONE + relaxed) * LN_2 / full if relaxed > F(1e-3) else grown * (ONE - HALF * relaxed)
        w[TAKEN + j] = sign * smaller(taken, w[AVAILABLE + j])


@kernel(fastmath=FAST_MATH)
def correct(w, domains):
    """Leak at the middle of the substep; secant LAM, SLOPE and DEPLETION from the predicted end."""
    for j in range(BLOCK):
        v = w[V + j] + HALF * (w[DRIVEN + j] - w[V_PER_FIELD + j] * w[TAKEN + j])
        size = abs(v)
        above_0, below_0 = w[PER_V_LEAK * BLOCK + j], w[PER_V_LEAK_BELOW * BLOCK + j]
        per_v = above_0 if v >= ZERO else below_0
        grown = exp2(smaller(size * per_v * LOG2_E, F(60.0)))
        turned = exp2(smaller(size * w[PER_V_SMOOTH * BLOCK + j] * (TWO * LOG2_E), F(60.0)))
        smooth_sign = ONE - TWO / (turned + ONE)
        ohmic, discharge = w[LEAK * BLOCK + j], w[DISCHARGE * BLOCK + j]
        slope = ohmic * per_v * grown
        slope += discharge * w[PER_V_SMOOTH * BLOCK + j] * (ONE - smooth_sign * smooth_sign)
        implicit = ONE / (ONE + HALF * w[H + j] * slope)
        leak = (ohmic * (grown - ONE) + discharge * smooth_sign) * implicit
        w[LEAK_NOW + j] = leak if v >= ZERO else -leak
        w[BY_V + j] -= w[H + j] * slope * implicit
        w[MEAN + j] -= w[TAKEN + j]
        w[PART + j] = ZERO
        w[SLOPE + j] = ZERO
        w[DEPLETION + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            sign, scale = w[SIGN + row + j], w[INVERSE_EA + row + j]
            smallest, soft = w[SMALLEST_FIELD + j], w[E_SOFT * BLOCK + j]
            field = sign * (w[FIELD + j] - w[OFFSET + row + j])
            bare = (field + soft) * scale
            start = larger(bare, smallest)
            ahead = (larger(field + sign * w[MEAN + j], ZERO) + soft) * scale
            end = larger(larger(ahead, smallest), start - E_FOLDS * scale / w[LAM + row + j])
            alpha = w[ALPHA * BLOCK + j]
            exponent = exp2(-alpha * log2(end)) * LOG2_E
            rate = exp2(w[LN_RATE * BLOCK + j] * LOG2_E - exponent)
            moved = ahead - bare if ahead > bare else end - start
            far = abs(moved) > F(1e-3) * end
            secant = (w[EXPONENT + row + j] - exponent) * LN_2 * scale / (moved if far else ONE)
            lam = secant if far else alpha * exponent * LN_2 * scale / end
            mean = w[RATE + row + j] + rate
            w[LAM + row + j] = larger(lam, ONE)
            w[RATE_END + row + j] = mean
            w[PART + j] += sign * w[WITH + row + j] * w[TAKES + row + j] * w[LEFT + row + j] * mean
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            takes, left = w[TAKES + row + j], w[LEFT + row + j]
            share = w[RATE_END + row + j] / larger(abs(w[PART + j]), SMALLEST_FLOW)
            halfway = left * (ONE - HALF * smaller(abs(w[TAKEN + j]) * share, ONE))
            share *= w[WITH + row + j] * takes * left
            w[SLOPE + j] += share * w[LAM + row + j]
            w[DEPLETION + j] += share * share / (takes * halfway)


@kernel(fastmath=FAST_MATH)
def distribute(w, domains):
    """MOVED = what each domain switches, as a positive number; HALF_FLOW = its effect on V."""
    if domains == 1:
        for j in range(BLOCK):
            w[MOVED + j] = smaller(abs(w[TAKEN + j]) / w[TAKES + j], w[LEFT + j])
            w[HALF_FLOW + j] = w[V_PER_P * BLOCK + j] * w[WEIGHT + j] * w[SIGN + j] * w[MOVED + j]
        return
    for j in range(BLOCK):
        available = larger(w[AVAILABLE + j], SMALLEST_FLOW)
        kept = larger(ONE - abs(w[TAKEN + j]) / available, F(1e-6))
        w[MEAN + j] = -log2(kept) * available / larger(abs(w[PART + j]), SMALLEST_FLOW)
        w[PART + j] = ZERO
        w[HALF_FLOW + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            gone = larger(-exp2_minus_1(-w[RATE_END + row + j] * w[MEAN + j]), ZERO)
            moved = w[LEFT + row + j] * gone
            w[MOVED + row + j] = moved
            w[PART + j] += w[SIGN + row + j] * w[WITH + row + j] * w[TAKES + row + j] * moved
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            scale = abs(w[TAKEN + j]) / larger(abs(w[PART + j]), SMALLEST_FLOW)
            left = w[LEFT + row + j]
            alone = left * smaller(HALF * w[RATE_END + row + j] * w[H + j], ONE)
            moved = smaller(w[MOVED + row + j] * scale, left) if w[WITH + row + j] > ZERO else alone
            w[MOVED + row + j] = moved
            w[HALF_FLOW + j] += w[V_PER_P * BLOCK + j] * w[WEIGHT + row + j] * w[SIGN + row + j] * moved


@kernel(fastmath=FAST_MATH)
def advance(w, domains):
    """V and p at the end of the substep or at the crossing; FRACTION of the substep that took place, FIRED. Returns how
    many."""
    count = ZERO
    for j in range(BLOCK):
        step = w[H + j]
        moved = w[DRIVEN + j] - w[LEAK_NOW + j] * step - w[HALF_FLOW + j]
        fired = (w[V + j] + moved >= w[V_THRESHOLD * BLOCK + j]) & (step > ZERO)
        w[PART + j] = moved
        w[FRACTION + j] = ONE
        w[FIRED + j] = ONE if fired else ZERO
    for j in range(BLOCK):
        count += w[FIRED + j]
    if count > ZERO:
        cross(w, domains)
    for j in range(BLOCK):
        threshold, v_new = w[V_THRESHOLD * BLOCK + j], w[V + j] + w[PART + j]
        w[V + j] = threshold if w[FIRED + j] > ZERO else v_new
        w[FREE + j] += w[FRACTION + j] * w[H + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[P + row + j] += w[SIGN + row + j] * w[MOVED + row + j]
    return count


@kernel(fastmath=FAST_MATH)
def cross(w, domains):
    """FRACTION of the substep up to the crossing, and what MOVED until then.

    What switches goes evenly, or comes to its end before V runs on to the threshold. The tail of a domain obeys, with
    u = b lam D and kappa = r/(lam a), du/dkappa = -u/(1 - kappa u), so kappa = e^u E_1(u), whose inverse is
    u = (0.56 + 0.44 e^-kappa)/(e^kappa - 1) within 2 %: what is left at the threshold, where r and lam are known.
    """
    for j in range(BLOCK):
        w[MEAN + j] = ZERO
        fired, moved = w[FIRED + j] > ZERO, w[PART + j]
        whole = moved + w[HALF_FLOW + j]
        w[AVAILABLE + j] = larger(whole if fired else ONE, F(1e-9))
        even = (w[V_THRESHOLD * BLOCK + j] - w[V + j]) / (moved if fired else ONE)
        w[FRACTION + j] = even if fired else ONE
        w[DEPLETION + j] = w[H + j] / (w[K_CAP * BLOCK + j] * w[AVAILABLE + j])
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            kappa = smaller(larger(w[TAIL_FIELD + row + j] * w[DEPLETION + j], F(1e-6)), F(40.0)) * LOG2_E
            grown = exp2_minus_1(kappa)
            left = w[TAIL_LEFT + row + j] * (F(0.56) + F(0.44) / (grown + ONE)) / grown
            moved = w[MOVED + row + j]
            over = smaller(larger((w[LEFT + row + j] - left) / larger(moved, F(1e-9)), ZERO), ONE)
            w[EXPONENT + row + j] = over
            w[MEAN + j] += w[V_PER_P * BLOCK + j] * w[WEIGHT + row + j] * w[SIGN + row + j] * over * moved
    for j in range(BLOCK):
        part = (w[V_THRESHOLD * BLOCK + j] - w[V + j] + w[MEAN + j]) / w[AVAILABLE + j]
        part = smaller(larger(larger(part, w[FRACTION + j]), ZERO), ONE)
        w[FRACTION + j] = part if w[FIRED + j] > ZERO else ONE
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[MOVED + row + j] *= larger(w[FRACTION + j], w[EXPONENT + row + j])


@kernel(fastmath=FAST_MATH)
def freeze(w):
    """Macro reset: who fired stays at threshold to the end."""
    for j in range(BLOCK):
        fired = w[FIRED + j] > ZERO
        w[HOLD + j] = FROZEN_MS if fired else w[HOLD + j]
        w[SPIKES + j] = ONE if fired else w[SPIKES + j]


@kernel(fastmath=FAST_MATH)
def reset_fired(w, s, domains, with_tangents):
    """Event reset: keep what the surrogate sees at a first spike, reset V and p, hold, and forget where they came
    from."""
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            fired = w[FIRED + j] > ZERO
            first = fired & (w[SPIKES + j] == ZERO)
            p = w[P + row + j]
            w[SEEN_P + row + j] = p if first else w[SEEN_P + row + j]
            w[P + row + j] = w[P_RESET * BLOCK + j] if fired else p
    if with_tangents:
        for column in range(2 + domains):
            for row in range(1 + domains):
                at = (column * COLUMN + row * BLOCK) & INDEX_MASK
                for j in range(BLOCK):
                    fired = w[FIRED + j] > ZERO
                    first = fired & (w[SPIKES + j] == ZERO)
                    now = s[at + j]
                    s[SEEN_TANGENT + at + j] = now if first else s[SEEN_TANGENT + at + j]
                    s[at + j] = ZERO if fired else now
    for j in range(BLOCK):
        fired = w[FIRED + j] > ZERO
        first = fired & (w[SPIKES + j] == ZERO)
        v = w[V + j]
        w[SEEN_V + j] = v if first else w[SEEN_V + j]
        w[V + j] = w[V_RESET * BLOCK + j] if fired else v
        wait = larger(w[T_REFRACTORY * BLOCK + j] - (ONE - w[FRACTION + j]) * w[H + j], ZERO)
        w[HOLD + j] = wait if fired else w[HOLD + j]
        w[LEAD + j] = w[FREE + j] if first else w[LEAD + j]
        w[FREE + j] = ZERO if fired else w[FREE + j]
        w[SPIKES + j] += w[FIRED + j]
