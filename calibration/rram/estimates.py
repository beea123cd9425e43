"""From the readings of many cells to the tables of a card: SET curve, what verifying leaves, relaxation.

Every value is a quantile or a moment of what was measured (`calibration.rram.distributions`); no shape is assumed, and
no course with time or level between those that were measured (`devices.rram.measured` draws straight lines). Left out
are settings and times that only part of the devices have, for which ones then is a result itself, and levels of few
writes. How wide cells have spread hangs on a few that jumped, so that it is gathered over a coarser grid of levels than
their shift and the shape of their distribution (`SPREADS`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.rram.distributions import SCORES, Array, device_share, hats, quantiles, spread
from bruno_spice.calibration.rram.tables import CellTable
from bruno_spice.devices.cards.measured import MOST_NODES, Relaxation, SetCurve, VerifiedLevels
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import printable
from bruno_spice.devices.units import format_si

LEAST_WRITES = 20
"""Of a level, or of a device's SETs with one setting."""
MOST_LEVELS = 12
"""Of a table over levels; of more, each lends to the nearest of so many, evenly spaced, in proportion."""
SPREADS = 6
"""Of a table over levels as many variances at most, evenly spaced; in between they go in straight lines."""
TINY = 1e-30
"""S^2: cells that have not moved at all have no spread to widen."""
COMPLETE = 0.9
"""Share of the writes that a setting or a time must have."""
ONE_TIME = 1.2
"""Readings of different writes count as of one time up to the first gap of this ratio."""
WITHIN = 1.1
"""Of this ratio at most is one time where writes were read several times up to that gap."""
AGAIN = 1.1
"""Readings of a write up to that gap, on average, from which on they were."""
TOLD = 1.01
"""From this ratio on it is said that readings count as of one time."""


def set_curve(table: CellTable) -> tuple[SetCurve, list[str]]:
    """The SET curve of `table`, and what was left out. Raises `InputError` for too little or too much."""
    assert table.setting is not None
    assert table.knob
    settings, counts = np.unique(table.setting, return_counts=True)
    unit = "V" if table.knob == "v_word_line_v" else "A"
    whole = counts >= max(COMPLETE * counts.max(), LEAST_WRITES)
    if whole.sum() < 2 or whole.sum() > MOST_NODES:
        raise InputError(
            f"{printable(str(table.path))}: {whole.sum()} settings with {LEAST_WRITES} writes or more; a SET curve has "
            f"2 to {MOST_NODES}"
        )
    said = []
    if not whole.all():
        few = settings[~whole]
        said.append(
            f"{len(few)} settings ({format_si(few[0], unit)}...{format_si(few[-1], unit)}) have less than "
            f"{100 * COMPLETE:.0f} % of the {counts.max()} writes that others have, and are left out"
        )
    rows = []
    for setting in settings[whole]:
        here = table.setting == setting
        g_s, device = table.g_s[here], table.device[here]
        if not g_s.mean() > 0.0:
            raise InputError(f"{printable(str(table.path))}: every cell reads 0 S at the setting {setting:g}")
        parts, known = spread(g_s, device), quantiles(g_s)
        rows.append((float(np.median(g_s)), parts, known, device_share(known, parts.device**2)))
    devices, writes = np.unique(
        np.stack([table.device, np.searchsorted(settings, table.setting)]), axis=1, return_counts=True
    )
    curve = SetCurve(
        knob=table.knob,
        setting=settings[whole].tolist(),
        median_s=[median for median, *_ in rows],
        device_sigma=[parts.device / parts.mean for _, parts, *_ in rows],
        cycle_sigma=[parts.cycle / parts.mean for _, parts, *_ in rows],
        scores=SCORES.tolist(),
        quantiles_s=[known.tolist() for *_, known, _ in rows],
        device_share=[share for *_, share in rows],
        devices=len(np.unique(devices[0])),
        cycles=int(writes.max()),
    )
    falls = np.maximum.accumulate(curve.median_s) - curve.median_s
    if falls.max() > 0.1 * np.ptp(curve.median_s):
        said.append(f"the median falls by up to {format_si(float(falls.max()), 'S')} where the setting rises")
    return curve, said


