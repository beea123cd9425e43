"""One macro step back: adjoints of V and p at its start from those at its end.

    lam_seen  = surrogate part + (where no spike) lam_after
    lam_start = J^T lam_seen,   dL/dI = J_I^T lam_seen + (after a spike, event reset) late^T lam_after

J is stored (``tangent``), that of an implicit Euler step to the state at the end (``bruno``, `implicit_back`), or of
an explicit one from the state at the start (as published, `coarse_jacobian`). A gradient that is None is zero.

The implicit step (`implicit_back`):

    x' = x + h f(x', I)                           x = (V, p_1 ... p_K), x' from the fine integration, h up to there
    mu = (1 - h A)^-T lam',   A = df/dx at x'     lam = mu,   dL/dI = h mu^T df/dI,   dL/dc = h mu^T df/dc

The explicit step takes what a current brings into the membrane to stay there. On the plateau the film takes it within
microseconds, which the implicit step knows, as it looks at the slopes where the millisecond ends: no clamp is needed,
and tau need not be detached. The leak is slow, and grows e-fold in a tenth of the way to the threshold: its slope is
that in the middle of the step's voltage. A has one field for all domains, so that the solution is a sum over them: with

    b_k = w_k V_PER_P,   s_k = df_k/dE,   r_k = -df_k/dp_k at constant field
    d_k = mu_k - b_k mu_V,   S = sum_k s_k d_k
    mu_V (1 + h l) = lam_V + h K_CAP S            l: slope of leak and inhibition by V, m by polarization
    mu_k = lam_k - h r_k d_k - h w_k (K_POL S + m mu_V)

Source: backward Euler, differentiated at its end, e.g. Hairer and Wanner, *Solving ODEs II* (1996), IV.8; BRUNO itself:
Fehlings et al., arXiv 2505.17791, whose explicit step is `coarse_jacobian`.

Through a spike (`Plan.through`) goes what `training.dynamics.through` derives; wherever a neuron is held, lam_V is then
the adjoint of what is left of the hold.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bruno_spice.devices.ferroelectric.paces import LEAST_LEAD_MS
from bruno_spice.devices.models.rows import DRIVE, V_RESET, WEIGHT, group_of
from bruno_spice.training.dynamics.laws import (
    at_membrane,
    field,
    flow,
    polarization,
    rows_of,
    stacked,
    switching,
    torch_laws,
)
from bruno_spice.training.dynamics.sequence import Plan, Tape
from bruno_spice.training.dynamics.through import Moving, moving

SATURATED = 1.0 - 1e-6


class Given(NamedTuple):
    """What a sweep back through a sequence hangs on besides its tape, in the tape's precision."""

    constants: Tensor
    """(R, N or 1)."""
    recurrent: Tensor | None
    """(N, N)."""
    lengths: Tensor | None
    """(B,)."""


class Swept(NamedTuple):
    """What a sweep back through a sequence finds."""

    lam_v: Tensor
    """Adjoint of V at the start, (B, N)."""
    lam_p: Tensor
    """(K, B, N)."""
    by_last: Tensor
    """By the spikes before the first step, (B, N)."""
    by_current: Tensor
    """dL/dI_in (T, B, N)."""
    lams: Tensor
    """Adjoints of V and p at the end of each step, (T, 1 + K, B, N), where they are asked for."""


class Shown(NamedTuple):
    """Gradients by what a macro step shows, each (B, N); of a sequence (T, B, N), or (1, B, N) for all steps the
    same."""

    spikes: Tensor
    voltage: Tensor
    polarization: Tensor


class OfStep(NamedTuple):
    """Adjoints of a macro step that a gradient by the constants hangs on, (B, N) or (1 + K, B, N)."""

    seen: Tensor
    after: Tensor
    distance: Tensor
    """Of the surrogate's distance."""
    polarization: Tensor
    """Of sum_k w_k p_k that the layer shows."""
    release: Tensor | None = None
    """Of the last crossing, or release, per ms; `seen` is that of a crossing held in time."""
    reset_v: Tensor | None = None
    """Of the reset voltage that a held neuron shows, and starts from."""

    def moving(self, crossing: Moving, spiked: Tensor, shown_v: Tensor, by_start_v: Tensor) -> "OfStep":
        """With what moves with the crossing; `by_start_v`: adjoint of the V that a neuron is let go from."""
        stands = crossing.stands
        release = torch.where(spiked, -crossing.by_seen_v * crossing.flow[0], 0.0)
        after_v = torch.where(stands, shown_v, self.after[0])
        seen_v = torch.where(stands & ~spiked, 0.0, self.seen[0])
        reset_v = by_start_v + torch.where(stands & ~spiked, shown_v + self.seen[0] - self.after[0], 0.0)
        after, seen = torch.cat([after_v[None], self.after[1:]]), torch.cat([seen_v[None], self.seen[1:]])
        return self._replace(seen=seen, after=after, release=release, reset_v=reset_v)


class Through(NamedTuple):
    """Adjoints before an implicit step, (B, N) or (K, B, N)."""

    v: Tensor
    p: Tensor
    by_i: Tensor
    """dL/dI in 1/A."""


