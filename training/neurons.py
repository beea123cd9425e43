"""Layers of spiking neurons for PyTorch: the calibrated ferroelectric one, and the plain leaky one as its
rival.

    out, state = neuron(current_a, state=None, recurrent_a=None, lengths=None)

Time comes first: `current_a` (T, B, N) in A, one value a macro step of 1 ms; `out.spikes`, `out.voltage_v`
and `out.polarization` are (T, B, N). `recurrent_a` (N, N) in A a spike adds s[t-1] W to the current (row:
from, column: to). `lengths` (B,) ends sequence b after so many steps: no work, no gradient and zeros from
there on.
"""

import math
import warnings
from collections import abc
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from devices.card import FeLIFCard
from devices.errors import InputError
from devices.felif import FeLIFParameters
from devices.felif_constants import P_RESET, constant_rows
from training.flows import HAVE_KERNELS, SOLVERS, find_solver
from training.gradients import GRADIENTS, UNROLLED
from training.limits import find_limits
from training.numerics import check_current, check_finite, check_precision
from training.sequence import Plan, Sequence
from training.surrogates import Spike, Surrogate

FIRST_STEP_MS = 1e-2
RESETS = ("macro", "event", "delayed")


class Outputs(NamedTuple):
    """What a layer shows, each (T, B, N)."""

    spikes: Tensor
    """Number of spikes in each macro step: 0 or 1, or more with event reset."""
    voltage_v: Tensor
    """Membrane voltage at the end of each macro step, before the reset of the macro rule."""
    polarization: Tensor
    """Sum of w_k p_k at the same instant; zero where the neuron has none."""
    current_a: Tensor
    """Synaptic current that the neurons saw in A: input and recurrence, within the limits; without gradient."""


class State(NamedTuple):
    """What a layer carries from one call to the next; (B, N) but for the domains."""

    voltage_v: Tensor
    domains: Tensor
    """(K, B, N), each in -1...1."""
    hold_ms: Tensor
    step_ms: Tensor
    """Step size that the adaptive solver would try next."""
    spikes: Tensor
    """Of the last macro step."""


