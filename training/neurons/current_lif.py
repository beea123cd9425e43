"""Current-based LIF: the synaptic current is a filter of its own, so that a spike acts for a few milliseconds.

    tau_synapse di/dt = -i + I,          C dV/dt = -(C / tau) V + i,           I constant over a millisecond
    i' = b i + (1 - b) I                                                       b = exp(-1 ms / tau_synapse)
    V' = a V + (1 - a) (tau / C) I + (i - I) K / C,                            a = exp(-1 ms / tau)
    K  = tau tau_synapse (a - b) / (tau - tau_synapse)                         (a 1 ms where both are equal)
    s = [V' >= v_threshold],             V'' = V' - v_threshold s

Source: the model, Neftci, Mostafa, Zenke 2019, Surrogate gradient learning in spiking neural networks, IEEE Signal
Processing Magazine 36(6), equations 1-5; its exact integration, Rotter & Diesmann 1999, Biological Cybernetics 81.
"""

import math

from torch import Tensor

from bruno_spice.training.neurons.kinds import of_layer
from bruno_spice.training.neurons.stepped import STEP_S, SteppedLayer, decay


class CurrentLIF(SteppedLayer):
    """A layer of leaky integrate-and-fire neurons behind synapses with a time constant.

    - `tau_s`, `tau_synapse_s`: time constants of membrane and synaptic current in s.
    - `c_membrane_f`: capacitance in F; `v_threshold_v`: voltage of a spike in V.
    - `shape`, `slope`: of the surrogate (`training.dynamics.surrogates`), per v_threshold.
    """

    def __init__(
        self,
        tau_s: float = 10e-3,
        tau_synapse_s: float = 5e-3,
        c_membrane_f: float = 4e-12,
        v_threshold_v: float = 2.5,
        *,
        shape: str = "superspike_squared",
        slope: float = 5.0,
    ) -> None:
        constants = {"c_membrane_f": c_membrane_f, "v_threshold_v": v_threshold_v}
        super().__init__(1, shape, slope, tau_s=tau_s, tau_synapse_s=tau_synapse_s, **constants)
        self.v_threshold_v = v_threshold_v
        self.alpha, self.beta = decay(tau_s), decay(tau_synapse_s)
        self.gain_ohm = (1.0 - self.alpha) * tau_s / c_membrane_f
        if math.isclose(tau_s, tau_synapse_s, rel_tol=1e-6):
            kernel_s = STEP_S * self.alpha
        else:
            kernel_s = tau_s * tau_synapse_s * (self.alpha - self.beta) / (tau_s - tau_synapse_s)
        self.lag_ohm = kernel_s / c_membrane_f

    def step(self, current_a: Tensor, v: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Synaptic current (own, in A) and membrane over a millisecond."""
        lag_a = own[0] - current_a
        seen = self.alpha * v + self.gain_ohm * current_a + self.lag_ohm * lag_a
        return seen, (current_a + self.beta * lag_a)[None]

    def distance(self, v: Tensor, own: Tensor) -> Tensor:
        """Voltage above the threshold, over v_threshold."""
        return v / self.v_threshold_v - 1.0

    def reset(self, v: Tensor, own: Tensor, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """The threshold is taken off the voltage; the current goes on."""
        return v - self.v_threshold_v * spikes, own


CURRENT_LIF = of_layer(CurrentLIF, "current-based LIF")
