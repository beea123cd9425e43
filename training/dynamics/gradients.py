"""How a gradient passes a millisecond: BRUNO's coarse step, exact tangents, or autograd through every
microsecond.

    forward    (V', p') = fine integration of (V, p) over 1 ms at constant I
    backward   lam = J^T lam',      dL/dI = J_I^T lam'

- ``bruno``: J of ONE implicit Euler step, to where the fine integration ended: the millisecond's end, or the first
  crossing, where the surrogate looks (`training.dynamics.step_back`); not while the neuron is held.
- ``bruno-published``: J of one explicit Euler step of 1 ms with tau detached (Fehlings et al., arXiv 2505.17791),
  clamped: dt/tau <= 1, slope of leak and inhibition <= 1; the row of a domain that sits saturated is zero. A neuron
  that crosses early gets the gradient of a whole millisecond of current, and what a current brings stays in V; in
  recurrent networks with macro reset that explodes.
- ``tangent``: J of the fine integration itself between resets, carried along by the solver. The gradient of ``bptt``
  at the memory of ``bruno``.
- ``bptt``: autograd through all substeps. ``checkpoint``: the same, each macro step recomputed in the
  backward pass.
- ``coarse``: one explicit Euler step of 1 ms both ways; the control, which does not learn.

The first three share `FusedSequence`, the others `unrolled_sequence`. Left alone, all of them stop at a reset: with
event reset they have 0 where the circuit's d(charge after a spike)/d(charge before it) is 1, since a crossing that
comes earlier lets the next interval begin earlier. `Plan.through` puts that in, in ``tangent``, ``bptt`` and
``checkpoint`` (`training.dynamics.through`; docs/explanation/gradients.md says why it is not the default). A spike's
derivative is a `Surrogate`, recurrent weights W (N, N) add s[t-1] W to the current (row: from, column: to; A a spike),
and the sum is kept within `training.dynamics.limits` where there are any.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.models.rows import WEIGHT, domain_count, group_of
from bruno_spice.training.dynamics import unrolled
from bruno_spice.training.dynamics.adjoint import sweep
from bruno_spice.training.dynamics.at_once import goes_at_once, launch, launches, march
from bruno_spice.training.dynamics.laws import torch_laws
from bruno_spice.training.dynamics.membrane import Membrane, Step
from bruno_spice.training.dynamics.sequence import Plan, Result, Sequence, Tape, crossing_ms, weighted
from bruno_spice.training.dynamics.surrogates import Spike

MACRO_MS = 1.0


class FusedSequence(torch.autograd.Function):
    """A whole sequence through a solver, one adjoint sweep back: ``bruno`` and ``tangent``."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, differentiate: bool, *inputs: Any) -> tuple[Tensor, ...]:
        """Run `plan.solver` over the sequence; `inputs` are the fields of `Sequence`."""
        x = Sequence(*inputs)
        dtype = plan.solver.dtype or x.current_a.dtype
        tape = Tape(x.current_a.new_empty, x.current_a.shape, len(x.p), dtype, differentiate, plan)
        forward = march if goes_at_once(plan, x.current_a) else launch if launches(plan, x) else step_by_step
        (*shown, crossing), state = forward(plan, x, tape, differentiate)
        out = [y.to(x.current_a.dtype) for y in state]
        passes = plan.through and plan.event
        ctx.mark_non_differentiable(shown[3], *(out[3:] if passes else out[2:]), crossing)
        ctx.set_materialize_grads(False)
        if differentiate:
            ctx.plan, ctx.tape = plan, tape
            ctx.save_for_backward(x.constants, x.recurrent_a, x.lengths, x.spikes)
        return (*shown, *out, crossing)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """The adjoint sweep."""
        _refuse_second_derivatives()
        constants, recurrent_a, lengths, before = ctx.saved_tensors
        by_devices = ctx.needs_input_grad[8]
        swept = sweep(ctx.plan, ctx.tape, gradients[:-1], constants, recurrent_a, lengths, before, by_devices)
        return (None, None, *swept)


