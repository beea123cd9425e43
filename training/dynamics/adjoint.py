"""The backward sweep of a fused sequence: adjoints of V and p, one macro step after the other, last first.

    lam_start, dL/dI = `training.dynamics.step_back`
    dL/dI_total = dL/dI dI/dI_total     (`training.dynamics.limits`)
    dL/d constants                      (`training.dynamics.by_devices`)

In float32 on the CPU one compiled call does it (`training.dynamics.at_once`). A gradient that is None is zero.
"""

import torch
from torch import Tensor

from bruno_spice.training.dynamics.at_once import launch_back, launches_back, sweep_back, sweeps_at_once
from bruno_spice.training.dynamics.by_devices import ConstantsGradient
from bruno_spice.training.dynamics.sequence import Plan, Tape
from bruno_spice.training.dynamics.step_back import Given, Shown, Swept, step_back


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
    given = Given(constants.to(dtype), None if recurrent_a is None else recurrent_a.to(dtype), lengths)
    nothing = torch.zeros_like(tape.v[0])
    lam_v, lam_p = (nothing if by_v is None else by_v), (torch.zeros_like(tape.p[0]) if by_p is None else by_p)
    lam_v, lam_p = lam_v.to(dtype), lam_p.to(dtype)
    passes = plan.through and plan.event
    if passes:
        assert tape.hold is not None
        lam_v = torch.where(tape.hold[-1] > 0.0, nothing if by_hold is None else by_hold.to(dtype), lam_v)
    shown = Shown(*(nothing[None] if y is None else y.to(dtype) for y in (by_spikes, by_voltage, by_polarization)))
    launched = launch_back if launches_back(plan, tape, given.recurrent) else step_by_step
    back = sweep_back if sweeps_at_once(plan, tape) else launched
    swept = back(plan, tape, given, shown, lam_v, lam_p, by_devices)
    lam_v, lam_hold = swept.lam_v, None
    if passes:
        assert tape.hold is not None
        held = tape.hold[0] > 0.0
        lam_v, lam_hold = torch.where(held, 0.0, lam_v), torch.where(held, lam_v, 0.0).to(out_dtype)
    by_recurrent = None
    if recurrent_a is not None:
        before = torch.cat([spikes_before.to(dtype)[None], tape.fired])[:-1].flatten(0, 1)
        by_recurrent = (before.T @ swept.by_current.flatten(0, 1)).to(recurrent_a.dtype)
    return (
        swept.by_current.to(out_dtype),
        lam_v.to(out_dtype),
        swept.lam_p.to(out_dtype),
        lam_hold,
        None,
        None if recurrent_a is None else swept.by_last.to(out_dtype),
        ConstantsGradient(plan, tape, constants).of(given, shown, swept) if by_devices else None,
        by_recurrent,
        None,
    )


def step_by_step(plan: Plan, tape: Tape, given: Given, shown: Shown, lam_v: Tensor, lam_p: Tensor, keep: bool) -> Swept:
    """`Swept` of a sequence from the adjoints at its end, in torch; with those at each step's end, to `keep`."""
    by_last, lams = torch.zeros_like(lam_v), []
    by_current = torch.empty_like(tape.i_a)
    for t in reversed(range(len(by_current))):
        now = _at(shown, t)
        active = None if given.lengths is None else (given.lengths > t)[:, None]
        lams += [torch.cat([lam_v[None], lam_p])] if keep else []
        now = now._replace(spikes=now.spikes + by_last)
        start_v, start_p, by_i, _ = step_back(plan, tape, t, now, lam_v, lam_p, given.constants)
        if tape.passing is not None and plan.limits is not None:
            by_i = torch.where(tape.passing[t], by_i, plan.limits.slope * by_i)
        if active is not None:
            start_v, start_p = torch.where(active, start_v, lam_v), torch.where(active, start_p, lam_p)
            by_i = torch.where(active, by_i, 0.0)
        lam_v, lam_p, by_current[t] = start_v, start_p, by_i
        if given.recurrent is not None:
            by_last = by_i @ given.recurrent.T
    return Swept(lam_v, lam_p, by_last, by_current, torch.stack(lams[::-1]) if lams else by_current.new_empty(0))


def _at(shown: Shown, t: int) -> Shown:
    return Shown(*(y[t if len(y) > 1 else 0] for y in shown))
