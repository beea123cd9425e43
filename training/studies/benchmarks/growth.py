"""How time and memory grow with sequence length, neurons and batch: BRUNO, tangent, checkpointing, BPTT over every
microsecond.

The same work (`training.studies.benchmarks.process.Work`) runs once in a fresh process for each mode and size. Work of
the unrolled modes is affine in each of the three, cost = a + b x; a size beyond the limits of memory or time is
extrapolated along the line through the two largest measured ones, and its row says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.training.studies.benchmarks.base import Measured, Say, counted
from bruno_spice.training.studies.benchmarks.gradient import likeness
from bruno_spice.training.studies.benchmarks.process import (
    Cost,
    Work,
    available_bytes,
    card_file,
    measure_fresh,
    measure_here,
)

MODES = ("bruno", "tangent", "checkpoint", "bptt")
FULL_SUBSTEPS = 1000
LARGEST_BYTES = 12 * 2**30
SHARE_OF_AVAILABLE = 0.6
LONGEST_S, QUICK_LONGEST_S = 300.0, 20.0
CLEAR_BYTES = 2**20
"""Peaks below this drown in what the allocator keeps at hand."""


@dataclass(frozen=True)
class Sweep:
    """Sizes along one axis; the others stay."""

    along: str
    sizes: tuple[int, ...]
    steps_ms: int
    neurons: int
    batch: int

    def job(self, path: str, mode: str, size: int, threads: int, substeps: int) -> Work:
        """The work at `size`."""
        seconds = 2.0 if substeps == FULL_SUBSTEPS else 0.0
        job = Work(path, mode, self.steps_ms, self.neurons, self.batch, threads, seconds, substeps)
        changed: dict[str, Any] = {"steps_ms" if self.along == "length" else self.along: size}
        return replace(job, **changed)


SWEEPS = (
    Sweep("length", (4, 10, 25, 100, 300, 1000), 0, 64, 4),
    Sweep("neurons", (16, 64, 256, 1024, 4096, 16384), 2, 0, 4),
    Sweep("batch", (1, 4, 16, 64, 256, 1024), 2, 64, 0),
)
QUICK_SWEEPS = (
    Sweep("length", (1, 2, 200), 0, 8, 2),
    Sweep("neurons", (4, 8), 1, 0, 2),
    Sweep("batch", (1, 2), 1, 8, 0),
)
QUICK_SUBSTEPS = 250
QUICK_LARGEST_BYTES = 200 * 10**6


@dataclass(frozen=True)
class Point:
    """A size and what it costs; no gradient where it is extrapolated."""

    size: int
    time_s: float
    peak_bytes: float
    cost: Cost | None


def line_through(points: Sequence[tuple[float, float]], x: float) -> float:
    """The line through the last two of `points` (x, y) at `x`; never falling."""
    (x0, y0), (x1, y1) = points[-2:]
    return y1 + max((y1 - y0) / (x1 - x0), 0.0) * (x - x1)


def slope(points: Iterable[tuple[float, float]], last: int = 3) -> float | None:
    """Exponent of growth: slope of log y by log x over the `last` largest of `points` (x, y); None for fewer than
    two."""
    kept = sorted(points)[-last:]
    if len(kept) < 2:
        return None
    x, y = np.log(np.array(kept)).T
    return float(np.polyfit(x, y, 1)[0])


class Growth:
    """Measures sweeps, each job once; `quick` takes smaller limits and stays in this process."""

    def __init__(self, path: str, quick: bool, threads: int, say: Say) -> None:
        self.path, self.threads, self.say = path, threads, say
        self.measure = measure_here if quick else measure_fresh
        self.substeps = QUICK_SUBSTEPS if quick else FULL_SUBSTEPS
        self.longest_s = QUICK_LONGEST_S if quick else LONGEST_S
        largest_bytes = QUICK_LARGEST_BYTES if quick else LARGEST_BYTES
        self.largest_bytes = min(largest_bytes, SHARE_OF_AVAILABLE * available_bytes())
        self.known: dict[Work, Cost] = {}

    def points(self, sweep: Sweep, mode: str) -> list[Point]:
        """The costs of `mode` along `sweep`: measured up to the limits, extrapolated beyond."""
        points: list[Point] = []
        for size in sweep.sizes:
            ahead = (0.0, 0.0)
            if len(points) >= 2:
                ahead = (
                    line_through([(p.size, p.time_s) for p in points], size),
                    line_through([(p.size, p.peak_bytes) for p in points], size),
                )
            too_much = ahead[0] > self.longest_s or ahead[1] > self.largest_bytes
            points.append(Point(size, *ahead, None) if too_much else self._measured(sweep, mode, size))
        return points

    def _measured(self, sweep: Sweep, mode: str, size: int) -> Point:
        job = sweep.job(self.path, mode, size, self.threads, self.substeps)
        if job not in self.known:
            self.say(f"growth: {mode}, {job.steps_ms} ms x {job.neurons} neurons x batch {job.batch}")
            self.known[job] = self.measure(job)
        cost = self.known[job]
        return Point(size, cost.time_s(self.threads), float(cost.peak_bytes), cost)


def growth(card: FeLIFCard, quick: bool, threads: int, say: Say) -> Measured:
    """Measure all modes along all sweeps; figures of merit at 100 ms x 64 neurons x batch 4, and slopes."""
    sweeps = QUICK_SWEEPS if quick else SWEEPS
    rows: list[dict[str, Any]] = []
    summary: dict[str, float] = {}
    with card_file(card) as path:
        runner = Growth(path, quick, threads, say)
        for sweep in sweeps:
            found = {mode: runner.points(sweep, mode) for mode in MODES}
            for mode, points in found.items():
                rows += [_row(sweep, mode, point, truth) for point, truth in zip(points, found["bptt"], strict=True)]
                summary |= _slopes(sweep, mode, points)
    summary |= _savings(rows, sweeps[0])
    few = sum(row["extrapolated"] for row in rows)
    where = "all in one process" if quick else "a fresh process each"
    limits = f"{runner.largest_bytes / 2**30:.3g} GiB or {runner.longest_s:g} s"
    notes = [
        f"{where}; {few} of {len(rows)} rows are extrapolated along the line through the two largest measured sizes: "
        f"BPTT and checkpoint beyond {limits}",
        f"peaks below {CLEAR_BYTES >> 20} MiB are no more than an upper limit and take no part in slopes",
    ]
    return Measured(f"Time and peak memory, forward and backward, {counted(threads, 'thread')}", rows, summary, notes)


def _row(sweep: Sweep, mode: str, point: Point, truth: Point) -> dict[str, Any]:
    job = sweep.job("", mode, point.size, 1, 1)
    cosine, ratio = (
        likeness(torch.tensor(point.cost.gradient), torch.tensor(truth.cost.gradient))
        if point.cost is not None and truth.cost is not None and len(truth.cost.gradient) > 0
        else (None, None)
    )
    return {
        "along": sweep.along,
        "gradient": mode,
        "steps_ms": job.steps_ms,
        "neurons": job.neurons,
        "batch": job.batch,
        "time_s": point.time_s,
        "peak_bytes": point.peak_bytes,
        "cosine": cosine,
        "norm_ratio": ratio,
        "extrapolated": point.cost is None,
    }


def _slopes(sweep: Sweep, mode: str, points: list[Point]) -> dict[str, float]:
    real = [point for point in points if point.cost is not None]
    found = {
        f"memory_slope_{mode}_{sweep.along}": slope(
            (p.size, p.peak_bytes) for p in real if p.peak_bytes >= CLEAR_BYTES
        ),
        f"time_slope_{mode}_{sweep.along}": slope((p.size, p.time_s) for p in real),
    }
    return {name: value for name, value in found.items() if value is not None}


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["along"], row["steps_ms"], row["neurons"], row["batch"]


def _from_size(rows: list[dict[str, Any]], mode: str, least: float) -> list[dict[str, Any]]:
    """The rows of `mode` with at least so many neuron-milliseconds."""
    return [r for r in rows if r["gradient"] == mode and r["steps_ms"] * r["neurons"] * r["batch"] >= least]


def guessed(rows: list[dict[str, Any]], summary: dict[str, float], mode: str, larger: bool) -> bool:
    """Whether what `mode` saves at the main point, or at it and all `larger` sizes, rests on an extrapolated row."""
    main = tuple(summary[f"main_{name}"] for name in ("steps_ms", "neurons", "batch"))
    whole = {_place(row): row for row in rows if row["gradient"] == "bptt"}
    compared = _from_size(rows, mode, main[0] * main[1] * main[2])
    if not larger:
        compared = [row for row in compared if _place(row) == ("length", *main)]
    return any(row["extrapolated"] or whole[_place(row)]["extrapolated"] for row in compared)


def _savings(rows: list[dict[str, Any]], main: Sweep) -> dict[str, float]:
    """Share of BPTT's memory and time saved at the main point, and the least share saved at any larger size."""
    steps = main.sizes[3] if len(main.sizes) > 3 else main.sizes[-1]
    whole = {_place(row): row for row in rows if row["gradient"] == "bptt"}
    saved: dict[str, float] = {"main_steps_ms": steps, "main_neurons": main.neurons, "main_batch": main.batch}
    for mode in MODES[:-1]:
        beyond = _from_size(rows, mode, steps * main.neurons * main.batch)
        at = next(row for row in beyond if _place(row) == ("length", steps, main.neurons, main.batch))
        for what, key in (("memory", "peak_bytes"), ("time", "time_s")):
            shares = [1.0 - row[key] / whole[_place(row)][key] for row in beyond]
            saved[f"{mode}_less_{what}"] = 1.0 - at[key] / whole[_place(at)][key]
            saved[f"{mode}_less_{what}_at_least"] = min(shares)
        for key in ("cosine", "norm_ratio"):
            if at[key] is not None:
                saved[f"{mode}_{key}"] = at[key]
    truth = whole["length", steps, main.neurons, main.batch]
    saved |= {"bptt_peak_bytes": truth["peak_bytes"], "bptt_time_s": truth["time_s"]}
    saved["main_extrapolated"] = float(truth["extrapolated"])
    return saved
