"""What the input mirrors of a neuron can carry: its synaptic current, all of it together, is clamped to that.

    I = min(max(I_total, low), high),      dI/dI_total := 1 within the limits, slope beyond them

I_total is input, bias and recurrence in A. A mirror that saturates does the same in the circuit, and a card tells
the truth only for the currents that it was fitted to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.units import parse_spice_number


@dataclass(frozen=True)
class CurrentLimits:
    """The clamp from `low_a` to `high_a`."""

    low_a: float
    high_a: float
    slope: float = 0.0
    """0 is the clamp's own derivative, 1 passes gradients straight through."""

    def passing(self, total_a: Tensor) -> Tensor:
        """Where `total_a` lies within the limits, of the same shape."""
        return (total_a >= self.low_a) & (total_a <= self.high_a)

    def clamp(self, total_a: Tensor) -> Tensor:
        """`total_a` limited, of the same shape."""
        limited = total_a.detach().clamp(self.low_a, self.high_a)
        if not total_a.requires_grad:
            return limited
        slope = torch.where(self.passing(total_a), torch.ones_like(total_a), self.slope)
        return limited + slope * (total_a - total_a.detach())


def find_limits(limits: str | Sequence[float | str], slope: float, card: NeuronCard) -> CurrentLimits | None:
    """The limits that ``none``, ``envelope`` (of `card`) or a pair in A mean; numbers take SPICE suffixes.

    Raises `InputError` for anything else.
    """
    if not 0.0 <= slope <= 1.0:
        raise InputError(f"limit_slope must lie within 0...1, not {slope!r}")
    if limits == "none":
        return None
    if limits == "envelope":
        span = card.envelope.get("i_syn")
        if span is None:
            raise InputError("the card has no envelope of i_syn; give current_limits as (low, high) in A")
        return CurrentLimits(span.min, span.max, slope)
    if isinstance(limits, str) or len(limits) != 2:
        raise InputError(f"current_limits must be none, envelope or (low, high) in A, not {limits!r}")
    low, high = (parse_spice_number(each) for each in limits)
    if not low < high:
        raise InputError(f"current_limits must rise from low to high, not from {low:g} to {high:g} A")
    return CurrentLimits(low, high, slope)
