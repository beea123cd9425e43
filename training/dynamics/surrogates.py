"""Surrogate gradients: what a spike's derivative is taken to be, and of what quantity.

    spike = H(x),   d spike / dx := shape(slope * x),  shape(0) = 1

The quantity x is either the voltage missing to the spike, x = V - v_threshold (in V), or the charge missing to it,

    x = [C (V - v_threshold) + A (P - Ps)] / [C (v_threshold - v_reset) + A Ps (1 - polarization_reset)]

which runs from -1 after a reset to about 0 at a spike. A ferroelectric membrane stands still on its plateau
while P takes up the current, so that V says little there about how far the spike is; the charge does.

Source of the shapes: superspike and tanh, Fehlings et al., arXiv 2505.17791 (slope 10 there);
superspike_squared, Zenke & Ganguli 2018, Neural Computation 30(6); arctan, Fang et al. 2021, ICCV.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.models.rows import (
    P_RESET,
    V_PER_P,
    V_RESET,
    V_THRESHOLD,
    WEIGHT,
    domain_count,
    group_of,
)

QUANTITIES = ("charge", "voltage")

SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "superspike": lambda y: 1.0 / (1.0 + y.abs()),
    "superspike_squared": lambda y: (1.0 + y.abs()) ** -2,
    "tanh": lambda y: 1.0 - torch.tanh(y) ** 2,
    "arctan": lambda y: 1.0 / (1.0 + y * y),
}


@dataclass(frozen=True)
class Surrogate:
    """The derivative of a spike: a shape of `SHAPES`, `slope` per unit of the quantity `on`, one of `QUANTITIES`."""

    on: str = "charge"
    shape: str = "superspike_squared"
    slope: float = 5.0

    def __post_init__(self) -> None:
        if self.on not in QUANTITIES:
            raise InputError(f"a surrogate looks at {' or '.join(QUANTITIES)}, not at '{self.on}'")
        if self.shape not in SHAPES:
            raise InputError(f"unknown surrogate shape '{self.shape}'; there are {', '.join(SHAPES)}")
        if not 0.0 < self.slope < math.inf:
            raise InputError(f"the surrogate's slope must be positive and finite, not {self.slope:g}")

    def derivative(self, x: Tensor) -> Tensor:
        """d spike / dx at the distances `x` (any shape)."""
        return SHAPES[self.shape](self.slope * x)

    def distance(self, v: Tensor, p: Tensor, constants: Tensor) -> Tensor:
        """x (...) for voltages `v` (...) and domains `p` (K, ...); `constants` (R, N or 1)."""
        per_v, per_p = self.weights(constants)
        x = v - constants[V_THRESHOLD]
        if self.on == "charge":
            x = x * per_v
            for k, weight in enumerate(per_p):
                x = x + weight * (p[k] - 1.0)
        return x

    def weights(self, constants: Tensor) -> tuple[Any, list[Any]]:
        """dx/dV (N or 1) and dx/dp_k, one entry a domain."""
        if self.on == "voltage":
            return 1.0, [0.0] * domain_count(len(constants))
        domains = domain_count(len(constants))
        weight = constants[group_of(WEIGHT, domains)]
        swing = constants[V_THRESHOLD] - constants[V_RESET]
        per_v = 1.0 / (swing + constants[V_PER_P] * (1.0 - constants[P_RESET]))
        return per_v, [per_v * constants[V_PER_P] * weight[k] for k in range(domains)]


class Spike(torch.autograd.Function):
    """Passes the number of spikes on, with the surrogate's derivative by the distance x; `torch.func` takes it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, spikes: Tensor, surrogate: Surrogate) -> Tensor:
        """`spikes` (...) as they are; gradients go to `x` (...)."""
        return spikes.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Surrogate], output: Tensor) -> None:
        """Keep what the derivative is of."""
        x, _, ctx.surrogate = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        """Tangent of the spikes."""
        (x,) = ctx.saved_tensors
        return tangents[0] * ctx.surrogate.derivative(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Gradient by x."""
        (x,) = ctx.saved_tensors
        return gradients[0] * ctx.surrogate.derivative(x), None, None
