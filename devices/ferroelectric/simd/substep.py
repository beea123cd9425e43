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

Rows of the working array `w`: `devices.ferroelectric.lanes.rows`. What a model says of its film: `law`.
"""

# mypy: allow-untyped-defs

from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.lanes.rows import (
    AT_V,
    AVAILABLE,
    BLOCK,
    BY_I,
    BY_V,
    COLUMN,
    DEPLETION,
    DRIVEN,
    FIELD,
    FIRED,
    FRACTION,
    FREE,
    HALF_FLOW,
    HOLD,
    I_IN,
    INDEX_MASK,
    LAM,
    LEAD,
    LEAK_NOW,
    LEFT,
    LN_RATE_NOW,
    MEAN,
    MOVED,
    MOVED_V,
    OFFSET,
    OVER,
    PART,
    PER_P,
    PER_V,
    POLARIZATION,
    RATE,
    RATE_END,
    RATE_SUM,
    SEEN_P,
    SEEN_TANGENT,
    SEEN_V,
    SIGN,
    SLOPE,
    SMALLEST,
    SPIKES,
    TAIL_FIELD,
    TAIL_LEFT,
    TAKEN,
    TAKES,
    V_PER_FIELD,
    WEIGHT,
    WITH,
    H,
    P,
    V,
    domain_row,
)
from bruno_spice.devices.ferroelectric.lanes.vector_math import (
    LN_2,
    LOG2_E,
    F,
    exp,
    exp2,
    exp2_minus_1,
    larger,
    log2,
    smaller,
)
from bruno_spice.devices.ferroelectric.paces import FADED_E_FOLDS, LEAST_HOLD_MS
from bruno_spice.devices.models.rows import (
    DRIVE,
    K_CAP,
    K_POL,
    P_RESET,
    PER_V_COMPLIANCE,
    T_REFRACTORY,
    V_FLOOR,
    V_PER_P,
    V_RESET,
    V_THRESHOLD,
)

FROZEN_MS = F(1e9)
TINY = F(1e-20)
ZERO, ONE, HALF, TWO = F(0.0), F(1.0), F(0.5), F(2.0)
LEAST_LEFT = F(1e-9)
SMALLEST_FLOW = F(1e-18)
E_FOLDS = F(FADED_E_FOLDS)


@template(simd=True)
def at_membrane(w, domains):
    """AT_V = the membrane's voltage, PER_V = its slope by V, where layers in series with the film tell them apart."""
    for j in range(BLOCK):
        w[POLARIZATION + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[POLARIZATION + j] += w[WEIGHT + row + j] * w[P + row + j]
    for j in range(BLOCK):
        w[AT_V + j] = law.terminal(w[V + j], w[POLARIZATION + j], w, 0, j)
        w[PER_V + j] = law.terminal_slope(w[V + j], w[POLARIZATION + j], w, 0, j)


@template(simd=True)
def leak_at_start(w, domains):
    """LEAK_NOW = I_leak/C."""
    if law.TERMINAL:
        at_membrane(w, domains)
    for j in range(BLOCK):
        v = w[AT_V + j] if law.TERMINAL else w[V + j]
        w[LEAK_NOW + j] = w[DRIVE * BLOCK + j] * law.leak(v, w, 0, j)


@template(simd=True)
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


@template(simd=True)
def inhibit(w):
    """What a negative current does to V: DRIVEN, and its slopes by V and by the current."""
    for j in range(BLOCK):
        step = w[H + j]
        above = (w[AT_V + j] if law.TERMINAL else w[V + j]) - w[V_FLOOR * BLOCK + j]
        u = above * w[PER_V_COMPLIANCE * BLOCK + j]
        per_v = w[PER_V_COMPLIANCE * BLOCK + j] * (w[PER_V + j] if law.TERMINAL else ONE)
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


@template(simd=True)
def rates_at_start(w, domains):
    """FIELD = E; per domain SIGN, LEFT = D, LN_RATE_NOW, RATE, LAM; RATE_SUM = y and the SLOPE and DEPLETION of L."""
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
            bare = law.softened(abs(field), w, row, j)
            size = larger(bare, w[SMALLEST + row + j])
            rise = sign * w[MEAN + j]
            ahead = larger(bare + rise, w[SMALLEST + row + j])
            rises = rise > F(1e-3) * size
            left = larger(ONE - sign * w[P + row + j] - law.back(size, w, row, j), LEAST_LEFT)
            ln_rate = law.ln_rate(size, w, row, j)
            rate = exp(ln_rate)
            bent = law.chord(size, ahead, w, row, j) * (ahead - size) / (rise if rises else ONE)
            taken = w[TAKES + row + j] * left * rate
            w[SIGN + row + j] = sign
            w[LEFT + row + j] = left
            w[LN_RATE_NOW + row + j] = ln_rate
            w[RATE + row + j] = rate
            w[LAM + row + j] = law.steepness(size, w, row, j) * (bent if rises else ONE)
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


@template(simd=True)
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


@template(simd=True)
def correct(w, domains):
    """Leak at the middle of the substep; secant LAM, SLOPE and DEPLETION from the predicted end."""
    for j in range(BLOCK):
        v, drive = w[V + j] + HALF * (w[DRIVEN + j] - w[V_PER_FIELD + j] * w[TAKEN + j]), w[DRIVE * BLOCK + j]
        per_v = ONE
        if law.TERMINAL:
            turned = w[POLARIZATION + j] + HALF * w[V_PER_FIELD + j] * w[TAKEN + j] / w[V_PER_P * BLOCK + j]
            per_v = law.terminal_slope(v, turned, w, 0, j)
            w[PER_P + j] = law.terminal_by_p(v, turned, w, 0, j)
            v = law.terminal(v, turned, w, 0, j)
        slope = drive * law.leak_slope(v, w, 0, j) * per_v
        implicit = ONE / (ONE + HALF * w[H + j] * slope)
        w[LEAK_NOW + j] = drive * law.leak(v, w, 0, j) * implicit
        lost = HALF * w[H + j] * slope * implicit  # of the voltage in the middle, which moves with both ends
        w[BY_V + j] -= lost * (ONE + w[BY_V + j])
        w[BY_I + j] -= lost * w[BY_I + j]
        w[MEAN + j] -= w[TAKEN + j]
        w[PART + j] = ZERO
        w[SLOPE + j] = ZERO
        w[DEPLETION + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            sign, smallest = w[SIGN + row + j], w[SMALLEST + row + j]
            field = sign * (w[FIELD + j] - w[OFFSET + row + j])
            bare = law.softened(field, w, row, j)
            start = larger(bare, smallest)
            ahead = law.softened(larger(field + sign * w[MEAN + j], ZERO), w, row, j)
            end = larger(larger(ahead, smallest), start - E_FOLDS / w[LAM + row + j])
            ln_rate = law.ln_rate(end, w, row, j)
            rate = exp(ln_rate)
            moved = ahead - bare if ahead > bare else end - start
            far = abs(moved) > F(1e-3) * end
            secant = (ln_rate - w[LN_RATE_NOW + row + j]) / (moved if far else ONE)
            mean = w[RATE + row + j] + rate
            w[LAM + row + j] = larger(secant if far else law.steepness(end, w, row, j), ONE)
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


@template(simd=True)
def distribute(w, domains):
    """MOVED = what each domain switches, as a positive number; HALF_FLOW = its effect on V."""
    if domains == 1:
        for j in range(BLOCK):
            w[MOVED + j] = smaller(abs(w[TAKEN + j]) / w[TAKES + j], w[LEFT + j])
            w[HALF_FLOW + j] = w[V_PER_P * BLOCK + j] * w[WEIGHT + j] * w[SIGN + j] * w[MOVED + j]
        return
    for j in range(BLOCK):
        available = larger(w[AVAILABLE + j], SMALLEST_FLOW)
        gone = smaller(abs(w[TAKEN + j]) / available, F(1.0 - 1e-6))
        spent = gone * LOG2_E * (ONE + HALF * gone) if gone < F(1e-3) else -log2(ONE - gone)
        w[MEAN + j] = spent * available / larger(abs(w[PART + j]), SMALLEST_FLOW)
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


@template(simd=True)
def advance(w, domains):
    """V and p at the end of the substep or at the crossing; FRACTION of the substep that took place, FIRED. Returns
    whether any, as a number."""
    any_fired = ZERO
    for j in range(BLOCK):
        step = w[H + j]
        moved = w[DRIVEN + j] - w[LEAK_NOW + j] * step - w[HALF_FLOW + j]
        fired = (w[V + j] + moved >= w[V_THRESHOLD * BLOCK + j]) & (step > ZERO)
        w[MOVED_V + j] = moved
        w[FRACTION + j] = ONE
        w[FIRED + j] = ONE if fired else ZERO
    for j in range(BLOCK):
        any_fired = larger(any_fired, w[FIRED + j])
    if any_fired > ZERO:
        cross(w, domains)
    for j in range(BLOCK):
        threshold, v_new = w[V_THRESHOLD * BLOCK + j], w[V + j] + w[MOVED_V + j]
        w[V + j] = threshold if w[FIRED + j] > ZERO else v_new
        w[FREE + j] += w[FRACTION + j] * w[H + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[P + row + j] += w[SIGN + row + j] * w[MOVED + row + j]
    return any_fired


@template(simd=True)
def cross(w, domains):
    """FRACTION of the substep up to the crossing, and what MOVED until then.

    What switches goes evenly, or comes to its end before V runs on to the threshold. The tail of a domain obeys, with
    u = b lam D and kappa = r/(lam a), du/dkappa = -u/(1 - kappa u), so kappa = e^u E_1(u), whose inverse is
    u = (0.56 + 0.44 e^-kappa)/(e^kappa - 1) within 2 %: what is left at the threshold, where r and lam are known.
    """
    for j in range(BLOCK):
        w[MEAN + j] = ZERO
        fired, moved = w[FIRED + j] > ZERO, w[MOVED_V + j]
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
            w[OVER + row + j] = over
            w[MEAN + j] += w[V_PER_P * BLOCK + j] * w[WEIGHT + row + j] * w[SIGN + row + j] * over * moved
    for j in range(BLOCK):
        part = (w[V_THRESHOLD * BLOCK + j] - w[V + j] + w[MEAN + j]) / w[AVAILABLE + j]
        part = smaller(larger(larger(part, w[FRACTION + j]), ZERO), ONE)
        w[FRACTION + j] = part if w[FIRED + j] > ZERO else ONE
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[MOVED + row + j] *= larger(w[FRACTION + j], w[OVER + row + j])


@template(simd=True)
def freeze(w):
    """Macro reset: who fired stays at threshold to the end."""
    for j in range(BLOCK):
        fired = w[FIRED + j] > ZERO
        w[HOLD + j] = FROZEN_MS if fired else w[HOLD + j]
        w[SPIKES + j] = ONE if fired else w[SPIKES + j]


@template(simd=True)
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
        wait = larger(w[T_REFRACTORY * BLOCK + j] - (ONE - w[FRACTION + j]) * w[H + j], F(LEAST_HOLD_MS))
        w[HOLD + j] = wait if fired else w[HOLD + j]
        w[LEAD + j] = w[FREE + j] if first else w[LEAD + j]
        w[FREE + j] = ZERO if fired else w[FREE + j]
        w[SPIKES + j] += w[FIRED + j]
