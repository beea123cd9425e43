"""A sequence in two compiled calls, one forward and one for the adjoint sweep, each over all of its macro steps.

The equations are those of the loops in `training.dynamics.gradients` and `training.dynamics.adjoint`, which serve
float64, other devices and solvers, and to test these calls: in float32 on the CPU the same comes out to rounding, and
a small layer is spared what a call from Python costs in each millisecond. On CUDA devices Triton kernels do it; spikes
that feed back cross from block to block there, so that a recurrent layer takes a launch a macro step and goes back in
torch, as do gradients other than stored tangents. Neurons, or rows of the batch where spikes
feed back, are independent and shared among torch's threads.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bruno_spice.devices.ferroelectric.bound import compiled
from bruno_spice.devices.models.rows import WEIGHT, domain_count, group_of
from bruno_spice.training.dynamics.membrane import HAVE_KERNELS, Membrane, Taken, has_triton, room, take_sequence
from bruno_spice.training.dynamics.sequence import Plan, Sequence, Tape, crossing_ms
from bruno_spice.training.dynamics.solvers import in_threads
from bruno_spice.training.dynamics.step_back import Given, Shown, Swept

TILE = 2048
"""Neurons that go through a sequence together: their state stays in the cache."""
FEWEST_PER_THREAD = 64


def goes_at_once(plan: Plan, values: Tensor) -> bool:
    """Whether `march` can take a sequence of the precision and device of `values` forward."""
    return plan.solver.at_once and _has_kernels(values)


def sweeps_at_once(plan: Plan, tape: Tape) -> bool:
    """Whether `sweep_back` can take the sequence of `tape` back."""
    if not _has_kernels(tape.v):
        return False
    from bruno_spice.devices.ferroelectric.simd.adjoint import SHAPES

    return plan.surrogate.shape in SHAPES


def _has_kernels(values: Tensor) -> bool:
    return HAVE_KERNELS and values.dtype == torch.float32 and values.device.type == "cpu"


def march(plan: Plan, x: Sequence, tape: Tape, kept: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Spikes, voltage, polarization, current and crossings (T, B, N) of `x`, and v, p, hold and step at its end;
    `tape` is written where it is `kept`."""
    from bruno_spice.devices.ferroelectric.simd.sequence import logistic_sequence

    steps, batch, width = x.current_a.shape
    n, domains = batch * width, len(x.p)
    shown = [x.current_a.new_empty(steps, batch, width) for _ in range(5)]
    state = [y.to(torch.float32).clone(memory_format=torch.contiguous_format) for y in (x.v, x.p, x.hold, x.step)]
    if n == 0:
        return shown, state
    limits = (-np.inf, np.inf) if plan.limits is None else (plan.limits.low_a, plan.limits.high_a)
    recurrent = _matrix(x.recurrent_a)
    flat = (state[0].view(n), state[1].view(domains, n), state[2].view(n))
    arguments = (
        tuple(np.float32(each) for each in limits), float(plan.accuracy), plan.event, plan.delayed, _numpy(*flat),
        _numpy(x.spikes.to(torch.float32).reshape(n))[0], _numpy(*(each.view(steps, n) for each in shown)),
        *_taped(tape, n, domains, kept),
    )  # fmt: skip
    rows, until = _rows(x.constants), _until(x.lengths, width)
    current_a = x.current_a.detach().reshape(steps, n).numpy()
    kernel = compiled(logistic_sequence, plan.model)
    _share(lambda start, stop: kernel(start, stop, rows, until, current_a, recurrent, *arguments), n, width, recurrent)
    return shown, state


def sweep_back(plan: Plan, tape: Tape, given: Given, shown: Shown, lam_v: Tensor, lam_p: Tensor, keep: bool) -> Swept:
    """`training.dynamics.step_back.Swept` of a sequence from the adjoints of V (B, N) and p (K, B, N) at its end."""
    from bruno_spice.devices.ferroelectric.simd.adjoint import SHAPES
    from bruno_spice.devices.ferroelectric.simd.sequence_back import adjoint_sequence

    steps, batch, width = tape.i_a.shape
    n, domains = batch * width, len(lam_p)
    lam = [y.clone(memory_format=torch.contiguous_format) for y in (lam_v, lam_p)]
    by_last, by_current = torch.zeros_like(lam[0]), torch.empty_like(tape.i_a)
    lams = tape.v.new_empty(steps if keep else 0, 1 + domains, batch, width)
    surrogate = plan.surrogate
    onto = _matrix(None if given.recurrent is None else given.recurrent.T)
    arguments = (
        np.float32(1.0 if plan.limits is None else plan.limits.slope),
        (plan.exact, plan.event, plan.through, plan.published),
        (surrogate.on == "charge", SHAPES.index(surrogate.shape), np.float32(surrogate.slope)),
        *_taped(tape, n, domains, True), _numpy(*(each.contiguous().view(len(each), n) for each in shown)),
        _numpy(lam[0].view(n), lam[1].view(domains, n)),
        *_numpy(by_last.view(n), by_current.view(steps, n), lams.view(len(lams), 1 + domains, n)),
    )  # fmt: skip
    rows, until = _rows(given.constants), _until(given.lengths, width)
    kernel = compiled(adjoint_sequence, plan.model)
    _share(lambda start, stop: kernel(start, stop, rows, until, onto, *arguments), n, width, onto)
    return Swept(lam[0], lam[1], by_last, by_current, lams)


