"""A layer through a whole sequence in one call: the macro step of `simd.macro_step`, millisecond after millisecond.

    I[t] = min(max(I_in[t] + s[t-1] W, low), high)          input, recurrence, limits
    (V, p, hold)[t+1], s[t] = macro step under I[t]

`training.dynamics.gradients` says the same step by step. Arrays are flat over n = B N neurons, float32; time comes
first. `constants` (R, m): neuron j has column j % m. What feeds back stays within a row of the batch, so that rows are
independent and go to threads whole.
"""

# mypy: allow-untyped-defs
import numpy as np

from bruno_spice.devices.compiled import FAST_MATH, kernel
from bruno_spice.devices.ferroelectric.bound import template
from bruno_spice.devices.ferroelectric.lanes.rows import BLOCK, TANGENTS_SIZE, WORK_SIZE
from bruno_spice.devices.ferroelectric.lanes.vector_math import ONE, ZERO
from bruno_spice.devices.ferroelectric.paces import PACES
from bruno_spice.devices.ferroelectric.simd.macro_step import macro_step, sort_by_pace
from bruno_spice.devices.models.rows import DOMAINS_FROM, WEIGHT


@kernel(fastmath=FAST_MATH)
def feed_back(total_a, spikes, recurrent_a, start, stop):
    """`total_a` (n,) = sum over a row of `spikes` (n,) times `recurrent_a` (N, N), of rows start <= j < stop; spikes
    are few."""
    width = recurrent_a.shape[0]
    for row in range(start, stop, width):
        into = total_a[row : row + width]
        into[:] = ZERO
        for j in range(width):
            fired = spikes[row + j]
            if fired != ZERO:
                weights = recurrent_a[j]
                for k in range(width):
                    into[k] += fired * weights[k]


@kernel(fastmath=FAST_MATH)
def show(spikes, voltage, polarization, v, p, fired, weight, start, stop):
    """What a macro step shows of neurons start <= j < stop: `fired`, `v` (n,) and the weighted sum of `p` (K, n)."""
    width = weight.shape[1]
    for j in range(start, stop):
        spikes[j] = fired[j]
        voltage[j] = v[j]
    if width == 1:
        for j in range(start, stop):
            polarization[j] = weight[0, 0] * p[0, j]
        for k in range(1, len(p)):
            for j in range(start, stop):
                polarization[j] += weight[k, 0] * p[k, j]
        return
    for j in range(start, stop):
        polarization[j] = weight[0, j % width] * p[0, j]
    for k in range(1, len(p)):
        for j in range(start, stop):
            polarization[j] += weight[k, j % width] * p[k, j]


@kernel(fastmath=FAST_MATH)
def silence(start, stop, until, t, shown, step, tangents, late):
    """Zeros of macro step `t` in what `shown` (n,) each and the tape hold of neurons whose sequence is over."""
    seen, fired, lead, free = step
    for j in range(start, stop):
        if until[j] > t:
            continue
        for each in shown:
            each[j] = ZERO
        seen[:, j] = ZERO
        fired[j] = lead[j] = free[j] = ZERO
        if tangents.shape[-1] > 0:
            tangents[:, :, j] = ZERO
        if late.shape[-1] > 0:
            late[:, j] = ZERO


@template(simd=True)
def logistic_sequence(
    start, stop, constants, until, current_a, recurrent_a, limits_a, accuracy, event, delayed, state, last, shown,
    between, step, passing, tangents, late,
):  # fmt: skip
    """All T macro steps of neurons start <= j < stop; `until` (n,) ends those of a neuron, or is empty.

    `current_a` (T, n); `recurrent_a` (N, N), or empty; `limits_a` (low, high). `state` (v, p, hold) goes to the end in
    place, `last` (n,) are the spikes before. Written are `shown`: spikes, voltage, sum of w_k p_k, current and instant
    of the first crossing (T, n) each, and the tape: `between` macro steps v, p and hold (T + 1, ...), of a `step` i_a,
    seen, fired, lead and free (T, ...), whether the current was `passing` (T, n), `tangents` and `late`. What is empty
    is not kept; `step` of length 1 is written over.
    """
    v, p, hold = state
    spikes, voltage, polarization, seen_a, crossing = shown
    v_kept, p_kept, hold_kept = between
    i_kept, seen, fired, lead, free = step
    domains, weight_at = len(p), DOMAINS_FROM + WEIGHT * len(p)
    weight = constants[weight_at : weight_at + domains]
    low, high = limits_a
    w = np.empty(WORK_SIZE, np.float32)
    s = np.empty(TANGENTS_SIZE if tangents.shape[-1] > 0 else 0, np.float32)
    order, ends = np.empty(stop - start, np.uint64), np.empty(len(PACES), np.int64)
    lanes = np.empty(BLOCK, np.uint64)
    for t in range(len(current_a)):
        row = t if len(fired) > 1 else 0
        i_a, before = seen_a[t], last if t == 0 else spikes[t - 1]
        if recurrent_a.size > 0:
            feed_back(i_a, before, recurrent_a, start, stop)
        else:
            i_a[start:stop] = ZERO
        for j in range(start, stop):
            total = current_a[t, j] + i_a[j]
            i_a[j] = min(max(total, low), high)
            if passing.size > 0:
                passing[row, j] = low <= total <= high
        if v_kept.size > 0:
            v_kept[t, start:stop] = v[start:stop]
            p_kept[t, :, start:stop] = p[:, start:stop]
            i_kept[row, start:stop] = i_a[start:stop]
        if hold_kept.size > 0:
            hold_kept[t, start:stop] = hold[start:stop]
        for j in range(start, stop):
            crossing[t, j] = hold[j] if event else ZERO
        sort_by_pace(order, ends, constants, i_a, start, stop, until, t)
        out = (fired[row], accuracy, event, seen[row], lead[row], free[row], tangents[row], late[row])
        macro_step(w, s, order, ends, lanes, t == 0, constants, v, p, hold, i_a, *out)
        for j in range(start, stop):
            crossing[t, j] = crossing[t, j] + lead[row, j] if fired[row, j] > ZERO else ZERO
        if delayed:
            for j in range(start, stop):
                held = ONE if fired[row, j] > ZERO else ZERO
                hold[j] = held if until.size == 0 or until[j] > t else hold[j]
        if event:
            show(spikes[t], voltage[t], polarization[t], v, p, fired[row], weight, start, stop)
        else:
            show(spikes[t], voltage[t], polarization[t], seen[row, 0], seen[row, 1:], fired[row], weight, start, stop)
        if until.size > 0:
            dark = (spikes[t], voltage[t], polarization[t], i_a, i_kept[row], crossing[t])
            done = (seen[row], fired[row], lead[row], free[row])
            silence(start, stop, until, t, dark, done, tangents[row], late[row])
    if v_kept.size > 0:
        v_kept[-1, start:stop] = v[start:stop]
        p_kept[-1, :, start:stop] = p[:, start:stop]
    if hold_kept.size > 0:
        hold_kept[-1, start:stop] = hold[start:stop]
