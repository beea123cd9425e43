"""Gradient by the constants of many neurons through one macro step each, in single-precision SIMD.

    dL/dc = lam_seen^T d seen/dc + lam_after^T d after/dc + lam_release d release/dc

as `training.dynamics.by_devices` says, of the very substeps that the layer took (`simd.macro_step`): forward once more,
with what each substep was kept, then backward through them (`simd.substep_back`), a crossing's and a reset's share
where there was one. The release is the instant of the last crossing, (v_threshold - V)/V' later for each, and
T_REFRACTORY with event reset.

Arrays as those of `simd.macro_step`; a macro step of a neuron counts as a neuron, so that whole sequences go through at
once, neuron j with column j % m.
"""

# mypy: allow-untyped-defs
import numpy as np

from bruno_spice.devices.compiled import part
from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.lanes.kept import keep, keep_domains, recall, recall_domains
from bruno_spice.devices.ferroelectric.lanes.rows import (
    AVAILABLE,
    BLOCK,
    BY,
    BY_DOMAIN,
    CHANGE,
    DEPLETION,
    DEPLETION_FIRST,
    DRIVEN,
    FIELD,
    FIRED,
    FRACTION,
    GROUP_ROWS,
    HOLD,
    L_AFTER_P,
    L_AFTER_V,
    L_H,
    L_HOLD,
    L_I_IN,
    L_LEAK,
    L_P,
    L_PER_P,
    L_POLARIZATION,
    L_RELEASE,
    L_SEEN_P,
    L_SEEN_V,
    L_V,
    L_V_PER_FIELD,
    L_WAIT,
    LAM,
    LAM_FIRST,
    LEAK_BEFORE,
    LEAK_NOW,
    LEFT,
    MEAN,
    MOVED,
    OVER,
    PART,
    RATE,
    RATE_END,
    RATE_SUM,
    SIGN,
    SLOPE,
    SLOPE_FIRST,
    SPIKES,
    SWITCHED,
    TAKEN,
    TAKEN_FIRST,
    V_FLOW,
    WHOLE_PART,
    WITH,
    WORK_SIZE,
    H,
    P,
    V,
    domain_row,
)
from bruno_spice.devices.ferroelectric.lanes.vector_math import ONE, ZERO, F, chosen
from bruno_spice.devices.ferroelectric.paces import INHIBITED, LEAST_HOLD_MS, PACES
from bruno_spice.devices.ferroelectric.simd.flow import flow
from bruno_spice.devices.ferroelectric.simd.macro_step import (
    TILE,
    count_of,
    length,
    load_constants,
    load_state,
    sort_by_pace,
)
from bruno_spice.devices.ferroelectric.simd.membrane_back import (
    derived_back,
    driven_back,
    field_back,
    leak_at_start_back,
    leak_back,
    rise_back,
)
from bruno_spice.devices.ferroelectric.simd.substep import (
    advance,
    at_membrane,
    begin_substep,
    correct,
    distribute,
    freeze,
    leak_at_start,
    rates_at_start,
    reset_fired,
    take,
)
from bruno_spice.devices.ferroelectric.simd.substep_back import (
    advance_back,
    distribute_back,
    ends_back,
    flow_back,
    rates_back,
    shares_back,
    take_back,
)
from bruno_spice.devices.models.rows import (
    DOMAINS_FROM,
    GROUPS,
    P_RESET,
    T_REFRACTORY,
    V_RESET,
    V_THRESHOLD,
)

# What is kept of each substep, as pairs of a row there and a row on the way back: at its start, ...
START, START_OF = (V, LEAK_NOW), (V, LEAK_BEFORE)
# ... after its prediction, ...
FIRST = (H, DRIVEN, FIELD, RATE_SUM, AVAILABLE, SLOPE, DEPLETION, TAKEN)
FIRST_OF = (H, DRIVEN, FIELD, RATE_SUM, AVAILABLE, SLOPE_FIRST, DEPLETION_FIRST, TAKEN_FIRST)
# ... after its correction, ...
SECOND = (MEAN, PART, SLOPE, DEPLETION, LEAK_NOW, TAKEN)
SECOND_OF = (CHANGE, WHOLE_PART, SLOPE, DEPLETION, LEAK_NOW, TAKEN)
# ... and of how it was shared among domains.
LAST, LAST_OF = (MEAN, PART), (MEAN, SWITCHED)
# At a crossing.
CROSSED = (FIRED, FRACTION, V_FLOW, HOLD)
KEPT_ROWS = len(START) + len(FIRST) + len(SECOND) + len(LAST) + len(CROSSED)
# Of a domain: at the start of a substep, after its prediction, at its end, at a crossing.
OF_START = (P,)
OF_FIRST, OF_FIRST_OF = (SIGN, LEFT, RATE, WITH, LAM), (SIGN, LEFT, RATE, WITH, LAM_FIRST)
OF_LAST = (LAM, RATE_END, MOVED)
OF_CROSSED = (OVER,)
KEPT_GROUPS = len(OF_START) + len(OF_FIRST) + len(OF_LAST) + len(OF_CROSSED)


