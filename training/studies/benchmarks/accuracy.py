"""How accurate a solver is over one macro step, and what that costs: the table of methods.

Two sets of states and currents. ``random``: what a layer meets under random input (-0.5...5 nA, half of the neurons
at a smaller share of it), macro reset. ``network``: those of a small recurrent network that has been trained, event
reset. The truth is the adaptive Rosenbrock solver at a relative tolerance of 1e-9, which the summary holds against
another integrator (`training.studies.benchmarks.truth`). Compared are windows with the same number of spikes, at their
end: V, the polarization as the voltage its charge makes on the membrane, (A Ps/C) sum_k w_k p_k, and the charge, their
sum.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.devices.models.rows import V_PER_P, WEIGHT, domain_count, group_of
from bruno_spice.training.dynamics import SOLVERS
from bruno_spice.training.dynamics.membrane import Membrane, Step
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.studies.benchmarks.base import Measured, Say, clock, counted
from bruno_spice.training.studies.benchmarks.truth import millisecond, right_hand_side

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
NEURONS, UPDATES, FRAMES = 64, 40, 30
"""Of the network that is trained."""
UNIT_A = 10e-9
CHECKED = 40
"""Windows of the network that the truth is held against the other integrator on."""


def accuracy(card: FeLIFCard, quick: bool, threads: int, say: Say, *, windows: int = 100_000) -> Measured:
    """Time and errors of every solver over `windows` macro steps of each set; `quick` takes 300."""
    torch.set_num_threads(threads)
    windows = 300 if quick else windows
    constants, domain_weight = FeLIF(card).constants(), NeuronParameters.from_card(card).domain_weight
    rows: list[dict[str, Any]] = []
    summary: dict[str, float] = {"windows": float(windows)}
    say("accuracy: a network is trained")
    sets = {"random": (*meet(constants, windows), False), "network": (*of_a_network(card, windows), True)}
    for name, (start, current_a, event) in sets.items():
        say(f"accuracy: the truth of {windows} windows, {name}")
        truth, end, _ = run(constants, start, current_a, *TRUTH, event)
        summary[f"{name}_spikes_per_ms"] = float(truth.spikes.mean())
        for method, setting in SETTINGS:
            say(f"accuracy: {method}, {setting:g}, {name}")
            ours, ours_end, forward_s = timed(constants, start, current_a, method, setting, event, tangents=False)
            _, _, tangent_s = timed(constants, start, current_a, method, setting, event, tangents=True)
            row: dict[str, Any] = {"states": name, "method": method, "setting": setting}
            row |= {"setting_name": SOLVERS[method].accuracy_name}
            row |= {"default": setting == SOLVERS[method].accuracy_for(domain_weight)}
            row |= {"forward_us": forward_s * 1e6 / windows, "tangent_us": tangent_s * 1e6 / windows}
            wrong = ours.spikes.double() != truth.spikes
            row |= errors(constants, ours_end, end, ~wrong)
            row |= {"wrong_spikes_per_1e5": float(wrong.double().mean()) * 1e5}
            rows.append(row)
        chosen = next(row for row in rows if row["states"] == name and row["method"] == "logistic" and row["default"])
        summary |= {f"{name}_default_{key}": chosen[key] for key in chosen if key.endswith(("_v", "_mv", "_1e5"))}
    say("accuracy: the truth beside scipy's")
    start, current_a, _ = sets["network"]
    summary |= beside_scipy(card, constants, start, current_a, 4 if quick else CHECKED)
    title = f"Solvers over one millisecond, twice {windows} windows, {counted(threads, 'thread')}"
    return Measured(title, rows, summary)


def errors(constants: Tensor, ours: Membrane, truth: Membrane, same: Tensor) -> dict[str, float]:
    """Of V, polarization and charge at the end of the windows in `same` (n,)."""
    per_p = constants[V_PER_P] * constants[group_of(WEIGHT, domain_count(len(constants)))]
    v = (ours.v.double() - truth.v)[same]
    polarization = (per_p * (ours.p.double() - truth.p)).sum(0)[same]
    charge = v + polarization
    found = {"v_rms_v": rms(v), "v_max_v": float(v.abs().max())}
    for name, error in (("p", polarization), ("charge", charge)):
        found |= {f"{name}_rms_mv": 1e3 * rms(error), f"{name}_max_mv": 1e3 * float(error.abs().max())}
        found |= {f"{name}_bias_mv": 1e3 * float(error.mean())}
    return found


def rms(error: Tensor) -> float:
    """Root mean square of `error` (n,)."""
    return float(error.pow(2).mean().sqrt())


def beside_scipy(
    card: FeLIFCard, constants: Tensor, start: Membrane, current_a: Tensor, count: int
) -> dict[str, float]:
    """Largest difference of the truth to `benchmarks.truth` over the first `count` windows, event reset."""
    flow = right_hand_side(card)
    part = Membrane(start.v[:count], start.p[:, :count], start.hold[:count], start.step[:count])
    truth, end, _ = run(constants, part, current_a[:count], *TRUTH, True)
    states = torch.cat([part.v[None], part.p]).double().numpy().T
    found = [millisecond(flow, card, y, float(hold), float(i_a)) for y, hold, i_a in
             zip(states, part.hold, current_a, strict=False)]  # fmt: skip
    theirs = torch.tensor(np.array([y for y, _ in found]).T)
    same = truth.spikes == torch.tensor([float(spikes) for _, spikes in found])
    differ = errors(constants, Membrane(theirs[0], theirs[1:], end.hold, end.step), end, same)
    return {
        "truth_beside_scipy_windows": float(count),
        "truth_beside_scipy_wrong_spikes": float((~same).sum()),
        "truth_beside_scipy_v_max_v": differ["v_max_v"],
        "truth_beside_scipy_charge_max_mv": differ["charge_max_mv"],
    }


def of_a_network(card: FeLIFCard, n: int) -> tuple[Membrane, Tensor]:
    """States (n,) and currents (n,) in A that the neurons of a recurrent layer meet once it has learned, within
    `UPDATES`, to tell by its spikes which half of its 8 inputs is busier. Event reset."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int, spread: float) -> Tensor:
        return (torch.randn(*shape, generator=generator) * spread).requires_grad_()

    def inputs(batch: int) -> tuple[Tensor, Tensor]:
        busier = torch.rand(batch, generator=generator) < 0.5
        rates = torch.where(busier[:, None] == (torch.arange(8) < 4), 0.4, 0.2)
        return (torch.rand(FRAMES, batch, 8, generator=generator) < rates).float(), busier.long()

    limits = "envelope" if "i_syn" in card.envelope else "none"
    neuron = FeLIF(card, "tangent", "logistic", reset="event", accuracy=32, current_limits=limits)
    into, back = draw(8, NEURONS, spread=0.5), draw(NEURONS, NEURONS, spread=0.3 / NEURONS**0.5)
    read = draw(NEURONS, 2, spread=0.1)
    optimizer = torch.optim.AdamW([into, back, read], lr=1e-2)
    for _ in range(UPDATES):
        x, label = inputs(8)
        out, _ = neuron(x @ into * UNIT_A, None, back * UNIT_A)
        loss = torch.nn.functional.cross_entropy(out.spikes.sum(0) @ read, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch = -(-n // (NEURONS * FRAMES))
    with torch.no_grad():
        x, _ = inputs(batch)
        out, _ = neuron(x @ into * UNIT_A, None, back * UNIT_A)
        state, met = neuron.initial_state(batch, NEURONS), []
        for current_a in out.current_a:
            met.append([*state[:4], current_a])
            _, state = neuron(current_a[None], state)
    v, p, hold, step, current_a = (torch.cat([x.flatten(-2) for x in column], -1) for column in zip(*met, strict=True))
    chosen = torch.randperm(v.numel(), generator=generator)[:n]
    start = Membrane(*(x[..., chosen].contiguous() for x in (v, p, hold, step)))
    return start, current_a[chosen].double()


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
        SOLVERS["logistic"].run(FeLIFModel, narrow, state, (uniform(-0.5e-9, 5e-9) * weaker).float(), 32, False, False)
    return state, uniform(-0.5e-9, 5e-9)


def run(
    constants: Tensor,
    start: Membrane,
    current_a: Tensor,
    method: str,
    setting: float,
    event: bool,
    tangents: bool = False,
) -> tuple[Step, Membrane, float]:
    """One macro step from `start`, the state after it, and the seconds that it took."""
    info = SOLVERS[method]
    dtype = info.dtype or torch.float32
    state = Membrane(*(x.to(dtype, copy=True) for x in (start.v, start.p, start.hold, start.step)))
    narrow, i_a = constants.to(dtype), current_a.to(dtype)
    now = clock(torch.get_num_threads())
    begun = now()
    step = info.run(FeLIFModel, narrow, state, i_a, setting, event, tangents)
    return step, state, now() - begun


def timed(
    constants: Tensor, start: Membrane, current_a: Tensor, method: str, setting: float, event: bool, tangents: bool
) -> tuple[Step, Membrane, float]:
    """As `run` after a warm-up; fast solvers are timed five times, and the fastest counts."""
    run(constants, *meet(constants, 8), method, setting, event, tangents)
    step, end, seconds = run(constants, start, current_a, method, setting, event, tangents)
    for _ in range(4 if method == "logistic" else 0):
        seconds = min(seconds, run(constants, start, current_a, method, setting, event, tangents)[2])
    return step, end, seconds
