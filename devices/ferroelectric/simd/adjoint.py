"""One macro step of the adjoint sweep for many neurons, in single-precision SIMD: the torch of `dynamics.step_back`.

    lam_seen  = surrogate part + (where no spike) lam_after
    lam_start = J^T lam_seen,   dL/dI = J_I^T lam_seen + (after a spike, event reset) late^T lam_after

and, through a spike, what moves with its crossing (`dynamics.step_back` derives it).

Arrays are flat over n = B N neurons, float32; `constants` (R, m): neuron j has column j % m. J is read from
`tangents`, or that of one implicit Euler step to the state where the surrogate looks (``bruno``), or of BRUNO's clamped
explicit one from the state at the start, as published.
"""

# mypy: allow-untyped-defs

from bruno_spice.devices.compiled import inlined
from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.lanes.rows import (
    AFTER_P,
    AT_START,
    AT_V,
    BLOCK,
    BY_HOLD,
    BY_I,
    BY_RELEASE,
    BY_SHOWN_P,
    BY_SHOWN_V,
    BY_SPIKE,
    DISTANCE,
    FIELD,
    FIRED,
    FREE,
    HOLD,
    HOLD_END,
    I_A,
    I_IN,
    KEPT,
    LAM_P,
    LAM_V,
    LEAD,
    NOW,
    OFFSET,
    P_FLOW,
    PER_V,
    SEEN_P,
    SEEN_V,
    SMALLEST,
    SWING,
    V_FLOW,
    WEIGHT,
    H,
    P,
    V,
    domain_row,
)
from bruno_spice.devices.ferroelectric.lanes.vector_math import LOG2_E, ONE, TWO, ZERO, F, exp, exp2, larger, smaller
from bruno_spice.devices.ferroelectric.paces import LEAST_LEAD_MS
from bruno_spice.devices.ferroelectric.simd.flow import field, flow
from bruno_spice.devices.ferroelectric.simd.implicit import implicit_back
from bruno_spice.devices.ferroelectric.simd.macro_step import load_constants
from bruno_spice.devices.ferroelectric.simd.substep import at_membrane
from bruno_spice.devices.models.rows import DRIVE, P_RESET, V_FLOOR, V_PER_P, V_RESET, V_THRESHOLD

SHAPES = ("superspike", "superspike_squared", "tanh", "arctan")
"""Shapes of a surrogate by their number here (`training.dynamics.surrogates`)."""
SATURATED = F(1.0 - 1e-6)


@inlined
def derivative(shape, y):
    """The surrogate's derivative, 1 at y = 0."""
    if shape == 0:
        return ONE / (ONE + abs(y))
    if shape == 1:
        root = ONE / (ONE + abs(y))
        return root * root
    if shape == 2:
        turned = exp2(smaller(abs(y) * (TWO * LOG2_E), F(60.0)))
        tanh = ONE - TWO / (turned + ONE)
        return ONE - tanh * tanh
    return ONE / (ONE + y * y)


@template(simd=True)
def load_row(w, at, array, start, count):
    """Lanes of `array` from `start`; those beyond `count` are zero."""
    for j in range(count):
        w[at + j] = array[start + j]
    for j in range(count, BLOCK):
        w[at + j] = ZERO


@template(simd=True)
def surrogate(w, domains, charge, shape, slope):
    """SWING = the adjoint of V and p by the surrogate, per unit of charge (or V); BY_SPIKE is used up."""
    for j in range(BLOCK):
        swing = w[V_THRESHOLD * BLOCK + j] - w[V_RESET * BLOCK + j]
        swing = ONE / (swing + w[V_PER_P * BLOCK + j] * (ONE - w[P_RESET * BLOCK + j]))
        per_v = swing if charge else ONE
        w[SWING + j] = per_v
        w[DISTANCE + j] = (w[SEEN_V + j] - w[V_THRESHOLD * BLOCK + j]) * per_v
    if charge:
        for k in range(domains):
            row = domain_row(k)
            for j in range(BLOCK):
                per_p = w[SWING + j] * w[V_PER_P * BLOCK + j] * w[WEIGHT + row + j]
                w[DISTANCE + j] += per_p * (w[SEEN_P + row + j] - ONE)
    for j in range(BLOCK):
        w[SWING + j] *= w[BY_SPIKE + j] * derivative(shape, slope * w[DISTANCE + j])


