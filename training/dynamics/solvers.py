"""Solvers by name: what takes a layer of neurons through one macro step, with or without tangents.

A solver is called as ``solver(constants, state, i_a, accuracy, event, tangents)`` and returns a `Step`. All
of them see flat layers: n = B N neurons, neuron j with column j % m of the constants. Compiled kernels run on the
CPU, spread over as many threads as torch has; other devices take plain torch.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.bound import compiled
from bruno_spice.training.dynamics import unrolled
from bruno_spice.training.dynamics.laws import torch_laws
from bruno_spice.training.dynamics.membrane import HAVE_KERNELS, Membrane, Solver, Step, has_triton, take_step

Array = NDArray[Any]
FEWEST_PER_THREAD = 256
MOST_OF_FILM = 0.5
"""Weight of a domain beyond which the others are its tails."""


@dataclass(frozen=True)
class SolverInfo:
    """A solver and what there is to know about it."""

    run: Solver
    default_accuracy: float
    accuracy_name: str
    dtype: torch.dtype | None
    """The precision it computes in; None: that of its input."""
    least_accuracy: float = 1e-12
    """The least setting that means something: 1 where it counts substeps."""
    devices: tuple[str, ...] | None = None
    """Kinds of torch device it runs on; None: all."""
    more_for_tails: float = 1.0
    """Factor of the default for several domains of which one holds most of the film, as `bruno calibrate` finds."""
    more_for_shares: float = 1.0
    """The same where none does: what takes finer steps is handing over from one large domain to the next."""
    more_through_spikes: float = 1.0
    """Factor of the default where gradients pass spikes, for them to be right to 2 %."""
    needs_kernels: bool = False
    """Whether it is there with numba only."""
    at_once: bool = False
    """Whether it takes whole sequences in one compiled call (`training.dynamics.at_once`) in float32 on the CPU."""
    by_constants: Callable[..., Tensor] | None = None
    """Gradient by the constants through its own compiled substeps in float32, as `logistic_by_constants`; None: through
    those of ``logistic`` in float64 (`training.dynamics.by_devices`)."""

    def accuracy_for(self, domain_weight: NDArray[np.float64], through_spikes: bool = False) -> float:
        """The default setting for domains of such weights (K,)."""
        whole = domain_weight.size == 1
        most = domain_weight.max() > MOST_OF_FILM
        more = 1.0 if whole else self.more_for_tails if most else self.more_for_shares
        return self.default_accuracy * more * (self.more_through_spikes if through_spikes else 1.0)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def in_threads(work: Callable[[int, int], None], n: int, grain: int = 1, fewest: int = FEWEST_PER_THREAD) -> None:
    """Call ``work(start, stop)`` on parts of range(n), one a thread, of no less than `fewest`; parts start at multiples
    of `grain`."""
    threads = min(torch.get_num_threads(), n // fewest)
    if threads <= 1:
        work(0, n)
        return
    size = -(-n // threads)
    size = -(-size // grain) * grain
    edges = [(start, min(start + size, n)) for start in range(0, n, size)]
    for done in [_pool(threads).submit(work, *edge) for edge in edges]:
        done.result()


def _buffers(state: Membrane, tangents: bool, out: Step | None) -> tuple[Step, list[Array]]:
    """Where a compiled kernel writes: `out`, or new arrays."""
    domains, n = state.p.shape
    wide = n if tangents else 0

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=state.v.dtype)

    if out is None:
        out = Step(empty(n), empty(1 + domains, n), empty(n), empty(n), None, None)
        if tangents:
            out.tangents, out.late = empty(1 + domains, 2 + domains, n), empty(2 + domains, n)
    matrix = empty(1 + domains, 2 + domains, wide) if out.tangents is None else out.tangents
    late = empty(2 + domains, wide) if out.late is None else out.late
    return out, [x.numpy() for x in (out.spikes, out.seen, out.lead_ms, out.free_ms, matrix, late)]


def _compiled(
    kernel: Callable[..., None],
    rows: Array,
    carried: tuple[Tensor, ...],
    i_a: Tensor,
    setting: float,
    event: bool,
    buffers: tuple[Step, list[Array]],
    grain: int = 1,
) -> Step:
    """One macro step by a compiled `kernel`, which takes `carried` from its start to its end in place."""
    step, (spikes, seen, lead, free, matrix, late) = buffers
    state, current = [x.numpy() for x in carried], i_a.numpy()

    def work(start: int, stop: int) -> None:
        kernel(start, stop, rows, *state, current, spikes, setting, event, seen, lead, free, matrix, late)

    in_threads(work, current.size, grain)
    return step


def rosenbrock(
    model: Any,
    constants: Tensor,
    state: Membrane,
    i_a: Tensor,
    accuracy: float,
    event: bool,
    tangents: bool,
    out: Step | None = None,
) -> Step:
    """Adaptive Rosenbrock (RODAS), float64; `accuracy` is the relative tolerance of a step."""
    from bruno_spice.devices.ferroelectric.scalar.windows import rosenbrock_windows

    rows = np.ascontiguousarray(constants.numpy().T)
    carried = (state.v, state.p, state.hold, state.step)
    return _compiled(
        compiled(rosenbrock_windows, model), rows, carried, i_a, accuracy, event, _buffers(state, tangents, out)
    )


def euler(
    model: Any,
    constants: Tensor,
    state: Membrane,
    i_a: Tensor,
    accuracy: float,
    event: bool,
    tangents: bool,
    out: Step | None = None,
) -> Step:
    """Explicit Euler, float64; `accuracy` is the number of substeps of a macro step, 1000 in the paper."""
    if i_a.device.type != "cpu" or not HAVE_KERNELS:
        return _euler_torch(model, constants, state, i_a, accuracy, event, tangents)
    from bruno_spice.devices.ferroelectric.scalar.windows import euler_windows

    rows = np.ascontiguousarray(constants.numpy().T)
    carried = (state.v, state.p, state.hold)
    return _compiled(
        compiled(euler_windows, model), rows, carried, i_a, int(accuracy), event, _buffers(state, tangents, out)
    )


def _euler_torch(
    model: Any, constants: Tensor, state: Membrane, i_a: Tensor, accuracy: float, event: bool, tangents: bool
) -> Step:
    if tangents:
        raise InputError(f"gradient='tangent' with solver='euler' needs the CPU, not '{i_a.device.type}'")
    n = state.v.numel()
    columns = constants.repeat(1, n // constants.shape[1])
    window = unrolled.macro_step(torch_laws(model), state.v, state.p, state.hold, i_a, columns, int(accuracy), event)
    state.v, state.p, state.hold = window.v, window.p, window.hold
    seen = torch.cat([window.seen_v[None], window.seen_p])
    return Step(window.spikes, seen, window.lead_ms, window.free_ms, None, None)


def logistic(
    model: Any,
    constants: Tensor,
    state: Membrane,
    i_a: Tensor,
    accuracy: float,
    event: bool,
    tangents: bool,
    out: Step | None = None,
) -> Step:
    """The logistic method: SIMD float32 on the CPU, a Triton kernel on CUDA devices, plain torch elsewhere; `accuracy`:
    `ferroelectric.paces`."""
    if has_triton(i_a):
        return take_step(model, constants, state, i_a, accuracy, event, tangents)
    if i_a.device.type != "cpu" or i_a.dtype != torch.float32 or not HAVE_KERNELS:
        from bruno_spice.training.dynamics.logistic import logistic_torch

        return logistic_torch(model, constants, state, i_a, accuracy, event, tangents)
    from bruno_spice.devices.ferroelectric.simd.macro_step import BLOCK, logistic_windows

    rows, carried = constants.contiguous().numpy(), (state.v, state.p, state.hold)
    buffers = _buffers(state, tangents, out)
    return _compiled(compiled(logistic_windows, model), rows, carried, i_a, float(accuracy), event, buffers, BLOCK)


def logistic_by_constants(
    model: Any,
    constants: Tensor,
    state: Membrane,
    i_a: Tensor,
    accuracy: float,
    event: bool,
    through: bool,
    seen: Tensor,
    after: Tensor,
    release: Tensor,
) -> Tensor:
    """dL/d `constants` (R, m), float64, of macro steps that begin in `state` (n neurons), from the adjoints of what
    they end in (`training.dynamics.step_back.OfStep`)."""
    from bruno_spice.devices.ferroelectric.simd.by_constants import constants_windows
    from bruno_spice.devices.ferroelectric.simd.macro_step import BLOCK

    kernel = compiled(constants_windows, model)
    rows = constants.contiguous().numpy()
    arrays = [x.contiguous().numpy() for x in (state.v, state.p, state.hold, i_a, seen, after, release)]
    totals: dict[int, Array] = {}

    def work(start: int, stop: int) -> None:
        total = np.zeros(rows.shape)
        kernel(start, stop, rows, float(accuracy), event, through, *arrays, total)
        totals[start] = total

    in_threads(work, i_a.numel(), BLOCK)
    return torch.from_numpy(np.sum([totals[start] for start in sorted(totals)], axis=0))  # whichever ends first


LOGISTIC = SolverInfo(
    logistic, 8, "substeps a macro step at small currents", None, 1, more_for_tails=2, more_for_shares=6,
    more_through_spikes=6, at_once=True, by_constants=logistic_by_constants,
)  # fmt: skip
ROSENBROCK = SolverInfo(
    rosenbrock, 1e-4, "relative tolerance of a step", torch.float64, devices=("cpu",), needs_kernels=True
)
EULER = SolverInfo(euler, 1000, "substeps a macro step", torch.float64, 1)
