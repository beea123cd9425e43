"""The plain leaky integrate-and-fire layer, FeLIF's rival; with recurrent weights it is the recurrent LIF (RLIF).

    V' = a V + (I + s[t-1] W) 1 ms / C,       a = exp(-1 ms / tau)
    s = [V' >= v_threshold],                  V'' = V' (1 - s)

C dV/dt = -(C / tau) V, and the charge of a millisecond comes at its end. Source: Neftci, Mostafa, Zenke 2019, IEEE
Signal Processing Magazine 36(6); with recurrence, Cramer, Stradmann, Schemmel, Zenke 2022, IEEE TNNLS 33(7).
"""

import math

import torch
from torch import Tensor, nn

from bruno_spice.devices.errors import InputError
from bruno_spice.training.dynamics.surrogates import Spike, Surrogate
from bruno_spice.training.neurons.base import Outputs, State, stacked
from bruno_spice.training.numerics import check_current_shape, check_lengths, check_precision


class LIF(nn.Module):
    """A layer of leaky integrate-and-fire neurons, one step a millisecond: the rival without a ferroelectric.

        V' = V exp(-1 ms / tau) + I 1 ms / C,      spike where V' >= v_threshold, then V = 0

    - `tau_s`: time constant of the membrane in s.
    - `c_membrane_f`: its capacitance in F. By default 10 nA bring it from rest to threshold within one step.
    - `v_threshold_v`: voltage of a spike in V.
    - `shape`: of the surrogate of a spike's derivative, a name in `training.dynamics.surrogates.SHAPES`.
    - `slope`: of the surrogate, per v_threshold.

    Same call as `FeLIF`. Raises `InputError` for an unknown shape or what is not positive and finite, and when called
    for float16.
    """

    def __init__(
        self,
        tau_s: float = 1.44e-3,
        c_membrane_f: float = 4e-12,
        v_threshold_v: float = 2.5,
        *,
        shape: str = "superspike_squared",
        slope: float = 5.0,
    ) -> None:
        super().__init__()
        if not all(0.0 < value < math.inf for value in (tau_s, c_membrane_f, v_threshold_v)):
            raise InputError(
                f"tau_s ({tau_s:g}), c_membrane_f ({c_membrane_f:g}), v_threshold_v ({v_threshold_v:g}) "
                "must be positive and finite"
            )
        self.tau_s, self.c_membrane_f, self.v_threshold_v = tau_s, c_membrane_f, v_threshold_v
        self.surrogate = Surrogate("voltage", shape, slope)

    def forward(
        self,
        current_a: Tensor,
        state: State | None = None,
        recurrent_a: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Outputs, State]:
        """Outputs (T, B, N) and the state after the last step, for `current_a` (T, B, N) in A."""
        check_precision(current_a, "LIF: the current")
        check_current_shape(current_a)
        check_lengths(lengths, current_a, "LIF: lengths")
        zeros = current_a.new_zeros(current_a.shape[1:])
        v, first = (zeros, zeros) if state is None else (state.voltage_v, state.spikes)
        spikes = first
        decay = float(torch.exp(torch.tensor(-1e-3 / self.tau_s, dtype=torch.float64)))
        drive = 1e-3 / (self.c_membrane_f * self.v_threshold_v)
        v = v / self.v_threshold_v
        weights = None if recurrent_a is None else recurrent_a * drive
        shown_v, shown_s = [], []
        for t, driven in enumerate((current_a * drive).unbind(0)):
            if weights is not None:
                driven = torch.addmm(driven, spikes, weights)
            seen = torch.add(driven, v, alpha=decay)
            spikes = Spike.apply(seen - 1.0, (seen.detach() >= 1.0).to(seen.dtype), self.surrogate)
            v_new = seen * (1.0 - spikes.detach())
            if lengths is not None:
                active = (lengths > t)[:, None]
                seen, spikes = torch.where(active, seen, 0.0), torch.where(active, spikes, 0.0)
                v_new = torch.where(active, v_new, v)
            v = v_new
            shown_v.append(seen)
            shown_s.append(spikes)
        voltage = stacked(shown_v, current_a) * self.v_threshold_v
        total_a = current_a.detach()
        if recurrent_a is not None:
            before = torch.stack([first, *shown_s])[:-1].detach()
            total_a = total_a + before @ recurrent_a.detach()
        if lengths is not None:
            total_a = torch.where(
                (torch.arange(len(total_a), device=lengths.device)[:, None] < lengths)[..., None], total_a, 0.0
            )
        out = Outputs(stacked(shown_s, current_a), voltage, torch.zeros_like(voltage), total_a)
        return out, State(v * self.v_threshold_v, zeros.new_zeros(0, *zeros.shape), zeros, zeros, spikes)
