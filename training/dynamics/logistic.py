"""The logistic method for FeLIF's millisecond in plain torch: on any device, in any precision, differentiable.

The same substep as `devices.ferroelectric.simd.substep`, whose docstring derives it; neurons lie along the last axis,
domains along the first. It serves devices without compiled kernels, and autograd where a gradient by device parameters
is asked for.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bruno_spice.devices.ferroelectric.paces import (
    FADED_E_FOLDS,
    FULL_RISE_V,
    INHIBITED,
    LEAST_HOLD_MS,
    PACES,
    substep_count,
    substep_ms,
)
from bruno_spice.devices.models.rows import DRIVE
from bruno_spice.training.dynamics.laws import at_membrane, flow, stacked, switching, torch_laws
from bruno_spice.training.dynamics.membrane import Membrane, Step

SMALLEST_FLOW = 1e-18
LEAST_TAKES = 1e-12
FROZEN_MS = 1e9
FAR_ABOVE = 20.0


class Tails(NamedTuple):
    """How switching ends at the threshold, (K, n); without gradient."""

    field: Tensor
    """r/lam at the threshold with all domains turned, in V/nm a ms."""
    left: Tensor
    """1/(b lam) there."""


class Substep(NamedTuple):
    """What one substep changes, and what its tangents need."""

    v_moved: Tensor
    p_moved: Tensor
    left: Tensor
    """D_k = |sign - p_k|."""
    lam: Tensor
    by_v: Tensor
    """dq'/dV of leak and inhibition."""
    by_i: Tensor
    """dq'/dI, I in V/ms."""
    per_p: Tensor
    """What of q does not count at the membrane, per unit of sum_k w_k p_k."""


def takes_of(x: Any) -> Tensor:
    """b_k (K, n): fall of E per unit of p_k at constant charge; next to nothing of a domain without weight."""
    takes: Tensor = x.weight * (x.k_cap * x.v_per_p + x.k_pol)
    return torch.where(takes > 0.0, takes, takes + LEAST_TAKES)


def tails(law: Any, x: Any) -> Tails:
    """Those of the neurons with rows `x`."""
    here = x.k_cap * x.v_threshold - x.k_pol * x.weight.sum(0) - x.offset
    size = torch.maximum(law.softened(here.clamp(min=0.0), x), x.smallest)
    lam = law.steepness(size, x) + torch.zeros_like(size)
    rate = torch.exp(law.ln_rate(size, x))
    return Tails((rate / lam).detach(), (1.0 / (takes_of(x) * lam)).detach())