@template(simd=True)
def go_and_keep(w, s, kept, crossings, domains, substeps, inhibited, event):
    """As `simd.macro_step.take_substeps`, and what each substep was in `kept`; `crossings`: whether any lane fired."""
    leak_at_start(w, domains)
    size = (KEPT_ROWS + KEPT_GROUPS * domains) * BLOCK
    for step in range(substeps):
        at = keep(w, kept, step * size, START)
        at = keep_domains(w, kept, at, OF_START, domains)
        if law.TERMINAL:
            at_membrane(w, domains)
        begin_substep(w, F(length(step, substeps)), inhibited)
        rates_at_start(w, domains)
        take(w)
        at = keep(w, kept, at, FIRST)
        at = keep_domains(w, kept, at, OF_FIRST, domains)
        correct(w, domains)
        take(w)
        at = keep(w, kept, at, SECOND)
        distribute(w, domains)
        at = keep(w, kept, at, LAST)
        at = keep_domains(w, kept, at, OF_LAST, domains)
        fired = advance(w, domains)
        crossings[step] = fired > ZERO
        if fired > ZERO:
            flow(w, domains)
            if event:
                reset_fired(w, s, domains, False)
            else:
                freeze(w)
            at = keep(w, kept, at, CROSSED)
            keep_domains(w, kept, at, OF_CROSSED, domains)


@template(simd=True)
def crossing_back(w, domains, event, through):
    """At a crossing: what a reset says, and what moves it; then the state before it, seen at the first one."""
    for j in range(BLOCK):
        fired = w[FIRED + j] > ZERO
        by_v = w[L_V + j]
        released = w[L_RELEASE + j] / (w[V_FLOW + j] if fired else ONE)
        released = released if fired else ZERO
        w[L_WAIT + j] = ZERO
        w[V_THRESHOLD * BLOCK + BY + j] += released
        if event:
            w[SPIKES + j] -= w[FIRED + j]
            w[V_RESET * BLOCK + BY + j] += by_v if fired else ZERO
            waits = fired & (w[HOLD + j] > F(LEAST_HOLD_MS))
            by_wait = w[L_RELEASE + j] if through else (w[L_HOLD + j] if waits else ZERO)
            w[T_REFRACTORY * BLOCK + BY + j] += by_wait if fired else ZERO
            w[L_WAIT + j] = ZERO if through else by_wait
            w[L_HOLD + j] = ZERO if fired else w[L_HOLD + j]
            seen = w[L_SEEN_V + j] if w[SPIKES + j] == ZERO else ZERO
            by_v = seen if fired else by_v
        w[L_V + j] = by_v - released
    if event:
        for k in range(domains):
            row = domain_row(k)
            for j in range(BLOCK):
                fired = w[FIRED + j] > ZERO
                by_p = w[L_P + row + j]
                w[P_RESET * BLOCK + BY + j] += by_p if fired else ZERO
                seen = w[L_SEEN_P + row + j] if w[SPIKES + j] == ZERO else ZERO
                w[L_P + row + j] = seen if fired else by_p


@template(simd=True)
def go_back(w, kept, crossings, domains, substeps, inhibited, event, through):
    """From the end of a macro step to its start, substep after substep."""
    size = (KEPT_ROWS + KEPT_GROUPS * domains) * BLOCK
    for back in range(substeps):
        step = substeps - 1 - back
        at = recall(w, kept, step * size, START_OF)
        at = recall_domains(w, kept, at, OF_START, domains)
        at = recall(w, kept, at, FIRST_OF)
        at = recall_domains(w, kept, at, OF_FIRST_OF, domains)
        at = recall(w, kept, at, SECOND_OF)
        at = recall(w, kept, at, LAST_OF)
        at = recall_domains(w, kept, at, OF_LAST, domains)
        if crossings[step]:
            at = recall(w, kept, at, CROSSED)
            recall_domains(w, kept, at, OF_CROSSED, domains)
            crossing_back(w, domains, event, through)
        else:
            for j in range(BLOCK):
                w[FRACTION + j] = ONE
                w[L_WAIT + j] = ZERO
            for k in range(domains):
                row = domain_row(k)
                for j in range(BLOCK):
                    w[OVER + row + j] = ZERO
        if law.TERMINAL:
            at_membrane(w, domains)
        advance_back(w, domains)
        for j in range(BLOCK):
            w[L_H + j] -= (ONE - w[FRACTION + j]) * w[L_WAIT + j]
        distribute_back(w, domains)
        take_back(w)
        rise_back(w, LEAK_NOW)
        shares_back(w, domains)
        ends_back(w, domains)
        leak_back(w)
        for j in range(BLOCK):
            w[SLOPE + j] = w[SLOPE_FIRST + j]
            w[DEPLETION + j] = w[DEPLETION_FIRST + j]
            w[LEAK_NOW + j] = w[LEAK_BEFORE + j]
        take_back(w)
        flow_back(w, domains)
        rates_back(w, domains)
        rise_back(w, LEAK_BEFORE)
        driven_back(w, inhibited)
        field_back(w, domains)
        for j in range(BLOCK):
            w[L_HOLD + j] = chosen(w[H + j] > ZERO, -w[L_H + j], w[L_HOLD + j])
    if law.TERMINAL:
        at_membrane(w, domains)
    leak_at_start_back(w)
    derived_back(w)


