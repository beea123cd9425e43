"""The state of a layer, what a macro step does to it, and how a solver is called."""

import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

HAVE_KERNELS = importlib.util.find_spec("numba") is not None


"""Without numba, plain torch does the work on the CPU too."""


@dataclass
class Membrane:
    """State of a flat layer between macro steps."""

    v: Tensor
    """(n,) in V."""
    p: Tensor
    """(K, n), each in -1...1."""
    hold: Tensor
    """Refractory time left (n,) in ms."""
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