def implicit_back(
    law: Any, x: Any, start_v: Tensor, v: Tensor, p: Tensor, i_a: Tensor, h_ms: Tensor, lam_v: Tensor, lam_p: Tensor
) -> Through:
    """From the adjoints lam (B, N) and (K, B, N) at V, p, the end of a step of `h_ms` (B, N) from V = `start_v` (B, N)
    under `i_a` (B, N).

    `law` and `x` are those of the model, all domains at once (`training.dynamics.laws.stacked`).
    """
    turned = (x.weight * p).sum(0)
    here, per_v = at_membrane(law, x, v, turned)
    field = x.k_cap * v - x.k_pol * turned - x.offset
    sign, rate, back = switching(law, x, field)
    size = torch.maximum(law.softened(field.abs(), x), x.smallest)
    by_field = rate * ((1.0 - sign * p - back) * law.steepness(size, x) - law.back_slope(size, x)).clamp(min=0.0)

    inhibited = i_a < 0.0
    middle, per_middle = at_membrane(law, x, 0.5 * (start_v + v), turned)
    pulled = torch.where(inhibited, i_a * law.compliance_slope(here, x), 0.0) * per_v
    loss = h_ms * x.drive * (law.leak_slope(middle, x) * per_middle - pulled)
    passing = x.drive * torch.where(inhibited, law.compliance(here, x), 1.0)

    kept, held = 1.0 / (1.0 + loss), 1.0 / (1.0 + h_ms * rate)
    charge = x.v_per_p * x.weight
    seen = charge + (loss * law.terminal_by_p(v, turned, x) * x.weight if law.model.TERMINAL else 0.0)
    alone = held * (lam_p - seen * kept * lam_v)
    by_all = held * h_ms * (x.k_pol * x.weight + seen * kept * x.k_cap)
    common = (by_field * alone).sum(0) / (1.0 + (by_field * by_all).sum(0))
    mu_v = kept * (lam_v + h_ms * x.k_cap * common)
    return Through(mu_v, alone - by_all * common + charge * mu_v, h_ms * passing * mu_v)


def step_flow(law: Any, x: Any, start_v: Tensor, v: Tensor, p: Tensor, i_a: Tensor) -> Tensor:
    """f (1 + K, B, N) of the implicit step: the right-hand side at its end, with the leak in the middle of its way."""
    turned = (x.weight * p).sum(0)
    (end, _), (middle, _) = (at_membrane(law, x, each, turned) for each in (v, 0.5 * (start_v + v)))
    found = flow(law, x, v, p, i_a)
    return torch.cat([(found[0] + x.drive * (law.leak(end, x) - law.leak(middle, x)))[None], found[1:]])


def coarse_jacobian(
    law: Any, rows: list[Any], v: Tensor, p: Tensor, i_a: Tensor, lead_ms: Tensor
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The clamped Jacobian, tau detached, of one explicit Euler step of `lead_ms` (B, N): dV'/dV, dp_k'/dp_k (dV'/dp_k
    follows), dV'/dI."""
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


def step_back(
    plan: Plan,
    tape: Tape,
    t: int,
    shown: Shown,
    lam_v: Tensor,
    lam_p: Tensor,
    constants: Tensor,
) -> tuple[Tensor, Tensor, Tensor, OfStep]:
    """Adjoints of V (B, N) and p (K, B, N) at the start of macro step `t` from those at its end, dL/dI (B, N), and what
    a gradient by the constants hangs on."""
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
        by_i = by_i + (1.0 - quiet) * _after_reset(plan, tape, t, after_v, after_p, constants)
    let_go, by_start_v = torch.zeros_like(spiked), start_v
    if crossing is not None and tape.late is not None and tape.hold is not None:
        by_i = by_i + (1.0 - quiet) * tape.late[t, -1] * crossing.by_release
        let_go = (tape.hold[t] > 0.0) & (spiked | ~crossing.stands)
        by_hold = -(crossing.flow[0] * seen_v + (crossing.flow[1:] * seen_p).sum(0))
        start_v = torch.where(let_go, by_hold, start_v)
    lam = OfStep(seen, torch.cat([after_v[None], after_p]), pull, shown.polarization)
    if crossing is not None:
        lam = lam.moving(crossing, spiked, shown_v, torch.where(let_go, by_start_v, 0.0))
    return start_v, start_p, by_i, lam


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
    if not plan.published:
        x, end = stacked(law, constants[:, None]), tape.seen[t]
        before = implicit_back(law, x, tape.v[t], end[0], end[1:], tape.i_a[t], tape.lead[t], seen_v, seen_p)
        return before.v, before.p, before.by_i
    rows, ran = rows_of(law, constants), (tape.lead[t] > LEAST_LEAD_MS) | (tape.fired[t] > 0.0)
    by_v, kept, by_i = coarse_jacobian(law, rows, tape.v[t], tape.p[t], tape.i_a[t], ran.to(seen_v.dtype))
    start_p = [
        seen_v * x.v_per_p * x.weight * (1.0 - kept_k) + lam * kept_k
        for x, kept_k, lam in zip(rows, kept, seen_p, strict=True)
    ]
    return seen_v * by_v, torch.stack(start_p), seen_v * by_i


def _after_reset(plan: Plan, tape: Tape, t: int, after_v: Tensor, after_p: Tensor, constants: Tensor) -> Tensor:
    """By I (B, N), through what it does to V and p between the last reset of macro step `t` and its end."""
    if plan.published:
        return constants[DRIVE] * tape.free[t] * after_v
    law = torch_laws(plan.model)
    x, end = stacked(law, constants[:, None]), (tape.v[t + 1], tape.p[t + 1])
    return implicit_back(law, x, constants[V_RESET], *end, tape.i_a[t], tape.free[t], after_v, after_p).by_i
