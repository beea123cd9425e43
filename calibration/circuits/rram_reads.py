"""When an RRAM deck sets, resets and reads its cell: found in one run of the deck itself.

    v = v(oe) - v(ae): positive sets, negative resets and reads;    G = i(vcell)/v at the end of a read

A read is a stretch over which v keeps one level, between 0.3 and 1.02 times -vread: a transistor in series takes its
share. ``vread`` is the deck's ``.param``, or else the level at which its run ends. SET and RESET are where v goes
beyond 1.5 vread to either side. Of several reads after a SET, the last before the RESET counts, and after that RESET
the last before the next SET.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform

Array = NDArray[np.float64]

RRAM_VECTORS = ("v(ae)", "v(oe)", "i(vcell)")
LOWEST, HIGHEST, PULSE = 0.3, 1.02, 1.5
"""A read's voltage over vread: from, to; a SET or RESET is above `PULSE`."""
STEADY = 0.02
"""Relative change of the voltage within a read."""
STEADY_CONDUCTANCE = 0.05


@dataclass(frozen=True)
class Read:
    """A read from `start_s` to `end_s`; the conductance is taken at `time_s`, shortly before its end."""

    start_s: float
    time_s: float
    end_s: float


@dataclass(frozen=True)
class RRAMTiming:
    """What the deck `where` does to its cell, and when."""

    where: str
    read_voltage_v: float
    """The deck's."""
    cell_voltage_v: float
    """What of it the cell sees in the read after SET."""
    set_width_s: float
    """From foot to foot, as `reset_width_s`; 0 without such a pulse."""
    set_end_s: float
    """Where the SET's plateau ends."""
    reset_width_s: float
    after_set: Read
    after_reset: Read | None

    def read(self, after_reset: bool = False) -> Read:
        """The read after the SET, or after the RESET. Raises `NetlistError` where the deck has none."""
        if not after_reset:
            return self.after_set
        if self.after_reset is None:
            raise NetlistError(
                f"{self.where}: has no RESET with a read at {-self.read_voltage_v:g} V behind it, so no conductance "
                "after a RESET can be told"
            )
        return self.after_reset


def find_timing(raw: Waveform, vread_v: float | None, where: str) -> RRAMTiming:
    """The timing in a run `raw` of the whole deck `where`. Raises `NetlistError` where it never reads after its SET."""
    time, v = raw.time_s, raw["v(oe)"] - raw["v(ae)"]
    vread = abs(vread_v) if vread_v else float(-v[-1])
    if not vread > 0:
        raise NetlistError(
            f"{where}: has no .param vread and does not end in a read on the RESET polarity (v(ae) above v(oe)), so "
            "the read voltage is unknown"
        )
    reads = _reads(time, v, vread)
    first_set = _first(v > PULSE * vread, 0)
    start = 0 if first_set is None else first_set
    first_reset = _first(v < -PULSE * vread, start)
    after_set = [r for r in reads if time[start] <= r.start_s and (first_reset is None or r.end_s < time[first_reset])]
    if not after_set:
        raise NetlistError(
            f"{where}: no read after the SET: v(oe)-v(ae), the voltage across the cell, is nowhere steady near "
            f"{-vread:g} V between SET and RESET; hold the read longer, or set .param vread to what the deck reads at"
        )
    after_reset: list[Read] = []
    if first_reset is not None:
        next_set = _first(v > PULSE * vread, first_reset)
        last_s = float("inf") if next_set is None else time[next_set]
        after_reset = [r for r in reads if time[first_reset] < r.start_s and r.end_s < last_s]
    drive = raw["v(oe)"]
    top = np.flatnonzero((v > 0) & (drive >= 0.99 * drive.max()))
    return RRAMTiming(
        where=where,
        read_voltage_v=vread,
        cell_voltage_v=float(np.interp(after_set[-1].time_s, time, -v)),
        set_width_s=_width_s(time, v > 0.1 * vread, first_set),
        set_end_s=float(time[top[-1]]) if first_set is not None and top.size else 0.0,
        reset_width_s=_width_s(time, v < -PULSE * vread, first_reset),
        after_set=after_set[-1],
        after_reset=after_reset[-1] if after_reset else None,
    )


def read_cell(raw: Waveform, read: Read, vread_v: float, where: str) -> tuple[float, float]:
    """Conductance in S and cell voltage in V (positive) of the run `raw` at `read`.

    Raises `SimulationError` where the cell is not at a read voltage then, or voltage or conductance still move.
    """
    times = np.linspace(read.time_s - (read.time_s - read.start_s) / 4, read.time_s, 5)
    at = raw.resampled(times)
    v = at["v(oe)"] - at["v(ae)"]
    moment = f"{where}: at {format_si(read.time_s, 's')}, where the deck reads,"
    if not (LOWEST * vread_v <= -v[-1] <= HIGHEST * vread_v and np.ptp(v) <= STEADY * abs(v[-1])):
        raise SimulationError(
            f"{moment} v(oe)-v(ae) is {v[-1]:.3g} V instead of a steady {-vread_v:g} V; do the deck's times depend on "
            "what varies?"
        )
    g = at["i(vcell)"] / v
    if not np.ptp(g) <= STEADY_CONDUCTANCE * abs(g[-1]):
        raise SimulationError(
            f"{moment} the conductance still moves, from {format_si(float(g[0]), 'S')} to "
            f"{format_si(float(g[-1]), 'S')}: read longer, or at a lower vread"
        )
    return float(g[-1]), float(-v[-1])


def _reads(time: Array, v: Array, vread: float) -> list[Read]:
    """Every stretch at a steady read voltage, in order."""
    inside = (v <= -LOWEST * vread) & (v >= -HIGHEST * vread)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    found = []
    for first, after in edges.reshape(-1, 2):
        span, level = slice(first, after), _typical(time[first:after], v[first:after])
        at_level = np.flatnonzero(np.abs(v[span] - level) <= STEADY * abs(level)) + first
        length = time[at_level[-1]] - time[at_level[0]]
        if at_level.size > 2 and length > 0.5 * (time[after - 1] - time[first]):
            found.append(_rounded(float(time[at_level[0]]), float(time[at_level[-1]]), float(time[-1])))
    return found


def _typical(time: Array, v: Array) -> float:
    """The median of `v` over time."""
    order = np.argsort(v)
    weight = np.cumsum(np.gradient(time)[order]) if time.size > 1 else np.ones(1)
    return float(v[order][np.searchsorted(weight, weight[-1] / 2)])


def _rounded(start_s: float, end_s: float, stop_s: float) -> Read:
    """The read between two times, to about a hundredth of its length."""
    grid = 10.0 ** np.floor(np.log10((end_s - start_s) / 100))
    last_s = min(_digits(round(end_s / grid) * grid), stop_s)
    return Read(start_s, _digits((round(end_s / grid) - 10) * grid), last_s)


def _digits(value: float) -> float:
    return float(f"{value:.9g}")


def _first(mask: NDArray[np.bool_], start: int) -> int | None:
    """Index of the first True at or behind `start`."""
    found = np.flatnonzero(mask[start:])
    return int(found[0]) + start if found.size else None


def _width_s(time: Array, mask: NDArray[np.bool_], first: int | None) -> float:
    """Length of the pulse that `mask` marks from index `first` on; 0 without one."""
    if first is None:
        return 0.0
    end = _first(~mask, first)
    return float(time[-1 if end is None else end] - time[first])
