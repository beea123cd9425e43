"""BPTT over every microsecond as well written as it can be: the honest opponent of BRUNO's claims on memory and time.

    forward    y_{n+1} = y_n + dt f(y_n, I),  y = (V, p);  y_n kept for each of the 1000 substeps of a millisecond
    backward   lam_n = (dy_{n+1}/dy_n)^T lam_{n+1},   dL/dI += (dy_{n+1}/dI)^T lam_{n+1}

Compiled, in float64, in the same Euler steps as ``solver="euler"``. It keeps what the method cannot do without, (V, p)
each microsecond, and makes each Jacobian anew on the way back, where torch's autograd keeps some dozens of tensors.
Feed-forward layers with macro reset only: it is a yardstick, not a way to train. Used by
`training.studies.benchmarks.fused`.
"""

# mypy: allow-untyped-defs
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bruno_spice.devices.ferroelectric.bound import compiled, template
from bruno_spice.devices.ferroelectric.scalar.windows import euler_step
from bruno_spice.devices.models.rows import P_RESET, V_RESET, V_THRESHOLD, domain_count
from bruno_spice.training.dynamics.surrogates import Surrogate
from bruno_spice.training.neurons.felif import FeLIF


@template()
def taped_window(constants, v, p, i_a, tape, ran):
    """One macro step of each neuron; `tape` (substeps, 1 + K, n) keeps the state before each step.

    v (n,) and p (K, n) go from start to end, a crossing not yet reset; ran (n,) counts the steps up to it.
    """
    substeps, rows, neurons = tape.shape
    domains = rows - 1
    dp, gain, rate, p_now = np.empty(domains), np.empty(domains), np.empty(domains), np.empty(domains)
    nothing = np.empty((rows, 0))
    for j in range(neurons):
        x = constants[j % constants.shape[0]].copy()
        v_now = v[j]
        p_now[:] = p[:, j]
        n = 0
        while n < substeps and v_now < x[V_THRESHOLD]:
            tape[n, 0, j] = v_now
            tape[n, 1:, j] = p_now
            v_now = euler_step(v_now, p_now, i_a[j], 1.0 / substeps, x, dp, gain, rate, nothing)
            n += 1
        ran[j] = n
        v[j] = v_now
        p[:, j] = p_now


@template()
def window_back(constants, i_a, tape, ran, lam, by_i):
    """Adjoints `lam` (1 + K, n) from the end of a macro step to its start; adds dL/dI to `by_i` (n,)."""
    substeps, rows, neurons = tape.shape
    domains = rows - 1
    dp, gain, rate, p_now = np.empty(domains), np.empty(domains), np.empty(domains), np.empty(domains)
    jacobian, before = np.empty((rows, rows + 1)), np.empty(rows)
    for j in range(neurons):
        x = constants[j % constants.shape[0]].copy()
        for n in range(ran[j] - 1, -1, -1):
            jacobian[:] = 0.0
            for row in range(rows):
                jacobian[row, row] = 1.0
            p_now[:] = tape[n, 1:, j]
            euler_step(tape[n, 0, j], p_now, i_a[j], 1.0 / substeps, x, dp, gain, rate, jacobian)
            for column in range(rows):
                before[column] = 0.0
                for row in range(rows):
                    before[column] += jacobian[row, column] * lam[row, j]
            for row in range(rows):
                by_i[j] += jacobian[row, rows] * lam[row, j]
            lam[:, j] = before


class FusedBPTT(torch.autograd.Function):
    """Spikes (T, B, N) of a feed-forward layer under currents (T, B, N) in A, from rest."""

    @staticmethod
    def forward(
        ctx: Any, current_a: Tensor, constants: Tensor, model: Any, surrogate: Surrogate, substeps: int
    ) -> Tensor:
        """Integrate; `constants` (R, N or 1)."""
        steps, width = len(current_a), current_a[0].numel()
        domains = domain_count(len(constants))
        rows = np.ascontiguousarray(constants.numpy().T)
        row_of = np.arange(width) % len(rows)
        threshold, v_reset, p_reset = (rows[row_of, name] for name in (V_THRESHOLD, V_RESET, P_RESET))
        currents = current_a.detach().double().numpy().reshape(steps, width)
        tape, seen = np.empty((steps, substeps, 1 + domains, width)), np.empty((steps, 1 + domains, width))
        ran, fired = np.empty((steps, width), dtype=np.int64), np.empty((steps, width), dtype=bool)
        v, p = np.zeros(width), np.tile(p_reset, (domains, 1))
        for t in range(steps):
            compiled(taped_window, model)(rows, v, p, currents[t], tape[t], ran[t])
            seen[t, 0], seen[t, 1:] = v, p
            fired[t] = v >= threshold
            v, p = np.where(fired[t], v_reset, v), np.where(fired[t], p_reset, p)
        ctx.kept = (constants, model, surrogate, currents, tape, seen, ran, fired)
        return torch.from_numpy(fired.reshape(current_a.shape)).to(current_a.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        """The adjoint sweep."""
        constants, model, surrogate, currents, tape, seen, ran, fired = ctx.kept
        (by_spikes,) = gradients
        rows = np.ascontiguousarray(constants.numpy().T)
        per_v, per_p = surrogate.weights(constants)
        lam, by_current = np.zeros(seen.shape[1:]), np.zeros_like(currents)
        for t in reversed(range(len(currents))):
            v, *p = torch.from_numpy(seen[t]).view(-1, *by_spikes.shape[1:])
            distance = surrogate.distance(v, torch.stack(p), constants)
            pull = by_spikes[t].double() * surrogate.derivative(distance)
            lam = np.where(fired[t], 0.0, lam)
            lam += torch.stack([pull * each for each in (per_v, *per_p)]).reshape(lam.shape).numpy()
            compiled(window_back, model)(rows, currents[t], tape[t], ran[t], lam, by_current[t])
        return torch.from_numpy(by_current).view(by_spikes.shape).to(by_spikes.dtype), None, None, None, None


def fused_bptt(neuron: FeLIF, current_a: Tensor, substeps: int = 1000) -> Tensor:
    """Spikes (T, B, N) of `neuron` under `current_a` (T, B, N) in A; a gradient reaches it through every substep."""
    spikes: Tensor = FusedBPTT.apply(current_a, neuron.constants().detach(), neuron.model, neuron.surrogate, substeps)
    return spikes