@dataclass(frozen=True, eq=False)
class Writes:
    """Cells that were written to a level, verified and left alone: n writes, read right after and at m times.

    `level_s` (n,) is the conductance of each one's level, `g_s` (m, n) has NaN where one was not read.
    """

    device: NDArray[np.int64]
    level_s: Array
    written_s: Array
    time_s: Array
    g_s: Array

    def of(self, chosen: NDArray[np.bool_]) -> "Writes":
        """The writes that are `chosen` (n,)."""
        rest = (self.level_s[chosen], self.written_s[chosen], self.time_s, self.g_s[:, chosen])
        return Writes(self.device[chosen], *rest)


def writes(table: CellTable) -> tuple[Writes, list[str]]:
    """The writes of `table`, a device and level each, and what was left out.

    Raises `InputError` where none was read right after writing, and where no level has enough of them.
    """
    where = printable(str(table.path))
    assert table.level is not None
    time_s = np.zeros(len(table.g_s)) if table.time_s is None else table.time_s
    if np.any(time_s < 0.0):
        raise InputError(f"{where}: a time before the write, {time_s.min():g} s")
    keys = np.stack([table.device.astype(float), table.level])
    index = np.arange(keys.shape[1])  # without times each reading is of a write of its own
    if table.time_s is not None:
        keys, index = np.unique(keys, axis=1, return_inverse=True)
    if np.all(time_s > 0.0):
        raise InputError(f"{where}: no reading right after writing (time 0), which the others are compared with")
    later = time_s > 0.0
    gathered: list[str] = []
    when, times_s = np.zeros(len(time_s), dtype=np.int64), np.zeros(0)
    if later.any():
        when[later], times_s, gathered = _one_time(time_s[later], index[later])
    count = np.zeros((1 + len(times_s), keys.shape[1]))
    total = count.copy()
    np.add.at(count, (when, index), 1)
    np.add.at(total, (when, index), table.g_s)
    with np.errstate(invalid="ignore"):
        g_s = total / count
    there = count[0] > 0
    said = [] if there.all() else [f"{np.sum(~there)} writes were not read right after writing, and are left out"]
    if (several := int(np.sum(count[0] > 1))) > 0:
        said.append(f"{several} pairs of device and level were read several times right after writing, and count once")
    said += gathered
    if (several := int(np.sum(count[1:] > 1))) > 0:
        said.append(f"{several} times a write was read again at one of these times, and counts with the mean")
    level_s = _level_conductance(keys[1], g_s[0], table.level_in_s)
    _, of_level, sizes = np.unique(keys[1][there], return_inverse=True, return_counts=True)
    enough = there.copy()
    enough[there] = sizes[of_level] >= LEAST_WRITES
    if not enough.any():
        raise InputError(f"{where}: no level has {LEAST_WRITES} writes that were read right after")
    if (few := int(np.sum(sizes < LEAST_WRITES))) > 0:
        said.append(f"{few} levels of fewer than {LEAST_WRITES} writes are left out")
    found = Writes(keys[0].astype(np.int64), level_s, g_s[0], times_s, g_s[1:]).of(enough)
    read = np.isfinite(found.g_s).mean(axis=1) if len(times_s) else np.zeros(0)
    for late_s, share in zip(times_s[read < COMPLETE], read[read < COMPLETE], strict=True):
        said.append(f"{format_si(late_s, 's')}: only {100 * share:.0f} % of the writes were read, so it is left out")
    kept = read >= COMPLETE
    return Writes(found.device, found.level_s, found.written_s, times_s[kept], found.g_s[kept]), said


