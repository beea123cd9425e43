"""A measured cell from tables to a card, tried on devices that the fit did not see.

Every second device is left out first: what a card of the others draws is compared with them. Which ones is drawn
`SPLITS` times, and the median of what came is stated. The card itself has all.

    spread of a level      sqrt(mean over writes of (G(t) - <G(t)>)^2), against that of as many draws as `TRIED`
    misread                 share of devices beyond the midpoint to an adjacent level
    halves                  by how much the spreads of those left out and of the others differ as they were measured:
                            what the number of devices alone makes of it, and no card can be nearer than about 1/sqrt(2)
                            of it
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bruno_spice.calibration.cards.provenance import of_measurement
from bruno_spice.calibration.rram.distributions import Array
from bruno_spice.calibration.rram.estimates import Writes, relaxation, set_curve, verified, writes
from bruno_spice.calibration.rram.levels import overlapping
from bruno_spice.calibration.rram.tables import CellTable, sound
from bruno_spice.devices.cards.measured import LevelOverlap, MeasuredCard, ReadNoise
from bruno_spice.devices.cards.parts import Parameter, Provenance, Range
from bruno_spice.devices.errors import EnvelopeError, InputError
from bruno_spice.devices.reading import printable
from bruno_spice.devices.rram.filament import Levels
from bruno_spice.devices.rram.measured import SAME, MeasuredCell, beyond
from bruno_spice.devices.units import format_si

OVERLAP_TIMES_S = (0.0, 1.0, 3600.0, 86400.0)
DRAWN = 20_000
"""Devices of the model, for each level."""
TRIED = 4000
"""The same, of a card of half of the devices."""
SPLITS = 7
GROUPS = 8
"""Levels of the measurement are compared in so many groups."""


@dataclass(frozen=True, eq=False)
class MeasuredFit:
    """A card, what it was made of, and what was left out."""

    card: MeasuredCard
    tables: list[CellTable]
    writes: Writes | None
    said: list[str]


def fit_measured(
    tables: Sequence[CellTable],
    noise: ReadNoise | None = None,
    g_range_s: tuple[float, float] | None = None,
    bits: int = 3,
    read_voltage_v: float | None = None,
    noise_path: Path | None = None,
    origin: Provenance | None = None,
) -> MeasuredFit:
    """The card of the cell of `tables`, one of a kind at most.

    Main: `noise` of its reads. Other: `g_range_s`, between which its levels lie (default: all that was measured);
    `bits` of the levels whose overlap it states; `noise_path` is the file of `noise`; `origin` of tables that were
    simulated. Raises `InputError`.
    """
    by_kind: dict[str, CellTable] = {}
    for table in tables:
        kind = "levels" if table.kind == "relaxation" else table.kind
        if kind in by_kind:
            raise InputError(
                f"{printable(str(table.path))} and {printable(str(by_kind[kind].path))} both hold "
                f"{'a SET curve' if kind == 'set' else 'levels'}; a card has one"
            )
        by_kind[kind] = table
    said: list[str] = []
    curve, found = None, None
    fields: dict[str, Any] = {"read_noise": noise}
    if "set" in by_kind:
        with sound(printable(str(by_kind["set"].path))):
            curve, left_out = set_curve(by_kind["set"])
        fields["set_curve"] = curve
        said += left_out
    if "levels" in by_kind:
        with sound(printable(str(by_kind["levels"].path))):
            found, left_out = writes(by_kind["levels"])
            fields |= _of_writes(found)
        said += left_out
    measured_s = _whole_range(curve, found)
    low_s, high_s = g_range_s or measured_s
    if low_s < measured_s[0] * (1.0 - SAME) or high_s > measured_s[1] * (1.0 + SAME):
        shown = [format_si(each, "S") for each in (low_s, high_s, *measured_s)]
        raise EnvelopeError(f"levels from {shown[0]} to {shown[1]}: writes were measured from {shown[2]} to {shown[3]}")
    source = "measured" if origin is None else "simulated"
    parameters = {
        "g_level_min": Parameter(value=low_s, unit="S", source=source),
        "g_level_max": Parameter(value=high_s, unit="S", source=source),
    }
    kelvin = {table.temperature_k for table in tables if table.temperature_k is not None}
    if len(kelvin) > 1:
        raise InputError(f"the files were measured at {' and '.join(f'{each:g} K' for each in sorted(kelvin))}")
    for name, unit, value in (("read_voltage", "V", read_voltage_v), ("temperature", "K", next(iter(kelvin), None))):
        if value is not None:
            parameters[name] = Parameter(value=value, unit=unit, source=source)
    fields |= {
        "envelope": _envelope(curve, found),
        "provenance": origin
        or of_measurement([*(t.path for t in tables), *([noise_path] if noise_path else [])], "bruno fit rram"),
    }
    card = MeasuredCard.build(parameters, **fields)
    cell = MeasuredCell(card)
    fields["overlap"] = overlaps(cell, bits)
    if found is not None:
        fields["validation"] = held_out(found, card)
        if not fields["validation"]:
            said.append("too few devices have a level in common to try the card on some that it has not seen")
    return MeasuredFit(MeasuredCard.build(parameters, **fields), list(tables), found, said)


def _of_writes(found: Writes) -> dict[str, Any]:
    return {"verified": verified(found), "relaxation": relaxation(found) if len(found.time_s) else None}


def _whole_range(curve: Any, found: Writes | None) -> tuple[float, float]:
    if found is not None:
        return float(found.level_s.min()), float(found.level_s.max())
    if curve is None:
        raise InputError("neither a SET curve nor levels among the files, so that nothing says what a write leaves")
    return float(curve.median_s[0]), float(max(curve.median_s))


def _envelope(curve: Any, found: Writes | None) -> dict[str, Range]:
    spans: dict[str, Range] = {}
    if curve is not None:
        spans[curve.knob.rpartition("_")[0]] = Range(
            min=curve.setting[0], max=curve.setting[-1], unit="V" if curve.knob == "v_word_line_v" else "A"
        )
    if found is not None:
        spans["conductance"] = Range(min=float(found.level_s.min()), max=float(found.level_s.max()), unit="S")
        if len(found.time_s):
            spans["time"] = Range(min=float(found.time_s[0]), max=float(found.time_s[-1]), unit="s")
    return spans


def drawn_s(cell: MeasuredCell, levels_s: Array, time_s: float, devices: int, rng: np.random.Generator) -> Array:
    """Conductances (devices, levels) of devices written to `levels_s` (levels,), `time_s` later."""
    shape = (devices, len(levels_s))
    g_s = np.broadcast_to(levels_s, shape)
    if cell.card.verified is not None:
        written = cell.verified_s(g_s, rng.standard_normal(shape))
    else:
        of_device = np.broadcast_to(rng.standard_normal((devices, 1)), shape)
        setting = np.broadcast_to(cell.setting(levels_s), shape)
        written = cell.set_once(setting, of_device, rng.standard_normal(shape))
    return np.asarray(cell.relaxed_s(written, time_s, rng.standard_normal(shape)))


def overlaps(cell: MeasuredCell, bits: int, seed: int = 0) -> list[LevelOverlap]:
    """How many devices are read as another of 2**`bits` evenly spaced levels, at `OVERLAP_TIMES_S` where known."""
    levels_s = np.linspace(*cell.g_range_s, 2**bits)
    known = cell.card.relaxation
    found = []
    for time_s in OVERLAP_TIMES_S:
        if beyond(time_s, 0.0 if known is None else known.time_s[-1]):
            break
        g_s = drawn_s(cell, levels_s, time_s, DRAWN, np.random.default_rng(seed))
        share = overlapping(g_s, Levels(levels_s, levels_s)).mean(axis=0)
        found.append(LevelOverlap(time_s=time_s, bits=bits, misread=float(share.mean()), by_level=share.tolist()))
    return found


def held_out(found: Writes, card: MeasuredCard, splits: int = SPLITS) -> dict[str, Any]:
    """Spread and misreads of every second device beside what a card of the others draws, a row a time.

    Each number is the median of as many `splits` of the devices; none where no two devices have a level in common.
    """
    devices = np.unique(found.device)
    trials = []
    for seed in range(splits):
        out = np.isin(found.device, np.random.default_rng(seed).permutation(devices)[::2])
        seen, rest = found.of(~out), found.of(out)
        at = range(-1, len(found.time_s))
        if not all(_in_common(_moved(seen, row)[0], _moved(rest, row)[0]).size for row in at):
            continue
        cell = MeasuredCell(card.model_copy(update=_of_writes(seen)))
        trials.append([_compared(seen, rest, cell, row) for row in at])
    if not trials:
        return {}
    rows = [
        {name: float(np.median([row[name] for row in same])) for name in same[0]} for same in zip(*trials, strict=True)
    ]
    return {"devices": len(np.unique(rest.device)), "splits": len(trials), "times": rows}


def _moved(found: Writes, row: int) -> tuple[Array, Array]:
    """Levels and distances from them (n,) in S of the writes that were read at time `row`, -1 for right after."""
    g_s = found.written_s if row < 0 else found.g_s[row]
    read = np.isfinite(g_s)
    return found.level_s[read], (g_s - found.level_s)[read]


def _in_common(level_s: Array, other_s: Array) -> Array:
    """The levels of which both have two writes or more, without which there is no spread to compare."""
    (one, counts), (two, others) = (np.unique(each, return_counts=True) for each in (level_s, other_s))
    return np.intersect1d(one[counts > 1], two[others > 1])


def _spreads(level_s: Array, moved_s: Array, groups: Sequence[Array]) -> Array:
    """Standard deviation in S of each group of levels (groups,), about each level's own mean."""
    within = []
    for group in groups:
        parts = [moved_s[level_s == each] for each in group]
        within.append(np.average([part.var() for part in parts], weights=[part.size for part in parts]))
    return np.sqrt(within)


