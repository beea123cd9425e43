"""Gradient by the constants of a layer, and so by the parameters of its card, through macro steps.

    dL/dc = lam_seen^T d seen/dc + lam_after^T d after/dc + lam_release dt*/dc + ...

Each crossing is held in time; where gradients pass a spike, `training.dynamics.through` says what its instant costs. A
macro step starts from the state that the tape holds, so that steps are independent and go through many at a time: with
``logistic`` in single precision by the compiled adjoint of its own substeps, otherwise by autograd through those of
``logistic`` in float64, the reference, which is a hundred times as slow.

A sum over so many macro steps is known well from a share of them (`Plan.device_gradient_share`): of each stratum of
1/share rows of a batch one is drawn, anew each time, and stands for it, which leaves the expectation as it is,

    dL/dc ~ (rows/drawn) sum over drawn rows.
"""

import math
import warnings
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from bruno_spice.devices.ferroelectric.paces import LEAST_LEAD_MS
from bruno_spice.devices.models.rows import DRIVE, V_RESET, WEIGHT, group_of
from bruno_spice.training.dynamics import unrolled
from bruno_spice.training.dynamics.laws import rows_of, stacked, torch_laws
from bruno_spice.training.dynamics.logistic import logistic_torch
from bruno_spice.training.dynamics.membrane import HAVE_KERNELS, Membrane
from bruno_spice.training.dynamics.sequence import Plan, Tape
from bruno_spice.training.dynamics.step_back import Given, OfStep, Shown, Swept, implicit_back, step_back, step_flow

Pairs = list[tuple[Tensor | None, Tensor | None]]
"""What hangs on the constants, and its adjoint."""


def compiles(plan: Plan, tape: Tape) -> bool:
    """Whether the solver's own compiled adjoint can do it: float32 on the CPU, with numba; warns where it is another
    device or a law of the model that keeps it from that."""
    if not (plan.exact and plan.solver.by_constants and tape.v.dtype == torch.float32 and HAVE_KERNELS):
        return False
    from bruno_spice.devices.ferroelectric.pullback import undifferentiated

    said, device = undifferentiated(plan.model), tape.v.device.type
    if device != "cpu":
        substeps = ConstantsGradient.SUBSTEPS[torch.float32]
        said = f"on '{device}' they have no kernel, and {substeps} substeps a millisecond whatever the accuracy"
    if said is not None:
        warnings.warn(f"gradients by device parameters go through torch, a hundred times as slow: {said}", stacklevel=2)
    return said is None


