"""LIF with learned time constants: each neuron's own leak is trained beside the weights.

    tau dV/dt = -V + R I,                V' = V + k (R I - V)                  over a millisecond
    k = 1 - exp(-1 ms / tau) = sigmoid(w),                                     w is trained; R = tau_start / C stays
    s = [V' >= v_threshold],             V'' = V' (1 - s)

Source: Fang, Yu, Chen, Masquelier, Huang, Tian 2021, Incorporating learnable membrane time constant to enhance learning
of spiking neural networks, ICCV, equations 7-9 (one w a layer: `shared`); a constant for each neuron, Perez-Nieves,
Leung, Dragotti, Goodman 2021, Nature Communications 12.
"""

import math

import torch
from torch import Tensor, nn

from bruno_spice.training.neurons.kinds import of_layer
from bruno_spice.training.neurons.stepped import STEP_S, SteppedLayer, decay


class LearnedLIF(SteppedLayer):
    """A layer of `width` leaky integrate-and-fire neurons with trained time constants.

    - `tau_s`: time constant of the membrane in s at the start.
    - `shared`: one time constant for the whole layer.
    - `c_membrane_f`: capacitance in F; `v_threshold_v`: voltage of a spike in V.
    - `shape`, `slope`: of the surrogate (`training.dynamics.surrogates`), per v_threshold.
    """

    def __init__(
        self,
        width: int,
        tau_s: float = 10e-3,
        shared: bool = False,
        c_membrane_f: float = 4e-12,
        v_threshold_v: float = 2.5,
        *,
        shape: str = "superspike_squared",
        slope: float = 5.0,
    ) -> None:
        constants = {"c_membrane_f": c_membrane_f, "v_threshold_v": v_threshold_v}
        super().__init__(0, shape, slope, tau_s=tau_s, **constants)
        self.v_threshold_v, self.resistance_ohm = v_threshold_v, tau_s / c_membrane_f
        share = 1.0 - decay(tau_s)
        self.logit = nn.Parameter(torch.full((1 if shared else width,), math.log(share / (1.0 - share))))

    def time_constants_s(self) -> Tensor:
        """tau in s as trained so far, (width,) or (1,)."""
        return STEP_S / nn.functional.softplus(self.logit)  # -ln(1 - sigmoid(w)) = softplus(w)

    def step(self, current_a: Tensor, v: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """The membrane over a millisecond."""
        return torch.lerp(v, self.resistance_ohm * current_a, torch.sigmoid(self.logit)), own

    def distance(self, v: Tensor, own: Tensor) -> Tensor:
        """Voltage above the threshold, over v_threshold."""
        return v / self.v_threshold_v - 1.0

    def reset(self, v: Tensor, own: Tensor, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """A neuron that spiked begins at 0 V."""
        return v * (1.0 - spikes), own


LEARNED_LIF = of_layer(LearnedLIF, "LIF, learned tau", takes_width=True)
