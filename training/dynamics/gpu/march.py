"""A sequence of a layer in one launch forward and one back, where Triton is there: float32 on CUDA devices.

The counterpart of `training.dynamics.at_once`. Spikes that feed back cross from block to block, so that a recurrent
layer takes a launch a macro step (`training.dynamics.gpu.sequence.take_step`) and goes back in torch; so do gradients
other than stored tangents.
"""

import torch
from torch import Tensor

from bruno_spice.devices.models.rows import WEIGHT, domain_count, group_of
from bruno_spice.training.dynamics.gpu import has_triton
from bruno_spice.training.dynamics.membrane import Membrane
from bruno_spice.training.dynamics.sequence import Plan, Sequence, Tape, crossing_ms
from bruno_spice.training.dynamics.step_back import Given, Shown, Swept


def marches(plan: Plan, x: Sequence) -> bool:
    """Whether `march` can take the sequence `x` forward."""
    return plan.solver.at_once and x.recurrent_a is None and has_triton(x.current_a)


def sweeps(plan: Plan, tape: Tape, recurrent: Tensor | None) -> bool:
    """Whether `training.dynamics.gpu.sequence_back.sweep_back` can take the sequence of `tape` back."""
    return plan.exact and not plan.through and recurrent is None and has_triton(tape.v)


def march(plan: Plan, x: Sequence, tape: Tape, kept: bool) -> tuple[list[Tensor], list[Tensor]]:
    """As `training.dynamics.at_once.march`."""
    from bruno_spice.training.dynamics.gpu.sequence import Taken, room, take_sequence

    steps, batch, width = x.current_a.shape
    n, domains = batch * width, domain_count(len(x.constants))
    i_a = x.current_a if plan.limits is None else plan.limits.clamp(x.current_a.detach())
    until = None if x.lengths is None else x.lengths.repeat_interleave(width)
    state = Membrane(x.v.reshape(n), x.p.reshape(domains, n), x.hold.reshape(n), x.step.reshape(n))
    constants = x.constants.to(torch.float32)
    if kept:
        tape.i_a.copy_(i_a)
        if tape.passing is not None and plan.limits is not None:
            tape.passing.copy_(plan.limits.passing(x.current_a))
        taken = Taken(
            tape.fired.flatten(-2),
            tape.seen.flatten(-2),
            tape.lead.flatten(-2),
            tape.free.flatten(-2),
            None if tape.tangents is None else tape.tangents.flatten(-2),
            None if tape.late is None else tape.late.flatten(-2),
            tape.v.flatten(-2),
            tape.p.flatten(-2),
            i_a.new_empty(steps + 1, n) if tape.hold is None else tape.hold.flatten(-2),
        )
    else:
        taken = room(i_a, steps, domains, n, False)
    how = (plan.accuracy, plan.event, taken, plan.delayed, until)
    take_sequence(plan.model, constants, state, i_a.reshape(steps, n), *how)
    shown_v, shown_p = (taken.v[1:], taken.p[1:]) if plan.event else (taken.seen[:, 0], taken.seen[:, 1:])
    weight = constants[group_of(WEIGHT, domains)].repeat(1, n // constants.shape[1])
    crossing = crossing_ms(taken.spikes, taken.lead_ms, taken.hold[:-1] if plan.event else 0.0)
    shown = [taken.spikes, shown_v, (weight * shown_p).sum(1), i_a.reshape(steps, n), crossing]
    shown = [each.view(steps, batch, width).clone() for each in shown]
    if x.lengths is not None:
        over = (torch.arange(steps, device=i_a.device)[:, None] >= x.lengths)[..., None]
        shown = [each.masked_fill(over, 0.0) for each in shown]
    end = [taken.v[-1].view(batch, width), taken.p[-1].view(domains, batch, width), taken.hold[-1].view(batch, width)]
    return shown, [*(each.clone() for each in end), x.step.clone()]


def sweep_back(plan: Plan, tape: Tape, given: Given, shown: Shown, lam_v: Tensor, lam_p: Tensor, keep: bool) -> Swept:
    """As `training.dynamics.at_once.sweep_back`, of a sequence without recurrence that has tangents."""
    from bruno_spice.training.dynamics.gpu.sequence_back import sweep_back as launched

    return launched(plan, tape, given, shown, lam_v, lam_p, keep)
