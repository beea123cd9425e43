"""Layers of spiking neurons for PyTorch: the calibrated ferroelectric one, and the plain leaky one as its
rival.

    out, state = neuron(current_a, state=None, recurrent_a=None, lengths=None)

Time comes first: `current_a` (T, B, N) in A, one value a macro step of 1 ms; `out.spikes`, `out.voltage_v`
and `out.polarization` are (T, B, N). `recurrent_a` (N, N) in A a spike adds s[t-1] W to the current (row:
from, column: to). `lengths` (B,) ends sequence b after so many steps: no work, no gradient and zeros from
there on.
"""

import warnings
from collections import abc
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from bruno_spice.devices.models.rows import P_RESET, V_RESET
from bruno_spice.training.dynamics import GRADIENTS, SOLVERS
from bruno_spice.training.dynamics.laws import at_membrane, rows_of, torch_laws
from bruno_spice.training.dynamics.limits import find_limits
from bruno_spice.training.dynamics.membrane import HAVE_KERNELS
from bruno_spice.training.dynamics.sequence import Plan, Result, Sequence
from bruno_spice.training.dynamics.solvers import SolverInfo
from bruno_spice.training.dynamics.surrogates import Surrogate
from bruno_spice.training.neurons.base import CircuitLayer, Outputs, State
from bruno_spice.training.numerics import (
    check_current,
    check_current_shape,
    check_finite,
    check_lengths,
    check_precision,
    check_transforms,
    not_below_float32,
)

FIRST_STEP_MS = 1e-2
RESETS = ("macro", "event", "delayed")


def _solver(name: str, device: torch.device) -> SolverInfo:
    """The solver called `name`; raises `InputError` where there is none or it does not run on `device`."""
    info = SOLVERS.find(name)
    if info.needs_kernels and not HAVE_KERNELS:
        raise InputError(f"solver '{name}' needs numba; install it or take solver='logistic'")
    if info.devices is not None and device.type not in info.devices:
        others = [key for key, other in SOLVERS.items() if other.devices is None]
        raise InputError(f"solver '{name}' does not run on '{device.type}'; take {' or '.join(others)}")
    return info


def _passing() -> str:
    """The gradients of the package that can pass a spike."""
    return ", ".join(name for name in GRADIENTS if GRADIENTS.find(name).passes_spikes)


