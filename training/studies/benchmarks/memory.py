"""Bytes that a layer keeps between forward and backward pass, counted: storages held by autograd, each once."""

from typing import Any

import torch
from torch import Tensor

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.studies.benchmarks.base import Measured, Say

FEW_SUBSTEPS, MORE_SUBSTEPS = 10, 20


class _KeptBytes:
    """Bytes that autograd keeps for the backward pass."""

    def __init__(self) -> None:
        self.storages: dict[int, Any] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        """Count `tensor`'s storage, and hold it: another one at the place of a freed one would count for it."""
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] = storage
        return tensor

    @property
    def total(self) -> int:
        """Bytes so far."""
        return sum(each.nbytes() for each in self.storages.values())


def _tape_bytes(out: Tensor) -> int:
    tape = getattr(out.grad_fn, "tape", None)
    kept = [] if tape is None else [x for x in vars(tape).values() if isinstance(x, Tensor)]
    return sum(x.untyped_storage().nbytes() for x in kept)


def kept_bytes(card: FeLIFCard, mode: str, steps: int, batch: int = 4, neurons: int = 64, **options: Any) -> int:
    """Bytes that a sequence of `steps` ms holds between forward and backward pass, inputs and outputs included."""
    kept = _KeptBytes()
    generator = torch.Generator().manual_seed(0)
    current_a = ((torch.rand(steps, batch, neurons, generator=generator) * 5.5 - 0.5) * 1e-9).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda x: x):
        out, _ = FeLIF(card, mode, **options)(current_a)
        shown = sum(x.untyped_storage().nbytes() for x in out)
        return kept.total + _tape_bytes(out.spikes) + shown


def bptt_bytes(card: FeLIFCard, steps: int, batch: int, neurons: int, substeps: int = 1000) -> float:
    """Bytes kept by BPTT over `substeps` a millisecond: it keeps the same for each, so two short counts tell."""
    few, more = (
        kept_bytes(card, "bptt", 1, batch, neurons, solver="euler", accuracy=n) for n in (FEW_SUBSTEPS, MORE_SUBSTEPS)
    )
    each = (more - few) / (MORE_SUBSTEPS - FEW_SUBSTEPS)
    return (few + each * (substeps - FEW_SUBSTEPS)) * steps


def memory(card: FeLIFCard, quick: bool, threads: int, say: Say) -> Measured:
    """Count the bytes kept by each gradient mode at 100 ms x 64 neurons x batch 4."""
    torch.set_num_threads(threads)
    steps, batch, neurons = (10 if quick else 100), 4, 64
    say("memory: counting what each gradient keeps")
    whole = bptt_bytes(card, steps, batch, neurons)
    kept = {mode: float(kept_bytes(card, mode, steps, batch, neurons)) for mode in ("bruno", "tangent")}
    kept["checkpoint"] = steps * float(kept_bytes(card, "checkpoint", 1, batch, neurons, solver="euler", accuracy=20))
    kept["bptt"] = whole
    rows = [
        {"gradient": mode, "kept_bytes": size, "bytes_per_neuron_ms": size / (steps * batch * neurons),
         "over_bptt": size / whole}
        for mode, size in kept.items()
    ]  # fmt: skip
    summary: dict[str, float] = {"steps_ms": steps, "batch": batch, "neurons": neurons}
    summary |= {f"{mode}_bytes": size for mode, size in kept.items()}
    summary |= {f"{mode}_over_bptt": size / whole for mode, size in kept.items() if mode != "bptt"}
    notes = ["checkpoint rebuilds the graph of one macro step at a time in its backward pass, on top of what it keeps"]
    return Measured(f"Bytes kept for the backward pass, {steps} ms x {neurons} neurons x batch {batch}",
                    rows, summary, notes)  # fmt: skip
