"""A neuron in plain torch, step by step: the reference that autograd differentiates, on any device.

    p' = p + (sign(E) - p) min(dt/tau, 1)
    V' = V + dt I_in/C - dt I_leak/C - V_PER_P sum_k w_k (p_k' - p_k)

One explicit Euler step (`devices.models.laws`), written so that it never oversteps an equilibrium: dt/tau is
limited to 1, the leak to what brings V to 0, inhibition to what brings V to the floor. It serves three
masters: 1000 of them a millisecond are the paper's forward pass and BPTT, one, as long as it takes to the crossing, is
the coarse step that BRUNO differentiates, with tau detached.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bruno_spice.devices.models.rows import P_RESET, T_REFRACTORY, V_RESET, V_THRESHOLD
from bruno_spice.training.dynamics.laws import at_membrane, field, polarization, rows_of, switching


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
    free_ms: Tensor
    """Time integrated since the last reset (B, N)."""
    shown_v: Tensor
    """Voltage (B, N) that the layer shows: at the end (event reset), or where the surrogate looks (macro reset)."""
    shown_p: Tensor
    """Domains (K, B, N) there."""


def euler_step(
    law: Any, rows: list[Any], v: Tensor, p: Tensor, i_a: Tensor, dt_ms: float | Tensor, detach_tau: bool = False
) -> tuple[Tensor, Tensor]:
    """One step of `dt_ms`, one or (B, N), from V (B, N), p (K, B, N) under `i_a` (B, N) in A.

    `law` and `rows` are those of the model (`training.dynamics.laws`).
    """
    common = field(rows, v, p)
    flows = []
    for x, each in zip(rows, p, strict=True):
        sign, rate, back = switching(law, x, common - x.offset)
        share = (dt_ms * rate).clamp(max=1.0)
        flows.append(sign * (1.0 - sign * each - back) * (share.detach() if detach_tau else share))
    moved = torch.stack(flows)

    x = rows[0]
    here, per_v = at_membrane(law, x, v, polarization(rows, p))
    leak = dt_ms * x.drive * law.leak(here, x)
    leak = torch.where(leak.abs() * per_v > here.abs(), here / per_v, leak)
    to_floor = (x.v_floor - here) / per_v
    inhibition = dt_ms * x.drive * i_a * law.compliance(here, x)
    inhibition = torch.maximum(torch.minimum(inhibition, to_floor.clamp(min=0.0)), to_floor.clamp(max=0.0))
    driven = torch.where(i_a < 0.0, inhibition, dt_ms * x.drive * i_a)
    return v + driven - leak - x.v_per_p * polarization(rows, moved), p + moved


def macro_step(
    law: Any,
    v: Tensor,
    p: Tensor,
    hold: Tensor,
    i_a: Tensor,
    constants: Tensor,
    substeps: int,
    event: bool,
    through: bool = False,
) -> Window:
    """One macro step of 1 ms in `substeps` Euler steps, spikes and resets included (`scalar.windows`).

    `through` a spike, gradients pass with the instant of the crossing (`_moved`): what is held is let go so much later.
    """
    dt, rows = 1.0 / substeps, rows_of(law, constants)
    seen_v, seen_p, spikes = v, p, torch.zeros_like(v)
    led = torch.zeros_like(hold)
    threshold = constants[V_THRESHOLD].expand_as(v)
    held = torch.round(hold.detach() / dt)
    if not event:
        before_v, before_p = v, p
        for step in range(substeps):
            running = (v < threshold) & (held <= step)
            v_new, p_new = euler_step(law, rows, v, p, i_a, dt)
            if through:
                before_v, before_p = torch.where(running, v, before_v), torch.where(running, p, before_p)
            v, p = torch.where(running, v_new, v), torch.where(running, p_new, p)
            led = led + running
        fired = v >= threshold
        shown_v, shown_p = v, p
        if through:
            by_v, by_p = (v - before_v).detach() / dt, (p - before_p).detach() / dt
            delay = torch.where(fired, _moved(v, threshold, by_v), 0.0)
            shown_v, shown_p = v + by_v * delay, p + by_p * delay
        after_v, after_p = reset(v, p, fired, constants)
        led = led * dt
        return Window(after_v, after_p, torch.zeros_like(hold), fired.to(v.dtype), v, p, led, led, shown_v, shown_p)

    wait = torch.round(constants[T_REFRACTORY].detach() / dt).expand_as(v)
    delay, free = hold - hold.detach() if through else torch.zeros_like(hold), torch.zeros_like(hold)
    for _ in range(substeps):
        running = held < 0.5
        held = (held - 1.0).clamp(min=0.0)
        v_new, p_new = euler_step(law, rows, v, p, i_a, dt)
        if through:
            by_v, by_p = (v_new - v).detach() / dt, (p_new - p).detach() / dt
            v_new, p_new = v_new - by_v * delay, p_new - by_p * delay
            delay = torch.where(running, 0.0, delay)
        v, p = torch.where(running, v_new, v), torch.where(running, p_new, p)
        fired = v >= threshold
        first = spikes == 0.0
        led, free = led + (first & running), torch.where(fired, 0.0, free + running)
        seen_v, seen_p = torch.where(first, v, seen_v), torch.where(first, p, seen_p)
        spikes = spikes + fired
        if through:
            waits = constants[T_REFRACTORY].expand_as(v)
            delay = torch.where(fired, _moved(v, threshold, by_v) + waits - waits.detach(), delay)
        v, p = reset(v, p, fired, constants)
        held = torch.where(fired, wait, held)
    return Window(v, p, held * dt + delay, spikes, seen_v, seen_p, led * dt, free * dt, v, p)


def _moved(v: Tensor, threshold: Tensor, by_v: Tensor) -> Tensor:
    """How much later (n,) in ms a crossing is, of value 0: its derivative is that of (v_threshold - V) / V'."""
    missing = threshold - v
    return (missing - missing.detach()) / torch.where(by_v > 0.0, by_v, 1.0)


def reset(v: Tensor, p: Tensor, fired: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
    """V and p after the reset of the neurons that `fired`; no gradient passes through a reset's decision."""
    v_reset = constants[V_RESET].expand_as(v).to(v.dtype)
    p_reset = constants[P_RESET].expand_as(v).to(v.dtype)
    return torch.where(fired, v_reset, v), torch.where(fired, p_reset, p)