class FeLIF(CircuitLayer):
    """A layer of ferroelectric neurons as a card describes them (equations: `devices.models.felif`).

        out, state = FeLIF(card)(current_a, state=None, recurrent_a=None, lengths=None)

    Main arguments:

    - `card`: a `FeLIFCard`, the path of one, or ``calibrated``.
    - `gradient`: a name in `training.dynamics.GRADIENTS`, such as ``bruno`` or ``tangent``, or ``file.py:GRADIENT``.
    - `solver`: a name in `training.dynamics.SOLVERS`, ``file.py:SOLVER``, or ``auto``: ``logistic`` in float32,
      ``rosenbrock`` in float64.
    - `surrogate`: what a spike's derivative is taken of, ``charge`` or ``voltage`` (`training.dynamics.surrogates`).
    - `reset`: ``macro``, at the end of the macro step, the card's refractory time plays no part; ``event``, at the
      crossing, held for t_refractory, several spikes a millisecond: as the circuit; ``delayed``, the rule of BRUNO's
      authors: the reset state takes the whole macro step after the spike's, whose input is lost.

    Other arguments:

    - `accuracy`: of the `solver`, which has to be named with it: its substeps a macro step (1 or more), or its
      relative tolerance.
    - `shape`: of the surrogate, a name in `training.dynamics.surrogates.SHAPES`.
    - `slope`: of the surrogate, per unit of charge or per V.
    - `current_limits`: what the synaptic current, recurrence included, is clamped to, as saturating input mirrors do:
      ``none``, ``envelope`` (the currents that the card was fitted to) or (low, high) in A.
    - `limit_slope`: the clamp's derivative beyond the limits, from 0, exact, to 1, straight-through.
    - `through_spikes`: whether gradients pass a spike, with the instant of its crossing, in ``tangent``, ``bptt`` and
      ``checkpoint`` (docs/explanation/gradients.md).
    - `device_gradient_share`: of the milliseconds that gradients by device parameters are summed over; below 1 drawn
      anew each time, without bias, in every gradient that does not go through all substeps
      (`training.dynamics.by_devices`).

    When called:

    - `current_a`: (T, B, N) in A, one value a macro step of 1 ms; N is any, unless `set_devices` gave every neuron its
      own parameters.
    - `state`: the `State` that an earlier call returned; None: polarization as after a reset, at 0 V.
    - `recurrent_a`: (N, N) in A a spike, row: from, column: to.
    - `lengths`: (B,), the number of steps of each sequence; None: all T.

    Returns `Outputs`, (T, B, N) each, and the `State` after the last step, in the precision of the input, float64 after
    ``.double()``, float32 after ``.bfloat16()``. Raises `InputError` for an unknown name or a setting out of its range,
    and when called for float16, a number that is not finite or another shape; `CardError` for a card that cannot be
    read.
    """

    def __init__(
        self,
        card: NeuronCard | Path | str,
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
        through_spikes: bool = False,
        device_gradient_share: float = 1.0,
    ) -> None:
        super().__init__()
        if reset not in RESETS:
            raise InputError(f"unknown reset '{reset}'; there are {', '.join(RESETS)}")
        if solver != "auto":
            SOLVERS.check(solver)
        self._gradient = GRADIENTS.find(gradient)
        if accuracy is not None and solver == "auto":
            raise InputError("accuracy means something else to each solver; name the solver with it")
        if accuracy is not None and not (least := SOLVERS.find(solver).least_accuracy) <= accuracy <= 1e6:
            raise InputError(f"accuracy of solver '{solver}' must lie within {least:g}...1e6, not {accuracy!r}")
        if (needed := self._gradient.solver) is not None and solver not in ("auto", needed):
            raise InputError(f"gradient '{gradient}' goes through {needed}'s steps, not those of {solver}")
        if through_spikes and not self._gradient.passes_spikes:
            raise InputError(f"gradient '{gradient}' stops at a reset; through_spikes goes with {_passing()}")
        if not 0.0 < device_gradient_share <= 1.0:
            raise InputError(f"device_gradient_share must lie above 0 and up to 1, not {device_gradient_share!r}")
        if device_gradient_share < 1.0 and needed is not None:
            raise InputError(
                f"gradient '{gradient}' goes through all substeps of {needed}; leave device_gradient_share at 1"
            )
        self.through_spikes, self.device_gradient_share = through_spikes, device_gradient_share
        self.card: NeuronCard = card if isinstance(card, NeuronCard) else NeuronCard.load(card)
        self.model: Any = self.card.NEURON
        self._domain_weight = NeuronParameters.from_card(self.card).shares
        self.gradient, self.solver, self.reset = gradient, solver, reset
        self.accuracy = accuracy
        self.limits = find_limits(current_limits, limit_slope, self.card)
        self.surrogate = Surrogate(surrogate, shape, slope)
        self.devices: dict[str, Tensor] = {}
        self.factors: abc.Callable[[], abc.Mapping[str, Tensor]] = dict
        self._precision: Tensor
        self.register_buffer("_precision", torch.zeros(()), persistent=False)
        self._warned = False

    def _apply(self, fn: abc.Callable[[Tensor], Tensor], recurse: bool = True) -> "FeLIF":
        """Move or turn the layer; devices and arithmetic stay in float32 where a network is turned to bfloat16."""
        super()._apply(lambda value: not_below_float32(value, fn(value)), recurse)
        return self

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

    def constants(self, **instead: float) -> Tensor:
        """What the solvers read (`devices.models.rows`), (R, N or 1), float64; gradients pass to
        devices. `instead`: parameters by name that have this value here, SI units."""
        device = self._precision.device
        values: dict[str, Tensor] = {
            name: torch.tensor([each.value], dtype=torch.float64, device=device)
            for name, each in self.card.parameters.items()
        }
        values |= {name: getattr(self, f"device_{name}").double() for name in self.devices}
        values |= {name: values[name] * factor.double() for name, factor in self.factors().items()}
        values |= {name: torch.full_like(values[name], each) for name, each in instead.items()}
        return torch.stack(
            torch.broadcast_tensors(*self.model.constants(values, self.card.domains, torch.log, self.card.leak))
        )

    def initial_state(self, batch: int, width: int, dtype: torch.dtype | None = None) -> State:
        """Polarization as after a reset, but at 0 V, for `batch` sequences and `width` neurons."""
        dtype = dtype or self._precision.dtype
        options: Any = {"dtype": dtype, "device": self._precision.device}
        zeros = torch.zeros(batch, width, **options)
        constants = self.constants(v_reset=0.0).to(**options)
        domains = constants[P_RESET].expand(self.card.domains, batch, width)
        film_v = constants[V_RESET].expand(batch, width).clone() if self.model.TERMINAL else zeros
        return State(film_v, domains, zeros, torch.full_like(zeros, FIRST_STEP_MS), zeros)

    def forward(
        self,
        current_a: Tensor,
        state: State | None = None,
        recurrent_a: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Outputs, State]:
        """Outputs (T, B, N) and the state after the last step, for `current_a` (T, B, N) in A."""
        check_transforms(current_a, "FeLIF")
        check_current_shape(current_a)
        check_lengths(lengths, current_a, "FeLIF: lengths")
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
            out = self._gradient.run(inputs, plan)
        self._check_envelope(out.current_a)
        last = out.spikes[-1] if len(out.spikes) else state.spikes
        voltage_v = self._at_membrane(out, constants)
        shown = Outputs(out.spikes, voltage_v, out.polarization, out.current_a, out.crossing_ms)
        return shown, State(out.v, out.p, out.hold, out.step, last)

    def _at_membrane(self, out: Result, constants: Tensor) -> Tensor:
        """Voltage (T, B, N) that the outside sees, from that of the film."""
        law = torch_laws(self.model)
        x = rows_of(law, constants.to(out.voltage.dtype))[0]
        return at_membrane(law, x, out.voltage, out.polarization)[0]

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
        name = self._gradient.solver or self.solver
        if name == "auto":
            exact = dtype == torch.float64 and device.type == "cpu" and HAVE_KERNELS
            name = "rosenbrock" if exact else "logistic"
        solver = _solver(name, device)
        chosen = solver.accuracy_for(self._domain_weight, self.through_spikes)
        accuracy = chosen if self.accuracy is None else self.accuracy
        event, delayed = self.reset == "event", self.reset == "delayed"
        settings = {"substeps": int(accuracy), "through": self.through_spikes, **self._gradient.plan}
        settings |= {"limits": self.limits, "device_gradient_share": self.device_gradient_share}
        return Plan(self.model, solver, accuracy, self.surrogate, event, delayed, **settings)

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
