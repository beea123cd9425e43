"""How right the gradients are: cosine and norm ratio to the gradient through every substep, in float64.

The work is a recurrent net of two FeLIF layers (8 - 6 - 5, batch 4), its gradient by all of its weights.

`norms`: how large they get along a sequence. A factor a millisecond of more than 1 in the backward pass of a recurrent
layer (32 - 32, batch 8, float32) is an exponent: the norm overflows, or training clips it to noise.
"""

import math
from typing import Any

import torch
from torch import Tensor

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.studies.benchmarks.base import Measured, Say

CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "tangent_rosenbrock": ("tangent", {"solver": "rosenbrock"}),
    "tangent_logistic": ("tangent", {"solver": "logistic"}),
    "bruno_rosenbrock": ("bruno", {"solver": "rosenbrock"}),
    "bruno_logistic": ("bruno", {"solver": "logistic"}),
    "coarse": ("coarse", {}),
}
"""Name: gradient mode and options of `FeLIF`."""

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "published": ("bruno-published", {"surrogate": "voltage", "shape": "superspike", "slope": 10.0}),
    "published, charge": ("bruno-published", {}),
    "bruno": ("bruno", {}),
    "tangent": ("tangent", {}),
    "through spikes": ("tangent", {"reset": "event", "through_spikes": True}),
}
"""Of `norms`: gradient mode and options of `FeLIF`."""


def gradient(card: FeLIFCard, quick: bool, threads: int, say: Say, *, full_bptt: bool = True) -> Measured:
    """Compare the modes with BPTT, for both surrogates; `quick`, or `full_bptt` False, takes ``tangent`` of the Euler
    solver for the truth, which equals it to rounding and is 1000 times faster."""
    torch.set_num_threads(threads)
    steps, substeps = (6, 250) if quick else (20, 1000)
    full_bptt = full_bptt and not quick
    rows: list[dict[str, Any]] = []
    summary: dict[str, float] = {"steps_ms": steps, "substeps": substeps}
    for surrogate in ("charge", "voltage"):
        euler = {"solver": "euler", "accuracy": substeps}
        say(f"gradient: BPTT over {steps} ms, surrogate on {surrogate}")
        truth = network_gradient(card, "bptt" if full_bptt else "tangent", surrogate, steps, **euler)
        for name, (mode, options) in {"tangent_euler": ("tangent", euler), **CONTESTANTS}.items():
            ours = network_gradient(card, mode, surrogate, steps, **options)
            cosine, ratio = likeness(ours, truth)
            rows.append({"surrogate": surrogate, "gradient": name, "cosine": cosine, "norm_ratio": ratio})
            summary |= {f"{surrogate}_{name}_cosine": cosine, f"{surrogate}_{name}_norm_ratio": ratio}
    said = "BPTT through every substep" if full_bptt else "tangent of the Euler solver"
    return Measured("Gradients beside " + said, rows, summary)


def likeness(ours: Tensor, truth: Tensor) -> tuple[float, float]:
    """Cosine and ratio of norms, 0 where one vanishes; both (n,)."""
    ours, truth = ours.double(), truth.double()
    norms = float(ours.norm()), float(truth.norm())
    cosine = float(ours @ truth) / (norms[0] * norms[1]) if all(norms) else 0.0
    return cosine, norms[0] / norms[1] if norms[1] else 0.0


def network_gradient(card: FeLIFCard, mode: str, surrogate: str, steps: int, **options: Any) -> Tensor:
    """Gradient by the weights of the recurrent net, flattened."""
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
    one, two = (FeLIF(card, mode, surrogate=surrogate, **options).double() for _ in range(2))
    out, _ = one(x @ weights[0] * 2e-9, None, weights[2] * 2e-9)
    shown, _ = two((out.spikes @ weights[1] + 0.5) * 3e-9)
    loss = ((shown.spikes * read).cumsum(0) / steps).pow(2).mean()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def norms(card: FeLIFCard, quick: bool, threads: int, say: Say) -> Measured:
    """Norm of the gradient by the weights of a recurrent layer over sequences of 10 to 300 ms; None: not finite."""
    torch.set_num_threads(threads)
    rows: list[dict[str, Any]] = []
    summary: dict[str, float] = {}
    for name, (mode, options) in RULES.items():
        for steps in (5, 10) if quick else (10, 20, 30, 50, 100, 200, 300):
            say(f"norms: {name}, {steps} ms")
            norm = float(recurrent_gradient(card, mode, steps, **options).norm())
            rows.append({"gradient": name, "steps_ms": steps, "norm": norm if math.isfinite(norm) else None})
            if math.isfinite(norm):
                summary[f"{name.replace(', ', '_').replace(' ', '_')}_{steps}_ms"] = norm
    return Measured("Norm of the gradient of a recurrent layer", rows, summary)


def recurrent_gradient(card: FeLIFCard, mode: str, steps: int, **options: Any) -> Tensor:
    """Gradient by input and recurrent weights of a spike score at the end of `steps` ms, flattened."""
    generator = torch.Generator().manual_seed(0)
    width, unit_a = 32, 4e-9
    x = (torch.rand(steps, 8, width, generator=generator) < 0.2).float()
    weights = [(torch.randn(width, width, generator=generator) * 0.5 + 0.3).requires_grad_()]
    weights.append((torch.randn(width, width, generator=generator) * 0.3).requires_grad_())
    read = torch.randn(width, generator=generator)
    out, _ = FeLIF(card, mode, current_limits="envelope", **options)(x @ weights[0] * unit_a, None, weights[1] * unit_a)
    loss = ((out.spikes * read).sum((0, 2)) * 10.0 / (width * steps)).pow(2).mean()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])
