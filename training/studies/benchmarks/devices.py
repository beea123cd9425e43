"""What a gradient by device parameters costs beside the same without, in the same run on the same work.

The work is 64 neurons x batch 8 x 50 ms, -0.5...5 nA, forward and backward by ``tangent``, from the sum of the spikes.
The parameters are all that the card declares, each neuron's own or one for all; ``a tenth``: summed over a tenth of the
milliseconds, drawn anew each time (`device_gradient_share`), and how far off that is, per cent of the norm of the whole
gradient, per 1 of each parameter's value, root mean square over the turns. ``autograd`` is the reference through
torch in float64, which the compiled adjoint of the substep is held against (`training.dynamics.by_devices`).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bruno_spice.devices.cards.base import FeLIFCard, HeraclesCard, NeuronCard
from bruno_spice.training.dynamics.solvers import LOGISTIC
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.studies.benchmarks.base import Measured, Say, clock, counted

AUTOGRAD = replace(LOGISTIC, by_constants=None)
"""The solver ``logistic`` without its compiled adjoint."""
OF: dict[str, tuple[str, float]] = {
    "none": ("logistic", 0.0),
    "each neuron's": ("logistic", 1.0),
    "shared": ("logistic", 1.0),
    "shared, a tenth": ("logistic", 0.1),
    "shared, by autograd": (f"{__file__}:AUTOGRAD", 1.0),
}
"""Device parameters: the solver, and the share of the milliseconds."""
RESETS: dict[str, dict[str, Any]] = {
    "macro": {"reset": "macro"},
    "event, through spikes": {"reset": "event", "through_spikes": True},
}


def turn(
    card: NeuronCard, parameters: str, reset: str, size: tuple[int, int, int]
) -> Callable[[], tuple[float, list[Tensor]]]:
    """Forward and backward once more, for the `parameters` of `OF`; returns the seconds, and the gradient by each."""
    solver, share = OF[parameters]
    neuron = FeLIF(card, "tangent", solver, **RESETS[reset], device_gradient_share=share or 1.0)
    if share:
        width = 1 if parameters.startswith("shared") else size[2]
        values = {name: torch.full((width,), x.value, dtype=torch.float64) for name, x in card.parameters.items()}
        neuron.set_devices({name: nn.Parameter(value) for name, value in values.items()})
    drive = torch.rand(size, generator=torch.Generator().manual_seed(0)) * 5.5e-9 - 0.5e-9
    now = clock(torch.get_num_threads())

    def once() -> tuple[float, list[Tensor]]:
        current_a = drive.clone().requires_grad_()
        neuron.zero_grad()
        start = now()
        neuron(current_a)[0].spikes.sum().backward()
        return now() - start, [each.grad * each.detach() for each in neuron.parameters() if each.grad is not None]

    return once


def devices(card: FeLIFCard, quick: bool, threads: int, say: Say) -> Measured:
    """Gradients by the parameters of the card and of a HERACLES neuron, in turns; the best of each counts."""
    torch.set_num_threads(threads)
    size, repeats = ((4, 1, 20), 2) if quick else ((50, 8, 64), 12)
    rows: list[dict[str, Any]] = []
    summary: dict[str, float] = {"steps_ms": size[0], "batch": size[1], "neurons": size[2]}
    for label, each in (("FeLIF", card), ("HERACLES", HeraclesCard.published())):
        for reset in RESETS:
            turns = {parameters: turn(each, parameters, reset, size) for parameters in OF}
            best, found = dict.fromkeys(turns, float("inf")), {parameters: list[Tensor]() for parameters in turns}
            for number in range(1 + repeats):
                for parameters, once in turns.items():
                    if number < 3 or "autograd" not in parameters:
                        say(f"devices: {label}, {reset}, {parameters}, turn {number} of {repeats}")
                        seconds, gradient = once()
                        found[parameters] += [torch.cat(gradient)] if gradient else []
                        best[parameters] = min(best[parameters], seconds) if number else best[parameters]
            whole = found["shared"][0]
            for parameters, seconds in best.items():
                ratio, shared = seconds / best["none"], parameters.startswith("shared")
                off = [float((each - whole).norm() / whole.norm()) for each in found[parameters]] if shared else []
                percent = 100 * math.sqrt(sum(x * x for x in off) / len(off)) if off else None
                row = {"neuron": label, "reset": reset, "parameters": parameters, "ms": 1e3 * seconds, "ratio": ratio}
                rows.append({**row, "off_percent": percent})
                key = f"{label} {reset} {parameters}".lower().replace("'", "").replace(",", "").replace(" ", "_")
                summary[f"{key}_over_tangent"] = ratio
    title = f"ms forward and backward with gradients by all device parameters, {counted(threads, 'thread')}"
    return Measured(title, rows, summary)
