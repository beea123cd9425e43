"""Weights on programmable devices: what a device is, and the scheme that makes weights of many.

    w = scale / (n - 1) * [G(level+, d+) - G(level-, d-)] / g_step          (differential)
    w = scale / (n/2)   * [G(level,  d)  - G(n/2, d_ref)] / g_step          (offset)

n = 2**bits levels with mean spacing g_step. d is the state of every single device, drawn at random: a filament's length
and radius, a factor. One reference device a row in the offset scheme. The level is the latent weight's, rounded; the
gradient passes straight through (Bengio et al., arXiv 1308.3432).

Weights are in unit weights; the layer behind turns them into a current (`unit_current_a`), as the gain of the
array's output mirrors would. Read noise is drawn once a forward pass and device: a sequence is read with it throughout.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.errors import InputError
from bruno_spice.training.numerics import check_finite, check_precision, not_below_float32
from bruno_spice.training.synapses.base import Synapse, round_levels, straight_through

PLUS, MINUS = 0, 1
CUT_SIGMA = 2.0
Array = NDArray[np.float64]


class DeviceLevels(NamedTuple):
    """The programmable levels of the mean device, (n,) each."""

    conductance_s: Array
    """Rising, in S."""
    setting: Array
    """What writes each: a programming current in A, or the conductance itself where a device says no more."""


class SynapseDevice(ABC):
    """A kind of programmable device. `states` names what differs from one device to the next.

    The methods take and return numpy arrays or torch tensors of one shape: the setting that a device was written with,
    then its states in the order of `states`, SI units.
    """

    card: ClassVar[type[Card] | None] = None
    """The card that it is made from, its only positional argument; None: it is made without."""
    label: ClassVar[str] = "device"
    """In words, for messages, figures and reports."""
    setting_name: str = "setting"
    """Column of the programming table that says what to write."""
    states: ClassVar[tuple[str, ...]] = ()
    renewed: ClassVar[tuple[str, ...]] = ()
    """Those of `states` that are another with every write of a device: standard normal numbers. In training, where
    every update writes the weights anew, each pass draws them; a chip that is scored keeps those of its own write."""
    read_voltage_v: float = 0.2

    @abstractmethod
    def levels(self, bits: int) -> DeviceLevels:
        """2**`bits` levels. Raises `EnvelopeError` for more, or others, than the device was measured for."""

    @abstractmethod
    def conductance_s(self, setting: Any, *states: Any) -> Any:
        """Conductance in S of devices written with `setting`."""

    def mean(self) -> tuple[float, ...]:
        """The states of the mean device."""
        return ()

    def sample(self, shape: tuple[int, ...], rng: np.random.Generator, cut_sigma: float) -> tuple[Array, ...]:
        """The states of devices drawn at random, of `shape` each, within `cut_sigma` standard deviations."""
        return tuple(np.full(shape, value) for value in self.mean())

    def read_noise_s(self, g_s: Any, *states: Any) -> Any:
        """Standard deviation in S of one read of devices at `g_s`."""
        return 0.0 * g_s

    def aged_s(self, g_s: Any, age_s: float, *states: Any) -> Any:
        """Conductance in S of devices written to `g_s`, `age_s` seconds later. Raises `InputError`: none is known."""
        raise InputError(f"nothing is known of how a {self.label} changes with time; leave it at 0")

    def known_until_s(self) -> float:
        """Up to what age in s `aged_s` rests on knowledge: 0 where there is none, infinity for a law of its own."""
        return 0.0 if type(self).aged_s is SynapseDevice.aged_s else math.inf


@dataclass(frozen=True)
class Programming:
    """What to write into an array: level, setting (current in A), conductance in S of the mean and of this very device.

    Each (devices, out, in): two devices a weight (plus, minus), or one. `reference` (in,) is that of the
    offset scheme's extra column, one entry in each field; None for differential pairs.
    """

    level: NDArray[np.int64]
    setting: Array
    g_target_s: Array
    g_expected_s: Array
    reference: "Programming | None" = None


class DeviceLinear(Synapse):
    """Weights on devices of `model`, programmed to ``2**bits`` levels.

    - `scheme`: ``differential`` (two devices a weight, ``2**(bits + 1) - 1`` values) or ``offset`` (one device, and a
      reference column at the middle level; ``2**bits`` values).
    - `stochastic`: round at random in training (always to the nearest in evaluation).
    - `clip`: full scale in units of the rms weight, at most the largest weight; None: the largest weight.
    - `spread`: each device has its own state, cut off at `spread_cut` standard deviations; else all are the mean one.
    - `noisy_reads`: add read noise.
    - `age_s`: time since the devices were written, in s.
    - `after`: in training, each pass draws that time between these two ages in s instead, evenly in its logarithm.
    - `noisy_eval`: whether read noise is added after ``eval()`` too.

    Weights may be bfloat16; devices, and what is read of them, then stay in float32.

    Raises `InputError` for an unknown scheme, for an age of which nothing is known, and `EnvelopeError` where the
    device does not reach its levels.
    """

    level_setting: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        model: SynapseDevice,
        bits: int = 3,
        scheme: str = "differential",
        stochastic: bool = False,
        clip: float | None = 3.0,
        spread: bool = True,
        noisy_reads: bool = True,
        spread_cut: float = CUT_SIGMA,
        age_s: float = 0.0,
        after: tuple[float, float] | None = None,
        noisy_eval: bool = True,
    ) -> None:
        super().__init__(n_in, n_out)
        if scheme not in ("differential", "offset"):
            raise InputError(f"unknown scheme '{scheme}'; there are differential and offset")
        self.scheme, self.stochastic, self.clip = scheme, stochastic, clip
        if not spread_cut > 0.0:
            raise InputError(f"spread_cut must be positive, in standard deviations, not {spread_cut:g}")
        self.spread, self.noisy_reads, self.spread_cut = spread, noisy_reads, spread_cut
        self.age_s, self.after, self.noisy_eval = age_s, after, noisy_eval
        self.model = model
        if after is not None and not model.known_until_s():
            raise InputError(f"synapse.after: nothing is known of how a {model.label} changes with time; leave it out")
        programmable = model.levels(bits)
        for key, oldest_s in (("age_s", age_s), ("after", 0.0 if after is None else after[1])):
            if oldest_s > 0.0:
                states = (np.full_like(programmable.conductance_s, value) for value in model.mean())
                try:
                    model.aged_s(programmable.conductance_s, oldest_s, *states)
                except InputError as error:
                    raise InputError(f"synapse.{key}: {error}") from None
        self.n_levels = 2**bits
        if len(programmable.setting) != self.n_levels:
            raise InputError(f"a {model.label} has {len(programmable.setting)} levels, not {self.n_levels} (2**bits)")
        self.g_step_s = float(np.diff(programmable.conductance_s).mean())
        self.register_buffer("level_setting", torch.tensor(programmable.setting), persistent=False)
        devices = (2 if scheme == "differential" else 1, n_out, n_in)
        for name, shape in (("", devices), ("reference_", (n_in,))):
            for state, value in zip(model.states, model.mean(), strict=True):
                self.register_buffer(name + state, torch.full(shape, value))
        self.redraw()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "DeviceLinear":
        """Move or turn the array; the states of its devices are never turned to bfloat16."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in before.items():
            if value is not None:
                self._buffers[name] = not_below_float32(value, getattr(self, name))
        return self

    @property
    def steps_per_scale(self) -> int:
        """Level steps from zero to full scale."""
        return self.n_levels - 1 if self.scheme == "differential" else self.n_levels // 2

    def _kept(self, name: str = "") -> tuple[Tensor, ...]:
        """The states of the devices (devices, out, in), or (in,) of the ``reference_`` ones."""
        return tuple(getattr(self, name + state) for state in self.model.states)

    def _states(self, name: str = "") -> tuple[Tensor, ...]:
        """The same as this pass has them."""
        kept = self._kept(name)
        if not (self.training and self.spread):
            return kept
        renewed = [state in self.model.renewed for state in self.model.states]
        return tuple(torch.randn_like(each) if new else each for each, new in zip(kept, renewed, strict=True))

    def _age_s(self) -> float:
        """Time since the write, as this pass has it."""
        if not self.training or self.after is None:
            return self.age_s
        low, high = map(math.log, self.after)
        return math.exp(low + (high - low) * float(torch.rand(())))

    def redraw(self) -> None:
        """New devices (none where there is no spread)."""
        if not self.spread:
            return
        rng = np.random.default_rng(int(torch.randint(2**62, (1,)).item()))
        for name, shape in (("", (2 if self.scheme == "differential" else 1, *self.weight.shape)),
                            ("reference_", (self.weight.shape[1],))):  # fmt: skip
            drawn = self.model.sample(shape, rng, self.spread_cut)
            for kept, new in zip(self._kept(name), drawn, strict=True):
                kept.copy_(torch.from_numpy(new))

    def scale(self) -> Tensor:
        """The weight at full swing, a number without gradient."""
        name = type(self).__name__
        dtype = next((state.dtype for state in self._kept()), self.weight.dtype)
        if dtype not in (torch.float32, torch.float64):
            raise InputError(f"{name} computes in float32 or float64, not in {dtype}: a device's "
                             "state (a filament of 4e-10 m) and its levels need them; leave it in float32")  # fmt: skip
        check_precision(self.weight, f"{name}: the weight")
        size = self.weight.detach().to(dtype)
        largest = size.abs().max()
        if not bool(torch.isfinite(largest)):
            check_finite(size, f"{name}: the weight", ("output", "input"))
        if self.clip is not None:
            largest = torch.minimum(largest, self.clip * size.square().mean().sqrt())
        return largest.clamp(min=1e-12)

    def device_levels(self, scale: Tensor | None = None) -> Tensor:
        """Level (devices, out, in) of every device, as it is programmed from the present weights at their `scale()`."""
        scale = self.scale() if scale is None else scale
        steps = self.weight.detach().to(scale.dtype) / scale * self.steps_per_scale
        rounded = round_levels(steps, self.stochastic and self.training)
        if self.scheme == "offset":
            return (rounded + self.n_levels // 2).clamp(0, self.n_levels - 1).long()[None]
        rounded = rounded.clamp(1 - self.n_levels, self.n_levels - 1)
        return torch.stack([rounded.clamp(min=0), -rounded.clamp(max=0)]).long()

    def _read(self, setting: Tensor, *states: Tensor, age_s: float | None = None) -> Tensor:
        """Conductance in S of devices as one read finds them, `age_s` after the write (by default the array's)."""
        g_s = self.model.conductance_s(setting.to(states[0] if states else self.scale()), *states)
        age_s = self.age_s if age_s is None else age_s
        if age_s:
            g_s = self.model.aged_s(g_s, age_s, *states)
        if self.noisy_reads and (self.training or self.noisy_eval):
            g_s = g_s + self.model.read_noise_s(g_s, *states) * torch.randn_like(g_s)
        return g_s

    def effective_weight(self) -> Tensor:
        """What the array does in this pass: rounding, spread and read noise, straight-through to `weight`."""
        with torch.no_grad():
            age_s, scale = self._age_s(), self.scale()
            g_s = self._read(self.level_setting[self.device_levels(scale)], *self._states(), age_s=age_s)
            minus_s = g_s[MINUS] if self.scheme == "differential" else self._reference(age_s)
            actual = (g_s[PLUS] - minus_s) * (scale / (self.g_step_s * self.steps_per_scale))
        return straight_through(self.weight, actual)

    def _reference(self, age_s: float) -> Tensor:
        setting = self.level_setting[self.n_levels // 2].expand(self.weight.shape[1])
        return self._read(setting, *self._states("reference_"), age_s=age_s)

    def programming(self) -> Programming:
        """The levels, settings and conductances to write."""
        level = self.device_levels().cpu().numpy()
        if self.scheme == "differential":
            return self._programming(level, self._kept())
        middle = np.full(self.weight.shape[1], self.n_levels // 2)
        reference = self._programming(middle, self._kept("reference_"))
        return self._programming(level, self._kept(), reference)

    def _programming(
        self, level: NDArray[np.int64], states: tuple[Tensor, ...], reference: Programming | None = None
    ) -> Programming:
        setting = self.level_setting.cpu().numpy()[level]
        own = tuple(each.cpu().numpy().astype(np.float64) for each in states)
        g_target_s = self.model.conductance_s(setting, *self.model.mean())
        g_expected_s = self.model.conductance_s(setting, *own)
        if self.age_s:
            g_expected_s = self.model.aged_s(g_expected_s, self.age_s, *own)
        return Programming(level, setting, g_target_s, g_expected_s, reference)

    def programming_table(self) -> str:
        """The programming as CSV text, a device a line: row (input), column (output; the reference is the last),
        polarity (``+``, ``-``, ``ref``), level, setting (a current in A), target and expected conductance in S.
        """
        program = self.programming()
        lines = [f"row,column,polarity,level,{self.model.setting_name},g_target_s,g_expected_s"]
        for device, sign in enumerate("+-"[: len(program.level)]):
            for column, row in np.ndindex(program.level.shape[1:]):
                lines.append(_line(program, (device, column, row), row, column, sign))
        if program.reference is not None:
            n_out = program.level.shape[1]
            lines += [_line(program.reference, (row,), row, n_out, "ref") for row in range(program.level.shape[2])]
        return "\n".join(lines) + "\n"


def _line(program: Programming, at: tuple[int, ...], row: int, column: int, polarity: str) -> str:
    values = (program.setting[at], program.g_target_s[at], program.g_expected_s[at])
    return f"{row},{column},{polarity},{program.level[at]}," + ",".join(f"{value:.6g}" for value in values)
