"""What the FeLIF layer costs and how right its gradients are, as plain numbers: speed, memory, gradient.

Every function returns a dict of numbers that can be printed or written as JSON. Times are the best of a few repetitions
on this machine; compare ratios taken in one run, not seconds across machines.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from devices.card import FeLIFCard
from training.neurons import LIF, FeLIF


def _best(work: Callable[[], Any], repeat: int) -> float:
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def _currents(steps: int, batch: int, neurons: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(steps, batch, neurons, generator=generator, dtype=dtype) * 5.5 - 0.5) * 1e-9


def _forward_backward(neuron: torch.nn.Module, current_a: Tensor) -> None:
    leaf = current_a.clone().requires_grad_()
    out, _ = neuron(leaf)
    out.spikes.sum().backward()


def speed(
    card: FeLIFCard, neurons: int = 100_000, steps: int = 40, euler_neurons: int = 400, repeat: int = 3
) -> dict[str, float]:
    """Time a neuron and millisecond in us: FeLIF forward and with gradients, the fused 1 us Euler kernel, eager LIF.

    `neurons` and `steps` are those of the SIMD layer and of LIF; Euler runs `euler_neurons` for 4 ms and scales
    exactly.
    """
    current_a = _currents(steps, 1, neurons)
    few = _currents(4, 1, euler_neurons, torch.float64)
    felif, tangent = FeLIF(card, "bruno", "logistic"), FeLIF(card, "tangent", "logistic")
    euler, lif = FeLIF(card, "bruno", "euler").double(), LIF()
    per_us = 1e6 / (neurons * steps)
    with torch.no_grad():
        felif(current_a[:1])
        euler(few[:1])
        forward = _best(lambda: felif(current_a), repeat) * per_us
        lif_forward = _best(lambda: lif(current_a), repeat) * per_us
        euler_forward = _best(lambda: euler(few), repeat) * 1e6 / few.numel()
    _forward_backward(tangent, current_a[:1])
    with_tangent = _best(lambda: _forward_backward(tangent, current_a), repeat) * per_us
    with_bruno = _best(lambda: _forward_backward(felif, current_a), repeat) * per_us
    with_lif = _best(lambda: _forward_backward(lif, current_a), repeat) * per_us
    return {
        "neurons": neurons,
        "steps_ms": steps,
        "threads": torch.get_num_threads(),
        "felif_forward_us": forward,
        "felif_bruno_us": with_bruno,
        "felif_tangent_us": with_tangent,
        "euler_forward_us": euler_forward,
        "lif_forward_us": lif_forward,
        "lif_us": with_lif,
        "euler_forward_over_felif_tangent": euler_forward / with_tangent,
        "felif_tangent_over_lif": with_tangent / with_lif,
    }


class _KeptBytes:
    """Bytes that autograd keeps for the backward pass, storages counted once; a fused layer's tape is counted too."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        """Count `tensor`'s storage."""
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def total(self) -> int:
        """Bytes so far."""
        return sum(self.storages.values())


def _tape_bytes(out: Tensor) -> int:
    tape = getattr(out.grad_fn, "tape", None)
    kept = [] if tape is None else [x for x in vars(tape).values() if isinstance(x, Tensor)]
    return sum(x.untyped_storage().nbytes() for x in kept)


def kept_bytes(card: FeLIFCard, gradient: str, steps: int, batch: int = 4, neurons: int = 64, **options: Any) -> int:
    """Bytes that a sequence of `steps` ms holds between forward and backward pass, inputs and outputs included."""
    kept = _KeptBytes()
    current_a = _currents(steps, batch, neurons).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda x: x):
        out, _ = FeLIF(card, gradient, **options)(current_a)
        shown = sum(x.untyped_storage().nbytes() for x in out)
        return kept.total + _tape_bytes(out.spikes) + shown


def memory(card: FeLIFCard, steps: int = 100, batch: int = 4, neurons: int = 64) -> dict[str, float]:
    """Bytes kept for the backward pass by gradient. BPTT keeps the same for every substep: taken from 20, scaled to
    1000."""
    out: dict[str, float] = {"steps_ms": steps, "batch": batch, "neurons": neurons}
    for gradient in ("bruno", "tangent", "checkpoint"):
        short = 1 if gradient == "checkpoint" else steps
        options = {"solver": "euler", "accuracy": 20} if gradient == "checkpoint" else {"solver": "logistic"}
        out[f"{gradient}_bytes"] = kept_bytes(card, gradient, short, batch, neurons, **options) * steps / short
    few, more = (
        kept_bytes(card, "bptt", 1, batch, neurons, solver="euler", accuracy=substeps) for substeps in (10, 20)
    )
    out["bptt_bytes"] = (few + (more - few) / 10 * 990) * steps
    for gradient in ("bruno", "tangent", "checkpoint"):
        out[f"{gradient}_over_bptt"] = out[f"{gradient}_bytes"] / out["bptt_bytes"]
    return out


def _network_gradient(card: FeLIFCard, gradient: str, surrogate: str, steps: int, **options: Any) -> Tensor:
    """Gradient by the weights of a recurrent two-layer net (8 - 6 - 5, batch 4, float64), flattened."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, spread: float = 1.0, mean: float = 0.0) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * spread + mean

    x = (draw(steps, 4, 8) > 0).double()
    first, second, recurrent = (
        draw(8, 6, spread=0.5, mean=0.3),
        draw(6, 5, spread=0.8, mean=0.3),
        draw(6, 6, spread=0.3),
    )
    weights = [w.requires_grad_() for w in (first, second, recurrent)]
    read = draw(5)
    one, two = (FeLIF(card, gradient, surrogate=surrogate, **options).double() for _ in range(2))
    out, _ = one(x @ weights[0] * 2e-9, None, weights[2] * 2e-9)
    shown, _ = two((out.spikes @ weights[1] + 0.5) * 3e-9)
    loss = ((shown.spikes * read).cumsum(0) / steps).pow(2).mean()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def gradient(card: FeLIFCard, steps: int = 20, substeps: int = 1000, full_bptt: bool = False) -> dict[str, float]:
    """Cosine and norm ratio to the gradient through every substep, for each mode and both surrogates.

    The truth is ``tangent`` with the Euler solver, which equals autograd through all `substeps` to rounding (a test
    says so); `full_bptt` takes autograd itself, which needs minutes. ``tangent`` is then the one of the adaptive
    solver.
    """
    out: dict[str, float] = {"steps_ms": steps, "substeps": substeps}
    for surrogate in ("charge", "voltage"):
        truth = _network_gradient(
            card, "bptt" if full_bptt else "tangent", surrogate, steps, solver="euler", accuracy=substeps
        )
        for name, mode, options in (
            ("tangent_euler", "tangent", {"solver": "euler", "accuracy": substeps}),
            ("tangent", "tangent", {"solver": "rosenbrock"}),
            ("tangent_simd", "tangent", {"solver": "logistic"}),
            ("bruno", "bruno", {"solver": "rosenbrock"}),
            ("coarse", "coarse", {}),
        ):
            ours = _network_gradient(card, mode, surrogate, steps, **options)
            out[f"{surrogate}_{name}_cosine"] = float(ours @ truth / (ours.norm() * truth.norm()))
            out[f"{surrogate}_{name}_norm_ratio"] = float(ours.norm() / truth.norm())
    return out
