"""The backward sweep of a fused sequence: adjoints of V and p, one macro step after the other, last first.

    lam_seen  = surrogate part + (where no spike) lam_after
    lam_start = J^T lam_seen,   dL/dI = J_I^T lam_seen + (after a spike, event reset) late^T lam_after
    dL/dI_total = dL/dI dI/dI_total     (`training.dynamics.limits`)

J is stored (``tangent``) or made from the state at the start (``bruno``, `coarse_jacobian`). A gradient that is None is
zero.

Through a spike (`Plan.through`) goes what `training.dynamics.through` derives; wherever a neuron is held, lam_V is then
the adjoint of what is left of the hold.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bruno_spice.devices.ferroelectric.bound import compiled
from bruno_spice.devices.models.rows import DRIVE, WEIGHT, group_of
from bruno_spice.training.dynamics.by_devices import ConstantsGradient, OfStep
from bruno_spice.training.dynamics.laws import (
    at_membrane,
    field,
    polarization,
    rows_of,
    switching,
    torch_laws,
)
from bruno_spice.training.dynamics.membrane import HAVE_KERNELS
from bruno_spice.training.dynamics.sequence import Plan, Tape, coarse_ms
from bruno_spice.training.dynamics.solvers import in_threads
from bruno_spice.training.dynamics.through import moving

SATURATED = 1.0 - 1e-6
GRAIN = 256


class Shown(NamedTuple):
    """Gradients by what a macro step shows, each (B, N)."""

    spikes: Tensor
    voltage: Tensor
    polarization: Tensor


def coarse_jacobian(
    law: Any, rows: list[Any], v: Tensor, p: Tensor, i_a: Tensor, lead_ms: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    """BRUNO's clamped Jacobian of one Euler step of `lead_ms` (B, N): dV'/dV, dp_k'/dp_k (dV'/dp_k follows), dV'/dI."""
    common = field(rows, v, p)
    kept = []
    for x, each in zip(rows, p, strict=True):
        sign, rate, _ = switching(law, x, common - x.offset)
        share = (lead_ms * rate).clamp(max=1.0)
        stuck = (sign * each >= SATURATED) & (lead_ms > 0.0)
        kept.append(torch.where(stuck, 0.0, 1.0 - share))
    x = rows[0]
    here, per_v = at_membrane(law, x, v, polarization(rows, p))
    slope = x.drive * law.leak_slope(here, x) * per_v
    by_current = x.drive.expand_as(v)
    inhibited = i_a < 0.0
    if bool(inhibited.any()):
        above, compliance, pull = here - x.v_floor, law.compliance(here, x), x.drive * i_a
        slope = slope - torch.where(inhibited, pull * law.compliance_slope(here, x) * per_v, 0.0)
        within = lead_ms * (pull * compliance).abs() * per_v <= above.abs()
        free = torch.where(within, compliance * x.drive, 0.0)
        by_current = torch.where(inhibited, free, by_current)
    return 1.0 - (lead_ms * slope).clamp(max=1.0), kept, lead_ms * by_current


