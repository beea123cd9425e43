"""What moves with the crossing of a macro step: how a gradient passes a spike.

The crossing of V(t) = v_threshold moves with what V depends on, dt*/dx = -(dV/dx) / V'. With event reset the neuron is
let go that much later. Under a constant current all that follows moves along in time,

    d(state at the end) / d(release) = -f(end),          lam_release = -f(end)^T lam_after
    lam_seen_V = -lam_release / V'(seen),                dL/dI += d(time from first to last crossing)/dI lam_release

f = (dV/dt, dp/dt), `seen` the state at the first crossing. While a neuron is held its V stands still, and lam_V is the
adjoint of what is left of the hold (in ms) instead. With macro reset only what is shown at the crossing moves: V stays
at the threshold, p moves by -p'/V' dV.

Source: the chain rule at an event, as in Wunderlich & Pehle 2021, Scientific Reports 11 (adjoint of spiking networks).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bruno_spice.training.dynamics.laws import flow, stacked, torch_laws
from bruno_spice.training.dynamics.sequence import Plan, Tape


class Moving(NamedTuple):
    """A crossing that moves, and what hangs on it, each (B, N)."""

    flow: Tensor
    """(1 + K, B, N): dV/dt and dp/dt where the surrogate looks."""
    by_seen_v: Tensor
    """Adjoint of V there, through the instant of the crossing."""
    by_release: Tensor
    """Adjoint of the last release, or of the hold that is left, per ms."""
    stands: Tensor
    """Whether the neuron is held at the end of the step: lam_V is the adjoint of its hold."""


def moving(
    plan: Plan,
    tape: Tape,
    t: int,
    lam_v: Tensor,
    after_v: Tensor,
    after_p: Tensor,
    shown_v: Tensor,
    shown_p: Tensor,
    constants: Tensor,
) -> Moving:
    """What moves with the crossing of macro step `t`."""
    law, shape = torch_laws(plan.model), lam_v.shape
    x = stacked(law, constants[:, None])
    rate = flow(law, x, tape.seen[t, 0], tape.seen[t, 1:], tape.i_a[t])
    rising = torch.where(tape.fired[t] > 0.0, rate[0], 1.0)
    if tape.hold is None or not plan.event:
        by_shown = rate[0] * shown_v + (rate[1:] * shown_p).sum(0)
        return Moving(rate, -by_shown / rising, lam_v.new_zeros(shape), lam_v.new_zeros(shape, dtype=torch.bool))
    stands = tape.hold[t + 1] > 0.0
    end = flow(law, x, tape.v[t + 1], tape.p[t + 1], tape.i_a[t])
    by_release = torch.where(stands, lam_v, -(end[0] * after_v + (end[1:] * after_p).sum(0)))
    return Moving(rate, -by_release / rising, by_release, stands)
