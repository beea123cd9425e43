"""Gradient by the constants of a layer, and so by the parameters of its card: autograd through macro steps.

    dL/dc = lam_seen^T d seen/dc + lam_after^T d after/dc + lam_release dt*/dc + ...

Each crossing is held in time; where gradients pass a spike, `training.dynamics.through` says what its instant costs. A
macro step starts from the state that the tape holds, so that steps are independent and go through many at a time.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bruno_spice.devices.models.rows import V_RESET, WEIGHT, group_of
from bruno_spice.training.dynamics import unrolled
from bruno_spice.training.dynamics.laws import rows_of, torch_laws
from bruno_spice.training.dynamics.logistic import logistic_torch
from bruno_spice.training.dynamics.membrane import Membrane
from bruno_spice.training.dynamics.sequence import Plan, Tape, coarse_ms
from bruno_spice.training.dynamics.through import Moving


class OfStep(NamedTuple):
    """Adjoints of a macro step that a gradient by the constants hangs on, (B, N) or (1 + K, B, N)."""

    seen: Tensor
    after: Tensor
    distance: Tensor
    """Of the surrogate's distance."""
    polarization: Tensor
    """Of sum_k w_k p_k that the layer shows."""
    release: Tensor | None = None
    """Of the last crossing, or release, per ms; `seen` is that of a crossing held in time."""
    reset_v: Tensor | None = None
    """Of the reset voltage that a held neuron shows, and starts from."""

    def moving(self, crossing: Moving, spiked: Tensor, shown_v: Tensor, by_start_v: Tensor) -> "OfStep":
        """With what moves with the crossing; `by_start_v`: adjoint of the V that a neuron is let go from."""
        stands = crossing.stands
        release = torch.where(spiked, -crossing.by_seen_v * crossing.flow[0], 0.0)
        after_v = torch.where(stands, shown_v, self.after[0])
        seen_v = torch.where(stands & ~spiked, 0.0, self.seen[0])
        reset_v = by_start_v + torch.where(stands & ~spiked, shown_v + self.seen[0] - self.after[0], 0.0)
        after, seen = torch.cat([after_v[None], self.after[1:]]), torch.cat([seen_v[None], self.seen[1:]])
        return self._replace(seen=seen, after=after, release=release, reset_v=reset_v)

    def counted(self, active: Tensor) -> "OfStep":
        """Those of the `active` (B, 1) sequences."""
        one = active.to(self.distance.dtype)
        return self._replace(**{name: one * each for name, each in self._asdict().items() if each is not None})


class ConstantsGradient:
    """Gradient by the constants (R, N or 1), summed over the sequence: autograd through macro steps, many at a time.

    ``bruno`` differentiates its coarse step, ``tangent`` the logistic method in float64 (`training.dynamics.logistic`).
    """

    SUBSTEPS: Mapping[torch.dtype, int] = MappingProxyType({torch.float32: 32, torch.float64: 128})
    """By the precision of the sequence."""
    AT_ONCE = 4096
    """Neurons times macro steps."""

    def __init__(self, plan: Plan, tape: Tape, constants: Tensor) -> None:
        self.plan, self.tape, self.constants = plan, tape, constants
        self.total = torch.zeros_like(constants)
        self._waiting: list[tuple[int, OfStep]] = []

    def add(self, t: int, lam: OfStep) -> None:
        """Take macro step t's adjoints."""
        self._waiting.append((t, lam))
        if len(self._waiting) * lam.distance.numel() >= self.AT_ONCE:
            self.work()

    def work(self) -> None:
        """Add the share of the steps that wait: flow, crossing, reset, what is shown, and the surrogate's distance."""
        if not self._waiting:
            return
        steps = [t for t, _ in self._waiting]
        lams = [lam for _, lam in self._waiting]
        self._waiting = []
        wide, event = self.constants.dtype, self.plan.event

        def of(name: str) -> Tensor | None:
            each = [getattr(lam, name) for lam in lams]
            return None if each[0] is None else torch.stack(each, -3).to(wide)  # (..., T, B, N)

        def taped(kept: Tensor, later: int = 0) -> Tensor:
            return torch.stack([kept[t + later] for t in steps], -3).to(wide)

        with torch.enable_grad():
            constants = self.constants.detach().requires_grad_()
            seen, fired = taped(self.tape.seen), taped(self.tape.fired) > 0.0
            flow = self._exact if self.plan.exact else self._coarse
            end, after, release = flow(steps, taped, constants)
            distance = self.plan.surrogate.distance(seen[0], seen[1:], constants)
            shown = taped(self.tape.p, 1) if event else seen[1:]
            weight = constants[group_of(WEIGHT, len(shown))][:, None, None]
            after = torch.where(fired, after, 0.0)
            pairs = [(end, of("seen")), (after, of("after")), (distance, of("distance")),
                     ((weight * shown).sum(0), of("polarization")), (release, of("release")),
                     (constants[V_RESET], of("reset_v"))]  # fmt: skip
            objective = torch.stack([(y * lam).sum() for y, lam in pairs if y is not None and lam is not None]).sum()
            self.total += torch.autograd.grad(objective, constants)[0]

    def _coarse(self, steps: list[int], taped: Any, constants: Tensor) -> tuple[Tensor, Tensor, None]:
        tape = self.tape
        v, p, i_a = taped(tape.v), taped(tape.p), taped(tape.i_a)
        lead_ms = torch.stack([coarse_ms(self.plan, tape, t) for t in steps]).to(constants.dtype)
        law = torch_laws(self.plan.model)
        v_end, p_end = unrolled.euler_step(law, rows_of(law, constants), v, p, i_a, lead_ms, detach_tau=True)
        reset = unrolled.reset(v_end, p_end, torch.ones_like(v, dtype=torch.bool), constants)
        return torch.cat([v_end[None], p_end]), torch.cat([reset[0][None], reset[1]]), None

    def _exact(self, steps: list[int], taped: Any, constants: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        plan, tape = self.plan, self.tape
        v, p, i_a = taped(tape.v), taped(tape.p), taped(tape.i_a)
        hold = torch.zeros_like(v) if tape.hold is None else taped(tape.hold)
        state = Membrane(v.flatten(), p.flatten(1), hold.flatten(), v.flatten())
        how = (self.SUBSTEPS[tape.v.dtype], plan.event, False, plan.through)
        step = logistic_torch(plan.model, constants, state, i_a.flatten(), *how)
        after = torch.cat([state.v[None], state.p])
        release = None if step.release_ms is None else step.release_ms.view(v.shape)
        return step.seen.view(-1, *v.shape), after.view(-1, *v.shape), release
