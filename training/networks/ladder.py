"""An RC ladder on every input line: K low-pass stages in a row, all of them tapped.

    g_1[t] = g_1[t-1] + (x[t] - g_1[t-1]) / tau,      g_k[t] = g_k[t-1] + (g_{k-1}[t-1] - g_k[t-1]) / tau

Each stage passes on the whole of what came in, later and wider: stage k peaks about k tau after an event. So a
neuron sees the last K tau macro steps at once (gamma memory: de Vries & Principe 1992, Neural Networks 5(4)).
"""

import torch
from torch import Tensor


def ladder(inputs: Tensor, stages: int, tau_steps: float) -> Tensor:
    """Taps (T, B, stages * C) of `inputs` (T, B, C), stage by stage; `tau_steps` of a stage in macro steps."""
    steps, batch, channels = inputs.shape
    state = inputs.new_zeros(stages, batch, channels)
    taps = inputs.new_empty(steps, stages, batch, channels)
    for t, now in enumerate(inputs):
        state = torch.lerp(state, torch.cat([now[None], state[:-1]]), 1.0 / tau_steps)
        taps[t] = state
    return taps.transpose(1, 2).reshape(steps, batch, stages * channels)
