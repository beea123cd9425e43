"""The logistic method for FeLIF's millisecond in plain torch: on any device, in any precision, differentiable.

The same substep as `devices.ferroelectric.simd.substep`, whose docstring derives it; neurons lie along the last axis,
domains along the first. It serves devices without compiled kernels, and autograd where a gradient by device parameters
is asked for.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bruno_spice.devices.ferroelectric.constants import (
    ALPHA,
    DISCHARGE,
    DOMAINS_FROM,
    DRIVE,
    E_SOFT,
    K_CAP,
    K_POL,
    LEAK,
    LN_RATE,
    P_RESET,
    PER_V_COMPLIANCE,
    PER_V_LEAK,
    PER_V_LEAK_BELOW,
    PER_V_SMOOTH,
    T_REFRACTORY,
    V_FLOOR,
    V_PER_P,
    V_RESET,
    V_THRESHOLD,
    domain_count,
)
from bruno_spice.devices.ferroelectric.paces import (
    FADED_E_FOLDS,
    FULL_RISE_V,
    INHIBITED,
    PACES,
    substep_count,
    substep_ms,
)
from bruno_spice.training.dynamics.membrane import Membrane, Step

SLOWEST_RATE_LOG = -40.0 * math.log(2.0)
"""A rate below 2^-40 per ms counts as that."""
SMALLEST_FLOW = 1e-18
FROZEN_MS = 1e9
FAR_ABOVE = 20.0


class _Domains(NamedTuple):
    """Rows of the constants that belong to domains, (K, n), and what follows from them."""

    activation: Tensor
    offset: Tensor
    weight: Tensor
    takes: Tensor
    """b_k: fall of E per unit of p_k at constant charge."""
    smallest_field: Tensor
    """Relative to Ea, (n,)."""
    tail_field: Tensor
    """r/lam at the threshold with all domains turned, in V/nm a ms."""
    tail_left: Tensor
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


def domains_of(constants: Tensor) -> _Domains:
    """The domain rows of `constants` (18 + 3 K, n or 1)."""
    domains = domain_count(len(constants))
    activation, offset, weight = constants[DOMAINS_FROM:].view(3, domains, -1)
    takes = weight * (constants[K_CAP] * constants[V_PER_P] + constants[K_POL])
    smallest = (constants[LN_RATE] - SLOWEST_RATE_LOG) ** (-1.0 / constants[ALPHA])
    field = constants[K_CAP] * constants[V_THRESHOLD] - constants[K_POL] * weight.sum(0) - offset
    size = torch.maximum((field.clamp(min=0.0) + constants[E_SOFT]) / activation, smallest)
    lam = constants[ALPHA] * size ** (-constants[ALPHA] - 1.0) / activation
    rate = torch.exp(constants[LN_RATE] - size ** -constants[ALPHA])
    tail = (rate / lam).detach(), (1.0 / (takes.clamp(min=1e-12) * lam)).detach()
    return _Domains(activation, offset, weight, takes, smallest.detach(), *tail)


def synaptic(v: Tensor, i_in: Tensor, h: Tensor, constants: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the current `i_in` (V/ms) does to V within `h`: the change, its slopes by V and by i_in."""
    per_v = constants[PER_V_COMPLIANCE]
    u = (v - constants[V_FLOOR]) * per_v
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


