"""Layers that make one step a millisecond in plain torch: what the rivals of FeLIF share.

    seen, state' = step(I, state)          with I = input + s[t-1] W
    s = [x >= 0],  x = distance(seen)      its derivative a surrogate's
    state'' = reset(state', s)

A layer declares its own state in `State.domains`, (K, B, N); `State.voltage_v` is the membrane.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from bruno_spice.devices.errors import InputError
from bruno_spice.training.dynamics.surrogates import Spike, Surrogate
from bruno_spice.training.neurons.base import Outputs, State, stacked
from bruno_spice.training.numerics import check_current_shape, check_lengths, check_precision

STEP_S = 1e-3


def decay(tau_s: float, steps: float = 1.0) -> float:
    """exp(-t / tau) after so many steps of a millisecond."""
    return math.exp(-steps * STEP_S / tau_s)


class SteppedLayer(nn.Module, ABC):
    """Neurons with `own` further states each, called as `training.neurons.felif` says.

    `positive` are constants by name that must be positive and finite; raises `InputError` for others, for an unknown
    `shape` of the surrogate, and when called for float16 or another shape.
    """

    def __init__(self, own: int, shape: str, slope: float, **positive: float) -> None:
        super().__init__()
        for name, value in positive.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < math.inf:
                raise InputError(f"{name} must be positive and finite, not {value!r}")
        self.own = own
        self.surrogate = Surrogate("voltage", shape, slope)

    @abstractmethod
    def step(self, current_a: Tensor, v: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Voltage in V and own states after a millisecond at `current_a` (B, N), before any reset."""

    @abstractmethod
    def distance(self, v: Tensor, own: Tensor) -> Tensor:
        """How far `v` is above threshold, in units of the threshold."""

    @abstractmethod
    def reset(self, v: Tensor, own: Tensor, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """Voltage and own states once the neurons have spiked; `spikes` (B, N) without gradient."""

    def forward(
        self,
        current_a: Tensor,
        state: State | None = None,
        recurrent_a: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Outputs, State]:
        """Outputs (T, B, N) and the state after the last step, for `current_a` (T, B, N) in A."""
        name = type(self).__name__
        check_precision(current_a, f"{name}: the current")
        check_current_shape(current_a)
        check_lengths(lengths, current_a, f"{name}: lengths")
        zeros = current_a.new_zeros(current_a.shape[1:])
        v, own, spikes = zeros, zeros.new_zeros(self.own, *zeros.shape), zeros
        if state is not None:
            v, own, spikes = state.voltage_v, state.domains, state.spikes
        shown: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for t, now_a in enumerate(current_a.unbind(0)):
            total_a = now_a if recurrent_a is None else now_a + spikes @ recurrent_a
            seen, after = self.step(total_a, v, own)
            x = self.distance(seen, after)
            spikes = Spike.apply(x, (x.detach() >= 0.0).to(x.dtype), self.surrogate)
            v_new, own_new = self.reset(seen, after, spikes.detach())
            if lengths is not None:
                active = (lengths > t)[:, None]
                seen, spikes, total_a = (torch.where(active, each, 0.0) for each in (seen, spikes, total_a))
                v_new, own_new = torch.where(active, v_new, v), torch.where(active, own_new, own)
            v, own = v_new, own_new
            for kept, value in zip(shown, (spikes, seen, total_a.detach()), strict=True):
                kept.append(value)
        fired, voltage, total = (stacked(each, current_a) for each in shown)
        return Outputs(fired, voltage, torch.zeros_like(voltage), total), State(v, own, zeros, zeros, spikes)
