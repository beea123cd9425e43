"""The state of a layer, what a macro step does to it, and how a solver is called."""

import importlib.util
import warnings
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from bruno_spice.devices.models.rows import domain_count

HAVE_KERNELS = importlib.util.find_spec("numba") is not None
"""Without numba, plain torch does the work on the CPU too."""
HAVE_TRITON = importlib.util.find_spec("triton") is not None


@dataclass
class Membrane:
    """State of a flat layer between macro steps."""

    v: Tensor
    """(n,) in V."""
    p: Tensor
    """(K, n), each in -1...1."""
    hold: Tensor
    """Refractory time left (n,) in ms; below 0: time that the next step makes up for (``logistic``)."""
    step: Tensor
    """Step size an adaptive solver would try next, (n,) in ms."""


@dataclass
class Step:
    """What one macro step did; the membrane itself is updated in place."""

    spikes: Tensor
    """How many, (n,)."""
    seen: Tensor
    """(1 + K, n): V and p at the first crossing, or at the end where there was none."""
    lead_ms: Tensor
    """Time integrated up to `seen`, (n,): to the first crossing, or to the end."""
    free_ms: Tensor
    """Time integrated since the last reset, (n,)."""
    tangents: Tensor | None
    """d seen / d (V, p, I) at the start, at a fixed time, (1 + K, 2 + K, n)."""
    late: Tensor | None
    """By I, after a spike, (2 + K, n): V and p at the end, at a fixed last release, and the time in ms from the first
    crossing to the last."""
    release_ms: Tensor | None = None
    """Instant of the last crossing, or release, (n,): its derivative by the constants alone counts, its value is 0."""


class Solver(Protocol):
    """How a solver is called; `accuracy` is its own setting."""

    def __call__(
        self,
        model: Any,
        constants: Tensor,
        state: Membrane,
        i_a: Tensor,
        accuracy: float,
        event: bool,
        tangents: bool,
        out: Step | None = None,
    ) -> Step:
        """One macro step. Compiled solvers write what it did into `out` and return that; others return a new `Step`."""


# ---- launched on a GPU


def has_triton(values: Tensor) -> bool:
    """Whether Triton kernels take the precision and device of `values`; says once where Triton is missing."""
    if values.device.type != "cuda" or values.dtype != torch.float32:
        return False
    if not HAVE_TRITON:
        _say_without()
    return HAVE_TRITON


@cache
def _say_without() -> None:
    warnings.warn(
        "Triton is not installed, so that a millisecond of a layer takes thousands of small CUDA kernels; "
        "pip install 'bruno-spice[gpu]' brings one kernel for all of it",
        stacklevel=5,
    )


class Taken(NamedTuple):
    """A sequence taken: fields of `training.dynamics.membrane.Step` with a time in front, and the states between."""

    spikes: Tensor
    seen: Tensor
    lead_ms: Tensor
    free_ms: Tensor
    tangents: Tensor | None
    late: Tensor | None
    v: Tensor
    """(T + 1, n)."""
    p: Tensor
    """(T + 1, K, n)."""
    hold: Tensor
    """(T + 1, n)."""


def room(like: Tensor, steps: int, domains: int, n: int, tangents: bool) -> Taken:
    """Where a sequence is to be written, on the device of `like`."""
    new = partial(torch.empty, dtype=torch.float32, device=like.device)
    exact, late = None, None
    if tangents:
        exact, late = new(steps, 1 + domains, 2 + domains, n), new(steps, 2 + domains, n)
    between = (new(steps + 1, n), new(steps + 1, domains, n), new(steps + 1, n))
    return Taken(new(steps, n), new(steps, 1 + domains, n), new(steps, n), new(steps, n), exact, late, *between)


def take_sequence(
    model: Any,
    constants: Tensor,
    state: Membrane,
    i_a: Tensor,
    accuracy: float,
    event: bool,
    out: Taken,
    delayed: bool = False,
    until: Tensor | None = None,
) -> None:
    """`i_a` (T, n) from `state`, which stays as it is, written to `out`; `constants` (R, m), neuron j takes column
    j % m and the first `until[j]` macro steps (all of them), behind which is zero what is no state."""
    from bruno_spice.devices.ferroelectric.gpu import numbers, sequence

    steps, n = i_a.shape
    domains = domain_count(len(constants))
    out.v[0], out.p[0], out.hold[0] = state.v, state.p, state.hold
    for each in out[:6]:
        if each is not None and (until is not None or each is out.late):
            each.zero_()
    last = torch.full((n,), steps, device=i_a.device) if until is None else until
    matrix, late = out.v if out.tangents is None else out.tangents, out.v if out.late is None else out.late
    arrays = [out.v, out.p, out.hold, i_a.contiguous(), *out[:4], matrix, late]
    kernel = numbers.bound(sequence.sequence_windows, model)
    kernel[-(-n // sequence.BLOCK),](
        constants.contiguous(), constants.shape[1], last.to(torch.int32), *arrays, n, steps, float(accuracy), domains,
        EVENT=event, DELAYED=delayed, TANGENTS=out.tangents is not None, ONE_DOMAIN=domains == 1,
        **sequence.sizes_of(domains), **sequence.WARPS,
    )  # fmt: skip


def take_step(
    model: Any, constants: Tensor, state: Membrane, i_a: Tensor, accuracy: float, event: bool, tangents: bool
) -> Step:
    """One macro step under `i_a` (n,), as `training.dynamics.logistic.logistic_torch` takes it; changes `state`."""
    taken = room(i_a, 1, len(state.p), i_a.numel(), tangents)
    take_sequence(model, constants, state, i_a[None], accuracy, event, taken)
    state.v, state.p, state.hold = taken.v[1], taken.p[1], taken.hold[1]
    exact, late = (None if each is None else each[0] for each in (taken.tangents, taken.late))
    return Step(taken.spikes[0], taken.seen[0], taken.lead_ms[0], taken.free_ms[0], exact, late)