def _one_time(time_s: Array, write: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array, list[str]]:
    """Of readings (n,) at `time_s` above 0 of each `write`: the number of their time, from 1; the times; what to say.

    A time is the geometric mean of its readings'.
    """
    known, place = np.unique(time_s, return_inverse=True)
    run = np.append(0, np.cumsum(np.diff(np.log(known)) > np.log(ONE_TIME)))
    starts_s = known[np.flatnonzero(np.diff(run, prepend=-1))]
    once = np.bincount(np.unique(np.stack([run[place], write]), axis=1)[0])
    several = np.bincount(run[place]) > AGAIN * once
    part = np.where(several[run], np.floor(np.log(known / starts_s[run]) / np.log(WITHIN) + 1e-9), 0.0)
    group = np.cumsum((np.diff(run, prepend=0) != 0) | (np.diff(part, prepend=0.0) != 0.0))
    first = np.flatnonzero(np.diff(group, prepend=-1))
    low_s, high_s, of = known[first], known[np.append(first[1:], len(known)) - 1], group[place]
    times_s = low_s * np.exp(np.bincount(of, np.log(time_s / low_s[of])) / np.bincount(of))
    wide = [
        f"{format_si(low, 's')} to {format_si(high, 's')}"
        for low, high in zip(low_s, high_s, strict=True)
        if high > TOLD * low
    ]
    said = [f"readings from {', from '.join(wide)} count as of one time each, in the geometric mean"] if wide else []
    return of + 1, times_s, said


def _level_conductance(level: Array, written_s: Array, in_s: bool) -> Array:
    """The conductance of every write's level: the target, or the median of what was written to that number."""
    if in_s:
        return level
    names, index = np.unique(level, return_inverse=True)
    return np.array([np.nanmedian(written_s[index == n]) for n in range(len(names))])[index]


def nodes(level_s: Array) -> Array:
    """The levels of a table: those that there are, or as many as a table has, evenly spaced."""
    there = np.unique(level_s)
    return there if len(there) <= MOST_LEVELS else np.linspace(there[0], there[-1], MOST_LEVELS)


def verified(found: Writes) -> VerifiedLevels:
    """What verifying left of each level."""
    known = nodes(found.level_s)
    tables, spreads, _ = _by_level(found.written_s - found.level_s, found.level_s, known)
    return VerifiedLevels(
        conductance_s=known.tolist(), spread_s=spreads, scores=SCORES.tolist(), quantiles_s=tables,
        devices=len(found.level_s),
    )  # fmt: skip


def relaxation(found: Writes) -> Relaxation:
    """How far the cells have moved from where they were right after writing."""
    known = nodes(found.level_s)
    rows = []
    for g_s in found.g_s:
        read = np.isfinite(g_s)
        rows.append(_by_level((g_s - found.written_s)[read], found.written_s[read], known))
    return Relaxation(
        conductance_s=known.tolist(),
        time_s=found.time_s.tolist(),
        shift_s=[means for *_, means in rows],
        spread_s=[spreads for _, spreads, _ in rows],
        scores=SCORES.tolist(),
        quantiles_s=[tables for tables, *_ in rows],
        devices=len(found.level_s),
    )


def _by_level(
    moved_s: Array, at_s: Array, known: Sequence[float] | Array
) -> tuple[list[list[float]], list[float], list[float]]:
    """Quantiles, standard deviation and mean of `moved_s` (n,), of cells `at_s` (n,), around each of the `known`.

    The quantiles are widened about their mean to that standard deviation, the square root of a variance over `SPREADS`.
    """
    known = np.asarray(known)
    weights = hats(at_s, known)
    means = (weights.T @ moved_s) / weights.sum(axis=0)
    squares = (moved_s - np.interp(at_s, known, means)) ** 2
    coarse = known if len(known) <= SPREADS else np.linspace(known[0], known[-1], SPREADS)
    wide = hats(at_s, coarse)
    variance = np.interp(known, coarse, (wide.T @ squares) / wide.sum(axis=0))
    own = (weights.T @ squares) / weights.sum(axis=0)
    tables = []
    for weight, mean, wider in zip(weights.T, means, np.sqrt(variance / np.maximum(own, TINY)), strict=True):
        near = weight > 0.0
        tables.append((mean + wider * (quantiles(moved_s[near], weight[near]) - mean)).tolist())
    return tables, np.sqrt(variance).tolist(), means.tolist()
