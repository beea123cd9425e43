"""FeLIF in plain torch, step by step: the reference that autograd differentiates, on any device.

    p' = p + (sign(E) - p) min(dt/tau, 1)
    V' = V + dt I_in/C - dt I_leak/C - (A Ps/C) sum_k w_k (p_k' - p_k)

One explicit Euler step (`devices.ferroelectric.felif`), written so that it never oversteps an equilibrium: dt/tau is
limited to 1, the leak to what brings V to 0, inhibition to what brings V to the floor. It serves three
masters: 1000 of them a millisecond are the paper's forward pass and BPTT, one, as long as it takes to the crossing, is
the coarse step that BRUNO differentiates, with tau detached.
"""

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

MAX_EXPONENT = 100.0
"""A domain whose exponent (Ea/|E|)^alpha is larger than this does not switch at all: e^-100 of the attempt
rate."""
MAX_LEAK_EXPONENT = 60.0


class Window(NamedTuple):
    """The end of one macro step."""

    v: Tensor
    """Membrane voltage (B, N) in V, after a reset."""
    p: Tensor
    """Domains (K, B, N), after a reset."""
    hold: Tensor
    """Refractory time left (B, N) in ms."""
    spikes: Tensor
    """How many (B, N), as numbers."""
    seen_v: Tensor
    """Voltage (B, N) where the surrogate looks: at the first crossing, or at the end."""
    seen_p: Tensor
    """Domains (K, B, N) there."""
    lead_ms: Tensor
    """Time integrated up to there (B, N)."""


def switching_rate(field: Tensor, activation: Tensor, constants: Tensor) -> Tensor:
    """1/tau in 1/ms at the field E in V/nm."""
    alpha = constants[ALPHA]
    smallest = (activation * MAX_EXPONENT ** (-1.0 / alpha)).detach()
    softened = torch.maximum(field.abs() + constants[E_SOFT], smallest)
    return torch.exp(constants[LN_RATE] - (activation / softened) ** alpha)


def leak_per_v(v: Tensor, constants: Tensor) -> Tensor:
    """Slope in 1/V of the leak's exponent by |V|."""
    return torch.where(v >= 0.0, constants[PER_V_LEAK], constants[PER_V_LEAK_BELOW])


def euler_step(
    v: Tensor, p: Tensor, i_a: Tensor, constants: Tensor, dt_ms: float | Tensor, detach_tau: bool = False
) -> tuple[Tensor, Tensor]:
    """One step of `dt_ms`, one or (B, N), from V (B, N), p (K, B, N) under `i_a` (B, N) in A.

    `constants` (18 + 3 K, N or 1).
    """
    domains = domain_count(len(constants))
    activation, offset, weight = constants[DOMAINS_FROM:].view(3, domains, -1)
    weighted = sum(weight[k] * p[k] for k in range(domains))
    field = constants[K_CAP] * v - constants[K_POL] * weighted
    moved, total = [], torch.zeros_like(v)
    for k in range(domains):
        here = field - offset[k]
        share = (dt_ms * switching_rate(here, activation[k], constants)).clamp(max=1.0)
        flow = (torch.where(here >= 0.0, 1.0, -1.0) - p[k]) * (share.detach() if detach_tau else share)
        moved.append(p[k] + flow)
        total = total + weight[k] * flow

    size = v.abs()
    grown = torch.expm1((size * leak_per_v(v, constants)).clamp(max=MAX_LEAK_EXPONENT))
    leak = constants[LEAK] * grown + constants[DISCHARGE] * torch.tanh(size * constants[PER_V_SMOOTH])
    leak = torch.sign(v) * torch.minimum(dt_ms * leak, size)

    above = v - constants[V_FLOOR]
    headroom = above * constants[PER_V_COMPLIANCE]
    compliance = torch.where(headroom >= 0.0, -torch.expm1(-headroom.clamp(min=0.0)), headroom)
    inhibition = dt_ms * constants[DRIVE] * i_a * compliance
    inhibition = torch.maximum(torch.minimum(inhibition, (-above).clamp(min=0.0)), (-above).clamp(max=0.0))
    driven = torch.where(i_a < 0.0, inhibition, dt_ms * constants[DRIVE] * i_a)
    return v + driven - leak - constants[V_PER_P] * total, torch.stack(moved)


def macro_step(
    v: Tensor, p: Tensor, hold: Tensor, i_a: Tensor, constants: Tensor, substeps: int, event: bool
) -> Window:
    """One macro step of 1 ms in `substeps` Euler steps, spikes and resets included (`scalar.windows`)."""
    dt = 1.0 / substeps
    seen_v, seen_p, spikes = v, p, torch.zeros_like(v)
    led = torch.zeros_like(hold)
    threshold = constants[V_THRESHOLD].expand_as(v)
    if not event:
        held = torch.round(hold / dt)
        for step in range(substeps):
            running = (v < threshold) & (held <= step)
            v_new, p_new = euler_step(v, p, i_a, constants, dt)
            v, p = torch.where(running, v_new, v), torch.where(running, p_new, p)
            led = led + running
        fired = v >= threshold
        after_v, after_p = reset(v, p, fired, constants)
        return Window(after_v, after_p, torch.zeros_like(hold), fired.to(v.dtype), v, p, led * dt)

    wait = torch.round(constants[T_REFRACTORY] / dt).expand_as(v)
    held = torch.round(hold / dt)
    for _ in range(substeps):
        running = held < 0.5
        held = (held - 1.0).clamp(min=0.0)
        v_new, p_new = euler_step(v, p, i_a, constants, dt)
        v, p = torch.where(running, v_new, v), torch.where(running, p_new, p)
        fired = v >= threshold
        first = spikes == 0.0
        led = led + (first & running)
        seen_v, seen_p = torch.where(first, v, seen_v), torch.where(first, p, seen_p)
        spikes = spikes + fired
        v, p = reset(v, p, fired, constants)
        held = torch.where(fired, wait, held)
    return Window(v, p, held * dt, spikes, seen_v, seen_p, led * dt)


def reset(v: Tensor, p: Tensor, fired: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
    """V and p after the reset of the neurons that `fired`; no gradient passes through a reset's decision."""
    v_reset = constants[V_RESET].expand_as(v).to(v.dtype)
    p_reset = constants[P_RESET].expand_as(v).to(v.dtype)
    return torch.where(fired, v_reset, v), torch.where(fired, p_reset, p)
