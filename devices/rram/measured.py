"""A resistive cell as it was measured: what a write leaves, how it moves after it, how a read is off.

    G(s)    = Q_s(sqrt(r) z_d + sqrt(1 - r) z_w)          one SET with the setting s (word-line voltage, current)
    G(g)    = g + Q_g(z_w)                                  written to g and verified
    G(t)    = G(0) + Q_{G(0), t}(z_t)                       t after the write
    read    = G + sigma(G) G xi

z_d is what a device has by itself, z_w what a write adds and z_t how this write relaxes: standard normal numbers. Q
maps such a score to the quantile that was measured there, so that Q(0) is the median, whatever the shape of the
distribution; r is the device's share of the variance of the score. Q is linear in the score between those of the table,
constant beyond (nothing lies further out than what was measured), linear in the setting or conductance, and in time
linear in

    u = ln(1 + t / t_1),   t_1 the first time that was measured

as traps with evenly spread activation energies give. Up to `FURTHEST` times the last measured time the line is drawn
on.

Functions take numpy arrays or torch tensors. Source: the measurement (the card's `provenance`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.devices.cards.measured import MeasuredCard, Relaxation
from bruno_spice.devices.errors import EnvelopeError, InputError
from bruno_spice.devices.rram.filament import Numbers, library
from bruno_spice.devices.units import format_si

Array = NDArray[np.float64]
FURTHEST = 1000.0
SAME = 1e-6
"""Of a time or a conductance: so little beyond it is digits."""
LEAST_S = 1e-9
"""No device has less, whatever noise a tester adds to nothing; a resistor in a netlist needs some."""


@dataclass(frozen=True)
class Line:
    """Where numbers lie among rising `nodes` (n,): the index below and the share of the way to the next, 0...1."""

    below: Any
    share: Any

    @classmethod
    def of(cls, value: Numbers, nodes: Array) -> "Line":
        """Of `value`, any shape; what lies beyond an end is at it."""
        lib = library(value)
        inside = np.clip(value, nodes[0], nodes[-1]) if lib is np else value.clamp(nodes[0], nodes[-1])
        if len(nodes) == 1:
            return cls(lib.zeros_like(inside, dtype=lib.int64), 0.0 * inside)
        steps = np.diff(nodes)
        if np.allclose(steps, steps[0], rtol=1e-6, atol=0.0):
            along = (inside - nodes[0]) / steps[0]
            below = _whole(along).clip(0, len(nodes) - 2)
            return cls(below, along - below)
        known = nodes if lib is np else lib.as_tensor(nodes, dtype=value.dtype, device=value.device)
        below = (lib.searchsorted(known, inside, side="right") - 1).clip(0, len(nodes) - 2)
        return cls(below, (inside - known[below]) / (known[below + 1] - known[below]))


def _whole(value: Numbers) -> Numbers:
    return np.asarray(value).astype(np.int64) if library(value) is np else value.long()


def along(values: Array, at: Line) -> Numbers:
    """`values` (n,) at `at`."""
    if len(values) == 1:
        return values[0] + 0.0 * at.share
    low, high = _taken(values, at.below), _taken(values, at.below + 1)
    return low + at.share * (high - low)


def between(table: Array, rows: Line, columns: Line) -> Numbers:
    """`table` (n, m) at `rows` and `columns`, bilinear."""
    flat, width = table.ravel(), table.shape[1]
    corner = rows.below * width + columns.below

    def within(first: Numbers) -> Numbers:
        left, right = _taken(flat, first), _taken(flat, first + 1)
        return left + columns.share * (right - left)

    low = within(corner)
    return low if len(table) == 1 else low + rows.share * (within(corner + width) - low)


def _taken(values: Array, index: Numbers) -> Numbers:
    """`values` (n,) at `index`, in single precision where that is a tensor: a table's numbers have no more."""
    torch = library(index)
    return (
        values[index] if torch is np else torch.as_tensor(values, dtype=torch.float32, device=index.device).take(index)
    )


