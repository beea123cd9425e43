"""The backward sweep of a fused sequence: adjoints of V and p, one macro step after the other, last first.

    lam_start, dL/dI = `training.dynamics.step_back`
    dL/dI_total = dL/dI dI/dI_total     (`training.dynamics.limits`)
    dL/d constants                      (`training.dynamics.by_devices`)

A gradient that is None is zero.
"""

import torch
from torch import Tensor

from bruno_spice.training.dynamics.by_devices import ConstantsGradient
from bruno_spice.training.dynamics.sequence import Plan, Tape
from bruno_spice.training.dynamics.step_back import Shown, compiled_step_back, compiles, step_back


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
    compiled = compiles(plan, tape)

    for t in reversed(range(len(by_current))):
        shown = Shown(*(nothing if y is None else y[t].to(dtype) for y in (by_spikes, by_voltage, by_polarization)))
        if recurrent is not None:
            shown = shown._replace(spikes=shown.spikes + by_last)
        active = None if lengths is None else (lengths > t)[:, None]
        if by_constants is not None:
            by_constants.add(t, shown, lam_v, lam_p, active)
        back = compiled_step_back if compiled else step_back
        start_v, start_p, by_i, *_ = back(plan, tape, t, shown, lam_v, lam_p, constants)
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
