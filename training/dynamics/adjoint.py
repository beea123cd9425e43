"""The backward sweep of a fused sequence: adjoints of V and p, one macro step after the other, last first.

    lam_seen  = surrogate part + (where no spike) lam_after
    lam_start = J^T lam_seen,   dL/dI = J_I^T lam_seen + (after a spike, event reset) late^T lam_after
    dL/dI_total = dL/dI dI/dI_total     (`training.dynamics.limits`)

J is stored (``tangent``) or made from the state at the start (``bruno``, `coarse_jacobian`). A gradient that is None is
zero.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bruno_spice.devices.ferroelectric.bound import compiled
from bruno_spice.devices.models.rows import DRIVE, WEIGHT, group_of
from bruno_spice.training.dynamics import unrolled
from bruno_spice.training.dynamics.laws import at_membrane, field, polarization, rows_of, switching, torch_laws
from bruno_spice.training.dynamics.logistic import logistic_torch
from bruno_spice.training.dynamics.membrane import HAVE_KERNELS, Membrane
from bruno_spice.training.dynamics.sequence import Plan, Tape
from bruno_spice.training.dynamics.solvers import in_threads

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
    by_spikes, by_voltage, by_polarization, _, by_v, by_p, _, _ = gradients
    dtype, out_dtype = tape.v.dtype, tape.out_dtype
    exact_constants, constants = constants, constants.to(dtype)
    recurrent = None if recurrent_a is None else recurrent_a.to(dtype)
    nothing = torch.zeros_like(tape.v[0])
    lam_v, lam_p = (nothing if by_v is None else by_v), (torch.zeros_like(tape.p[0]) if by_p is None else by_p)
    lam_v, lam_p = lam_v.to(dtype), lam_p.to(dtype)
    by_last = nothing
    by_current = torch.empty(tape.v.shape, dtype=out_dtype, device=tape.v.device)
    by_recurrent = None if recurrent is None else torch.zeros_like(recurrent)
    by_constants = _ConstantsGradient(plan, exact_constants) if by_devices else None
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
    return (
        by_current,
        lam_v.to(out_dtype),
        lam_p.to(out_dtype),
        None,
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
    by_constants: "_ConstantsGradient | None" = None,
    active: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adjoints of V (B, N) and p (K, B, N) at the start of macro step `t` from those at its end, and dL/dI (B, N).

    Adds dL/d constants of the sequences that are still `active` (B, 1) to `by_constants`.
    """
    fired, seen = tape.fired[t], tape.seen[t]
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
    seen_v = seen_v + pull * per_v
    if plan.surrogate.on == "charge":
        seen_p = seen_p + torch.stack([pull * each for each in per_p])
    if by_constants is not None:
        lam_seen, lam_after = torch.cat([seen_v[None], seen_p]), torch.cat([after_v[None], after_p])
        counted = torch.ones_like(pull) if active is None else active.to(pull.dtype)
        by_constants.add(tape, t, counted * lam_seen, counted * lam_after, counted * pull)
    start_v, start_p, by_i = _pull_back(plan, tape, t, seen_v, seen_p, constants)
    if plan.event:
        spiked = 1.0 - quiet
        if tape.late is not None:
            by_i = by_i + spiked * (tape.late[t, 0] * after_v + (tape.late[t, 1:] * after_p).sum(0))
        else:
            by_i = by_i + spiked * constants[DRIVE] * tape.free[t] * after_v
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
    late = none[0] if tape.late is None else tape.late[t].view(1 + domains, n)
    arrays = [x.numpy() for x in (tangents, late, *(y.reshape(n) for y in shown))]
    changed = [x.numpy() for x in (start_v.view(n), start_p.view(domains, n), by_i.view(n))]
    rows, taped = constants.contiguous().numpy(), tuple(x.numpy() for x in kept)
    surrogate = plan.surrogate
    charge, shape, slope = surrogate.on == "charge", SHAPES.index(surrogate.shape), np.float32(surrogate.slope)

    kernel = compiled(adjoint_windows, plan.model)

    def work(start: int, stop: int) -> None:
        kernel(start, stop, rows, plan.exact, plan.event, charge, shape, slope, taped, *arrays, *changed)

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


def coarse_ms(plan: Plan, tape: Tape, t: int) -> Tensor:
    """Length of the coarse step (B, N): up to the crossing, or as published a millisecond unless held throughout."""
    return (tape.lead[t] > 0.0).to(tape.lead.dtype) if plan.whole else tape.lead[t]


class _ConstantsGradient:
    """Gradient by the constants (R, N or 1), summed over the sequence: autograd through one macro step at a
    time.

    ``bruno`` differentiates its coarse step, ``tangent`` the logistic method in float64 (`training.dynamics.logistic`).
    """

    SUBSTEPS = 32

    def __init__(self, plan: Plan, constants: Tensor) -> None:
        self.plan, self.constants = plan, constants
        self.total = torch.zeros_like(constants)

    def add(self, tape: Tape, t: int, lam_seen: Tensor, lam_after: Tensor, by_distance: Tensor) -> None:
        """Add macro step t's share: of the flow, of the reset, and of the surrogate's distance at fixed V and p."""
        with torch.enable_grad():
            constants = self.constants.detach().requires_grad_()
            wide = constants.dtype
            seen = tape.seen[t].to(wide)
            flow = self._exact if self.plan.exact else self._coarse
            end, after = flow(tape, t, constants)
            distance = self.plan.surrogate.distance(seen[0], seen[1:], constants)
            fired = tape.fired[t] > 0.0
            objective = (end * lam_seen).sum() + (torch.where(fired, after, 0.0) * lam_after).sum()
            objective = objective + (distance * by_distance).sum()
            self.total += torch.autograd.grad(objective, constants)[0]

    def _coarse(self, tape: Tape, t: int, constants: Tensor) -> tuple[Tensor, Tensor]:
        v, p, i_a = (y.to(constants.dtype) for y in (tape.v[t], tape.p[t], tape.i_a[t]))
        lead_ms = coarse_ms(self.plan, tape, t).to(constants.dtype)
        law = torch_laws(self.plan.model)
        v_end, p_end = unrolled.euler_step(law, rows_of(law, constants), v, p, i_a, lead_ms, detach_tau=True)
        reset = unrolled.reset(v_end, p_end, torch.ones_like(v, dtype=torch.bool), constants)
        return torch.cat([v_end[None], p_end]), torch.cat([reset[0][None], reset[1]])

    def _exact(self, tape: Tape, t: int, constants: Tensor) -> tuple[Tensor, Tensor]:
        shape = tape.v[t].shape
        v, p, i_a = (y.to(constants.dtype).flatten(-2) for y in (tape.v[t], tape.p[t], tape.i_a[t]))
        hold = torch.zeros_like(v) if tape.hold is None else tape.hold[t].to(v.dtype).flatten()
        state = Membrane(v, p, hold, v)
        step = logistic_torch(self.plan.model, constants, state, i_a, self.SUBSTEPS, self.plan.event, tangents=False)
        after = torch.cat([state.v[None], state.p])
        return step.seen.view(-1, *shape), after.view(-1, *shape)
