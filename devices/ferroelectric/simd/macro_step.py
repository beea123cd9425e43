"""FeLIF over one macro step for many neurons: blocks through the SIMD substeps of `devices.ferroelectric.simd.substep`.

Neurons of one pace (`devices.ferroelectric.paces`) go through together, sorted within tiles that fit into the cache.

Same arrays as `devices.ferroelectric.scalar.windows`, in float32, `constants` as (18 + 3 K, m): neuron j has column j
% m.
"""

# mypy: allow-untyped-defs
import numpy as np

from bruno_spice.devices.compiled import FAST_MATH, inlined, kernel
from bruno_spice.devices.ferroelectric.constants import (
    ALPHA,
    DOMAINS_FROM,
    DRIVE,
    E_SOFT,
    K_CAP,
    K_POL,
    LN_RATE,
    P_RESET,
    V_PER_P,
    V_RESET,
    V_THRESHOLD,
)
from bruno_spice.devices.ferroelectric.paces import INHIBITED, PACES, pace, substep_count, substep_ms
from bruno_spice.devices.ferroelectric.simd import substep as simd
from bruno_spice.devices.ferroelectric.simd.substep import (
    BLOCK,
    COLUMN,
    SEEN_TANGENT,
    SLOWEST_RATE_BITS,
    TANGENTS_SIZE,
    WORK_SIZE,
    advance,
    begin_substep,
    correct,
    distribute,
    freeze,
    leak_at_start,
    rates_at_start,
    reset_fired,
    take,
)
from bruno_spice.devices.ferroelectric.simd.tangents import carry_tangents
from bruno_spice.devices.ferroelectric.simd.vector_math import LOG2_E, F, exp2, larger, log2

ZERO, ONE = F(0.0), F(1.0)
TILE = 8192
length, pace_of, count_of = inlined(substep_ms), inlined(pace), inlined(substep_count)


@kernel(fastmath=FAST_MATH)
def load_constants(w, constants, lanes):
    """The constants of the neurons in `lanes` (BLOCK,)."""
    rows, width = constants.shape
    domains = (rows - DOMAINS_FROM) // 3
    for row in range(DOMAINS_FROM):
        at = row * BLOCK
        for j in range(BLOCK):
            w[at + j] = constants[row, lanes[j] % width]
    for k in range(domains):
        row = k * BLOCK
        for j in range(BLOCK):
            column = lanes[j] % width
            w[simd.INVERSE_EA + row + j] = ONE / constants[DOMAINS_FROM + k, column]
            w[simd.OFFSET + row + j] = constants[DOMAINS_FROM + domains + k, column]
            w[simd.WEIGHT + row + j] = constants[DOMAINS_FROM + 2 * domains + k, column]
    for j in range(BLOCK):
        per_p = w[K_CAP * BLOCK + j] * w[V_PER_P * BLOCK + j] + w[K_POL * BLOCK + j]
        w[simd.V_PER_FIELD + j] = w[V_PER_P * BLOCK + j] / per_p
        w[simd.MEAN + j] = w[K_CAP * BLOCK + j] * w[V_THRESHOLD * BLOCK + j]
        largest = w[LN_RATE * BLOCK + j] + SLOWEST_RATE_BITS / LOG2_E
        w[simd.SMALLEST_FIELD + j] = exp2(-log2(largest) / w[ALPHA * BLOCK + j])
    for k in range(domains):
        row = k * BLOCK
        for j in range(BLOCK):
            w[simd.MEAN + j] -= w[K_POL * BLOCK + j] * w[simd.WEIGHT + row + j]
    for k in range(domains):
        row = k * BLOCK
        for j in range(BLOCK):
            per_p = w[K_CAP * BLOCK + j] * w[V_PER_P * BLOCK + j] + w[K_POL * BLOCK + j]
            takes = w[simd.WEIGHT + row + j] * per_p
            w[simd.TAKES + row + j] = takes
            field = larger(w[simd.MEAN + j] - w[simd.OFFSET + row + j], ZERO) + w[E_SOFT * BLOCK + j]
            inverse, alpha = w[simd.INVERSE_EA + row + j], w[ALPHA * BLOCK + j]
            size = larger(field * inverse, w[simd.SMALLEST_FIELD + j])
            exponent = exp2(-alpha * log2(size))
            lam = alpha * exponent * inverse / size
            w[simd.TAIL_FIELD + row + j] = exp2((w[LN_RATE * BLOCK + j] - exponent) * LOG2_E) / lam
            w[simd.TAIL_LEFT + row + j] = ONE / (larger(takes, F(1e-12)) * lam)