def sweep(
    plan: Plan,
    tape: Tape,
    gradients: tuple[Tensor | None, ...],
    constants: Tensor,
    recurrent_a: Tensor | None,
    lengths: Tensor | None,
    spikes_before: Tensor,
    by_devices: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients by the fields of `training.dynamics.gradients.Sequence`, from those of its `Result`."""
    by_spikes, by_voltage, by_polarization, _, by_v, by_p, by_hold, _ = gradients
    dtype, out_dtype = tape.v.dtype, tape.out_dtype
    exact_constants, constants = constants, constants.to(dtype)
    recurrent = None if recurrent_a is None else recurrent_a.to(dtype)
    nothing = torch.zeros_like(tape.v[0])
    lam_v, lam_p = (nothing if by_v is None else by_v), (torch.zeros_like(tape.p[0]) if by_p is None else by_p)
    lam_v, lam_p = lam_v.to(dtype), lam_p.to(dtype)
    passes = plan.through and plan.event
    if passes:
        assert tape.hold is not None
        lam_v = torch.where(tape.hold[-1] > 0.0, nothing if by_hold is None else by_hold.to(dtype), lam_v)
    by_last = nothing
    by_current = torch.empty(tape.i_a.shape, dtype=out_dtype, device=tape.v.device)
    by_recurrent = None if recurrent is None else torch.zeros_like(recurrent)
    by_constants = ConstantsGradient(plan, tape, exact_constants) if by_devices else None
    compiled = by_constants is None and compiles(plan, tape)

    for t in reversed(range(len(by_current))):
        shown = Shown(*(nothing if y is None else y[t].to(dtype) for y in (by_spikes, by_voltage, by_polarization)))
        if recurrent is not None:
            shown = shown._replace(spikes=shown.spikes + by_last)
        active = None if lengths is None else (lengths > t)[:, None]
        if compiled:
            start_v, start_p, by_i = compiled_step_back(plan, tape, t, shown, lam_v, lam_p, constants)
        else:
            start_v, start_p, by_i = step_back(plan, tape, t, shown, lam_v, lam_p, constants, by_constants, active)
        if tape.passing is not None and plan.limits is not None:
            by_i = torch.where(tape.passing[t], by_i, plan.limits.slope * by_i)
        if active is not None:
            start_v, start_p = torch.where(active, start_v, lam_v), torch.where(active, start_p, lam_p)
            by_i = torch.where(active, by_i, 0.0)
        lam_v, lam_p = start_v, start_p
        by_current[t] = by_i
        if recurrent is not None and by_recurrent is not None:
            before = tape.fired[t - 1] if t > 0 else spikes_before.to(dtype)
            by_recurrent = by_recurrent + before.T @ by_i
            by_last = by_i @ recurrent.T
    lam_hold = None
    if passes:
        assert tape.hold is not None
        held = tape.hold[0] > 0.0
        lam_v, lam_hold = torch.where(held, 0.0, lam_v), torch.where(held, lam_v, 0.0).to(out_dtype)
    if by_constants is not None:
        by_constants.work()
    return (
        by_current,
        lam_v.to(out_dtype),
        lam_p.to(out_dtype),
        lam_hold,
        None,
        by_last.to(out_dtype) if recurrent is not None else None,
        None if by_constants is None else by_constants.total,
        None if by_recurrent is None or recurrent_a is None else by_recurrent.to(recurrent_a.dtype),
        None,
    )


def step_back(
    plan: Plan,
    tape: Tape,
    t: int,
    shown: Shown,
    lam_v: Tensor,
    lam_p: Tensor,
    constants: Tensor,
    by_constants: ConstantsGradient | None = None,
    active: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adjoints of V (B, N) and p (K, B, N) at the start of macro step `t` from those at its end, and dL/dI (B, N).

    Adds dL/d constants of the sequences that are still `active` (B, 1) to `by_constants`.
    """
    fired, seen = tape.fired[t], tape.seen[t]
    spiked = fired > 0.0
    weight = constants[group_of(WEIGHT, len(lam_p))]
    per_v, per_p = plan.surrogate.weights(constants)
    quiet = (fired == 0.0).to(fired.dtype)
    distance = plan.surrogate.distance(seen[0], seen[1:], constants)
    pull = shown.spikes * plan.surrogate.derivative(distance)
    shown_v, shown_p = shown.voltage, weight[:, None] * shown.polarization
    if plan.event:
        after_v, after_p = lam_v + shown_v, lam_p + shown_p
        seen_v, seen_p = quiet * after_v, quiet * after_p
    else:
        after_v, after_p = lam_v, lam_p
        seen_v, seen_p = quiet * lam_v + shown_v, quiet * lam_p + shown_p
    crossing = moving(plan, tape, t, lam_v, after_v, after_p, shown_v, shown_p, constants) if plan.through else None
    seen_v = seen_v + pull * per_v
    if plan.surrogate.on == "charge":
        seen_p = seen_p + torch.stack([pull * each for each in per_p])
    seen = torch.cat([seen_v[None], seen_p])
    if crossing is not None:
        seen_v = torch.where(spiked, seen_v + crossing.by_seen_v, torch.where(crossing.stands, lam_v, seen_v))
    start_v, start_p, by_i = _pull_back(plan, tape, t, seen_v, seen_p, constants)
    if plan.event and tape.late is not None:
        by_i = by_i + (1.0 - quiet) * (tape.late[t, 0] * after_v + (tape.late[t, 1:-1] * after_p).sum(0))
    elif plan.event:
        by_i = by_i + (1.0 - quiet) * constants[DRIVE] * tape.free[t] * after_v
    let_go, by_start_v = torch.zeros_like(spiked), start_v
    if crossing is not None and tape.late is not None and tape.hold is not None:
        by_i = by_i + (1.0 - quiet) * tape.late[t, -1] * crossing.by_release
        let_go = (tape.hold[t] > 0.0) & (spiked | ~crossing.stands)
        by_hold = -(crossing.flow[0] * seen_v + (crossing.flow[1:] * seen_p).sum(0))
        start_v = torch.where(let_go, by_hold, start_v)
    if by_constants is not None:
        after = torch.cat([after_v[None], after_p])
        lam = OfStep(seen, after, pull, shown.polarization)
        if crossing is not None:
            lam = lam.moving(crossing, spiked, shown_v, torch.where(let_go, by_start_v, 0.0))
        by_constants.add(t, lam if active is None else lam.counted(active))
    return start_v, start_p, by_i


def compiles(plan: Plan, tape: Tape) -> bool:
    """Whether `compiled_step_back` can do it: float32 on the CPU, with numba."""
    if not HAVE_KERNELS or tape.v.dtype != torch.float32 or tape.v.device.type != "cpu":
        return False
    from bruno_spice.devices.ferroelectric.simd.adjoint import SHAPES

    return plan.surrogate.shape in SHAPES


def compiled_step_back(
    plan: Plan, tape: Tape, t: int, shown: Shown, lam_v: Tensor, lam_p: Tensor, constants: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `step_back` without `by_constants`, by the SIMD kernel of `devices.ferroelectric.simd.adjoint`."""
    from bruno_spice.devices.ferroelectric.simd.adjoint import SHAPES, adjoint_windows

    start_v, start_p = lam_v.clone().contiguous(), lam_p.clone().contiguous()
    by_i = torch.empty_like(start_v)
    n, domains = by_i.numel(), len(lam_p)
    kept = [tape.v[t].view(n), tape.p[t].view(domains, n), tape.i_a[t].view(n), tape.seen[t].view(-1, n),
            tape.fired[t].view(n), coarse_ms(plan, tape, t).view(n), tape.free[t].view(n)]  # fmt: skip
    none = by_i.new_empty(1, 1, 0)
    tangents = none if tape.tangents is None else tape.tangents[t].view(1 + domains, 2 + domains, n)
    late = none[0] if tape.late is None else tape.late[t].view(2 + domains, n)
    hold = [none[0, 0]] * 2 if tape.hold is None else [tape.hold[t + 1].view(n), tape.hold[t].view(n)]
    after = tuple(x.numpy() for x in (tape.v[t + 1].view(n), tape.p[t + 1].view(domains, n), *hold))
    arrays = [x.numpy() for x in (tangents, late, *(y.reshape(n) for y in shown))]
    changed = [x.numpy() for x in (start_v.view(n), start_p.view(domains, n), by_i.view(n))]
    rows, taped = constants.contiguous().numpy(), tuple(x.numpy() for x in kept)
    surrogate = plan.surrogate
    charge, shape, slope = surrogate.on == "charge", SHAPES.index(surrogate.shape), np.float32(surrogate.slope)

    kernel = compiled(adjoint_windows, plan.model)

    def work(start: int, stop: int) -> None:
        how = (plan.exact, plan.event, plan.through, charge, shape, slope)
        kernel(start, stop, rows, *how, taped, after, *arrays, *changed)

    in_threads(work, n, GRAIN)
    return start_v, start_p, by_i


def _pull_back(
    plan: Plan, tape: Tape, t: int, seen_v: Tensor, seen_p: Tensor, constants: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """J^T lam at macro step `t`: by V, by p (K, B, N) and by I."""
    if plan.exact:
        assert tape.tangents is not None
        j = tape.tangents[t]
        lam = torch.stack([seen_v, *seen_p])
        columns = [(j[:, column] * lam).sum(0) for column in range(j.shape[1])]
        return columns[0], torch.stack(columns[1:-1]), columns[-1]
    law = torch_laws(plan.model)
    rows = rows_of(law, constants)
    by_v, kept, by_i = coarse_jacobian(law, rows, tape.v[t], tape.p[t], tape.i_a[t], coarse_ms(plan, tape, t))
    start_p = [
        seen_v * x.v_per_p * x.weight * (1.0 - kept_k) + lam * kept_k
        for x, kept_k, lam in zip(rows, kept, seen_p, strict=True)
    ]
    return seen_v * by_v, torch.stack(start_p), seen_v * by_i
