"""One substep of the logistic method, its crossing and its tangents, for a block of neurons in Triton.

The same text as `training.dynamics.logistic`, which is the reference and says what each line is; here domains lie along
the first axis (K, filled up to a power of two with copies that have no weight), neurons along the last.
"""

# mypy: allow-untyped-defs
from typing import Any, NamedTuple

import triton.language as tl

from bruno_spice.devices.ferroelectric.gpu.numbers import expm1, law, log1p, template
from bruno_spice.devices.ferroelectric.paces import FADED_E_FOLDS

__all__ = ["FADED_E_FOLDS"]

SMALLEST_FLOW = 1e-18
FAR_ABOVE = 20.0


class Substep(NamedTuple):
    """What one substep changes, and what its tangents need."""

    v_moved: Any
    p_moved: Any
    left: Any
    lam: Any
    by_v: Any
    by_i: Any
    per_p: Any
    leak_now: Any


@template
def at_membrane(v, polarization, x):
    """Voltage at the membrane and its slope by the film's V."""
    return law.terminal(v, polarization, x), law.terminal_slope(v, polarization, x)


@template
def synaptic(v, per_film_v, i_in, h, x):
    """What the current does to the film's V within `h`: the change, its slopes by V and by i_in."""
    u = (v - x.v_floor) * x.per_v_compliance
    per_v = x.per_v_compliance * per_film_v
    pulled = tl.maximum(-i_in * h * per_v, 0.0)
    lost = tl.exp(-pulled)
    ahead = u - pulled
    grown = tl.exp(tl.minimum(ahead, FAR_ABOVE))
    inside = tl.maximum(1.0 + grown - lost, 1e-6)
    far = ahead > FAR_ABOVE
    above = u > 0.0
    u_new = tl.where(above, tl.where(far, ahead, tl.log(inside)), u * lost)
    by_v = tl.where(above, tl.where(far, 1.0, grown / inside), lost)
    compliance = tl.where(above, tl.where(far, 1.0, 1.0 - 1.0 / inside), u_new)
    pushed = i_in >= 0.0
    moved = tl.where(pushed, i_in * h, (u_new - u) / per_v)
    return moved, tl.where(pushed, 1.0, by_v), tl.where(pushed, h, h * compliance)


@template
def taken(flow, slope, depletion, rise, h, available):
    """Y with its sign: what switching takes from the field within `h`."""
    sign = tl.where(flow >= 0.0, 1.0, -1.0)
    z = tl.minimum(tl.maximum(slope * sign * rise, -70.0), 55.0)
    z = tl.where(tl.abs(z) < 1e-7, 1e-7, z)
    full = slope + depletion
    grown = tl.minimum(tl.abs(flow) * h * expm1(z) / z, 1e20)
    return sign * tl.minimum(log1p(full * grown) / full, available)


@template
def total(each):
    """Sum over domains (B,) of `each` (K, B)."""
    return tl.sum(each, axis=0)


@template
def substep(x, takes_of, v, p, i_in, h, leak_now, ONE_DOMAIN: tl.constexpr):
    """One substep of `h` (B,) ms from V (B,), p (K, B) under `i_in` (V/ms); `takes_of`: b_k (K, B)."""
    polarization = total(x.weight * p)
    here, per_film_v = at_membrane(v, polarization, x)
    driven, by_v, by_i = synaptic(here, per_film_v, i_in, h, x)
    field = x.k_cap * v - x.k_pol * polarization - x.offset
    sign = tl.where(field >= 0.0, 1.0, -1.0)
    bare = law.softened(tl.abs(field), x)
    size = tl.maximum(bare, x.smallest)
    ln_rate = law.ln_rate(size, x)
    rate = tl.exp(ln_rate)
    rise = x.k_cap * (driven - leak_now * h)
    risen = sign * rise
    ahead = tl.maximum(bare + risen, x.smallest)
    rises = risen > 1e-3 * size
    left = tl.maximum(1.0 - sign * p - law.back(size, x), 1e-9)
    bent = law.chord(size, ahead, x) * (ahead - size) / tl.where(rises, risen, 1.0)
    lam = law.steepness(size, x) * tl.where(rises, bent, 1.0)
    takes = takes_of * left * rate
    majority = tl.where(sign * total(sign * takes) >= 0.0, 1.0, 0.0)
    takes = takes * majority
    flow = total(sign * takes)
    per_y = 1.0 / tl.maximum(tl.abs(flow), SMALLEST_FLOW)
    available = total(majority * takes_of * left)
    slope, depletion = total(takes * lam) * per_y, total(takes * per_y * rate * per_y)
    y = taken(flow, slope, depletion, rise, h, available)

    per_field = x.v_per_p / (x.k_cap * x.v_per_p + x.k_pol)
    middle = v + 0.5 * (driven - per_field * y)
    turned = polarization + 0.5 * per_field * y / x.v_per_p
    per_p = x.v_per_p - law.terminal_by_p(middle, turned, x)
    middle, per_v = at_membrane(middle, turned, x)
    leak_slope = x.drive * law.leak_slope(middle, x) * per_v
    implicit = 1.0 / (1.0 + 0.5 * h * leak_slope)
    leak_now = x.drive * law.leak(middle, x) * implicit
    lost = 0.5 * h * leak_slope * implicit
    by_v = by_v - lost * (1.0 + by_v)
    by_i = by_i - lost * by_i
    ahead = law.softened(tl.maximum(sign * (field + rise - y), 0.0), x)
    end = tl.maximum(tl.maximum(ahead, x.smallest), size - FADED_E_FOLDS / tl.maximum(lam, 1.0))
    ln_rate_end = law.ln_rate(end, x)
    both = rate + tl.exp(ln_rate_end)
    moved = tl.where(ahead > bare, ahead - bare, end - size)
    far = tl.abs(moved) > 1e-3 * end
    secant = (ln_rate_end - ln_rate) / tl.where(far, moved, 1.0)
    lam = tl.maximum(tl.where(far, secant, law.steepness(end, x)), 1.0)
    takes = majority * takes_of * left * both
    per_part = 1.0 / tl.maximum(tl.abs(total(sign * takes)), SMALLEST_FLOW)
    halfway = left * (1.0 - 0.5 * tl.minimum(tl.abs(y) * both * per_part, 1.0))
    share = takes * per_part
    counts = tl.where(takes_of > 0.0, takes_of, 1.0)
    slope, depletion = total(share * lam), total(share * share / (counts * halfway))
    rise = x.k_cap * (driven - leak_now * h)
    y = taken(flow, slope, depletion, rise, h, available)

    if ONE_DOMAIN:
        switched = tl.minimum(tl.abs(y) / counts, left)
    else:
        kept = tl.maximum(1.0 - tl.abs(y) / tl.maximum(available, SMALLEST_FLOW), 1e-6)
        gone = -expm1(-both * (-tl.log(kept) * available * per_part))
        scale = tl.abs(y) / tl.maximum(tl.abs(total(sign * majority * takes_of * left * gone)), SMALLEST_FLOW)
        alone = left * tl.minimum(0.5 * both * h, 1.0)
        switched = tl.where(majority > 0.0, tl.minimum(left * gone * scale, left), alone)
    p_moved = sign * switched
    v_moved = driven - leak_now * h - x.v_per_p * total(x.weight * p_moved)
    return Substep(v_moved, p_moved, left, lam, by_v, by_i, per_p, leak_now)


