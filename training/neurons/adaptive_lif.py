"""Adaptive LIF: the threshold rises with every spike and falls back slowly, a memory of the neuron's own firing.

    tau dV/dt = -V + (tau / C) I,        V' = a V + (1 - a) (tau / C) I        over a millisecond, a = exp(-1 ms / tau)
    B = v_threshold (1 + beta b),        b' = rho b + (1 - rho) s,             rho = exp(-1 ms / tau_adaptation)
    s = [V' >= B],                       V'' = V' - B s

Source: Bellec, Salaj, Subramoney, Legenstein, Maass 2018, Long short-term memory and learning-to-learn in networks of
spiking neurons, NeurIPS 31, equations 1-3 (b_0 = v_threshold; their beta is 1.7 or 1.8, tau_adaptation 200-700 ms).
"""

import torch
from torch import Tensor

from bruno_spice.training.neurons.kinds import of_layer
from bruno_spice.training.neurons.stepped import SteppedLayer, decay


class AdaptiveLIF(SteppedLayer):
    """A layer of leaky integrate-and-fire neurons whose threshold adapts.

    - `tau_s`, `tau_adaptation_s`: time constants of membrane and threshold in s.
    - `beta`: rise of the threshold for b = 1, in thresholds.
    - `c_membrane_f`: capacitance in F; `v_threshold_v`: voltage of a spike at rest in V.
    - `shape`, `slope`: of the surrogate (`training.dynamics.surrogates`), per v_threshold.
    """

    def __init__(
        self,
        tau_s: float = 20e-3,
        tau_adaptation_s: float = 200e-3,
        beta: float = 1.8,
        c_membrane_f: float = 4e-12,
        v_threshold_v: float = 2.5,
        *,
        shape: str = "superspike_squared",
        slope: float = 5.0,
    ) -> None:
        constants = {"c_membrane_f": c_membrane_f, "v_threshold_v": v_threshold_v, "beta": beta}
        super().__init__(1, shape, slope, tau_s=tau_s, tau_adaptation_s=tau_adaptation_s, **constants)
        self.v_threshold_v, self.beta = v_threshold_v, beta
        self.alpha, self.rho = decay(tau_s), decay(tau_adaptation_s)
        self.gain_ohm = (1.0 - self.alpha) * tau_s / c_membrane_f

    def threshold(self, own: Tensor) -> Tensor:
        """B in V."""
        return self.v_threshold_v * (1.0 + self.beta * own[0])

    def step(self, current_a: Tensor, v: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """The membrane over a millisecond; the threshold is that of the spikes before."""
        return self.alpha * v + self.gain_ohm * current_a, own

    def distance(self, v: Tensor, own: Tensor) -> Tensor:
        """Voltage above the threshold, over v_threshold."""
        return (v - self.threshold(own)) / self.v_threshold_v

    def reset(self, v: Tensor, own: Tensor, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """The threshold is taken off the voltage; then it rises and decays."""
        return v - self.threshold(own).detach() * spikes, torch.lerp(spikes[None], own, self.rho)


ADAPTIVE_LIF = of_layer(AdaptiveLIF, "adaptive LIF")