def launches(plan: Plan, x: Sequence) -> bool:
    """Whether `launch` can take the sequence `x` forward."""
    return plan.solver.at_once and x.recurrent_a is None and has_triton(x.current_a)


def launches_back(plan: Plan, tape: Tape, recurrent: Tensor | None) -> bool:
    """Whether `launch_back` can take the sequence of `tape` back."""
    return plan.exact and not plan.through and recurrent is None and has_triton(tape.v)


def launch(plan: Plan, x: Sequence, tape: Tape, kept: bool) -> tuple[list[Tensor], list[Tensor]]:
    """As `march`, of a layer without recurrence by one Triton kernel."""
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


def launch_back(plan: Plan, tape: Tape, given: Given, shown: Shown, lam_v: Tensor, lam_p: Tensor, keep: bool) -> Swept:
    """As `sweep_back`, of a layer without recurrence through the tangents of `tape` by one Triton kernel."""
    from bruno_spice.devices.ferroelectric.gpu.sequence import BLOCK, WARPS, sizes_of
    from bruno_spice.devices.ferroelectric.gpu.sequence_back import SHAPES, adjoint_windows

    assert tape.tangents is not None
    steps, batch, width = tape.i_a.shape
    n, domains = batch * width, len(lam_p)
    lam = [each.clone(memory_format=torch.contiguous_format) for each in (lam_v, lam_p)]
    new = lam_v.new_empty
    by_current, lams = new(steps, batch, width), new(steps if keep else 0, 1 + domains, batch, width)
    until = torch.full((batch,), steps, device=lam_v.device) if given.lengths is None else given.lengths
    limits, late = plan.limits, tape.tangents if tape.late is None else tape.late
    passing = by_current if tape.passing is None else tape.passing.to(torch.float32)
    adjoint_windows[-(-n // BLOCK),](
        given.constants.contiguous(), given.constants.shape[1], until.to(torch.int32).repeat_interleave(width),
        tape.seen, tape.fired, tape.tangents, late, passing, *(each.expand(steps, batch, width).contiguous()
        for each in shown), *lam, by_current, lams, n, steps, domains, plan.surrogate.slope,
        0.0 if limits is None else limits.slope, EVENT=plan.event, CHARGE=plan.surrogate.on == "charge",
        SHAPE=SHAPES.index(plan.surrogate.shape), LIMITS=limits is not None, KEEP=keep, **sizes_of(domains),
        **WARPS,
    )  # fmt: skip
    return Swept(lam[0], lam[1], torch.zeros_like(lam_v), by_current, lams)


def _share(work: Callable[[int, int], None], n: int, width: int, recurrent: Any) -> None:
    """Call ``work(start, stop)`` on parts of range(n): tiles of whole blocks, or of whole rows of the batch where they
    are `recurrent`."""
    from bruno_spice.devices.ferroelectric.lanes.rows import BLOCK

    grain = width if recurrent.size > 0 else BLOCK
    tile = max(TILE // grain, 1) * grain

    def tiles(start: int, stop: int) -> None:
        for first in range(start, stop, tile):
            work(first, min(first + tile, stop))

    in_threads(tiles, n, grain, FEWEST_PER_THREAD)


def _taped(tape: Tape, n: int, domains: int, kept: bool) -> tuple[Any, ...]:
    """The arrays of `tape` as the kernels take them: what lies between macro steps, what a step did, and the rest;
    where nothing is `kept`, those of one step to write over."""
    new = tape.v.new_empty

    def each(found: Tensor | None, *shape: int) -> Tensor:
        return new(0, *shape) if found is None or not kept else found.view(len(found), *shape)

    def of_step(found: Tensor, *shape: int) -> Tensor:
        return found.view(len(found), *shape) if kept else new(1, *shape)

    between = (each(tape.v, n), each(tape.p, domains, n), each(tape.hold, n))
    step = (of_step(tape.i_a, n), of_step(tape.seen, 1 + domains, n), of_step(tape.fired, n), of_step(tape.lead, n),
            of_step(tape.free, n))  # fmt: skip
    passing = (
        new(0, n, dtype=torch.bool) if tape.passing is None or not kept else tape.passing.view(len(tape.passing), n)
    )
    exact = kept and tape.tangents is not None
    tangents = each(tape.tangents, 1 + domains, 2 + domains, n) if exact else new(1, 1 + domains, 2 + domains, 0)
    late = each(tape.late, 2 + domains, n) if exact and tape.late is not None else new(1, 2 + domains, 0)
    return _numpy(*between), _numpy(*step), *_numpy(passing, tangents, late)


def _rows(constants: Tensor) -> Any:
    return constants.detach().to(torch.float32).contiguous().numpy()


def _matrix(weights: Tensor | None) -> Any:
    """Recurrent weights (N, N), or an empty array for none."""
    if weights is None:
        return np.empty((0, 0), np.float32)
    return weights.detach().to(torch.float32).contiguous().numpy()


def _until(lengths: Tensor | None, width: int) -> Any:
    """How many macro steps each neuron takes, (n,), or an empty array for all of them."""
    if lengths is None:
        return np.empty(0, np.int64)
    return lengths.to(torch.int64).repeat_interleave(width).numpy()


def _numpy(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(each.numpy() for each in tensors)
