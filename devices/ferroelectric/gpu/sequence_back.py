"""The adjoint sweep of a sequence through stored tangents in one launch, for a block of neurons at a time.

    lam_seen  = surrogate part + (where no spike) lam_after
    lam_start = J^T lam_seen,   dL/dI = J_I^T lam_seen + (after a spike, event reset) late^T lam_after

as `training.dynamics.step_back` says it, which is the reference, macro step after macro step, last first.
"""

# mypy: allow-untyped-defs
import triton
import triton.language as tl

from bruno_spice.devices.ferroelectric.gpu.numbers import tanh
from bruno_spice.devices.models.rows import DOMAINS_FROM, P_RESET, V_PER_P, V_RESET, V_THRESHOLD, WEIGHT

SHAPES = ("superspike", "superspike_squared", "tanh", "arctan")
"""Of surrogates (`training.dynamics.surrogates`)."""
SUPERSPIKE, SQUARED, TANH = (tl.constexpr(n) for n in range(3))
ROWS = tl.constexpr((V_THRESHOLD, V_RESET, V_PER_P, P_RESET, DOMAINS_FROM, WEIGHT))


@triton.jit
def shape_of(y, SHAPE: tl.constexpr):
    """A surrogate's shape of `SHAPES` at `y`."""
    if SHAPE == SUPERSPIKE:
        return 1.0 / (1.0 + tl.abs(y))
    elif SHAPE == SQUARED:
        return 1.0 / ((1.0 + tl.abs(y)) * (1.0 + tl.abs(y)))
    elif SHAPE == TANH:
        return 1.0 - tanh(y) * tanh(y)
    else:
        return 1.0 / (1.0 + y * y)


@triton.jit
def adjoint_windows(
    constants, width, until, seen, fired, tangents, late, passing, by_spikes, by_voltage, by_polarization, lam_v,
    lam_p, by_i, lams, n, steps, domains, slope, limit_slope, EVENT: tl.constexpr, CHARGE: tl.constexpr,
    SHAPE: tl.constexpr, LIMITS: tl.constexpr, KEEP: tl.constexpr, KP: tl.constexpr, CP: tl.constexpr,
    LANES: tl.constexpr,
):  # fmt: skip
    """From the adjoints `lam_v` (n,), `lam_p` (K, n) at the end of a sequence to those at its start, in place, and
    `by_i` (steps, n); those at the end of each step are written to `lams` (steps, 1 + K, n) to KEEP them."""
    lane = tl.program_id(0) * LANES + tl.arange(0, LANES)
    there = lane < n
    lane = tl.where(there, lane, 0)
    k = tl.arange(0, KP)[:, None]
    counts = k < domains
    domain = tl.where(counts, k, 0)
    columns = tl.arange(0, CP)[:, None]
    column = lane % width
    threshold, reset = tl.load(constants + ROWS[0] * width + column), tl.load(constants + ROWS[1] * width + column)
    v_per_p, p_reset = tl.load(constants + ROWS[2] * width + column), tl.load(constants + ROWS[3] * width + column)
    weight = tl.load(constants + (ROWS[4] + ROWS[5] * domains + domain) * width + column)
    weight = tl.where(counts, weight, 0.0)
    per_v = 1.0 + 0.0 * threshold
    if CHARGE:
        per_v = 1.0 / (threshold - reset + v_per_p * (1.0 - p_reset))
    per_p = per_v * v_per_p * weight
    last = tl.load(until + lane)
    now_v, now_p = tl.load(lam_v + lane), tl.where(counts, tl.load(lam_p + domain * n + lane), 0.0)
    of_v = tl.where(columns == 0, 1.0, 0.0)
    of_i = tl.where(columns == domains + 1, 1.0, 0.0)
    of_p = tl.where(columns[None, :, :] == 1 + k[:, None, :], 1.0, 0.0) * tl.where(counts, 1.0, 0.0)[:, None, :]
    inside = there[None, :] & (columns < 2 + domains)

    for back in range(steps):
        now = tl.zeros((LANES,), tl.int64) + (steps - 1 - back)
        active = there & (now < last)
        row = now * (1 + domains) * n + lane
        if KEEP:
            tl.store(lams + row, now_v, mask=there)
            tl.store(lams + row + (1 + domain) * n, now_p, mask=there & counts)
        seen_v, seen_p = tl.load(seen + row), tl.load(seen + row + (1 + domain) * n)
        spiked = tl.load(fired + now * n + lane) > 0.0
        distance = seen_v - threshold
        if CHARGE:
            distance = distance * per_v + tl.sum(per_p * (seen_p - 1.0), axis=0)
        pull = tl.load(by_spikes + now * n + lane) * shape_of(slope * distance, SHAPE)
        shown_v = tl.load(by_voltage + now * n + lane)
        shown_p = weight * tl.load(by_polarization + now * n + lane)
        after_v, after_p = now_v, now_p
        if EVENT:
            after_v, after_p = now_v + shown_v, now_p + shown_p
        to_v, to_p = tl.where(spiked, 0.0, after_v), tl.where(spiked, 0.0, after_p)
        if not EVENT:
            to_v, to_p = to_v + shown_v, to_p + shown_p
        to_v = to_v + pull * per_v
        if CHARGE:
            to_p = to_p + pull * per_p
        matrix = tangents + now * (1 + domains) * (2 + domains) * n + lane
        by_start = to_v * tl.load(matrix + columns * n, mask=inside, other=0.0)
        rows = matrix + ((1 + k[:, None, :]) * (2 + domains) + columns[None, :, :]) * n
        whole = tl.load(rows, mask=inside[None, :, :] & counts[:, None, :], other=0.0)
        by_start += tl.sum(to_p[:, None, :] * whole, axis=0)
        found = tl.sum(of_i * by_start, axis=0)
        if EVENT:
            base = late + now * (2 + domains) * n + lane
            later = tl.load(base) * after_v + tl.sum(tl.load(base + (1 + domain) * n) * after_p, axis=0)
            found += tl.where(spiked, later, 0.0)
        if LIMITS:
            found = tl.where(tl.load(passing + now * n + lane) > 0.0, found, limit_slope * found)
        now_v = tl.where(active, tl.sum(of_v * by_start, axis=0), now_v)
        now_p = tl.where(active, tl.sum(of_p * by_start[None, :, :], axis=1), now_p)
        tl.store(by_i + now * n + lane, tl.where(active, found, 0.0), mask=there)
    tl.store(lam_v + lane, now_v, mask=there)
    tl.store(lam_p + domain * n + lane, now_p, mask=there & counts)
