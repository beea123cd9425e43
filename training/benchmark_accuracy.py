"""How accurate a solver is over one macro step, and what that costs: the table of methods.

States are those that a layer meets under random input (-0.5...5 nA, half of the neurons at a smaller share of it); the
truth is the adaptive Rosenbrock solver at a relative tolerance of 1e-9. Voltages are compared where neither spiked.
"""

from typing import Any

import torch
from torch import Tensor

from devices.card import FeLIFCard
from devices.felif_constants import domain_count
from training.benchmark import Measured, Say, clock, counted
from training.flows import SOLVERS, Membrane, Step
from training.neurons import FeLIF

SETTINGS: tuple[tuple[str, float], ...] = (
    ("euler", 1000),
    ("rosenbrock", 1e-3),
    ("rosenbrock", 1e-4),
    ("logistic", 6),
    ("logistic", SOLVERS["logistic"].default_accuracy),
    ("logistic", 16),
    ("logistic", 32),
)
"""Solver and its accuracy setting."""
TRUTH = ("rosenbrock", 1e-9)
WARM_UP_MS = 30


def accuracy(card: FeLIFCard, quick: bool, threads: int, say: Say, *, windows: int = 100_000) -> Measured:
    """Time and errors of every solver over `windows` macro steps; `quick` takes 300."""
    torch.set_num_threads(threads)
    windows = 300 if quick else windows
    constants = FeLIF(card).constants()
    start, current_a = meet(constants, windows)
    say(f"accuracy: the truth of {windows} windows")
    truth, _ = run(constants, start, current_a, *TRUTH)
    quiet_truth = truth.spikes == 0.0
    rows: list[dict[str, Any]] = []
    for method, setting in SETTINGS:
        say(f"accuracy: {method}, {setting:g}")
        ours, forward_s = timed(constants, start, current_a, method, setting, tangents=False)
        _, tangent_s = timed(constants, start, current_a, method, setting, tangents=True)
        quiet = quiet_truth & (ours.spikes == 0.0)
        error = (ours.seen[0].double() - truth.seen[0])[quiet]
        rows.append(
            {
                "method": method,
                "setting": setting,
                "setting_name": SOLVERS[method].accuracy_name,
                "default": setting == SOLVERS[method].accuracy_for(card.domains),
                "forward_us": forward_s * 1e6 / windows,
                "tangent_us": tangent_s * 1e6 / windows,
                "v_max_v": float(error.abs().max()),
                "v_rms_v": float(error.pow(2).mean().sqrt()),
                "wrong_spikes_per_1e5": float((ours.spikes.double() != truth.spikes).double().mean()) * 1e5,
            }
        )
    chosen = next(row for row in rows if row["method"] == "logistic" and row["default"])
    summary = {"windows": float(windows), "spikes_per_ms": float(truth.spikes.mean())}
    summary |= {f"default_{key}": chosen[key] for key in ("v_rms_v", "v_max_v", "wrong_spikes_per_1e5")}
    return Measured(f"Solvers over one millisecond, {windows} windows, {counted(threads, 'thread')}", rows, summary)


def meet(constants: Tensor, n: int) -> tuple[Membrane, Tensor]:
    """States of n neurons after 30 ms of random input, float64, and the next currents (n,) in A."""
    generator = torch.Generator().manual_seed(0)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator, dtype=torch.float64) * (high - low) + low

    v = torch.zeros(n, dtype=torch.float32)
    p = torch.full((domain_count(len(constants)), n), -1.0)
    state = Membrane(v, p, v.clone(), torch.full_like(v, 1e-2))
    narrow = constants.float()
    for _ in range(WARM_UP_MS):
        weaker = torch.where(uniform(0.0, 1.0) < 0.5, 1.0, uniform(0.0, 1.0))
        SOLVERS["logistic"].run(narrow, state, (uniform(-0.5e-9, 5e-9) * weaker).float(), 32, False, False)
    return state, uniform(-0.5e-9, 5e-9)


def run(
    constants: Tensor, start: Membrane, current_a: Tensor, method: str, setting: float, tangents: bool = False
) -> tuple[Step, float]:
    """One macro step from `start`, and the seconds that it took."""
    info = SOLVERS[method]
    dtype = info.dtype or torch.float32
    state = Membrane(*(x.to(dtype, copy=True) for x in (start.v, start.p, start.hold, start.step)))
    narrow, i_a = constants.to(dtype), current_a.to(dtype)
    now = clock(torch.get_num_threads())
    begun = now()
    step = info.run(narrow, state, i_a, setting, False, tangents)
    return step, now() - begun


def timed(
    constants: Tensor, start: Membrane, current_a: Tensor, method: str, setting: float, tangents: bool
) -> tuple[Step, float]:
    """As `run` after a warm-up; fast solvers are timed five times, and the fastest counts."""
    run(constants, *meet(constants, 8), method, setting, tangents)
    step, seconds = run(constants, start, current_a, method, setting, tangents)
    for _ in range(4 if method == "logistic" else 0):
        seconds = min(seconds, run(constants, start, current_a, method, setting, tangents)[1])
    return step, seconds