def leak(v: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
    """I_leak/C and its slope by V."""
    size = v.abs()
    per_v = torch.where(v >= 0.0, constants[PER_V_LEAK], constants[PER_V_LEAK_BELOW])
    grown = torch.exp((size * per_v).clamp(max=42.0))
    smooth_sign = torch.tanh(size * constants[PER_V_SMOOTH])
    current = constants[LEAK] * (grown - 1.0) + constants[DISCHARGE] * smooth_sign
    slope = constants[LEAK] * per_v * grown
    slope = slope + constants[DISCHARGE] * constants[PER_V_SMOOTH] * (1.0 - smooth_sign**2)
    return torch.where(v >= 0.0, current, -current), slope


def taken(flow: Tensor, slope: Tensor, depletion: Tensor, rise: Tensor, h: Tensor, available: Tensor) -> Tensor:
    """Y with its sign: what switching takes from the field within `h`."""
    sign = torch.where(flow >= 0.0, 1.0, -1.0)
    z = (slope * sign * rise).clamp(-70.0, 55.0)
    z = torch.where(z.abs() < 1e-7, 1e-7, z)
    full = slope + depletion
    grown = (flow.abs() * h * torch.expm1(z) / z).clamp(max=1e20)
    return sign * torch.minimum(torch.log1p(full * grown) / full, available)


def substep(
    v: Tensor, p: Tensor, i_in: Tensor, h: Tensor, leak_now: Tensor, constants: Tensor, domain: _Domains
) -> tuple[Substep, Tensor]:
    """One substep of `h` (n,) ms from V (n,), p (K, n) under `i_in` (V/ms); returns it and the leak at its middle."""
    driven, by_v, by_i = synaptic(v, i_in, h, constants)
    common = constants[K_CAP] * v - constants[K_POL] * (domain.weight * p).sum(0)
    field = common - domain.offset
    sign = torch.where(field >= 0.0, 1.0, -1.0)
    bare = (field.abs() + constants[E_SOFT]) / domain.activation
    size = torch.maximum(bare, domain.smallest_field)
    rise = constants[K_CAP] * (driven - leak_now * h)
    risen = sign * rise / domain.activation
    ahead = torch.maximum(bare + risen, domain.smallest_field)
    rises = risen > 1e-3 * size
    left = (1.0 - sign * p).clamp(min=1e-9)
    exponent = size ** -constants[ALPHA]
    rate = torch.exp(constants[LN_RATE] - exponent)
    chord = (ahead - size) / (ahead * torch.where(rises, risen, 1.0))
    lam = constants[ALPHA] * exponent * torch.where(rises, chord, 1.0 / size) / domain.activation
    takes = domain.takes * left * rate
    majority = torch.where(sign * (sign * takes).sum(0) >= 0.0, 1.0, 0.0)
    takes = takes * majority
    flow = (sign * takes).sum(0)
    per_y = 1.0 / flow.abs().clamp(min=SMALLEST_FLOW)
    available = (majority * domain.takes * left).sum(0)
    slope, depletion = (takes * lam).sum(0) * per_y, (takes * per_y * rate * per_y).sum(0)
    y = taken(flow, slope, depletion, rise, h, available)

    per_field = constants[V_PER_P] / (constants[K_CAP] * constants[V_PER_P] + constants[K_POL])
    current, leak_slope = leak(v + 0.5 * (driven - per_field * y), constants)
    implicit = 1.0 / (1.0 + 0.5 * h * leak_slope)
    leak_now = current * implicit
    by_v = by_v - h * leak_slope * implicit
    ahead = ((sign * (field + rise - y)).clamp(min=0.0) + constants[E_SOFT]) / domain.activation
    end = torch.maximum(ahead, domain.smallest_field)
    end = torch.maximum(end, size - FADED_E_FOLDS / (lam.clamp(min=1.0) * domain.activation))
    exponent_end = end ** -constants[ALPHA]
    both = rate + torch.exp(constants[LN_RATE] - exponent_end)
    moved = torch.where(ahead > bare, ahead - bare, end - size)
    far = moved.abs() > 1e-3 * end
    secant = (exponent - exponent_end) / (domain.activation * torch.where(far, moved, 1.0))
    lam = torch.where(far, secant, constants[ALPHA] * exponent_end / (domain.activation * end)).clamp(min=1.0)
    takes = majority * domain.takes * left * both
    per_part = 1.0 / (sign * takes).sum(0).abs().clamp(min=SMALLEST_FLOW)
    halfway = left * (1.0 - 0.5 * (y.abs() * both * per_part).clamp(max=1.0))
    share = takes * per_part
    slope, depletion = (share * lam).sum(0), (share**2 / (domain.takes * halfway)).sum(0)
    rise = constants[K_CAP] * (driven - leak_now * h)
    y = taken(flow, slope, depletion, rise, h, available)

    if len(p) == 1:
        switched = torch.minimum((y.abs() / domain.takes[0])[None], left)
    else:
        kept = (1.0 - y.abs() / available.clamp(min=SMALLEST_FLOW)).clamp(min=1e-6)
        gone = -torch.expm1(-both * (-torch.log(kept) * available * per_part))
        scale = y.abs() / (sign * majority * domain.takes * left * gone).sum(0).abs().clamp(min=SMALLEST_FLOW)
        alone = left * (0.5 * both * h).clamp(max=1.0)
        switched = torch.where(majority > 0.0, torch.minimum(left * gone * scale, left), alone)
    p_moved = sign * switched
    v_moved = driven - leak_now * h - constants[V_PER_P] * (domain.weight * p_moved).sum(0)
    return Substep(v_moved, p_moved, left, lam, by_v, by_i), leak_now


def crossing(
    v: Tensor, done: Substep, h: Tensor, fired: Tensor, constants: Tensor, domain: _Domains
) -> tuple[Tensor, Tensor]:
    """Share (n,) of the substep up to the crossing, and of what each domain moved until then, (K, n); without gradient.

    As `devices.ferroelectric.simd.substep.cross`.
    """
    flow = (constants[V_PER_P] * domain.weight * done.p_moved).sum(0)
    whole = torch.where(fired, done.v_moved + flow, 1.0).clamp(min=1e-9)
    missing = constants[V_THRESHOLD] - v
    even = missing / torch.where(fired, done.v_moved, 1.0)
    kappa = (domain.tail_field * h / (constants[K_CAP] * whole)).clamp(1e-6, 60.0)
    left = domain.tail_left * (0.56 + 0.44 * torch.exp(-kappa)) / torch.expm1(kappa)
    over = ((done.left - left) / done.p_moved.clamp(min=1e-9)).clamp(0.0, 1.0)
    part = (missing + (constants[V_PER_P] * domain.weight * over * done.p_moved).sum(0)) / whole
    part = torch.where(fired, torch.maximum(part, even).clamp(0.0, 1.0), 1.0).detach()
    return part, torch.maximum(part, over).detach()


def carry(s: Tensor, done: Substep, part: Tensor, constants: Tensor, domain: _Domains) -> Tensor:
    """Tangents (1 + K, 2 + K, n) of (q, p) after the fraction `part` (n,) of a substep."""
    switched = done.p_moved.abs()
    gain = done.lam * switched
    kept = (1.0 - switched / done.left).clamp(min=1e-6)
    spent = -torch.log(kept)
    x = (domain.takes * gain).sum(0).clamp(min=1e-12)
    depleted = (domain.takes * gain * spent).sum(0) / x
    whole = x + depleted
    decayed = torch.exp(-whole)
    phi = -torch.expm1(-whole) / whole
    psi = constants[K_CAP] * torch.where(whole < 1e-2, 0.5 - whole / 6.0, (1.0 - phi) / whole)
    gap = whole - spent
    near = gap.abs() < 1e-3
    by_steady = gain * torch.where(spent > 1e-4, (1.0 - kept) / spent.clamp(min=1e-4), 1.0)
    by_decay = gain * torch.where(near, kept, (kept - decayed) / torch.where(near, 1.0, gap))
    excess = domain.takes * (spent - depleted) / whole

    q, p = s[0], s[1:]
    field = constants[K_CAP] * q - (domain.takes[:, None] * p).sum(0)
    steady = depleted / whole * constants[K_CAP] * q + (excess[:, None] * p).sum(0)
    p_new = kept[:, None] * p + by_steady[:, None] * steady + by_decay[:, None] * (field - steady)
    halved = 0.5 * constants[V_PER_P] * (domain.weight[:, None] * (p + p_new)).sum(0)
    moved = -(1.0 - done.by_v) * part * (q - halved)
    moved = torch.cat([moved[:-1], (moved[-1] + done.by_i * part)[None]])
    return torch.cat([(q + moved)[None], p_new + gain[:, None] * psi * moved])


def to_voltage(s: Tensor, constants: Tensor, weight: Tensor) -> Tensor:
    """Tangents of (V, p) by (V, p, I in A) from those of (q, p) by (V, p, I in V/ms)."""
    by_v = s[0] - constants[V_PER_P] * (weight[:, None] * s[1:]).sum(0)
    out = torch.cat([by_v[None], s[1:]])
    return torch.cat([out[:, :-1], out[:, -1:] * constants[DRIVE]], dim=1)


def paces_of(rise_v: Tensor) -> Tensor:
    """`devices.ferroelectric.paces.pace` of every neuron, (n,)."""
    ends = torch.tensor([slower * FULL_RISE_V for slower in PACES[1:-1]], dtype=rise_v.dtype, device=rise_v.device)
    return torch.where(rise_v < 0.0, INHIBITED, 1 + torch.bucketize(rise_v, ends))


def logistic_torch(
    constants: Tensor, state: Membrane, i_a: Tensor, accuracy: float, event: bool, tangents: bool
) -> Step:
    """One macro step, the neurons of one pace after those of another; a solver of `training.dynamics.solvers`."""
    n = state.v.numel()
    constants = constants.repeat(1, n // constants.shape[1])
    paces = paces_of((i_a * constants[DRIVE]).detach())
    members = [(paces == pace).nonzero()[:, 0] for pace in range(len(PACES))]
    parts: list[tuple[Membrane, Step]] = []
    for pace, who in enumerate(members):
        if len(who):
            part = Membrane(state.v[who], state.p[:, who], state.hold[who], state.step[who])
            substeps = substep_count(accuracy, pace)
            parts.append((part, _take_substeps(constants[:, who], part, i_a[who], substeps, event, tangents)))
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
    )


def _take_substeps(constants: Tensor, state: Membrane, i_a: Tensor, substeps: int, event: bool, tangents: bool) -> Step:
    """One macro step in so many `substeps`; `constants` (18 + 3 K, n)."""
    domain = domains_of(constants)
    v, p, hold = state.v, state.p, state.hold
    i_in = i_a * constants[DRIVE]
    threshold = constants[V_THRESHOLD]
    leak_now = leak(v, constants)[0]
    spikes, lead, free = (torch.zeros_like(v) for _ in range(3))
    seen = torch.cat([v[None], p])
    s = seen_s = _identity(constants, domain.weight) if tangents else v.new_empty(0)
    for step in range(substeps):
        h_whole = substep_ms(step, substeps)
        h = (h_whole - hold).clamp(min=0.0)
        hold = (hold - h_whole).clamp(min=0.0)
        done, leak_now = substep(v, p, i_in, h, leak_now, constants, domain)
        v_new = v + done.v_moved
        fired = (v_new >= threshold) & (h > 0.0)
        part, switched = crossing(v, done, h, fired, constants, domain)
        if tangents:
            s = carry(s, done._replace(p_moved=done.p_moved * switched), part, constants, domain)
        ahead = (domain.weight * (switched - part) * done.p_moved).sum(0)
        v, p = v + part * done.v_moved - constants[V_PER_P] * ahead, p + switched * done.p_moved
        free = free + part * h
        first = spikes == 0.0
        seen, lead = torch.where(first, torch.cat([v[None], p]), seen), torch.where(first, free, lead)
        if event:
            if tangents:
                seen_s = torch.where(first, s, seen_s)
                s = torch.where(fired, 0.0, s)
            v = torch.where(fired, constants[V_RESET], v)
            p = torch.where(fired, constants[P_RESET], p)
            free = torch.where(fired, 0.0, free)
            wait = (constants[T_REFRACTORY] - (1.0 - part) * h).clamp(min=0.0)
            hold = torch.where(fired, wait, hold)
        else:
            hold = torch.where(fired, FROZEN_MS, hold)
        spikes = spikes + fired
    quiet = spikes == 0.0
    if not event:
        seen_s = s
        v, hold = torch.where(quiet, v, constants[V_RESET]), torch.zeros_like(hold)
        p = torch.where(quiet, p, constants[P_RESET])
    state.v, state.p, state.hold = v, p, hold
    if not tangents:
        return Step(spikes, seen, lead, free, None, None)
    late = to_voltage(s, constants, domain.weight)[:, -1] if event else torch.zeros_like(seen)
    return Step(spikes, seen, lead, free, to_voltage(seen_s, constants, domain.weight), late)


def _identity(constants: Tensor, weight: Tensor) -> Tensor:
    """Tangents of (q, p) at the start, (1 + K, 2 + K, n)."""
    domains, n = weight.shape
    s = weight.new_zeros(1 + domains, 2 + domains, n)
    s[0, 0] = 1.0
    for k in range(domains):
        s[1 + k, 1 + k] = 1.0
        s[0, 1 + k] = constants[V_PER_P] * weight[k]
    return s
