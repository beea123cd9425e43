"""A sequence of macro steps in one launch: a block of neurons goes through all of them with its state in registers.

    state (t) -> substeps (`devices.ferroelectric.gpu.substep`) -> state (t + 1), spikes, tangents

Arrays are flat over n neurons, float32; time comes first; `constants` (R, m): neuron j has column j % m. Neurons differ
in how many substeps their current asks for (`devices.ferroelectric.paces`); a block goes on until its last neuron is
through, the others take substeps of no length. The reference is `training.dynamics.logistic`, whose results these are
to rounding. Without a GPU, Triton's interpreter (``TRITON_INTERPRET=1``) runs the same text.
"""

# mypy: allow-untyped-defs
import triton
import triton.language as tl

from bruno_spice.devices.ferroelectric.gpu.numbers import law, load_row, pace_factor, template
from bruno_spice.devices.ferroelectric.gpu.substep import carry, crossing, flow_v, substep, total
from bruno_spice.devices.ferroelectric.paces import LEAST_HOLD_MS

FROZEN_MS = 1e9
MACRO_MS = 1.0
BLOCK = 32
"""Neurons a program."""
WARPS = {"num_warps": 1}


@template
def sequence_windows(
    constants, width, until, v, p, hold, i_a, spikes, seen, lead_ms, free_ms, tangents, late, n, steps, accuracy,
    domains, EVENT: tl.constexpr, DELAYED: tl.constexpr, TANGENTS: tl.constexpr, ONE_DOMAIN: tl.constexpr,
    KP: tl.constexpr, CP: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """`steps` macro steps of `n` neurons, of neuron j the first `until[j]`; then its state stays, and nothing is
    written.

    `v`, `hold` (steps + 1, n) and `p` (steps + 1, K, n) hold the state, given in their first entry; the others are
    those of `training.dynamics.membrane.Step`, one a step.
    """
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    there = lane < n
    lane = tl.where(there, lane, 0)
    k = tl.arange(0, KP)[:, None]
    counts = k < domains
    domain = tl.where(counts, k, 0)
    x = load_row(constants, width, lane % width, domain, domains, counts)
    weight = x.weight
    takes_of = weight * (x.k_cap * x.v_per_p + x.k_pol)
    here = x.k_cap * x.v_threshold - x.k_pol * total(weight) - x.offset
    size = tl.maximum(law.softened(tl.maximum(here, 0.0), x), x.smallest)
    lam = law.steepness(size, x)
    tail_field = tl.exp(law.ln_rate(size, x)) / lam
    tail_left = 1.0 / (tl.maximum(takes_of, 1e-12) * lam)
    now_v = tl.load(v + lane)
    now_p = tl.load(p + domain * n + lane)
    now_hold = tl.load(hold + lane)
    last = tl.load(until + lane)
    columns = tl.arange(0, CP)[:, None]
    by_current = tl.where(columns == domains + 1, 1.0, 0.0)

    for t in range(steps):
        active = there & (t < last)
        now = tl.zeros((LANES,), tl.int64) + t
        current = tl.load(i_a + now * n + lane)
        i_in = current * x.drive
        count = tl.floor(accuracy * pace_factor(i_in) + 0.5)
        whole_ms = 1.0 / tl.where(count < 4.0, count, count - 1.75)
        membrane_v = law.terminal(now_v, total(weight * now_p), x)
        leak_now = x.drive * law.leak(membrane_v, x)
        fired_times = tl.zeros((LANES,), tl.float32)
        lead, free, moved = fired_times, fired_times, fired_times
        seen_v, seen_p = now_v, now_p
        q, s = identity(x, weight, columns, k, domains)
        for step in range(tl.max(tl.where(active, count, 0.0)).to(tl.int32)):
            uneven = tl.where(step == 0, 0.5, 1.0)
            uneven = tl.where(count - 2.0 == step, 0.5, uneven)
            uneven = tl.where(count - 1.0 == step, 0.25, uneven)
            h_whole = whole_ms * tl.where(count < 4.0, 1.0, uneven)
            h = tl.where(step < count, tl.maximum(h_whole - now_hold, 0.0), 0.0)
            now_hold = tl.where(step < count, tl.maximum(now_hold - h_whole, 0.0), now_hold)
            done = substep(x, takes_of, now_v, now_p, i_in, h, leak_now, ONE_DOMAIN)
            leak_now = done.leak_now
            fired = (now_v + done.v_moved >= x.v_threshold) & (h > 0.0)
            part, switched = crossing(now_v, done, h, fired, x, tail_field, tail_left)
            if TANGENTS:
                q, s = carry(q, s, done, done.p_moved * switched, part, by_current, x, takes_of)
            ahead = total(weight * (switched - part) * done.p_moved)
            now_v = now_v + part * done.v_moved - x.v_per_p * ahead
            now_p = now_p + switched * done.p_moved
            free = free + part * h
            first = fired_times == 0.0
            seen_v, seen_p = tl.where(first, now_v, seen_v), tl.where(first, now_p, seen_p)
            lead = tl.where(first, free, lead)
            if EVENT:
                if TANGENTS:  # noqa: SIM102  # known when it is compiled
                    if tl.max(tl.where(fired, 1, 0)) > 0:
                        by_v = voltage_of(q, s, x, weight)
                        store_tangents(tangents, now, by_v, s, columns, k, lane, n, domains, active & fired & first)
                        by_i = tl.sum(by_current * by_v, axis=0)
                        again = fired & (fired_times > 0.0)
                        rising = tl.where(again, flow_v(x, now_v, now_p, current), 1.0)
                        moved = tl.where(again, moved - by_i / rising, moved)
                        q = tl.where(fired, 0.0, q)
                        s = tl.where(fired, 0.0, s)
                now_v = tl.where(fired, x.v_reset, now_v)
                now_p = tl.where(fired, x.p_reset, now_p)
                free = tl.where(fired, 0.0, free)
                now_hold = tl.where(fired, tl.maximum(x.t_refractory - (1.0 - part) * h, LEAST_HOLD_MS), now_hold)
            else:
                now_hold = tl.where(fired, FROZEN_MS, now_hold)
            fired_times = fired_times + tl.where(fired, 1.0, 0.0)
        quiet = fired_times == 0.0
        if TANGENTS:
            by_v = voltage_of(q, s, x, weight)
            ends = active & quiet if EVENT else active
            store_tangents(tangents, now, by_v, s, columns, k, lane, n, domains, ends)
            if EVENT:
                base = late + now * (2 + domains) * n + lane
                tl.store(base, tl.sum(by_current * by_v, axis=0), mask=active)
                tl.store(base + (1 + domain) * n, tl.sum(by_current[None, :, :] * s, axis=1), mask=active & counts)
                tl.store(base + (1 + domains) * n, moved, mask=active)
        if not EVENT:
            now_v = tl.where(quiet, now_v, x.v_reset)
            now_p = tl.where(quiet, now_p, x.p_reset)
            now_hold = tl.zeros((LANES,), tl.float32)
        if DELAYED:
            now_hold = tl.where(quiet, 0.0, MACRO_MS)
        row = seen + now * (1 + domains) * n + lane
        tl.store(row, seen_v, mask=active)
        tl.store(row + (1 + domain) * n, seen_p, mask=active & counts)
        tl.store(spikes + now * n + lane, fired_times, mask=active)
        tl.store(lead_ms + now * n + lane, lead, mask=active)
        tl.store(free_ms + now * n + lane, free, mask=active)
        before = (now * domains + domain) * n + lane
        now_v = tl.where(active, now_v, tl.load(v + now * n + lane))
        now_hold = tl.where(active, now_hold, tl.load(hold + now * n + lane))
        now_p = tl.where(active, now_p, tl.load(p + before))
        tl.store(v + (now + 1) * n + lane, now_v, mask=there)
        tl.store(hold + (now + 1) * n + lane, now_hold, mask=there)
        tl.store(p + before + domains * n, now_p, mask=there & counts)


@template
def identity(x, weight, columns, k, domains):
    """Tangents of (q, p) at the start: q (C, B), p (K, C, B), columns V, p_1 ... p_K, I."""
    nothing = 0.0 * weight[:, None, :]
    of_p = tl.where((columns[None, :, :] == 1 + k[:, None, :]) & (k[:, None, :] < domains), 1.0, 0.0) + nothing
    q = tl.where(columns == 0, 1.0, 0.0) + x.v_per_p * tl.sum(weight[:, None, :] * of_p, axis=0)
    return q, of_p


@template
def voltage_of(q, s, x, weight):
    """Tangents of V (C, B) from those of q and p."""
    return q - x.v_per_p * tl.sum(weight[:, None, :] * s, axis=0)


@template
def store_tangents(tangents, now, by_v, s, columns, k, lane, n, domains, mask):
    """Write the tangents (1 + K, 2 + K, n) of macro step `now` (B,), of the lanes in `mask`."""
    whole = tangents + now * (1 + domains) * (2 + domains) * n + lane
    counts = mask[None, :] & (columns < 2 + domains)
    tl.store(whole + columns * n, by_v, mask=counts)
    rows = whole + ((1 + k[:, None, :]) * (2 + domains) + columns[None, :, :]) * n
    tl.store(rows, s, mask=counts[None, :, :] & (k[:, None, :] < domains))


def sizes_of(domains: int) -> dict[str, int]:
    """The powers of two that domains and columns of tangents are filled up to, and neurons a program."""
    return {"KP": triton.next_power_of_2(domains), "CP": triton.next_power_of_2(2 + domains), "LANES": BLOCK}