def _compared(seen: Writes, rest: Writes, cell: MeasuredCell, row: int) -> dict[str, float]:
    """Measured and drawn at one time: spread of the levels, in groups, and misreads of 3-bit levels."""
    time_s, rng = 0.0 if row < 0 else float(rest.time_s[row]), np.random.default_rng(0)
    (level_s, moved_s), others = _moved(rest, row), _moved(seen, row)
    there = _in_common(level_s, others[0])
    groups = np.array_split(there, min(GROUPS, len(there)))
    model_s = drawn_s(cell, there, time_s, TRIED, rng) - there
    counts = np.array([np.sum(level_s == each) for each in there])
    measured, half = _spreads(level_s, moved_s, groups), _spreads(*others, groups)
    variance = [np.average(model_s.var(axis=0)[at], weights=counts[at]) for at in (np.isin(there, g) for g in groups)]
    model = np.sqrt(variance)
    errors, halves = model / measured - 1.0, half / measured - 1.0
    half_step_s = (cell.g_range_s[1] - cell.g_range_s[0]) / (2 * (GROUPS - 1))
    first, last = level_s < there[0] + half_step_s, level_s > there[-1] - half_step_s
    beyond = ((moved_s > half_step_s) & ~last) | ((moved_s < -half_step_s) & ~first)
    ends = there < there[0] + half_step_s, there > there[-1] - half_step_s
    model_beyond = ((model_s > half_step_s) & ~ends[1]) | ((model_s < -half_step_s) & ~ends[0])
    return {
        "time_s": time_s,
        "spread_s": float(np.mean(measured)),
        "model_spread_s": float(np.mean(model)),
        "relative_error_rms": float(np.sqrt(np.mean(errors**2))),
        "relative_error_worst": float(np.abs(errors).max()),
        "halves_rms": float(np.sqrt(np.mean(halves**2))),
        "halves_worst": float(np.abs(halves).max()),
        "misread": float(beyond.mean()),
        "model_misread": float(np.average(model_beyond.mean(axis=0), weights=counts)),
    }
