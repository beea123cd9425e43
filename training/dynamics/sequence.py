"""What goes into a sequence of macro steps, what comes out, and what its backward pass needs."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bruno_spice.training.dynamics.limits import CurrentLimits
from bruno_spice.training.dynamics.membrane import Step
from bruno_spice.training.dynamics.solvers import SolverInfo
from bruno_spice.training.dynamics.surrogates import Surrogate


@dataclass(frozen=True)
class Plan:
    """What the gradient of a sequence depends on besides tensors."""

    model: Any
    """The neuron model (`devices.models`)."""
    solver: SolverInfo
    accuracy: float
    surrogate: Surrogate
    event: bool
    delayed: bool = False
    """The reset takes the whole macro step after a spike."""
    exact: bool = False
    """Tangents rather than a coarse step."""
    through: bool = False
    """Gradients pass a spike: a crossing that moves takes what follows it along."""
    published: bool = False
    """The coarse step is explicit and takes the whole millisecond, as published, wherever the crossing is."""
    substeps: int = 1000
    """Of the unrolled modes."""
    limits: CurrentLimits | None = None
    device_gradient_share: float = 1.0
    """Of the macro steps that gradients by device parameters are summed over (`training.dynamics.by_devices`)."""


class Sequence(NamedTuple):
    """Inputs of a sequence."""

    current_a: Tensor
    """(T, B, N)."""
    v: Tensor
    """(B, N) at the start."""
    p: Tensor
    """(K, B, N)."""
    hold: Tensor
    """(B, N) in ms."""
    step: Tensor
    """(B, N) in ms."""
    spikes: Tensor
    """(B, N) of the macro step before."""
    constants: Tensor
    """(R, N or 1), float64."""
    recurrent_a: Tensor | None
    """(N, N)."""
    lengths: Tensor | None
    """(B,): sequence b ends after so many macro steps."""


class Result(NamedTuple):
    """Outputs of a sequence."""

    spikes: Tensor
    """(T, B, N)."""
    voltage: Tensor
    """(T, B, N): at the crossing or at the end (macro reset); at the end (event reset)."""
    polarization: Tensor
    """(T, B, N): sum of w_k p_k at the same instant."""
    current_a: Tensor
    """(T, B, N): what the neurons saw, input and recurrence within the limits; without gradient."""
    v: Tensor
    p: Tensor
    hold: Tensor
    step: Tensor
    crossing_ms: Tensor
    """(T, B, N): instant of the first crossing within its macro step, 0 where there was none; without gradient."""


def crossing_ms(spikes: Tensor, lead_ms: Tensor, hold_ms: Tensor | float) -> Tensor:
    """When in its macro step a neuron first crossed, 0 where it did not: after it was let go and integrated so long.

    All of one shape: spikes, the time integrated up to the crossing, what was left of the hold at the start (or 0).
    """
    return torch.where(spikes > 0.0, lead_ms + hold_ms, 0.0)


def weighted(p: Tensor, weight: Tensor) -> Tensor:
    """Sum of w_k p_k: `p` (K, B, N), `weight` (K, N or 1)."""
    return (weight[:, None] * p).sum(0) if len(p) > 1 else weight[0] * p[0]


class Tape:
    """What the backward pass needs of each macro step.

    `v`, `p` and `hold` are those between macro steps, T + 1 of them; of a sequence that has ended, the last.
    """

    def __init__(
        self, new: Callable[..., Tensor], shape: tuple[int, ...], domains: int, dtype: Any, on: bool, plan: Plan
    ) -> None:
        steps, batch, width = shape if on else (0, 0, 0)

        def empty(*extra: int, more: int = 0) -> Tensor:
            return new((steps + more, *extra, batch, width), dtype=dtype)

        self.out_dtype = new(()).dtype
        self.v, self.p, self.i_a = empty(more=1), empty(domains, more=1), empty()
        self.passing = new((steps, batch, width), dtype=torch.bool) if plan.limits else None
        self.seen, self.fired, self.lead, self.free = empty(1 + domains), empty(), empty(), empty()
        self.tangents = empty(1 + domains, 2 + domains) if plan.exact else None
        self.hold = empty(more=1) if plan.event or plan.delayed else None
        self.late = empty(2 + domains) if plan.exact and plan.event else None

    def slot(self, t: int) -> Step:
        """Where macro step `t` of all batch rows is to be written."""
        tangents = None if self.tangents is None else self.tangents[t].flatten(-2)
        late = None if self.late is None else self.late[t].flatten(-2)
        fired, lead, free = (x[t].flatten() for x in (self.fired, self.lead, self.free))
        return Step(fired, self.seen[t].flatten(-2), lead, free, tangents, late)

    def keep_state(self, t: int, v: Tensor, p: Tensor, hold: Tensor) -> None:
        """Store the state before macro step `t`, or after the last one."""
        self.v[t], self.p[t] = v, p
        if self.hold is not None:
            self.hold[t] = hold

    def keep(self, t: int, rows: Tensor | None, **what: Tensor) -> None:
        """Store tensors of macro step `t`, for the batch rows that were active."""
        for name, value in what.items():
            kept = getattr(self, name)
            if kept is None:
                continue
            if rows is None:
                kept[t] = value
            else:
                kept[t].zero_()
                kept[t][..., rows, :] = value

    def at(self, steps: Tensor, rows: Tensor) -> "Tape":
        """A tape of one macro step, whose batch is that of `steps` (M,) in batch `rows` (M,)."""

        def gathered(kept: Tensor, later: int = 0) -> Tensor:
            return kept[steps + later, ..., rows, :].movedim(0, -2)

        one = copy(self)
        for name in ("v", "p", "hold"):
            if (kept := getattr(self, name)) is not None:
                setattr(one, name, [gathered(kept), gathered(kept, 1)])
        for name in ("i_a", "passing", "seen", "fired", "lead", "free", "tangents", "late"):
            if (kept := getattr(self, name)) is not None:
                setattr(one, name, gathered(kept)[None])
        return one
