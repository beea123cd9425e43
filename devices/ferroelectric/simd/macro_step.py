"""FeLIF over one macro step for many neurons: blocks through the SIMD substeps of `devices.ferroelectric.simd.substep`.

Neurons of one pace (`devices.ferroelectric.paces`) go through together, sorted within tiles that fit into the cache.

Same arrays as `devices.ferroelectric.scalar.windows`, in float32, `constants` as (R, m): neuron j has column j
% m.
"""

# mypy: allow-untyped-defs
import numpy as np

from bruno_spice.devices.compiled import FAST_MATH, inlined, kernel
from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.lanes.rows import (
    BLOCK,
    COLUMN,
    CROSSING_MOVED,
    FREE,
    GROUP_ROWS,
    HOLD,
    I_IN,
    LEAD,
    MEAN,
    OFFSET,
    SEEN_P,
    SEEN_TANGENT,
    SEEN_V,
    SMALLEST,
    SPIKES,
    TAIL_FIELD,
    TAIL_LEFT,
    TAKES,
    TANGENTS_SIZE,
    V_PER_FIELD,
    WEIGHT,
    WORK_SIZE,
    P,
    V,
)
from bruno_spice.devices.ferroelectric.lanes.vector_math import ONE, ZERO, F, exp, larger
from bruno_spice.devices.ferroelectric.paces import INHIBITED, PACES, pace, substep_count, substep_ms
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
from bruno_spice.devices.ferroelectric.simd.tangents import carry_tangents, move_crossing
from bruno_spice.devices.models.rows import (
    DOMAINS_FROM,
    DRIVE,
    GROUPS,
    K_CAP,
    K_POL,
    P_RESET,
    V_PER_P,
    V_RESET,
    V_THRESHOLD,
)

TILE = 8192
LEAST_TAKES = F(1e-12)
"""Of a domain without weight."""
ENDED = 255
"""In the place of a pace: of a neuron whose sequence is over."""
length, pace_of, count_of = inlined(substep_ms), inlined(pace), inlined(substep_count)


@template(simd=True)
def load_constants(w, constants, lanes):
    """The constants of the neurons in `lanes` (BLOCK,), and how switching ends at the threshold."""
    rows, width = constants.shape
    domains = (rows - DOMAINS_FROM) // len(GROUPS)
    columns = np.empty(BLOCK, np.uint64)
    for j in range(BLOCK):
        columns[j] = lanes[j] % width
    for row in range(DOMAINS_FROM):
        at = row * BLOCK
        for j in range(BLOCK):
            w[at + j] = constants[row, columns[j]]
    for group in range(len(GROUPS)):
        for k in range(domains):
            at, row = GROUP_ROWS[group] + k * BLOCK, DOMAINS_FROM + group * domains + k
            for j in range(BLOCK):
                w[at + j] = constants[row, columns[j]]
    for j in range(BLOCK):
        per_p = w[K_CAP * BLOCK + j] * w[V_PER_P * BLOCK + j] + w[K_POL * BLOCK + j]
        w[V_PER_FIELD + j] = w[V_PER_P * BLOCK + j] / per_p
        w[MEAN + j] = w[K_CAP * BLOCK + j] * w[V_THRESHOLD * BLOCK + j]
    for k in range(domains):
        row = k * BLOCK
        for j in range(BLOCK):
            w[MEAN + j] -= w[K_POL * BLOCK + j] * w[WEIGHT + row + j]
    for k in range(domains):
        row = k * BLOCK
        for j in range(BLOCK):
            per_p = w[K_CAP * BLOCK + j] * w[V_PER_P * BLOCK + j] + w[K_POL * BLOCK + j]
            takes = larger(w[WEIGHT + row + j] * per_p, LEAST_TAKES)
            w[TAKES + row + j] = takes
            field = law.softened(larger(w[MEAN + j] - w[OFFSET + row + j], ZERO), w, row, j)
            size = larger(field, w[SMALLEST + row + j])
            lam = law.steepness(size, w, row, j)
            w[TAIL_FIELD + row + j] = exp(law.ln_rate(size, w, row, j)) / lam
            w[TAIL_LEFT + row + j] = ONE / (takes * lam)


@template(simd=True)
def load_state(w, s, v, p, hold, i_a, lanes, with_tangents):
    """State and current of a block. Tangents start at the identity."""
    domains = p.shape[0]
    for j in range(BLOCK):
        at = lanes[j]
        w[V + j] = v[at]
        w[HOLD + j] = hold[at]
        w[I_IN + j] = i_a[at] * w[DRIVE * BLOCK + j]
        w[SPIKES + j] = ZERO
        w[FREE + j] = ZERO
        w[CROSSING_MOVED + j] = ZERO
    for k in range(domains):
        for j in range(BLOCK):
            w[P + k * BLOCK + j] = p[k, lanes[j]]
    if not with_tangents:
        return
    for column in range(2 + domains):
        for row in range(1 + domains):
            at = column * COLUMN + row * BLOCK
            for j in range(BLOCK):
                value = ONE if row == column else ZERO
                if row == 0 and 0 < column <= domains:
                    value = w[V_PER_P * BLOCK + j] * w[WEIGHT + (column - 1) * BLOCK + j]
                s[at + j] = value