@template(simd=True)
def load_adjoint(w, seen, after, release, domains, event, lanes, count):
    """The adjoints of a block at the end of its macro step; none of lanes beyond `count`, none of the constants yet."""
    for j in range(BLOCK):
        lane, one = lanes[j], (ONE if j < count else ZERO)
        w[L_SEEN_V + j] = one * seen[0, lane]
        w[L_AFTER_V + j] = one * after[0, lane]
        w[L_RELEASE + j] = one * release[lane]
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            lane, one = lanes[j], (ONE if j < count else ZERO)
            w[L_SEEN_P + row + j] = one * seen[1 + k, lane]
            w[L_AFTER_P + row + j] = one * after[1 + k, lane]
    for row in range(DOMAINS_FROM):
        for j in range(BLOCK):
            w[row * BLOCK + BY + j] = ZERO
    for group in GROUP_ROWS:
        for k in range(domains):
            for j in range(BLOCK):
                w[group + domain_row(k) + BY_DOMAIN + j] = ZERO
    for j in range(BLOCK):
        fired = w[SPIKES + j] > ZERO
        w[L_HOLD + j] = ZERO
        w[L_LEAK + j] = ZERO
        w[L_I_IN + j] = ZERO
        w[L_V_PER_FIELD + j] = ZERO
        w[L_PER_P + j] = ZERO
        w[L_POLARIZATION + j] = ZERO
        w[L_V + j] = w[L_AFTER_V + j] if fired & event else w[L_SEEN_V + j]
        w[V_RESET * BLOCK + BY + j] += w[L_AFTER_V + j] if fired & (not event) else ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            fired = w[SPIKES + j] > ZERO
            w[L_P + row + j] = w[L_AFTER_P + row + j] if fired & event else w[L_SEEN_P + row + j]
            w[P_RESET * BLOCK + BY + j] += w[L_AFTER_P + row + j] if fired & (not event) else ZERO


@part
def add_row(w, total, row, at, columns, count):
    """Add the lanes of a row of `w` to row `row` of `total`, each to its column."""
    if total.shape[1] > 1:
        for j in range(count):
            total[row, columns[j]] += w[at + j]
        return
    whole = 0.0
    for j in range(count):
        whole += w[at + j]
    total[row, 0] += whole


@part
def store_adjoint(w, total, domains, lanes, count):
    """Add a block's adjoint of the constants to `total` (R, m)."""
    columns = np.empty(BLOCK, np.int64)
    for j in range(count):
        columns[j] = lanes[j] % total.shape[1]
    for row in range(DOMAINS_FROM):
        add_row(w, total, row, row * BLOCK + BY, columns, count)
    for group in range(len(GROUPS)):
        for k in range(domains):
            row = DOMAINS_FROM + group * domains + k
            add_row(w, total, row, GROUP_ROWS[group] + BY_DOMAIN + k * BLOCK, columns, count)


@template(simd=True)
def constants_windows(
    start, stop, constants, accuracy, event, through, v, p, hold, i_a, seen, after, release, total
):  # fmt: skip
    """Add to `total` (R, m), float64, what neurons start <= j < stop say of their `constants` (R, m).

    The adjoints `seen` and `after` (1 + K, n) of V and p where the surrogate looks and after a reset, `release` (n,) of
    the last crossing; gradients pass spikes `through` the instant of a crossing, or through the length of a hold.
    """
    domains = p.shape[0]
    w, s = np.empty(WORK_SIZE, np.float32), np.empty(0, np.float32)
    order, ends = np.empty(TILE, np.uint64), np.empty(len(PACES), np.int64)
    lanes = np.empty(BLOCK, np.uint64)
    most = count_of(accuracy, len(PACES) - 1)
    kept = np.empty(most * (KEPT_ROWS + KEPT_GROUPS * domains) * BLOCK, np.float32)
    crossings = np.empty(most, np.bool_)
    fresh = True
    for tile in range(start, stop, TILE):
        sort_by_pace(order, ends, constants, i_a, tile, min(tile + TILE, stop), np.empty(0, np.int64), 0)
        first = 0
        for k in range(len(PACES)):
            while first < ends[k]:
                count = min(BLOCK, ends[k] - first)
                for j in range(BLOCK):
                    lanes[j] = order[first + (j if j < count else 0)]
                if fresh or constants.shape[1] > 1:
                    load_constants(w, constants, lanes)
                    fresh = False
                load_state(w, s, v, p, hold, i_a, lanes, False)
                substeps, inhibited = count_of(accuracy, k), k == INHIBITED
                go_and_keep(w, s, kept, crossings, domains, substeps, inhibited, event)
                load_adjoint(w, seen, after, release, domains, event, lanes, count)
                go_back(w, kept, crossings, domains, substeps, inhibited, event, through)
                store_adjoint(w, total, domains, lanes, count)
                first += count