@template(simd=True)
def to_seen(w, domains, charge, event):
    """LAM = lam_seen; NOW, AFTER_P = lam_after where spikes are resets within the step."""
    for j in range(BLOCK):
        quiet = ONE if w[FIRED + j] == ZERO else ZERO
        lam, shown = w[LAM_V + j], w[BY_SHOWN_V + j]
        after = lam + shown
        w[NOW + j] = after
        w[LAM_V + j] = (quiet * after if event else quiet * lam + shown) + w[SWING + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            quiet = ONE if w[FIRED + j] == ZERO else ZERO
            lam, shown = w[LAM_P + row + j], w[BY_SHOWN_P + j] * w[WEIGHT + row + j]
            pull = w[SWING + j] * w[V_PER_P * BLOCK + j] * w[WEIGHT + row + j] if charge else ZERO
            after = lam + shown
            w[AFTER_P + row + j] = after
            w[LAM_P + row + j] = (quiet * after if event else quiet * lam + shown) + pull


@template(simd=True)
def release(w, domains, v_after, p_after, hold_after, start, count):
    """BY_RELEASE: adjoint of the last release of the step, or of the hold that is left; `*_after`: at its end."""
    load_row(w, HOLD_END, hold_after, start, count)
    load_row(w, V, v_after, start, count)
    for k in range(domains):
        load_row(w, P + domain_row(k), p_after[k], start, count)
    flow(w, domains)
    for j in range(BLOCK):
        w[BY_RELEASE + j] = -w[V_FLOW + j] * (w[LAM_V + j] + w[BY_SHOWN_V + j])
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            after = w[LAM_P + row + j] + w[BY_SHOWN_P + j] * w[WEIGHT + row + j]
            w[BY_RELEASE + j] -= w[P_FLOW + row + j] * after
    for j in range(BLOCK):
        w[BY_RELEASE + j] = w[LAM_V + j] if w[HOLD_END + j] > ZERO else w[BY_RELEASE + j]


@template(simd=True)
def move_crossing(w, domains, event):
    """LAM_V = lam_seen_V with what moves with the crossing; BY_HOLD = the adjoint of a hold that ended in the step."""
    for j in range(BLOCK):
        w[V + j] = w[SEEN_V + j]
        w[BY_HOLD + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[P + row + j] = w[SEEN_P + row + j]
    flow(w, domains)
    if not event:
        for j in range(BLOCK):
            w[BY_RELEASE + j] = w[V_FLOW + j] * w[BY_SHOWN_V + j]
        for k in range(domains):
            row = domain_row(k)
            for j in range(BLOCK):
                w[BY_RELEASE + j] += w[P_FLOW + row + j] * w[BY_SHOWN_P + j] * w[WEIGHT + row + j]
    for j in range(BLOCK):
        fired = w[FIRED + j] > ZERO
        by_seen = w[BY_RELEASE + j] / (w[V_FLOW + j] if fired else ONE)
        w[LAM_V + j] -= by_seen if fired else ZERO
    if not event:
        return
    for j in range(BLOCK):
        stands = (w[FIRED + j] == ZERO) & (w[HOLD_END + j] > ZERO)
        w[LAM_V + j] = w[BY_RELEASE + j] if stands else w[LAM_V + j]
        w[BY_HOLD + j] -= w[V_FLOW + j] * w[LAM_V + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[BY_HOLD + j] -= w[P_FLOW + row + j] * w[LAM_P + row + j]


@template(simd=True)
def let_go(w):
    """LAM_V = BY_HOLD where a hold ended within the step."""
    for j in range(BLOCK):
        stands = (w[FIRED + j] == ZERO) & (w[HOLD_END + j] > ZERO)
        ended = (w[HOLD + j] > ZERO) & (not stands)
        w[LAM_V + j] = w[BY_HOLD + j] if ended else w[LAM_V + j]


@template(simd=True)
def explicit_back(w, domains):
    """LAM = J^T LAM and BY_I for one explicit Euler step of LEAD ms, tau detached, clamped (`dynamics.step_back`)."""
    field(w, domains)
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            here = w[FIELD + j] - w[OFFSET + row + j]
            size = larger(law.softened(abs(here), w, row, j), w[SMALLEST + row + j])
            share = smaller(w[LEAD + j] * exp(law.ln_rate(size, w, row, j)), ONE)
            p = w[P + row + j]
            stuck = (p if here >= ZERO else -p) >= SATURATED
            kept = ZERO if stuck and w[LEAD + j] > ZERO else ONE - share
            lam = w[LAM_P + row + j]
            by_v = w[LAM_V + j] * w[V_PER_P * BLOCK + j] * w[WEIGHT + row + j]
            w[LAM_P + row + j] = by_v * (ONE - kept) + lam * kept
    for j in range(BLOCK):
        drive, lead = w[DRIVE * BLOCK + j], w[LEAD + j]
        v = w[AT_V + j] if law.TERMINAL else w[V + j]
        per_v = w[PER_V + j] if law.TERMINAL else ONE
        slope = drive * law.leak_slope(v, w, 0, j) * per_v
        above = v - w[V_FLOOR * BLOCK + j]
        compliance = law.compliance(v, w, 0, j)
        pull = drive * w[I_A + j]
        inhibited = w[I_A + j] < ZERO
        slope -= pull * law.compliance_slope(v, w, 0, j) * per_v if inhibited else ZERO
        free = compliance * drive if lead * abs(pull * compliance) * per_v <= abs(above) else ZERO
        w[BY_I + j] = w[LAM_V + j] * lead * (free if inhibited else drive)
        w[LAM_V + j] *= ONE - smaller(lead * slope, ONE)


@template(simd=True)
def through_tangents(w, tangents, domains, start, count):
    """LAM = J^T LAM and BY_I for the stored J (1 + K, 2 + K, n)."""
    for j in range(BLOCK):
        w[FIELD + j] = ZERO
        w[BY_I + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[KEPT + row + j] = ZERO
    for r in range(1 + domains):
        lam = LAM_V if r == 0 else LAM_P + domain_row(r - 1)
        of_v, of_i = tangents[r, 0], tangents[r, 1 + domains]
        for j in range(count):
            w[FIELD + j] += w[lam + j] * of_v[start + j]
        for j in range(count):
            w[BY_I + j] += w[lam + j] * of_i[start + j]
        for k in range(domains):
            of_p = tangents[r, 1 + k]
            row = domain_row(k)
            for j in range(count):
                w[KEPT + row + j] += w[lam + j] * of_p[start + j]
    for j in range(BLOCK):
        w[LAM_V + j] = w[FIELD + j]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            w[LAM_P + row + j] = w[KEPT + row + j]


@template(simd=True)
def only_spiked(w):
    """NOW = lam_after_V where there was a spike."""
    for j in range(BLOCK):
        w[NOW + j] *= ZERO if w[FIRED + j] == ZERO else ONE


@template(simd=True)
def after_spikes(w, late, domains, through, start, count):
    """Event reset: BY_I gains what the current does to the end of the step after a spike, by its tangents."""
    only_spiked(w)
    for j in range(count):
        w[BY_I + j] += late[0, start + j] * w[NOW + j]
    for k in range(domains):
        row = domain_row(k)
        of_p = late[1 + k]
        for j in range(count):
            spiked = ZERO if w[FIRED + j] == ZERO else ONE
            w[BY_I + j] += spiked * of_p[start + j] * w[AFTER_P + row + j]
    if not through:
        return
    for j in range(count):
        spiked = ZERO if w[FIRED + j] == ZERO else ONE
        w[BY_I + j] += spiked * late[1 + domains, start + j] * w[BY_RELEASE + j]


@template(simd=True)
def after_spikes_published(w):
    """The same as if nothing but the current moved V."""
    only_spiked(w)
    for j in range(BLOCK):
        w[BY_I + j] += w[DRIVE * BLOCK + j] * w[FREE + j] * w[NOW + j]


@template(simd=True)
def after_spikes_implicit(w, domains, v_after, p_after, start, count):
    """The same by an implicit step from the last reset to the end."""
    spikes = ZERO
    for j in range(BLOCK):
        spikes += w[FIRED + j]
    if spikes == ZERO:
        return
    load_row(w, V, v_after, start, count)
    for k in range(domains):
        load_row(w, P + domain_row(k), p_after[k], start, count)
    for j in range(BLOCK):
        w[BY_RELEASE + j] = w[BY_I + j]
        w[AT_START + j] = w[V_RESET * BLOCK + j]
        w[H + j] = ZERO if w[FIRED + j] == ZERO else w[FREE + j]
    implicit_back(w, domains, NOW, AFTER_P)
    for j in range(BLOCK):
        w[BY_I + j] += w[BY_RELEASE + j]


@template(simd=True)
def adjoint_step(
    w, lanes, start, stop, fresh, constants, running, rule, surrogate_of, tape, after, tangents, late, shown, lam,
    by_current,
):  # fmt: skip
    """Take `lam`, V (n,) and p (K, n), through one macro step of neurons start <= j < stop, in place, and write
    `by_current` (n,), dL/dI; that of neurons that are not `running` (n,) stays, with 0.

    `rule`: exact, event, through, published. `tape` holds the step's v, p (K, n), i_a, seen (1 + K, n), fired, lead and
    free, in this order; `tangents` and `late` are read where `exact`; `after` holds v, p and hold at its end and hold
    at its start, read with event reset. `shown`: gradients by spikes, voltage and polarization. The
    surrogate: whether it looks at the charge, else at V; its shape, a number in `SHAPES`; its slope.
    """
    exact, event, through, published = rule
    charge, shape, slope = surrogate_of
    v, p, i_a, seen, fired, lead, free = tape
    v_after, p_after, hold_after, hold = after
    by_spikes, by_voltage, by_polarization = shown
    lam_v, lam_p = lam
    domains = p.shape[0]
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        if (fresh and first == start) or constants.shape[1] > 1:
            for j in range(BLOCK):
                lanes[j] = first + (j if j < count else 0)
            load_constants(w, constants, lanes)
        load_row(w, FIRED, fired, first, count)
        load_row(w, SEEN_V, seen[0], first, count)
        load_row(w, BY_SPIKE, by_spikes, first, count)
        load_row(w, BY_SHOWN_V, by_voltage, first, count)
        load_row(w, BY_SHOWN_P, by_polarization, first, count)
        load_row(w, LAM_V, lam_v, first, count)
        for k in range(domains):
            load_row(w, LAM_P + domain_row(k), lam_p[k], first, count)
            load_row(w, SEEN_P + domain_row(k), seen[1 + k], first, count)
        surrogate(w, domains, charge, shape, slope)
        if through:
            load_row(w, I_IN, i_a, first, count)
            for j in range(BLOCK):
                w[I_IN + j] *= w[DRIVE * BLOCK + j]
            if event:
                load_row(w, HOLD, hold, first, count)
                release(w, domains, v_after, p_after, hold_after, first, count)
        to_seen(w, domains, charge, event)
        if through:
            move_crossing(w, domains, event)
        if exact:
            through_tangents(w, tangents, domains, first, count)
            if through and event:
                let_go(w)
        elif published:
            load_row(w, V, v, first, count)
            load_row(w, I_A, i_a, first, count)
            for k in range(domains):
                load_row(w, P + domain_row(k), p[k], first, count)
            load_row(w, LEAD, lead, first, count)
            for j in range(BLOCK):
                w[LEAD + j] = ONE if (w[LEAD + j] > F(LEAST_LEAD_MS)) | (w[FIRED + j] > ZERO) else ZERO
            if law.TERMINAL:
                at_membrane(w, domains)
            explicit_back(w, domains)
        else:
            load_row(w, I_A, i_a, first, count)
            load_row(w, H, lead, first, count)
            load_row(w, AT_START, v, first, count)
            load_row(w, V, seen[0], first, count)
            for k in range(domains):
                load_row(w, P + domain_row(k), seen[1 + k], first, count)
            implicit_back(w, domains, LAM_V, LAM_P)
        if event:
            load_row(w, FREE, free, first, count)
            if exact:
                after_spikes(w, late, domains, through, first, count)
            elif published:
                after_spikes_published(w)
            else:
                after_spikes_implicit(w, domains, v_after, p_after, first, count)
        for j in range(count):
            lam_v[first + j] = w[LAM_V + j] if running[first + j] else lam_v[first + j]
        for j in range(count):
            by_current[first + j] = w[BY_I + j] if running[first + j] else ZERO
        for k in range(domains):
            row = domain_row(k)
            for j in range(count):
                lam_p[k, first + j] = w[LAM_P + row + j] if running[first + j] else lam_p[k, first + j]
