"""Time a neuron and macro step: FeLIF beside the fused 1 us Euler kernel, and beside LIF layers of plain torch and of
SNN frameworks. All layers take turns in one process, and the best turn of each counts.

A layer's gradient is that of the sum of its spikes by its input current.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.studies.benchmarks.base import Measured, Say, clock, counted
from bruno_spice.training.studies.benchmarks.rivals import Layer, at_hand

EULER_STEPS = 4


@dataclass
class Contestant:
    """A layer, the current that it takes, and its best times so far, in us per neuron and step."""

    key: str
    name: str
    synapse: bool
    layer: Layer
    current: Tensor
    differentiable: bool = True
    forward_us: float = float("inf")
    with_gradient_us: float = float("inf")

    def take_turn(self) -> None:
        """Run forward, then forward and backward; keep what was faster than before."""
        per_us = 1e6 / self.current.numel()
        with torch.no_grad():
            self.forward_us = min(self.forward_us, per_us * _seconds(lambda: self.layer(self.current)))
        if self.differentiable:
            leaf = self.current.requires_grad_()
            leaf.grad = None
            self.with_gradient_us = min(
                self.with_gradient_us, per_us * _seconds(lambda: self.layer(leaf).sum().backward())
            )

    def row(self) -> dict[str, Any]:
        """As a row of the table."""
        return {
            "layer": self.name,
            "synapse": self.synapse,
            "forward_us": self.forward_us,
            "with_gradient_us": self.with_gradient_us if self.differentiable else None,
        }


def _seconds(work: Callable[[], Any]) -> float:
    now = clock(torch.get_num_threads())
    start = now()
    work()
    return now() - start


def _felif(card: FeLIFCard, gradient: str, solver: str) -> nn.Module:
    return FeLIF(card, gradient, solver)


def contestants(card: FeLIFCard, neurons: int, batch: int, steps: int) -> tuple[list[Contestant], list[str]]:
    """FeLIF by tangent and by BRUNO and all LIF layers at hand, on `steps` x `batch` x `neurons`; and what is
    missing."""
    generator = torch.Generator().manual_seed(0)
    drive = torch.rand(steps, batch, neurons, generator=generator) * 1.1 - 0.1
    field = [
        Contestant(mode, f"FeLIF, {mode}", False, _spikes(_felif(card, mode, "logistic")), drive * 5e-9)
        for mode in ("tangent", "bruno")
    ]
    rivals, missing = at_hand()
    field += [Contestant(each.key, each.name, each.synapse, each.build(), drive.clone()) for each in rivals]
    return field, missing


def _spikes(neuron: nn.Module) -> Layer:
    return lambda current: neuron(current)[0].spikes


def race(field: list[Contestant], repeats: int, say: Say, what: str) -> None:
    """Let each of `field` take `repeats` turns, after one step to compile what compiles."""
    for each in field:
        whole = each.current
        each.current = whole[:1].clone()
        each.take_turn()
        each.current, each.forward_us, each.with_gradient_us = whole, float("inf"), float("inf")
    for turn in range(repeats):
        for each in field:
            say(f"{what}: {each.name}, turn {turn + 1} of {repeats}")
            each.take_turn()


def speed(card: FeLIFCard, quick: bool, threads: int, say: Say, *, neurons: int = 100_000, steps: int = 40) -> Measured:
    """FeLIF at 100,000 neurons over 40 ms, beside 1 us Euler (fewer neurons; its cost is the same for each) and LIF."""
    torch.set_num_threads(threads)
    neurons, steps, repeats = (2000, 4, 2) if quick else (neurons, steps, 5)
    field, missing = contestants(card, neurons, 1, steps)
    generator = torch.Generator().manual_seed(0)
    few = (torch.rand(EULER_STEPS, 1, 40 if quick else 400, generator=generator) * 5.5 - 0.5).double() * 1e-9
    euler = Contestant(
        "euler", "FeLIF, fused Euler 1 us", False, _spikes(_felif(card, "bruno", "euler").double()), few, False
    )
    race([euler, *field], repeats, say, "speed")
    tangent, bruno, *rivals = field
    summary: dict[str, float] = {
        "neurons": neurons,
        "steps_ms": steps,
        "euler_forward_over_felif_tangent": euler.forward_us / tangent.with_gradient_us,
        "euler_forward_over_felif_bruno": euler.forward_us / bruno.with_gradient_us,
    }
    summary |= {f"felif_tangent_over_{each.key}": tangent.with_gradient_us / each.with_gradient_us for each in rivals}
    title = f"µs per neuron and step, {neurons} neurons, {steps} steps, {counted(threads, 'thread')}"
    return Measured(title, [each.row() for each in (euler, *field)], summary, missing)


def frameworks(card: FeLIFCard, quick: bool, threads: int, say: Say) -> Measured:
    """FeLIF beside LIF layers at the sizes of a small layer, of a batch in training, and beyond the caches."""
    torch.set_num_threads(threads)
    sizes = ((16, 2), (64, 4)) if quick else ((64, 4), (200, 16), (1000, 32), (10_000, 32))
    steps = 4 if quick else 40
    rows: list[dict[str, Any]] = []
    summary: dict[str, float] = {"steps_ms": steps}
    missing: list[str] = []
    for neurons, batch in sizes:
        field, missing = contestants(card, neurons, batch, steps)
        repeats = 2 if quick else 30 if neurons * batch <= 10_000 else 5
        race(field, repeats, say, f"frameworks, {neurons} neurons x batch {batch}")
        rows += [{"neurons": neurons, "batch": batch, **each.row()} for each in field]
        tangent, _, *rivals = field
        for each in rivals:
            summary[f"felif_tangent_over_{each.key}_{neurons}x{batch}"] = (
                tangent.with_gradient_us / each.with_gradient_us
            )
    return Measured(f"µs per neuron and step over {steps} steps, {counted(threads, 'thread')}", rows, summary, missing)
