"""A synaptic current against time: piecewise linear, as SPICE's PWL source and as the compact model read it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bruno_spice.devices.errors import StimulusError
from bruno_spice.devices.reading import printable
from bruno_spice.devices.tables import read_plain_csv

COLUMNS = ["time_s", "i_syn_a"]
LIMITS = {"time_s": (1e6, "s"), "i_syn_a": (1.0, "A")}
"""Larger numbers are in another unit, or none of a neuron."""


@dataclass(frozen=True, eq=False)
class Stimulus:
    """Synaptic current, linear between points, constant before the first and after the last.

    - `time_s`: (n,) in s, from 0 on, strictly increasing.
    - `i_syn_a`: (n,) in A; negative current inhibits.
    - `name`: what errors and figures call it.

    Raises `StimulusError` for NaN, unsorted or negative times, columns of different length, or numbers beyond `LIMITS`.
    """

    time_s: NDArray[np.float64]
    i_syn_a: NDArray[np.float64]
    name: str = "stimulus"

    def __post_init__(self) -> None:
        for field in COLUMNS:
            object.__setattr__(self, field, np.atleast_1d(np.asarray(getattr(self, field), dtype=np.float64)))
        if self.time_s.shape != self.i_syn_a.shape or self.time_s.size == 0:
            raise StimulusError(f"{self.name}: needs as many times as currents, and at least one of each")
        for field in COLUMNS:
            bad = np.flatnonzero(~np.isfinite(getattr(self, field)))
            if bad.size:
                raise StimulusError(f"{self.name}: {field} is not a finite number in data row {bad[0] + 1}")
        late = np.flatnonzero(np.diff(self.time_s) <= 0)
        if late.size:
            row = late[0] + 2
            raise StimulusError(
                f"{self.name}: time_s must increase, but data row {row} ({self.time_s[row - 1]:g} s) "
                f"does not come after {self.time_s[row - 2]:g} s"
            )
        for field, (limit, unit) in LIMITS.items():
            if np.abs(getattr(self, field)).max() > limit:
                raise StimulusError(f"{self.name}: {field} goes beyond {limit:g} {unit}")
        if self.time_s[0] < 0:
            raise StimulusError(f"{self.name}: time_s starts at {self.time_s[0]:g} s; it must not be negative")

    @classmethod
    def dc(cls, current_a: float, rise_s: float = 10e-6) -> "Stimulus":
        """A constant current that ramps up from 0 A within `rise_s` (SPICE's operating point stays at rest)."""
        return cls(np.array([0.0, rise_s]), np.array([0.0, current_a]), name=f"dc {current_a:g} A")

    @classmethod
    def steps(cls, current_a: ArrayLike, step_s: float = 1e-3, rise_s: float = 1e-6, name: str = "steps") -> "Stimulus":
        """A new constant current each `step_s`, with ramps of `rise_s` between them, from 0 A at the start."""
        levels = np.asarray(current_a, dtype=np.float64)
        edges = np.arange(levels.size) * step_s
        time = np.stack([edges, edges + rise_s], axis=1).ravel()
        current = np.stack([np.concatenate([[0.0], levels[:-1]]), levels], axis=1).ravel()
        return cls(time, current, name=name)

    @classmethod
    def from_csv(cls, path: Path | str) -> "Stimulus":
        """Read a plain CSV file with the columns ``time_s`` and ``i_syn_a``; raises `StimulusError` with the line."""
        table = read_plain_csv(path, COLUMNS, missing="no such stimulus file")
        return cls(table.columns["time_s"], table.columns["i_syn_a"], name=printable(str(path)))

    def at(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """Current in A at `time_s` (any shape)."""
        return np.interp(np.asarray(time_s, dtype=np.float64), self.time_s, self.i_syn_a)

    def to_csv_text(self) -> str:
        """The stimulus as CSV text with the header ``time_s,i_syn_a``."""
        rows = (f"{t:.12g},{i:.9g}" for t, i in zip(self.time_s, self.i_syn_a, strict=True))
        return "time_s,i_syn_a\n" + "\n".join(rows) + "\n"