class FeLIF(nn.Module):
    """A layer of ferroelectric neurons as `card` describes them (equations: `devices.felif`).

    Main arguments: `card` (a `FeLIFCard` or its path); `gradient` (``bruno``, ``tangent``, ``bptt``,
    ``checkpoint``, ``coarse``: `training.gradients`); `solver` (a name in `training.flows.SOLVERS`, or ``auto``:
    ``logistic`` in float32, ``rosenbrock`` in float64) with its `accuracy`. Other arguments: `surrogate` (``charge`` or
    ``voltage``), its `shape` and `slope` (`training.surrogates`); `reset`: ``macro`` (at the end of the macro step,
    the card's refractory time plays no part), ``delayed`` (the rule of BRUNO's authors: the reset state takes the whole
    macro step after the spike's, whose input is lost) or ``event`` (at the crossing, held for t_refractory, several
    spikes a millisecond: as the circuit); `current_limits`: ``none``, ``envelope`` (the currents that the
    card was fitted to) or (low, high) in A, which the synaptic current, recurrence included, is clamped to, as
    saturating input mirrors do; `limit_slope`: the clamp's derivative beyond them, 0 exact, 1 straight-through.

    N is that of the current, unless `set_devices` gave every neuron its own parameters. Numbers have the
    precision of the input, float64 after ``.double()``. Raises `InputError` for an unknown name, and when called for
    float16 or for a number that is not finite.
    """

    def __init__(
        self,
        card: FeLIFCard | Path | str,
        gradient: str = "bruno",
        solver: str = "auto",
        surrogate: str = "charge",
        reset: str = "macro",
        *,
        accuracy: float | None = None,
        shape: str = "superspike_squared",
        slope: float = 5.0,
        current_limits: str | abc.Sequence[float | str] = "none",
        limit_slope: float = 0.0,
    ) -> None:
        super().__init__()
        for value, names, what in (
            (gradient, GRADIENTS, "gradient"),
            (solver, ("auto", *SOLVERS), "solver"),
            (reset, RESETS, "reset"),
        ):
            if value not in names:
                raise InputError(f"unknown {what} '{value}'; there are {', '.join(names)}")
        if accuracy is not None and solver == "auto":
            raise InputError("accuracy means something else to each solver; name the solver with it")
        if accuracy is not None and not 1e-12 <= accuracy <= 1e6:
            raise InputError(f"accuracy must lie within 1e-12...1e6, not {accuracy!r}")
        if gradient in UNROLLED and solver not in ("auto", "euler"):
            raise InputError(f"gradient '{gradient}' goes through euler's steps, not those of {solver}")
        self.card = card if isinstance(card, FeLIFCard) else FeLIFCard.load(card)
        self._domain_weight = FeLIFParameters.from_card(self.card).domain_weight
        self.gradient, self.solver, self.reset = gradient, solver, reset
        self.accuracy = accuracy
        self.limits = find_limits(current_limits, limit_slope, self.card)
        self.surrogate = Surrogate(surrogate, shape, slope)
        self.devices: dict[str, Tensor] = {}
        self._precision: Tensor
        self.register_buffer("_precision", torch.zeros(()), persistent=False)
        self._warned = False

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"domains={self.card.domains}, gradient={self.gradient}, solver={self.solver}, reset={self.reset}"

    def set_devices(self, values: abc.Mapping[str, Tensor]) -> None:
        """Give each neuron its own device: card parameter by name, SI units, (N,); the others keep the card's
        value.

        An `nn.Parameter` among them is trained. Replaces what an earlier call set. Raises `InputError` for an
        unknown name.
        """
        for name in values:
            if name not in self.card.parameters:
                raise InputError(f"unknown parameter '{name}'; the card has {', '.join(self.card.parameters)}")
        for name in self.devices:
            delattr(self, f"device_{name}")
        for name, value in values.items():
            if isinstance(value, nn.Parameter):
                self.register_parameter(f"device_{name}", value)
            else:
                self.register_buffer(f"device_{name}", value)
        self.devices = dict.fromkeys(values, torch.empty(0))

    def constants(self) -> Tensor:
        """What the solvers read (`devices.felif_constants`), (18 + 3 K, N or 1), float64; gradients pass to
        devices."""
        device = self._precision.device
        values: dict[str, Tensor] = {
            name: torch.tensor([each.value], dtype=torch.float64, device=device)
            for name, each in self.card.parameters.items()
        }
        values |= {name: getattr(self, f"device_{name}").double() for name in self.devices}
        return torch.stack(
            torch.broadcast_tensors(*constant_rows(values, self.card.domains, torch.log, self.card.leak))
        )

    def initial_state(self, batch: int, width: int, dtype: torch.dtype | None = None) -> State:
        """The state after a reset at 0 V, for `batch` sequences and `width` neurons."""
        dtype = dtype or self._precision.dtype
        options: Any = {"dtype": dtype, "device": self._precision.device}
        zeros = torch.zeros(batch, width, **options)
        domains = self.constants()[P_RESET].detach().to(**options).expand(self.card.domains, batch, width)
        return State(zeros, domains, zeros, torch.full_like(zeros, FIRST_STEP_MS), zeros)

    def forward(
        self,
        current_a: Tensor,
        state: State | None = None,
        recurrent_a: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Outputs, State]:
        """Outputs (T, B, N) and the state after the last step, for `current_a` (T, B, N) in A."""
        if current_a.dim() != 3:
            raise InputError(f"the current must be (T, B, N), not {tuple(current_a.shape)}")
        self._check_input(current_a, state, recurrent_a)
        dtype = torch.promote_types(current_a.dtype, self._precision.dtype)
        current_a = current_a.to(dtype)
        _, batch, width = current_a.shape
        constants = self.constants()
        if constants.shape[1] not in (1, width):
            raise InputError(f"the layer has {constants.shape[1]} devices, but the current is for {width} neurons")
        state = self.initial_state(batch, width, dtype) if state is None else state
        plan = self._plan(dtype, current_a.device)
        inputs = Sequence(
            current_a,
            state.voltage_v,
            state.domains,
            state.hold_ms,
            state.step_ms,
            state.spikes,
            constants,
            recurrent_a,
            lengths,
        )
        with torch.autocast(current_a.device.type, enabled=False):
            out = GRADIENTS[self.gradient](inputs, plan)
        self._check_envelope(out.current_a)
        last = out.spikes[-1] if len(out.spikes) else state.spikes
        shown = Outputs(out.spikes, out.voltage, out.polarization, out.current_a)
        return shown, State(out.v, out.p, out.hold, out.step, last)

    def _check_input(self, current_a: Tensor, state: State | None, recurrent_a: Tensor | None) -> None:
        if self._precision.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"FeLIF computes in float32 or float64, not in {self._precision.dtype}; leave it in float32"
            )
        check_current(current_a, "FeLIF: the current")
        if recurrent_a is not None:
            check_precision(recurrent_a, "FeLIF: the recurrent current")
            check_finite(recurrent_a, "FeLIF: the recurrent current", ("neuron", "to neuron"))
        for name, value in ({} if state is None else state._asdict()).items():
            check_finite(value, f"FeLIF: the state's {name}")
        for name in self.devices:
            check_finite(getattr(self, f"device_{name}"), f"FeLIF: the devices' {name}", ("neuron",))

    def _plan(self, dtype: torch.dtype, device: torch.device) -> Plan:
        name = self.solver
        if self.gradient in UNROLLED:
            name = "euler"
        elif name == "auto":
            exact = dtype == torch.float64 and device.type == "cpu" and HAVE_KERNELS
            name = "rosenbrock" if exact else "logistic"
        solver = find_solver(name, device)
        accuracy = solver.accuracy_for(self._domain_weight) if self.accuracy is None else self.accuracy
        substeps = 1 if self.gradient == "coarse" else int(accuracy)
        exact, whole = self.gradient == "tangent", self.gradient == "bruno-published"
        event, delayed = self.reset == "event", self.reset == "delayed"
        return Plan(
            solver, accuracy, self.surrogate, event, delayed, exact, whole, substeps=substeps, limits=self.limits
        )

    def _check_envelope(self, current_a: Tensor) -> None:
        span = self.card.envelope.get("i_syn")
        if self._warned or span is None or current_a.numel() == 0:
            return
        low, high = (float(x) for x in torch.aminmax(current_a))
        if not span.covers(low, high):
            self._warned = True
            warnings.warn(
                f"the current runs from {low:.3g} to {high:.3g} A, but the card was fitted from "
                f"{span.min:.3g} to {span.max:.3g} A; beyond that the neuron is an extrapolation "
                f"(current_limits='envelope' keeps it within)",
                stacklevel=3,
            )


class LIF(nn.Module):
    """A layer of leaky integrate-and-fire neurons, one step a millisecond: the rival without a ferroelectric.

        V' = V exp(-1 ms / tau) + I 1 ms / C,      spike where V' >= v_threshold, then V = 0

    Same call as `FeLIF`. By default 10 nA bring the membrane from rest to threshold within one step.
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
        zeros = torch.zeros_like(current_a[0])
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
        voltage = torch.stack(shown_v) * self.v_threshold_v
        total_a = current_a.detach()
        if recurrent_a is not None:
            before = torch.stack([first, *shown_s[:-1]]).detach()
            total_a = total_a + before @ recurrent_a.detach()
        if lengths is not None:
            total_a = torch.where(
                (torch.arange(len(total_a), device=lengths.device)[:, None] < lengths)[..., None], total_a, 0.0
            )
        out = Outputs(torch.stack(shown_s), voltage, torch.zeros_like(voltage), total_a)
        return out, State(v * self.v_threshold_v, zeros.new_zeros(0, *zeros.shape), zeros, zeros, spikes)