class ConstantsGradient:
    """Gradient by the constants (R, N or 1), summed over a sequence, many macro steps at a time.

    ``bruno`` differentiates its coarse step, ``tangent`` the logistic method.
    """

    SUBSTEPS: Mapping[torch.dtype, int] = MappingProxyType({torch.float32: 32, torch.float64: 128})
    """Of autograd, by the precision of the sequence."""
    AT_ONCE: Mapping[bool, int] = MappingProxyType({True: 1 << 16, False: 4096})
    """Neurons times macro steps, compiled or not."""

    def __init__(self, plan: Plan, tape: Tape, constants: Tensor) -> None:
        self.plan, self.tape, self.constants = plan, tape, constants
        self.compiled = compiles(plan, tape)

    def of(self, given: Given, shown: Shown, swept: Swept) -> Tensor:
        """dL/d `constants`, from what a sequence shows and the adjoints of its states (`Swept.lams`)."""
        total = torch.zeros_like(self.constants)
        count, batch, width = swept.by_current.shape
        device = swept.by_current.device
        until = torch.full((batch,), count) if given.lengths is None else given.lengths.cpu()
        steps, rows = (torch.arange(count)[:, None] < until).nonzero(as_tuple=True)
        if not len(steps):
            return total
        stands_for = 1.0
        if self.plan.device_gradient_share < 1.0:
            drawn = drawn_of(len(steps), self.plan.device_gradient_share)
            stands_for = len(steps) / max(len(drawn), 1)
            steps, rows = steps[drawn], rows[drawn]
        at_once = max(self.AT_ONCE[self.compiled] // max(width, 1), 1)
        for t, b in zip(steps.to(device).split(at_once), rows.to(device).split(at_once), strict=True):
            now = Shown(*(y[t if len(y) > 1 else torch.zeros_like(t), b] for y in shown))
            if given.recurrent is not None:
                after = (t + 1 < count)[:, None] * swept.by_current[(t + 1).clamp(max=count - 1), b]
                now = now._replace(spikes=now.spikes + after @ given.recurrent.T)
            total += stands_for * self._of(self.tape.at(t, b), now, swept.lams[t, :, b].movedim(0, -2))
        return total

    def _of(self, tape: Tape, shown: Shown, lam_after: Tensor) -> Tensor:
        """Of macro steps, (M, N) each: flow, crossing, reset, what is shown, and the surrogate's distance."""
        constants = self.constants.to(tape.v[0].dtype)
        *_, lam = step_back(self.plan, tape, 0, shown, lam_after[0], lam_after[1:], constants)
        found = self._through_kernel(tape, lam) if self.compiled else torch.zeros_like(self.constants)
        wide, event = self.constants.dtype, self.plan.event
        with torch.enable_grad():
            constants = self.constants.detach().requires_grad_()
            seen = tape.seen[0].to(wide)
            distance = self.plan.surrogate.distance(seen[0], seen[1:], constants)
            weight = constants[group_of(WEIGHT, len(seen) - 1)][:, None]
            shown_p = tape.p[1].to(wide) if event else seen[1:]
            pairs: Pairs
            pairs = [(distance, lam.distance), ((weight * shown_p).sum(0), lam.polarization),
                     (constants[V_RESET], lam.reset_v)]  # fmt: skip
            if not self.compiled:
                by = self._exact if self.plan.exact else self._published if self.plan.published else self._implicit
                pairs += by(tape, lam, constants)
            objective = [(y * each.to(wide)).sum() for y, each in pairs if y is not None and each is not None]
            return found + torch.autograd.grad(torch.stack(objective).sum(), constants)[0]

    def _through_kernel(self, tape: Tape, lam: OfStep) -> Tensor:
        plan, domains = self.plan, len(tape.p[0])
        assert plan.solver.by_constants is not None
        state = _state(tape)
        release = torch.zeros_like(state.v) if lam.release is None else lam.release.flatten()
        lams = (lam.seen.reshape(1 + domains, -1), lam.after.reshape(1 + domains, -1), release)
        constants = self.constants.to(state.v.dtype)
        how = (plan.accuracy, plan.event, plan.through)
        return plan.solver.by_constants(plan.model, constants, state, tape.i_a[0].flatten(), *how, *lams)

    def _implicit(self, tape: Tape, lam: OfStep, constants: Tensor) -> Pairs:
        """h f(x', I) at the end of both implicit steps, to where the surrogate looks and from the last reset."""
        law, fixed = torch_laws(self.plan.model), constants.detach()
        i_a, fired = tape.i_a[0].to(constants.dtype), tape.fired[0] > 0.0
        pairs: Pairs = []
        after = lam.after.to(constants.dtype)
        steps = [(tape.v[0], tape.seen[0][0], tape.seen[0][1:], tape.lead[0], lam.seen.to(constants.dtype))]
        if self.plan.event:
            reset_v = fixed[V_RESET].expand_as(i_a)
            steps.append((reset_v, tape.v[1], tape.p[1], torch.where(fired, tape.free[0], 0.0), after))
        for start_v, v, p, h_ms, by in steps:
            start_v, v, p, h_ms = (each.to(constants.dtype) for each in (start_v, v, p, h_ms))
            mu = implicit_back(law, stacked(law, fixed[:, None]), start_v, v, p, i_a, h_ms, by[0], by[1:])
            after = torch.cat([mu.v[None], mu.p])
            pairs.append((h_ms * step_flow(law, stacked(law, constants[:, None]), start_v, v, p, i_a), after))
        return [*pairs, (self._reset(fired, tape.seen[0], constants), after if self.plan.event else lam.after)]

    def _published(self, tape: Tape, lam: OfStep, constants: Tensor) -> Pairs:
        v, p, i_a, lead = (each[0].to(constants.dtype) for each in (tape.v, tape.p, tape.i_a, tape.lead))
        law, fired = torch_laws(self.plan.model), tape.fired[0] > 0.0
        whole_ms = ((lead > LEAST_LEAD_MS) | fired).to(constants.dtype)
        v_end, p_end = unrolled.euler_step(law, rows_of(law, constants), v, p, i_a, whole_ms, detach_tau=True)
        end = torch.cat([v_end[None], p_end])
        pairs: Pairs = [(end, lam.seen), (self._reset(fired, end, constants), lam.after)]
        if self.plan.event:
            charged = constants[DRIVE] * torch.where(fired, tape.free[0], 0.0) * i_a
            pairs.append((charged, lam.after[0]))
        return pairs

    def _reset(self, fired: Tensor, state: Tensor, constants: Tensor) -> Tensor:
        """V and p after a reset (1 + K, B, N), 0 where none `fired`; `state` has their shape."""
        none = torch.zeros_like(state, dtype=constants.dtype)
        v, p = unrolled.reset(none[0], none[1:], fired, constants)
        return torch.cat([v[None], p])

    def _exact(self, tape: Tape, lam: OfStep, constants: Tensor) -> Pairs:
        plan, state, fired = self.plan, _state(tape, constants.dtype), tape.fired[0] > 0.0
        how = (self.SUBSTEPS[tape.v[0].dtype], plan.event, False, plan.through)
        i_a = tape.i_a[0].to(constants.dtype)
        step = logistic_torch(plan.model, constants, state, i_a.flatten(), *how)
        after = torch.cat([state.v[None], state.p]).view(-1, *i_a.shape)
        release = None if step.release_ms is None else step.release_ms.view(i_a.shape)
        end = step.seen.view(-1, *i_a.shape)
        return [(end, lam.seen), (torch.where(fired, after, 0.0), lam.after), (release, lam.release)]


def drawn_of(count: int, share: float) -> Tensor:
    """Numbers of the `share` of `count` rows that are drawn, ascending, one of each stratum of 1/share."""
    strata = math.ceil(share * count)
    return ((torch.arange(strata) + torch.rand(strata, dtype=torch.float64)) * (count / max(strata, 1))).long()


def _state(tape: Tape, dtype: torch.dtype | None = None) -> Membrane:
    """The flat state at the start of a tape's first macro step."""
    v, p = tape.v[0], tape.p[0]
    hold = torch.zeros_like(v) if tape.hold is None else tape.hold[0]
    v, p, hold = (x.to(dtype or x.dtype) for x in (v, p, hold))
    return Membrane(v.flatten(), p.flatten(1), hold.flatten(), v.flatten())
