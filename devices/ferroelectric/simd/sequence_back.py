"""The adjoint sweep of a whole sequence in one call: the step of `simd.adjoint`, last millisecond first.

    dL/dI_in[t] = dL/dI[t] dI/dI_total,     dL/ds[t-1] += dL/dI_in[t] W^T

`training.dynamics.adjoint` says the same step by step. Arrays as those of `simd.sequence`.
"""

# mypy: allow-untyped-defs
import numpy as np

from bruno_spice.devices.compiled import FAST_MATH, kernel
from bruno_spice.devices.ferroelectric.bound import template
from bruno_spice.devices.ferroelectric.lanes.rows import BLOCK, WORK_SIZE
from bruno_spice.devices.ferroelectric.lanes.vector_math import ZERO
from bruno_spice.devices.ferroelectric.simd.adjoint import adjoint_step


@kernel(fastmath=FAST_MATH)
def feed_back_back(by_spikes, by_current, onto, start, stop):
    """`by_spikes` (n,) = `by_current` (n,) W^T, row by row of the batch; `onto` = W^T (N, N)."""
    width = onto.shape[0]
    for row in range(start, stop, width):
        into = by_spikes[row : row + width]
        into[:] = ZERO
        for k in range(width):
            by, weights = by_current[row + k], onto[k]
            for j in range(width):
                into[j] += by * weights[j]


@template(simd=True)
def adjoint_sequence(
    start, stop, constants, until, onto, limit_slope, rule, surrogate_of, between, step, passing, tangents, late, shown,
    lam, by_last, by_current, lams,
):  # fmt: skip
    """Take `lam`, V (n,) and p (K, n), from the end of a sequence to its start, in place; write `by_current` (T, n).

    The tape is that of `simd.sequence.logistic_sequence`. `onto` (N, N) are the recurrent weights transposed, or empty;
    `by_last` (n,) is the gradient by the spikes before. `shown`: gradients by spikes, voltage and polarization (T, n),
    or (1, n) for the same in every step. `lams` (T, 1 + K, n) are the adjoints at the end of each step, or empty.
    """
    v_kept, p_kept, hold_kept = between
    i_kept, seen, fired, lead, free = step
    by_spikes, by_voltage, by_polarization = shown
    lam_v, lam_p = lam
    domains, steps, n = len(lam_p), len(by_current), len(lam_v)
    w = np.empty(WORK_SIZE, np.float32)
    lanes, running = np.empty(BLOCK, np.uint64), np.ones(stop, np.bool_)
    by_fired, nothing = np.zeros(stop, np.float32), np.zeros(n if hold_kept.size == 0 else 0, np.float32)
    for back in range(steps):
        t = steps - 1 - back
        if until.size > 0:
            for j in range(start, stop):
                running[j] = until[j] > t
        if lams.size > 0:
            lams[t, 0, start:stop] = lam_v[start:stop]
            for k in range(domains):
                lams[t, 1 + k, start:stop] = lam_p[k, start:stop]
        given = by_spikes[t if len(by_spikes) > 1 else 0]
        for j in range(start, stop):
            by_fired[j] = given[j] + by_last[j]
        showing = (by_fired, by_voltage[t if len(by_voltage) > 1 else 0],
                   by_polarization[t if len(by_polarization) > 1 else 0])  # fmt: skip
        held = (nothing, nothing) if hold_kept.size == 0 else (hold_kept[t + 1], hold_kept[t])
        tape = (v_kept[t], p_kept[t], i_kept[t], seen[t], fired[t], lead[t], free[t])
        after = (v_kept[t + 1], p_kept[t + 1], held[0], held[1])
        wide = t if len(tangents) > 1 else 0
        what = (constants, running, rule, surrogate_of, tape, after, tangents[wide], late[wide], showing, lam)
        adjoint_step(w, lanes, start, stop, back == 0, *what, by_current[t])
        if passing.size > 0:
            for j in range(start, stop):
                by_current[t, j] *= np.float32(1.0) if passing[t, j] else limit_slope
        if onto.size > 0:
            feed_back_back(by_last, by_current[t], onto, start, stop)