def step_by_step(plan: Plan, x: Sequence, tape: Tape, kept: bool) -> tuple[list[Tensor], list[Tensor]]:
    """As `training.dynamics.at_once.march`, one call of the solver a macro step."""
    steps, batch, width = x.current_a.shape
    dtype, domains = tape.v.dtype, len(x.p)
    constants = x.constants.to(dtype)
    weight = constants[group_of(WEIGHT, domains)]
    recurrent = None if x.recurrent_a is None else x.recurrent_a.to(dtype)
    shown = [x.current_a.new_zeros(steps, batch, width) for _ in range(5)]
    spikes, voltage, polarization, current_a, crossing = shown
    state = [y.to(dtype).clone() for y in (x.v, x.p, x.hold, x.step)]
    last = x.spikes.to(dtype)
    for t in range(steps):
        i_a = x.current_a[t].to(dtype)
        if recurrent is not None:
            i_a = i_a + last @ recurrent
        total, i_a = i_a, i_a if plan.limits is None else plan.limits.clamp(i_a)
        rows = _active(x.lengths, t, batch)
        part = state if rows is None else [y[..., rows, :] for y in state]
        some = i_a if rows is None else i_a[rows]
        n, there = some.numel(), some.shape
        held = part[2].clone() if plan.event else 0.0
        flat = Membrane(*(y.reshape(*y.shape[:-2], n) for y in part))
        if kept:
            tape.keep_state(t, *state[:3])
            tape.keep(t, rows, i_a=some)
            if plan.limits is not None:
                tape.keep(t, rows, passing=plan.limits.passing(total if rows is None else total[rows]))
        want = kept and plan.exact
        slot = tape.slot(t) if kept and rows is None else None
        step = plan.solver.run(plan.model, constants, flat, some.reshape(n), plan.accuracy, plan.event, want, slot)
        if plan.delayed:
            flat.hold = (step.spikes > 0.0).to(flat.hold.dtype) * MACRO_MS
        after = [flat.v.view(there), flat.p.view(domains, *there), flat.hold.view(there), flat.step.view(there)]
        fired = step.spikes.view(there)
        seen = step.seen.view(1 + domains, *there)
        if kept and step is not slot:
            _keep_step(tape, t, rows, step, there, want)
        shown_v, shown_p = (after[0], after[1]) if plan.event else (seen[0], seen[1:])
        at = slice(None) if rows is None else rows
        last = torch.zeros_like(last)
        last[at], spikes[t, at] = fired, fired.to(spikes.dtype)
        voltage[t, at], current_a[t, at] = shown_v.to(voltage.dtype), some.to(voltage.dtype)
        polarization[t, at] = weighted(shown_p, weight).to(polarization.dtype)
        crossing[t, at] = crossing_ms(fired, step.lead_ms.view(there), held).to(crossing.dtype)
        for whole, changed in zip(state, after, strict=True):
            whole[..., at, :] = changed
    if kept:
        tape.keep_state(steps, *state[:3])
    return shown, state


def _keep_step(tape: Tape, t: int, rows: Tensor | None, step: Step, shape: torch.Size, tangents: bool) -> None:
    """Store what `step` did in macro step `t` of the tape, as (..., *`shape`)."""
    fired, lead, free = (y.view(shape) for y in (step.spikes, step.lead_ms, step.free_ms))
    domains = len(step.seen) - 1
    tape.keep(t, rows, seen=step.seen.view(1 + domains, *shape), fired=fired, lead=lead, free=free)
    if tangents:
        assert step.tangents is not None
        assert step.late is not None
        tape.keep(t, rows, tangents=step.tangents.view(1 + domains, 2 + domains, *shape))
        tape.keep(t, rows, late=step.late.view(2 + domains, *shape))


def _refuse_second_derivatives() -> None:
    """Raise `InputError` within a backward pass that is to be differentiated itself: it would count as a constant."""
    if torch.is_grad_enabled():
        raise InputError(
            "the gradient of FeLIF cannot be differentiated again (create_graph=True, a gradient penalty, a Hessian); "
            "gradient='bptt' can"
        )


def _active(lengths: Tensor | None, t: int, batch: int) -> Tensor | None:
    """Batch rows that have not ended by macro step t; None: all of them."""
    if lengths is None:
        return None
    rows = torch.nonzero(lengths > t).flatten()
    return None if rows.numel() == batch else rows


def fused_sequence(x: Sequence, plan: Plan) -> Result:
    """The sequence `x` by ``bruno`` or ``tangent``."""
    differentiate = torch.is_grad_enabled() and any(y is not None and y.requires_grad for y in x)
    return Result(*FusedSequence.apply(plan, differentiate, *x))