@kernel(fastmath=FAST_MATH)
def load_state(w, s, v, p, hold, i_a, lanes, with_tangents):
    """State and current of a block. Tangents start at the identity."""
    domains = p.shape[0]
    for j in range(BLOCK):
        at = lanes[j]
        w[simd.V + j] = v[at]
        w[simd.HOLD + j] = hold[at]
        w[simd.I_IN + j] = i_a[at] * w[DRIVE * BLOCK + j]
        w[simd.SPIKES + j] = ZERO
        w[simd.FREE + j] = ZERO
    for k in range(domains):
        for j in range(BLOCK):
            w[simd.P + k * BLOCK + j] = p[k, lanes[j]]
    if not with_tangents:
        return
    for column in range(2 + domains):
        for row in range(1 + domains):
            at = column * COLUMN + row * BLOCK
            for j in range(BLOCK):
                value = ONE if row == column else ZERO
                if row == 0 and 0 < column <= domains:
                    value = w[V_PER_P * BLOCK + j] * w[simd.WEIGHT + (column - 1) * BLOCK + j]
                s[at + j] = value


@kernel(fastmath=FAST_MATH)
def store(w, v, p, hold, spikes, event, seen, lead_ms, free_ms, lanes, count):
    """Write a block's state, spikes and what the surrogate sees."""
    domains = p.shape[0]
    for j in range(count):
        at = lanes[j]
        fired = w[simd.SPIKES + j] > ZERO
        spikes[at] = w[simd.SPIKES + j]
        free_ms[at] = w[simd.FREE + j]
        late = fired and event
        lead_ms[at] = w[simd.LEAD + j] if late else w[simd.FREE + j]
        seen[0, at] = w[simd.SEEN_V + j] if late else w[simd.V + j]
        cut = fired and not event
        v[at] = w[V_RESET * BLOCK + j] if cut else w[simd.V + j]
        hold[at] = ZERO if cut else w[simd.HOLD + j]
        for k in range(domains):
            row = k * BLOCK
            seen[1 + k, at] = w[simd.SEEN_P + row + j] if late else w[simd.P + row + j]
            p[k, at] = w[P_RESET * BLOCK + j] if cut else w[simd.P + row + j]


@kernel(fastmath=FAST_MATH)
def store_tangents(w, s, tangents, late, domains, event, lanes, count):
    """Write a block's tangents, of (V, p) by (V, p, I in A)."""
    for column in range(2 + domains):
        by_current = column == 1 + domains
        for j in range(count):
            at = lanes[j]
            unit = w[DRIVE * BLOCK + j] if by_current else ONE
            per_p = w[V_PER_P * BLOCK + j]
            seen_at = column * COLUMN + j
            now_at = seen_at
            if event and w[simd.SPIKES + j] > ZERO:
                seen_at += SEEN_TANGENT
            of_v, late_v = s[seen_at], s[now_at]
            for k in range(domains):
                of_p, late_p = s[seen_at + (1 + k) * BLOCK], s[now_at + (1 + k) * BLOCK]
                of_v -= per_p * w[simd.WEIGHT + k * BLOCK + j] * of_p
                late_v -= per_p * w[simd.WEIGHT + k * BLOCK + j] * late_p
                tangents[1 + k, column, at] = of_p * unit
                if event and by_current:
                    late[1 + k, at] = late_p * unit
            tangents[0, column, at] = of_v * unit
            if event and by_current:
                late[0, at] = late_v * unit


@kernel(fastmath=FAST_MATH)
def sort_by_pace(order, ends, constants, i_a, start, stop):
    """`order` = the neurons start <= j < stop, pace after pace; those of pace k end before `ends`[k]."""
    width = constants.shape[1]
    paces = np.empty(stop - start, np.uint8)
    ends[:] = 0
    for j in range(start, stop):
        k = pace_of(i_a[j] * constants[DRIVE, j % width])
        paces[j - start] = k
        ends[k] += 1
    at = np.empty_like(ends)
    total = 0
    for k in range(ends.size):
        at[k] = total
        total += ends[k]
        ends[k] = total
    for j in range(start, stop):
        k = paces[j - start]
        order[at[k]] = j
        at[k] += 1


@kernel(fastmath=FAST_MATH)
def take_substeps(w, s, domains, substeps, inhibited, event, with_tangents):
    """A block from the start of a macro step to its end."""
    leak_at_start(w)
    for step in range(substeps):
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
                reset_fired(w, s, domains, with_tangents)
            else:
                freeze(w)


@kernel(fastmath=FAST_MATH)
def logistic_windows(
    start, stop, constants, v, p, hold, i_a, spikes, accuracy, event, seen, lead_ms, free_ms, tangents, late
):
    """One macro step of neurons start <= j < stop in the substeps of `devices.ferroelectric.paces`."""
    domains = p.shape[0]
    with_tangents = tangents.shape[-1] > 0
    w = np.empty(WORK_SIZE, np.float32)
    s = np.empty(TANGENTS_SIZE if with_tangents else 0, np.float32)
    order, ends = np.empty(TILE, np.uint64), np.empty(len(PACES), np.int64)
    lanes = np.empty(BLOCK, np.uint64)
    fresh = True
    for tile in range(start, stop, TILE):
        sort_by_pace(order, ends, constants, i_a, tile, min(tile + TILE, stop))
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
