"""FeLIF over one macro step for many neurons: blocks through the SIMD substeps of `devices.felif_simd`.

Same arrays as `devices.felif_windows`, in float32, `constants` as (17 + 3 K, m): neuron j has column j % m.
"""

# mypy: allow-untyped-defs
import numpy as np

from devices import felif_simd as simd
from devices.compiled import FAST_MATH, inlined, kernel
from devices.felif_constants import (
    ALPHA,
    DOMAINS_FROM,
    DRIVE,
    K_CAP,
    K_POL,
    LN_RATE,
    P_RESET,
    V_PER_P,
    V_RESET,
    substep_ms,
)
from devices.felif_simd import (
    BLOCK,
    COLUMN,
    SEEN_TANGENT,
    SLOWEST_RATE_BITS,
    TANGENTS_SIZE,
    WORK_SIZE,
    advance,
    begin_substep,
    carry_tangents,
    correct,
    distribute,
    freeze,
    leak_at_start,
    rates_at_start,
    reset_fired,
    take,
)
from devices.felif_vector_math import LOG2_E, F, exp2, log2

ZERO, ONE = F(0.0), F(1.0)
length = inlined(substep_ms)


@kernel(fastmath=FAST_MATH)
def load_constants(w, constants, start, count):
    """The constants of neurons start ... start + count; lanes beyond repeat the first."""
    rows, width = constants.shape
    domains = (rows - DOMAINS_FROM) // 3
    for row in range(DOMAINS_FROM):
        at = row * BLOCK
        if width == 1:
            value = constants[row, 0]
            for j in range(BLOCK):
                w[at + j] = value
        else:
            for j in range(BLOCK):
                w[at + j] = constants[row, (start + (j if j < count else 0)) % width]
    for k in range(domains):
        row = k * BLOCK
        for j in range(BLOCK):
            column = (start + (j if j < count else 0)) % width
            w[simd.INVERSE_EA + row + j] = ONE / constants[DOMAINS_FROM + k, column]
            w[simd.OFFSET + row + j] = constants[DOMAINS_FROM + domains + k, column]
            w[simd.WEIGHT + row + j] = constants[DOMAINS_FROM + 2 * domains + k, column]
    for j in range(BLOCK):
        per_p = w[K_CAP * BLOCK + j] * w[V_PER_P * BLOCK + j] + w[K_POL * BLOCK + j]
        w[simd.V_PER_FIELD + j] = w[V_PER_P * BLOCK + j] / per_p
        largest = w[LN_RATE * BLOCK + j] + SLOWEST_RATE_BITS / LOG2_E
        w[simd.SMALLEST_FIELD + j] = exp2(-log2(largest) / w[ALPHA * BLOCK + j])
    for k in range(domains):
        row = k * BLOCK
        for j in range(BLOCK):
            per_p = w[K_CAP * BLOCK + j] * w[V_PER_P * BLOCK + j] + w[K_POL * BLOCK + j]
            w[simd.TAKES + row + j] = w[simd.WEIGHT + row + j] * per_p


@kernel(fastmath=FAST_MATH)
def load_state(w, s, v, p, hold, i_a, start, count, with_tangents):
    """State and current of a block; lanes beyond `count` repeat the first. Tangents start at the identity."""
    domains = p.shape[0]
    for j in range(BLOCK):
        at = start + (j if j < count else 0)
        w[simd.V + j] = v[at]
        w[simd.HOLD + j] = hold[at]
        w[simd.I_IN + j] = i_a[at] * w[DRIVE * BLOCK + j]
        w[simd.SPIKES + j] = ZERO
        w[simd.FREE + j] = ZERO
        for k in range(domains):
            w[simd.P + k * BLOCK + j] = p[k, at]
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
def store(w, v, p, hold, spikes, event, seen, free_ms, start, count):
    """Write a block's state, spikes and what the surrogate sees."""
    domains = p.shape[0]
    for j in range(count):
        at = start + j
        fired = w[simd.SPIKES + j] > ZERO
        spikes[at] = w[simd.SPIKES + j]
        free_ms[at] = w[simd.FREE + j]
        late = fired and event
        seen[0, at] = w[simd.SEEN_V + j] if late else w[simd.V + j]
        cut = fired and not event
        v[at] = w[V_RESET * BLOCK + j] if cut else w[simd.V + j]
        hold[at] = ZERO if cut else w[simd.HOLD + j]
        for k in range(domains):
            row = k * BLOCK
            seen[1 + k, at] = w[simd.SEEN_P + row + j] if late else w[simd.P + row + j]
            p[k, at] = w[P_RESET * BLOCK + j] if cut else w[simd.P + row + j]


@kernel(fastmath=FAST_MATH)
def store_tangents(w, s, tangents, late, domains, event, start, count):
    """Write a block's tangents, of (V, p) by (V, p, I in A)."""
    for column in range(2 + domains):
        by_current = column == 1 + domains
        for j in range(count):
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
                tangents[1 + k, column, start + j] = of_p * unit
                if event and by_current:
                    late[1 + k, start + j] = late_p * unit
            tangents[0, column, start + j] = of_v * unit
            if event and by_current:
                late[0, start + j] = late_v * unit


@kernel(fastmath=FAST_MATH)
def logistic_windows(start, stop, constants, v, p, hold, i_a, spikes, substeps, event, seen, free_ms, tangents, late):
    """One macro step of neurons start <= j < stop in `substeps` substeps of the lengths of `substep_ms`."""
    domains = p.shape[0]
    with_tangents = tangents.shape[-1] > 0
    w = np.empty(WORK_SIZE, np.float32)
    s = np.empty(TANGENTS_SIZE if with_tangents else 0, np.float32)
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        if first == start or constants.shape[1] > 1:
            load_constants(w, constants, first, count)
        load_state(w, s, v, p, hold, i_a, first, count, with_tangents)
        leak_at_start(w)
        for step in range(substeps):
            begin_substep(w, F(length(step, substeps)))
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
        store(w, v, p, hold, spikes, event, seen, free_ms, first, count)
        if with_tangents:
            store_tangents(w, s, tangents, late, domains, event, first, count)