@kernel(fastmath=FAST_MATH)
def store(w, v, p, hold, spikes, event, seen, lead_ms, free_ms, lanes, count):
    """Write a block's state, spikes and what the surrogate sees."""
    domains = p.shape[0]
    for j in range(count):
        at = lanes[j]
        fired = w[SPIKES + j] > ZERO
        spikes[at] = w[SPIKES + j]
        free_ms[at] = w[FREE + j]
        late = fired and event
        lead_ms[at] = w[LEAD + j] if late else w[FREE + j]
        seen[0, at] = w[SEEN_V + j] if late else w[V + j]
        cut = fired and not event
        v[at] = w[V_RESET * BLOCK + j] if cut else w[V + j]
        hold[at] = ZERO if cut else w[HOLD + j]
        for k in range(domains):
            row = k * BLOCK
            seen[1 + k, at] = w[SEEN_P + row + j] if late else w[P + row + j]
            p[k, at] = w[P_RESET * BLOCK + j] if cut else w[P + row + j]


@template(simd=True)
def store_tangents(w, s, tangents, late, domains, event, lanes, count):
    """Write a block's tangents, of (V, p) by (V, p, I in A)."""
    for column in range(2 + domains):
        by_current = column == 1 + domains
        for j in range(count):
            at = lanes[j]
            per_p = w[V_PER_P * BLOCK + j]
            seen_at = column * COLUMN + j
            now_at = seen_at
            if event and w[SPIKES + j] > ZERO:
                seen_at += SEEN_TANGENT
            of_v, late_v = s[seen_at], s[now_at]
            for k in range(domains):
                of_p, late_p = s[seen_at + (1 + k) * BLOCK], s[now_at + (1 + k) * BLOCK]
                of_v -= per_p * w[WEIGHT + k * BLOCK + j] * of_p
                late_v -= per_p * w[WEIGHT + k * BLOCK + j] * late_p
                tangents[1 + k, column, at] = of_p
                if event and by_current:
                    late[1 + k, at] = late_p
            tangents[0, column, at] = of_v
            if event and by_current:
                late[0, at] = late_v
                late[1 + domains, at] = w[CROSSING_MOVED + j]


@kernel(fastmath=FAST_MATH)
def sort_by_pace(order, ends, constants, i_a, start, stop, until, t):
    """`order` = the neurons start <= j < stop whose `until`[j] is beyond `t` (all, where it is empty), pace after pace;
    those of pace k end before `ends`[k]."""
    width = constants.shape[1]
    paces = np.empty(stop - start, np.uint8)
    ends[:] = 0
    for j in range(start, stop):
        k = pace_of(i_a[j] * constants[DRIVE, j % width])
        k = k if until.size == 0 or until[j] > t else ENDED
        paces[j - start] = k
        if k != ENDED:
            ends[k] += 1
    at = np.empty_like(ends)
    total = 0
    for k in range(ends.size):
        at[k] = total
        total += ends[k]
        ends[k] = total
    for j in range(start, stop):
        k = paces[j - start]
        if k != ENDED:
            order[at[k]] = j
            at[k] += 1


@template(simd=True)
def take_substeps(w, s, domains, substeps, inhibited, event, with_tangents):
    """A block from the start of a macro step to its end."""
    leak_at_start(w, domains)
    for step in range(substeps):
        if law.TERMINAL:
            at_membrane(w, domains)
        begin_substep(w, F(length(step, substeps)), inhibited)
        rates_at_start(w, domains)
        take(w)
        correct(w, domains)
        take(w)
        distribute(w, domains)
        fired = advance(w, domains)
        if with_tangents:
            carry_tangents(w, s, domains)
        if fired > ZERO:
            if event:
                if with_tangents:
                    move_crossing(w, s, domains)
                reset_fired(w, s, domains, with_tangents)
            else:
                freeze(w)


@template(simd=True)
def macro_step(
    w, s, order, ends, lanes, fresh, constants, v, p, hold, i_a, spikes, accuracy, event, seen, lead_ms, free_ms,
    tangents, late,
):  # fmt: skip
    """One macro step of the neurons in `order`; `fresh`: whether `w` has no constants yet."""
    domains = p.shape[0]
    with_tangents = tangents.shape[-1] > 0
    first = 0
    for k in range(len(PACES)):
        while first < ends[k]:
            count = min(BLOCK, ends[k] - first)
            for j in range(BLOCK):
                lanes[j] = order[first + (j if j < count else 0)]
            if fresh or constants.shape[1] > 1:
                load_constants(w, constants, lanes)
                fresh = False
            load_state(w, s, v, p, hold, i_a, lanes, with_tangents)
            take_substeps(w, s, domains, count_of(accuracy, k), k == INHIBITED, event, with_tangents)
            store(w, v, p, hold, spikes, event, seen, lead_ms, free_ms, lanes, count)
            if with_tangents:
                store_tangents(w, s, tangents, late, domains, event, lanes, count)
            first += count


@template(simd=True)
def logistic_windows(
    start, stop, constants, v, p, hold, i_a, spikes, accuracy, event, seen, lead_ms, free_ms, tangents, late
):
    """One macro step of neurons start <= j < stop in the substeps of `devices.ferroelectric.paces`."""
    w = np.empty(WORK_SIZE, np.float32)
    s = np.empty(TANGENTS_SIZE if tangents.shape[-1] > 0 else 0, np.float32)
    order, ends = np.empty(TILE, np.uint64), np.empty(len(PACES), np.int64)
    lanes = np.empty(BLOCK, np.uint64)
    for tile in range(start, stop, TILE):
        sort_by_pace(order, ends, constants, i_a, tile, min(tile + TILE, stop), np.empty(0, np.int64), 0)
        step = (spikes, accuracy, event, seen, lead_ms, free_ms, tangents, late)
        macro_step(w, s, order, ends, lanes, tile == start, constants, v, p, hold, i_a, *step)