class MeasuredCell:
    """The numbers of `card` as arrays, and its equations. Conductances in S, times in s."""

    def __init__(self, card: MeasuredCard) -> None:
        self.card = card
        self.g_range_s = card["g_level_min"], card["g_level_max"]

    def set_median_s(self) -> tuple[Array, Array]:
        """Settings and median conductances of the SET curve, the latter never falling."""
        curve = self.card.set_curve
        if curve is None:
            raise EnvelopeError("the card has no SET curve: what one write without verifying leaves was not measured")
        return np.array(curve.setting), np.maximum.accumulate(curve.median_s)

    def setting(self, g_s: Array) -> Array:
        """The settings whose median conductance is `g_s`. Raises `EnvelopeError` for what the curve does not reach."""
        setting, median_s = self.set_median_s()
        if np.any(outside := (g_s < median_s[0]) | (g_s > median_s[-1])):
            raise EnvelopeError(
                f"a conductance of {format_si(float(g_s[outside][0]), 'S')} is outside "
                f"{format_si(float(median_s[0]), 'S')}...{format_si(float(median_s[-1]), 'S')}, which was measured"
            )
        return np.interp(g_s, median_s, setting)

    def set_once(self, setting: Numbers, z_device: Numbers, z_write: Numbers) -> Numbers:
        """After one SET with `setting`."""
        curve = self.card.set_curve
        assert curve is not None
        rows = Line.of(setting, np.array(curve.setting))
        share = along(np.array(curve.device_share), rows)
        score = share**0.5 * z_device + (1.0 - share) ** 0.5 * z_write
        return between(np.array(curve.quantiles_s), rows, Line.of(score, np.array(curve.scores)))

    def check_verified(self, g_s: Array) -> None:
        """Raises `EnvelopeError` where one of the levels `g_s` is not among those that were written and verified."""
        levels = self.card.verified
        assert levels is not None
        low_s, high_s = levels.conductance_s[0], levels.conductance_s[-1]
        if np.any(outside := (g_s < low_s * (1.0 - SAME)) | (g_s > high_s * (1.0 + SAME))):
            raise EnvelopeError(
                f"a level of {format_si(float(g_s[outside][0]), 'S')} is outside {format_si(low_s, 'S')}..."
                f"{format_si(high_s, 'S')}, within which writes were verified"
            )

    def verified_s(self, g_s: Numbers, z_write: Numbers) -> Numbers:
        """Written to `g_s` and verified."""
        levels = self.card.verified
        assert levels is not None
        rows = Line.of(g_s, np.array(levels.conductance_s))
        return _positive(g_s + between(np.array(levels.quantiles_s), rows, Line.of(z_write, np.array(levels.scores))))

    def relaxed_s(self, g_s: Numbers, time_s: float, z_time: Numbers) -> Numbers:
        """`time_s` after devices were written to `g_s`. Raises `InputError` where that is not known."""
        known = self.card.relaxation
        if time_s == 0.0:
            return g_s
        if known is None:
            raise InputError("how this cell changes with time after a write was not measured; leave it at 0")
        if time_s > FURTHEST * known.time_s[-1]:
            raise InputError(
                f"{format_si(time_s, 's')} after a write is more than {FURTHEST:g} times the "
                f"{format_si(known.time_s[-1], 's')} that were measured"
            )
        rows = Line.of(g_s, np.array(known.conductance_s))
        return _positive(g_s + between(moved_s(known, time_s), rows, Line.of(z_time, np.array(known.scores))))

    def noise_s(self, g_s: Numbers) -> Numbers:
        """Standard deviation of one read of devices at `g_s`; 0 where none was measured."""
        if self.card.read_noise is None:
            return 0.0 * g_s
        cells = self.card.read_noise.cells
        rows = Line.of(g_s, np.array([cell.conductance_s for cell in cells]))
        return g_s * along(np.array([cell.sigma for cell in cells]), rows)


def beyond(time_s: float, known_s: float) -> bool:
    """Whether `time_s` is beyond `known_s`, up to which something was measured, by more than digits."""
    return time_s > known_s * (1.0 + SAME)


def moved_s(known: Relaxation, time_s: float) -> Array:
    """The table (n, scores) of how far devices have moved after `time_s`; nothing at 0."""
    u, nodes = np.log1p(time_s / known.time_s[0]), np.log1p(np.array(known.time_s) / known.time_s[0])
    tables = np.array(known.quantiles_s)
    nodes, tables = np.append(0.0, nodes), np.concatenate([np.zeros((1, *tables.shape[1:])), tables])
    below = int(np.clip(np.searchsorted(nodes, u, side="right") - 1, 0, len(nodes) - 2))
    share = (u - nodes[below]) / (nodes[below + 1] - nodes[below])
    return np.asarray(tables[below] + share * (tables[below + 1] - tables[below]))


def _positive(g_s: Numbers) -> Numbers:
    return np.maximum(g_s, LEAST_S) if library(g_s) is np else g_s.clamp(min=LEAST_S)