class Recomputed(torch.autograd.Function):
    """One macro step of `unrolled.macro_step` that keeps its inputs alone and is done again in the backward pass.

    torch's own checkpoint drops the values but keeps a node and a placeholder for each of some forty operations a
    substep: more than the values of a small layer, and it grows with every millisecond.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        """The fields of `unrolled.Window` from the `arguments` of `unrolled.macro_step`."""
        law, *tensors, substeps, event, through = arguments
        ctx.law, ctx.options = law, (substeps, event, through)
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        window = unrolled.macro_step(*arguments)
        ctx.mark_non_differentiable(window.spikes, window.lead_ms, window.free_ms, *(() if through else (window.hold,)))
        return tuple(window)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Autograd through the step, done again."""
        _refuse_second_derivatives()
        wanted = ctx.needs_input_grad[1 : 1 + len(ctx.saved_tensors)]
        with torch.enable_grad():
            tensors = [x.detach().requires_grad_(want) for x, want in zip(ctx.saved_tensors, wanted, strict=True)]
            window = unrolled.macro_step(ctx.law, *tensors, *ctx.options)
        given = [(y, g) for y, g in zip(window, gradients, strict=True) if g is not None and y.requires_grad]
        inputs = [x for x in tensors if x.requires_grad]
        found = iter(torch.autograd.grad([y for y, _ in given], inputs, [g for _, g in given], allow_unused=True))
        return (None, *(next(found) if want else None for want in wanted), None, None, None)


def unrolled_sequence(x: Sequence, plan: Plan, recompute: bool) -> Result:
    """The sequence `x` in torch autograd: ``bptt``, ``checkpoint`` (`recompute`), ``coarse`` (one
    substep)."""
    dtype = x.current_a.dtype
    constants = x.constants.to(dtype)
    weight = constants[group_of(WEIGHT, domain_count(len(constants)))]
    law = torch_laws(plan.model)
    v, p, hold, last = (y.to(dtype) for y in (x.v, x.p, x.hold, x.spikes))
    kept: list[list[Tensor]] = [[], [], [], [], []]
    for t, i_a in enumerate(x.current_a):
        if x.recurrent_a is not None:
            i_a = i_a + last @ x.recurrent_a.to(dtype)
        if plan.limits is not None:
            i_a = plan.limits.clamp(i_a)
        arguments = (law, v, p, hold, i_a, constants, plan.substeps, plan.event, plan.through)
        if recompute and torch.is_grad_enabled():
            window = unrolled.Window(*Recomputed.apply(*arguments))
        else:
            window = unrolled.macro_step(*arguments)
        distance = plan.surrogate.distance(window.seen_v, window.seen_p, constants)
        fired = Spike.apply(distance, window.spikes.detach(), plan.surrogate)
        held = hold.detach() if plan.event else torch.zeros_like(hold)
        crossed = crossing_ms(window.spikes.detach(), window.lead_ms.detach(), held)
        shown = [fired, window.shown_v, weighted(window.shown_p, weight), i_a.detach(), crossed]
        hold_after = window.spikes.detach() * MACRO_MS if plan.delayed else window.hold
        new = [window.v, window.p, hold_after, fired]
        if x.lengths is not None:
            active = (x.lengths > t)[:, None]
            shown = [torch.where(active, y, 0.0) for y in shown]
            new = [torch.where(active, y, z) for y, z in zip(new, (v, p, hold, torch.zeros_like(v)), strict=True)]
        v, p, hold, last = new
        for column, y in zip(kept, shown, strict=True):
            column.append(y)
    spikes, voltage, polarization, current_a, crossing = (
        torch.stack(column) if column else torch.zeros_like(x.current_a) for column in kept
    )
    return Result(spikes, voltage, polarization, current_a, v, p, hold, x.step.to(dtype), crossing)


@dataclass(frozen=True)
class Gradient:
    """One way back through a sequence; `training.dynamics.GRADIENTS` has those of the package by name."""

    run: Callable[[Sequence, Plan], Result]
    """The sequence, forward, as a function that torch differentiates."""
    solver: str | None = None
    """The solver through whose steps it goes; None: any."""
    plan: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Plan` that it sets."""
    passes_spikes: bool = False
    """Whether it can pass a spike (`Plan.through`)."""


BRUNO = Gradient(fused_sequence)
BRUNO_PUBLISHED = Gradient(fused_sequence, plan={"published": True})
TANGENT = Gradient(fused_sequence, plan={"exact": True}, passes_spikes=True)
BPTT = Gradient(partial(unrolled_sequence, recompute=False), solver="euler", passes_spikes=True)
CHECKPOINT = Gradient(partial(unrolled_sequence, recompute=True), solver="euler", passes_spikes=True)
COARSE = Gradient(partial(unrolled_sequence, recompute=False), solver="euler", plan={"substeps": 1})
