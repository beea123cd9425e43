"""Losses and scores on spike trains: how far trains (T, B, N), one value a millisecond, are from those that are wanted.

    van Rossum       D^2 = 1/tau int [x(t) - y(t)]^2 dt,     x(t) = sum_k exp(-(t - t_k) / tau) for t >= t_k
    first spike      t = sum_k prod_{j <= k} (1 - s_j) + sum_k s_k prod_{j < k} (1 - s_j) c_k           in ms
    F1 (+- w)        2 matched / (shown + wanted), each spike matched with one other at most w away

The filtered trains are known at the ends of milliseconds, spikes within them at the instants c where a layer shows them
(`Outputs.crossing_ms`); from there to the next end D^2 is exact. Gradients go by the spikes' surrogate, not by c.

Source: van Rossum 2001, A novel spike distance, Neural Computation 13(4). First-spike latency as a product of surviving
milliseconds: the expectation of a first event, here with the surrogate's derivative of each.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def filtered(spikes: Tensor, tau_ms: float, crossing_ms: Tensor | None = None) -> Tensor:
    """x at the end of each millisecond, (T, B, N), for `spikes` (T, B, N) at `crossing_ms`, else at its end."""
    decay = math.exp(-1.0 / tau_ms)
    driven = spikes if crossing_ms is None else spikes * torch.exp((crossing_ms - 1.0) / tau_ms)
    trace, steps = spikes.new_zeros(spikes.shape[1:]), []
    for now in driven.unbind(0):
        trace = now + decay * trace
        steps.append(trace)
    return torch.stack(steps) if steps else torch.zeros_like(spikes)


def van_rossum(
    spikes: Tensor, wanted: Tensor, tau_ms: float, mask: Tensor | None = None, crossing_ms: Tensor | None = None,
    wanted_ms: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """D^2 of every train, (B, N), between `spikes` and `wanted`, each (T, B, N), 0 behind the `mask` (T, B).

    `crossing_ms` and `wanted_ms` are the instants within their milliseconds, their ends where None.
    """
    apart = filtered(spikes, tau_ms, crossing_ms) - filtered(wanted, tau_ms, wanted_ms)
    if mask is not None:
        apart = apart * mask[..., None]
    ends = apart.square().sum(0) * (1.0 - math.exp(-2.0 / tau_ms)) / 2.0
    return ends


def first_spike_ms(spikes: Tensor, crossing_ms: Tensor | None = None) -> Tensor:
    """When each neuron first spikes, (B, N) in ms from the start; T where it does not. `spikes` (T, B, N).

    Differentiable through the spikes: one that almost came would end every later millisecond of waiting.
    """
    there = spikes.clamp(max=1.0)
    waits = torch.cumprod(1.0 - there, dim=0)
    before = torch.cat([torch.ones_like(waits[:1]), waits[:-1]])
    within = torch.ones_like(there) if crossing_ms is None else crossing_ms
    return waits.sum(0) + (before * there * within).sum(0)


def latency_loss(spikes: Tensor, wanted_ms: Tensor, crossing_ms: Tensor | None = None) -> Tensor:
    """Squared error of the first spike of every neuron, (B, N) in ms^2; `wanted_ms` (B, N)."""
    return (first_spike_ms(spikes, crossing_ms) - wanted_ms).square()


def times_ms(spikes: Tensor, crossing_ms: Tensor | None = None) -> list[list[Array]]:
    """Instants of the first spike of each millisecond, of sequence b and neuron n at ``[b][n]``, in ms."""
    fired = spikes.detach().cpu().numpy() > 0
    within = np.ones(fired.shape) if crossing_ms is None else crossing_ms.detach().cpu().double().numpy()
    _, batch, width = fired.shape
    ends = [[np.flatnonzero(fired[:, b, n]) for n in range(width)] for b in range(batch)]
    return [[at + within[at, b, n] for n, at in enumerate(row)] for b, row in enumerate(ends)]


def matched(first_ms: Array, second_ms: Array, within_ms: float) -> int:
    """How many spikes of two sorted trains pair up, each with one other, at most `within_ms` away."""
    found = i = j = 0
    while i < len(first_ms) and j < len(second_ms):
        apart = first_ms[i] - second_ms[j]
        if abs(apart) <= within_ms:
            found, i, j = found + 1, i + 1, j + 1
        elif apart < 0:
            i += 1
        else:
            j += 1
    return found