@template
def crossing(v, done, h, fired, x, tail_field, tail_left):
    """Share (B,) of the substep up to the crossing, and of what each domain moved until then (K, B)."""
    flow = total(x.v_per_p * x.weight * done.p_moved)
    whole = tl.maximum(tl.where(fired, done.v_moved + flow, 1.0), 1e-9)
    missing = x.v_threshold - v
    even = missing / tl.where(fired, done.v_moved, 1.0)
    kappa = tl.minimum(tl.maximum(tail_field * h / (x.k_cap * whole), 1e-6), 60.0)
    left = tail_left * (0.56 + 0.44 * tl.exp(-kappa)) / expm1(kappa)
    over = tl.minimum(tl.maximum((done.left - left) / tl.maximum(done.p_moved, 1e-9), 0.0), 1.0)
    part = (missing + total(x.v_per_p * x.weight * over * done.p_moved)) / whole
    part = tl.where(fired, tl.minimum(tl.maximum(tl.maximum(part, even), 0.0), 1.0), 1.0)
    return part, tl.maximum(part, over)


@template
def carry(q, p, done, p_moved, part, by_current, x, takes_of):
    """Tangents q (C, B) of the charge and p (K, C, B) of the domains after the fraction `part` of a substep;
    `by_current` (C, 1): 1 in the column of the current."""
    switched = tl.abs(p_moved)
    gain = done.lam * switched
    kept = tl.maximum(1.0 - switched / done.left, 1e-6)
    spent = -tl.log(kept)
    rank = tl.maximum(total(takes_of * gain), 1e-12)
    depleted = total(takes_of * gain * spent) / rank
    whole = rank + depleted
    decayed = tl.exp(-whole)
    phi = -expm1(-whole) / whole
    psi = x.k_cap * tl.where(whole < 1e-2, 0.5 - whole / 6.0, (1.0 - phi) / whole)
    gap = whole - spent
    near = tl.abs(gap) < 1e-3
    by_steady = gain * tl.where(spent > 1e-4, (1.0 - kept) / tl.maximum(spent, 1e-4), 1.0)
    by_decay = gain * tl.where(near, kept, (kept - decayed) / tl.where(near, 1.0, gap))
    excess = takes_of * (spent - depleted) / whole

    field = x.k_cap * q - tl.sum(takes_of[:, None, :] * p, axis=0)
    steady = depleted / whole * x.k_cap * q + tl.sum(excess[:, None, :] * p, axis=0)
    away = (field - steady)[None, :, :]
    p_new = kept[:, None, :] * p + by_steady[:, None, :] * steady[None, :, :] + by_decay[:, None, :] * away
    halved = 0.5 * done.per_p * tl.sum(x.weight[:, None, :] * (p + p_new), axis=0)
    moved = -(1.0 - done.by_v) * part * (q - halved) + by_current * (done.by_i * part * x.drive)
    return q + moved, p_new + (gain * psi)[:, None, :] * moved[None, :, :]


@template
def flow_v(x, v, p, i_a):
    """dV/dt in V/ms (B,)."""
    turned = total(x.weight * p)
    field = x.k_cap * v - x.k_pol * turned - x.offset
    sign = tl.where(field >= 0.0, 1.0, -1.0)
    size = tl.maximum(law.softened(tl.abs(field), x), x.smallest)
    p_flow = sign * (1.0 - sign * p - law.back(size, x)) * tl.exp(law.ln_rate(size, x))
    here = law.terminal(v, turned, x)
    driven = i_a * tl.where(i_a < 0.0, law.compliance(here, x), 1.0)
    return x.drive * (driven - law.leak(here, x)) - x.v_per_p * total(x.weight * p_flow)