def synaptic(v: Tensor, per_film_v: Tensor | float, i_in: Tensor, h: Tensor, x: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What the current `i_in` (V/ms) does to the film's V within `h`: the change, its slopes by V and by i_in.

    `v` is the membrane's voltage, `per_film_v` its slope by that of the film.
    """
    u = (v - x.v_floor) * x.per_v_compliance
    per_v = x.per_v_compliance * per_film_v
    pulled = (-i_in * h * per_v).clamp(min=0.0)
    lost = torch.exp(-pulled)
    ahead = u - pulled
    grown = torch.exp(ahead.clamp(max=FAR_ABOVE))
    inside = (1.0 + grown - lost).clamp(min=1e-6)
    far = ahead > FAR_ABOVE
    above = u > 0.0
    u_new = torch.where(above, torch.where(far, ahead, torch.log(inside)), u * lost)
    by_v = torch.where(above, torch.where(far, 1.0, grown / inside), lost)
    compliance = torch.where(above, torch.where(far, 1.0, 1.0 - 1.0 / inside), u_new)
    pushed = i_in >= 0.0
    moved = torch.where(pushed, i_in * h, (u_new - u) / per_v)
    return moved, torch.where(pushed, 1.0, by_v), torch.where(pushed, h, h * compliance)


def taken(flow: Tensor, slope: Tensor, depletion: Tensor, rise: Tensor, h: Tensor, available: Tensor) -> Tensor:
    """Y with its sign: what switching takes from the field within `h`."""
    sign = torch.where(flow >= 0.0, 1.0, -1.0)
    z = (slope * sign * rise).clamp(-70.0, 55.0)
    z = torch.where(z.abs() < 1e-7, 1e-7, z)
    full = slope + depletion
    grown = (flow.abs() * h * torch.expm1(z) / z).clamp(max=1e20)
    return sign * torch.minimum(torch.log1p(full * grown) / full, available)


def substep(
    law: Any, x: Any, v: Tensor, p: Tensor, i_in: Tensor, h: Tensor, leak_now: Tensor
) -> tuple[Substep, Tensor]:
    """One substep of `h` (n,) ms from V (n,), p (K, n) under `i_in` (V/ms); returns it and the leak at its middle."""
    per_takes = takes_of(x)
    polarization = (x.weight * p).sum(0)
    driven, by_v, by_i = synaptic(*at_membrane(law, x, v, polarization), i_in, h, x)
    field = x.k_cap * v - x.k_pol * polarization - x.offset
    sign, rate, back = switching(law, x, field)
    bare = law.softened(field.abs(), x)
    size = torch.maximum(bare, x.smallest)
    rise = x.k_cap * (driven - leak_now * h)
    risen = sign * rise
    ahead = torch.maximum(bare + risen, x.smallest)
    rises = risen > 1e-3 * size
    left = (1.0 - sign * p - back).clamp(min=1e-9)
    ln_rate = law.ln_rate(size, x)
    bent = law.chord(size, ahead, x) * (ahead - size) / torch.where(rises, risen, 1.0)
    lam = law.steepness(size, x) * torch.where(rises, bent, 1.0)
    takes = per_takes * left * rate
    majority = torch.where(sign * (sign * takes).sum(0) >= 0.0, 1.0, 0.0)
    takes = takes * majority
    flow = (sign * takes).sum(0)
    per_y = 1.0 / flow.abs().clamp(min=SMALLEST_FLOW)
    available = (majority * per_takes * left).sum(0)
    slope, depletion = (takes * lam).sum(0) * per_y, (takes * per_y * rate * per_y).sum(0)
    y = taken(flow, slope, depletion, rise, h, available)

    per_field = x.v_per_p / (x.k_cap * x.v_per_p + x.k_pol)
    middle = v + 0.5 * (driven - per_field * y)
    turned = polarization + 0.5 * per_field * y / x.v_per_p
    per_p = x.v_per_p - law.terminal_by_p(middle, turned, x)
    middle, per_v = at_membrane(law, x, middle, turned)
    leak_slope = x.drive * law.leak_slope(middle, x) * per_v
    implicit = 1.0 / (1.0 + 0.5 * h * leak_slope)
    leak_now = x.drive * law.leak(middle, x) * implicit
    lost = 0.5 * h * leak_slope * implicit  # of the voltage in the middle, which moves with both ends
    by_v, by_i = by_v - lost * (1.0 + by_v), by_i - lost * by_i
    ahead = law.softened((sign * (field + rise - y)).clamp(min=0.0), x)
    end = torch.maximum(torch.maximum(ahead, x.smallest), size - FADED_E_FOLDS / lam.clamp(min=1.0))
    ln_rate_end = law.ln_rate(end, x)
    both = rate + torch.exp(ln_rate_end)
    moved = torch.where(ahead > bare, ahead - bare, end - size)
    far = moved.abs() > 1e-3 * end
    secant = (ln_rate_end - ln_rate) / torch.where(far, moved, 1.0)
    lam = torch.where(far, secant, law.steepness(end, x)).clamp(min=1.0)
    takes = majority * per_takes * left * both
    per_part = 1.0 / (sign * takes).sum(0).abs().clamp(min=SMALLEST_FLOW)
    halfway = left * (1.0 - 0.5 * (y.abs() * both * per_part).clamp(max=1.0))
    share = takes * per_part
    slope, depletion = (share * lam).sum(0), (share**2 / (per_takes * halfway)).sum(0)
    rise = x.k_cap * (driven - leak_now * h)
    y = taken(flow, slope, depletion, rise, h, available)

    if len(p) == 1:
        switched = torch.minimum((y.abs() / per_takes[0])[None], left)
    else:
        kept = (1.0 - y.abs() / available.clamp(min=SMALLEST_FLOW)).clamp(min=1e-6)
        gone = -torch.expm1(-both * (-torch.log(kept) * available * per_part))
        scale = y.abs() / (sign * majority * per_takes * left * gone).sum(0).abs().clamp(min=SMALLEST_FLOW)
        alone = left * (0.5 * both * h).clamp(max=1.0)
        switched = torch.where(majority > 0.0, torch.minimum(left * gone * scale, left), alone)
    p_moved = sign * switched
    v_moved = driven - leak_now * h - x.v_per_p * (x.weight * p_moved).sum(0)
    return Substep(v_moved, p_moved, left, lam, by_v, by_i, per_p), leak_now


def crossing(v: Tensor, done: Substep, h: Tensor, fired: Tensor, x: Any, tail: Tails) -> tuple[Tensor, Tensor]:
    """Share (n,) of the substep up to the crossing, and of what each domain moved until then, (K, n); without gradient.

    As `devices.ferroelectric.simd.substep.cross`.
    """
    flow = (x.v_per_p * x.weight * done.p_moved).sum(0)
    whole = torch.where(fired, done.v_moved + flow, 1.0).clamp(min=1e-9)
    missing = x.v_threshold - v
    even = missing / torch.where(fired, done.v_moved, 1.0)
    kappa = (tail.field * h / (x.k_cap * whole)).clamp(1e-6, 60.0)
    left = tail.left * (0.56 + 0.44 * torch.exp(-kappa)) / torch.expm1(kappa)
    over = ((done.left - left) / done.p_moved.clamp(min=1e-9)).clamp(0.0, 1.0)
    part = (missing + (x.v_per_p * x.weight * over * done.p_moved).sum(0)) / whole
    part = torch.where(fired, torch.maximum(part, even).clamp(0.0, 1.0), 1.0).detach()
    return part, torch.maximum(part, over).detach()


def carry(s: Tensor, done: Substep, part: Tensor, x: Any) -> Tensor:
    """Tangents (1 + K, 2 + K, n) of (q, p) after the fraction `part` (n,) of a substep."""
    switched = done.p_moved.abs()
    gain = done.lam * switched
    kept = (1.0 - switched / done.left).clamp(min=1e-6)
    spent = -torch.log(kept)
    takes = takes_of(x)
    rank = (takes * gain).sum(0).clamp(min=1e-12)
    depleted = (takes * gain * spent).sum(0) / rank
    whole = rank + depleted
    decayed = torch.exp(-whole)
    phi = -torch.expm1(-whole) / whole
    psi = x.k_cap * torch.where(whole < 1e-2, 0.5 - whole / 6.0, (1.0 - phi) / whole)
    gap = whole - spent
    near = gap.abs() < 1e-3
    by_steady = gain * torch.where(spent > 1e-4, (1.0 - kept) / spent.clamp(min=1e-4), 1.0)
    by_decay = gain * torch.where(near, kept, (kept - decayed) / torch.where(near, 1.0, gap))
    excess = takes * (spent - depleted) / whole

    q, p = s[0], s[1:]
    field = x.k_cap * q - (takes[:, None] * p).sum(0)
    steady = depleted / whole * x.k_cap * q + (excess[:, None] * p).sum(0)
    p_new = kept[:, None] * p + by_steady[:, None] * steady + by_decay[:, None] * (field - steady)
    halved = 0.5 * done.per_p * (x.weight[:, None] * (p + p_new)).sum(0)
    moved = -(1.0 - done.by_v) * part * (q - halved)
    moved = torch.cat([moved[:-1], (moved[-1] + done.by_i * part * x.drive)[None]])
    return torch.cat([(q + moved)[None], p_new + gain[:, None] * psi * moved])


def to_voltage(s: Tensor, x: Any) -> Tensor:
    """Tangents of (V, p) from those of (q, p), both by (V, p, I in A)."""
    by_v = s[0] - x.v_per_p * (x.weight[:, None] * s[1:]).sum(0)
    return torch.cat([by_v[None], s[1:]])


def paces_of(rise_v: Tensor) -> Tensor:
    """`devices.ferroelectric.paces.pace` of every neuron, (n,)."""
    ends = torch.tensor([slower * FULL_RISE_V for slower in PACES[1:-1]], dtype=rise_v.dtype, device=rise_v.device)
    return torch.where(rise_v < 0.0, INHIBITED, 1 + torch.bucketize(rise_v, ends))


def logistic_torch(
    model: Any,
    constants: Tensor,
    state: Membrane,
    i_a: Tensor,
    accuracy: float,
    event: bool,
    tangents: bool,
    moving: bool = False,
) -> Step:
    """One macro step, the neurons of one pace after those of another; a solver of `training.dynamics.solvers`.

    Differentiable by `constants` with each crossing held in time; `moving` adds what moves it (`Step.release_ms`).
    """
    n, law = state.v.numel(), torch_laws(model)
    constants = constants.repeat(1, n // constants.shape[1])
    paces = paces_of((i_a * constants[DRIVE]).detach())
    members = [(paces == pace).nonzero()[:, 0] for pace in range(len(PACES))]
    parts: list[tuple[Membrane, Step]] = []
    for pace, who in enumerate(members):
        if len(who) or n == pace == 0:  # of no neurons at all, one pace says in which shapes
            part = Membrane(state.v[who], state.p[:, who], state.hold[who], state.step[who])
            substeps = substep_count(accuracy, pace)
            how = (substeps, event, tangents, moving)
            parts.append((part, _take_substeps(law, constants[:, who], part, i_a[who], *how)))
    back = torch.argsort(torch.cat(members))

    def whole(*pieces: Tensor | None) -> Tensor:
        return torch.cat([piece for piece in pieces if piece is not None], -1)[..., back]

    state.v, state.p = whole(*(part.v for part, _ in parts)), whole(*(part.p for part, _ in parts))
    state.hold = whole(*(part.hold for part, _ in parts))
    steps = [step for _, step in parts]
    return Step(
        whole(*(step.spikes for step in steps)),
        whole(*(step.seen for step in steps)),
        whole(*(step.lead_ms for step in steps)),
        whole(*(step.free_ms for step in steps)),
        whole(*(step.tangents for step in steps)) if tangents else None,
        whole(*(step.late for step in steps)) if tangents else None,
        whole(*(step.release_ms for step in steps)) if moving else None,
    )


def _take_substeps(
    law: Any,
    constants: Tensor,
    state: Membrane,
    i_a: Tensor,
    substeps: int,
    event: bool,
    tangents: bool,
    moving: bool,
) -> Step:
    """One macro step in so many `substeps`; `constants` (R, n)."""
    x = stacked(law, constants)
    tail = tails(law, x)
    v, p, hold = state.v, state.p, state.hold
    leak_now = x.drive * law.leak(at_membrane(law, x, v, (x.weight * p).sum(0))[0], x)
    spikes, lead, free, moved, release = (torch.zeros_like(v) for _ in range(5))
    seen = torch.cat([v[None], p])
    s = seen_s = _identity(x, v) if tangents else v.new_empty(0)
    for step in range(substeps):
        h_whole = substep_ms(step, substeps)
        h = (h_whole - hold).clamp(min=0.0)
        hold = (hold - h_whole).clamp(min=0.0)
        done, leak_now = substep(law, x, v, p, i_a * x.drive, h, leak_now)
        v_new = v + done.v_moved
        fired = (v_new >= x.v_threshold) & (h > 0.0)
        part, switched = crossing(v, done, h, fired, x, tail)
        if tangents:
            s = carry(s, done._replace(p_moved=done.p_moved * switched), part, x)
        ahead = (x.weight * (switched - part) * done.p_moved).sum(0)
        v, p = v + part * done.v_moved - x.v_per_p * ahead, p + switched * done.p_moved
        free = free + part * h
        first = spikes == 0.0
        if moving:
            rising = torch.where(fired, flow(law, x, v, p, i_a)[0], 1.0).detach()
            waits = x.t_refractory if event else 0.0
            release = torch.where(fired, release + (x.v_threshold - v) / rising + waits, release)
        seen, lead = torch.where(first, torch.cat([v[None], p]), seen), torch.where(first, free, lead)
        if event:
            if tangents:
                now = to_voltage(s, x)
                seen_s = torch.where(first, now, seen_s)
                again = fired & ~first
                moved = torch.where(again, moved - now[0, -1] / flow(law, x, v, p, i_a)[0], moved)
                s = torch.where(fired, 0.0, s)
            v = torch.where(fired, x.v_reset, v)
            p = torch.where(fired, x.p_reset, p)
            free = torch.where(fired, 0.0, free)
            wait = (x.t_refractory - (1.0 - part) * h).clamp(min=LEAST_HOLD_MS)
            wait = wait.detach() if moving else wait
            hold = torch.where(fired, wait, hold)
        else:
            hold = torch.where(fired, FROZEN_MS, hold)
        spikes = spikes + fired
    quiet = spikes == 0.0
    if not event:
        seen_s = to_voltage(s, x) if tangents else s
        v, hold = torch.where(quiet, v, x.v_reset), torch.zeros_like(hold)
        p = torch.where(quiet, p, x.p_reset)
    state.v, state.p, state.hold = v, p, hold
    if not tangents:
        return Step(spikes, seen, lead, free, None, None, release)
    late = torch.cat([to_voltage(s, x)[:, -1] if event else torch.zeros_like(seen), moved[None]])
    return Step(spikes, seen, lead, free, seen_s, late)


def _identity(x: Any, v: Tensor) -> Tensor:
    """Tangents of (q, p) at the start, (1 + K, 2 + K, n)."""
    domains, n = x.weight.shape
    s = v.new_zeros(1 + domains, 2 + domains, n)
    s[0, 0] = 1.0
    for k in range(domains):
        s[1 + k, 1 + k] = 1.0
        s[0, 1 + k] = x.v_per_p * x.weight[k]
    return s
