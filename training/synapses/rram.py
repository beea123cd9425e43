"""Weights as devices give them: programmed to one of few levels, each device a little off, each read a little noisy.

    w = scale / (n - 1) * [G(i_prog[level+], l+, r+) - G(i_prog[level-], l-, r-)] / g_step        (differential)
    w = scale / (n/2)   * [G(i_prog[level],  l,  r)  - G(i_prog[n/2], l_ref, r_ref)] / g_step        (offset)

n = 2**bits levels with spacing g_step (`devices.rram.filament.levels`), filament length l and radius r of every single
device, one reference device a row in the offset scheme. The level is the latent weight's, rounded; the
gradient passes straight through (Bengio et al., arXiv 1308.3432). The uniform quantiser is that of Fehlings
et al., arXiv 2505.17791: symmetric, scale = max |w|, stochastic rounding, 3 bits = {-3...3}.

Weights are in unit weights; the layer behind turns them into a current (`unit_current_a`), as the gain of the
array's output mirrors would. Read noise is drawn once a forward pass and device: a sequence is read with it throughout.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bruno_spice.devices.cards.base import RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.rram.filament import (
    CUT_SIGMA,
    RRAMParameters,
    conductance,
    levels,
    read_noise,
    sample_geometry,
)
from bruno_spice.training.numerics import check_finite, check_precision
from bruno_spice.training.synapses.base import Synapse, round_levels, straight_through

PLUS, MINUS = 0, 1


@dataclass(frozen=True)
class Programming:
    """What to write into an array: level, current in A, conductance in S of the mean and of this very device.

    Each (devices, out, in): two devices a weight (plus, minus), or one. `reference` (in,) is that of the
    offset scheme's extra column, one entry in each field; None for differential pairs.
    """

    level: NDArray[np.int64]
    i_prog_a: NDArray[np.float64]
    g_target_s: NDArray[np.float64]
    g_expected_s: NDArray[np.float64]
    reference: "Programming | None" = None


class RRAMLinear(Synapse):
    """Weights (out, in) on RRAM devices, programmed to ``2**bits`` levels.

    Main arguments:

    - `n_in`, `n_out`: numbers of inputs and outputs; inputs are (..., in), weighted sums (..., out), in unit weights.
    - `card`: the `RRAMCard` of the devices.
    - `bits`: of a device; ``2**bits`` levels, evenly spaced in conductance.
    - `scheme`: ``differential`` (two devices a weight, ``2**(bits + 1) - 1`` values) or ``offset`` (one device, and a
      reference column at the middle level; ``2**bits`` values).

    Other arguments:

    - `stochastic`: round at random in training (always to the nearest in evaluation).
    - `clip`: full scale in units of the rms weight, at most the largest weight; None: the largest weight.
    - `spread`: each device has its own filament, normal with the card's sigmas; else all are the mean device.
    - `noisy_reads`: add read noise, drawn once a forward pass and device.
    - `spread_cut`: how many sigmas filaments are cut off at, which leaves less than the card declares
      (`devices.rram.filament.remaining_sigma`).

    `weight` (out, in) is latent, 0 at first, and trained straight through the rounding. Raises `InputError` for an
    unknown scheme or a `spread_cut` that is not positive, `EnvelopeError` where the card does not reach its levels, and
    when called `InputError` for a weight that is not finite and for a precision below float32.
    """

    length_m: Tensor
    radius_m: Tensor
    reference_length_m: Tensor
    reference_radius_m: Tensor
    level_current_a: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        card: RRAMCard,
        bits: int = 3,
        scheme: str = "differential",
        stochastic: bool = False,
        clip: float | None = 3.0,
        spread: bool = True,
        noisy_reads: bool = True,
        spread_cut: float = CUT_SIGMA,
    ) -> None:
        super().__init__(n_in, n_out)
        if scheme not in ("differential", "offset"):
            raise InputError(f"unknown scheme '{scheme}'; there are differential and offset")
        self.scheme, self.stochastic, self.clip = scheme, stochastic, clip
        if not spread_cut > 0.0:
            raise InputError(f"spread_cut must be positive, in standard deviations, not {spread_cut:g}")
        self.spread, self.noisy_reads, self.spread_cut = spread, noisy_reads, spread_cut
        self.parameters_rram = RRAMParameters.from_card(card)
        programmable = levels(card, bits)
        self.n_levels = 2**bits
        self.g_step_s = float(np.diff(programmable.conductance_s).mean())
        self.register_buffer("level_current_a", torch.tensor(programmable.i_prog_a), persistent=False)
        devices = (2 if scheme == "differential" else 1, n_out, n_in)
        for name, shape in (("", devices), ("reference_", (n_in,))):
            self.register_buffer(f"{name}length_m", torch.full(shape, self.parameters_rram.length_mean))
            self.register_buffer(f"{name}radius_m", torch.full(shape, self.parameters_rram.radius_mean))
        self.redraw()

    @property
    def steps_per_scale(self) -> int:
        """Level steps from zero to full scale."""
        return self.n_levels - 1 if self.scheme == "differential" else self.n_levels // 2

    def redraw(self) -> None:
        """New filaments for all devices (none where there is no spread)."""
        if not self.spread:
            return
        rng = np.random.default_rng(int(torch.randint(2**62, (1,)).item()))
        for name in ("", "reference_"):
            length, radius = (getattr(self, f"{name}{side}_m") for side in ("length", "radius"))
            drawn = sample_geometry(tuple(length.shape), self.parameters_rram, rng, self.spread_cut)
            length.copy_(torch.from_numpy(drawn[0]))
            radius.copy_(torch.from_numpy(drawn[1]))

    def scale(self) -> Tensor:
        """The weight at full swing, a number without gradient."""
        if self.length_m.dtype not in (torch.float32, torch.float64):
            raise InputError(f"RRAMLinear computes in float32 or float64, not in {self.length_m.dtype}: a filament of "
                             "4e-10 m and its levels need them; leave it in float32")  # fmt: skip
        check_precision(self.weight, "RRAMLinear: the weight")
        size = self.weight.detach()
        largest = size.abs().max()
        if not bool(torch.isfinite(largest)):
            check_finite(size, "RRAMLinear: the weight", ("output", "input"))
        if self.clip is not None:
            largest = torch.minimum(largest, self.clip * size.square().mean().sqrt())
        return largest.clamp(min=1e-12)

    def device_levels(self) -> Tensor:
        """Level (devices, out, in) of every device, as it is programmed from the present weights."""
        steps = self.weight.detach() / self.scale() * self.steps_per_scale
        rounded = round_levels(steps, self.stochastic and self.training)
        if self.scheme == "offset":
            return (rounded + self.n_levels // 2).clamp(0, self.n_levels - 1).long()[None]
        rounded = rounded.clamp(1 - self.n_levels, self.n_levels - 1)
        return torch.stack([rounded.clamp(min=0), -rounded.clamp(max=0)]).long()

    def _read(self, i_prog_a: Tensor, length_m: Tensor, radius_m: Tensor) -> Tensor:
        """Conductance in S of devices as one read finds them."""
        g_s = conductance(i_prog_a.to(length_m), length_m, radius_m, self.parameters_rram)
        if self.noisy_reads:
            g_s = g_s + read_noise(g_s, length_m, self.parameters_rram) * torch.randn_like(g_s)
        return g_s

    def effective_weight(self) -> Tensor:
        """What the array does in this pass: rounding, spread and read noise, straight-through to `weight`."""
        with torch.no_grad():
            g_s = self._read(self.level_current_a[self.device_levels()], self.length_m, self.radius_m)
            minus_s = g_s[MINUS] if self.scheme == "differential" else self._reference()
            actual = (g_s[PLUS] - minus_s) * (self.scale() / (self.g_step_s * self.steps_per_scale))
        return straight_through(self.weight, actual)

    def _reference(self) -> Tensor:
        current = self.level_current_a[self.n_levels // 2].expand(len(self.reference_length_m))
        return self._read(current, self.reference_length_m, self.reference_radius_m)

    def programming(self) -> Programming:
        """The levels, currents and conductances to write."""
        level = self.device_levels().cpu().numpy()
        if self.scheme == "differential":
            return self._programming(level, self.length_m, self.radius_m)
        middle = np.full(len(self.reference_length_m), self.n_levels // 2)
        reference = self._programming(middle, self.reference_length_m, self.reference_radius_m)
        return self._programming(level, self.length_m, self.radius_m, reference)

    def _programming(
        self, level: NDArray[np.int64], length_m: Tensor, radius_m: Tensor, reference: Programming | None = None
    ) -> Programming:
        p = self.parameters_rram
        i_prog_a = self.level_current_a.cpu().numpy()[level]
        length, radius = (each.cpu().numpy().astype(np.float64) for each in (length_m, radius_m))
        g_target_s = conductance(i_prog_a, p.length_mean, p.radius_mean, p)
        return Programming(level, i_prog_a, g_target_s, conductance(i_prog_a, length, radius, p), reference)

    def programming_table(self) -> str:
        """The programming as CSV text, a device a line: row (input), column (output; the reference is the last),
        polarity (``+``, ``-``, ``ref``), level, current in A, target and expected conductance in S.
        """
        program = self.programming()
        lines = ["row,column,polarity,level,i_prog_a,g_target_s,g_expected_s"]
        for device, sign in enumerate("+-"[: len(program.level)]):
            for column, row in np.ndindex(program.level.shape[1:]):
                lines.append(_line(program, (device, column, row), row, column, sign))
        if program.reference is not None:
            n_out = program.level.shape[1]
            lines += [_line(program.reference, (row,), row, n_out, "ref") for row in range(program.level.shape[2])]
        return "\n".join(lines) + "\n"


def _line(program: Programming, at: tuple[int, ...], row: int, column: int, polarity: str) -> str:
    values = (program.i_prog_a[at], program.g_target_s[at], program.g_expected_s[at])
    return f"{row},{column},{polarity},{program.level[at]}," + ",".join(f"{value:.6g}" for value in values)
