"""The card of a resistive cell that is known by measurement alone: tables, and what was not measured is not there.

A distribution is kept as its values at normal scores: ``values[n][j]`` is what a device has that lies `scores[j]`
standard deviations above the median one, were the distribution normal (`devices.rram.measured` draws from it). So
the tables hold for distributions of any shape, and every number in them is a conductance that was measured.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.cards.parts import Strict
from bruno_spice.devices.models.model import Sign

MOST_NODES = 200
"""Levels, settings or times of a table."""
Scores = list[float]
Row = list[float]


def _rising(name: str, values: list[float]) -> None:
    if not 0 < len(values) <= MOST_NODES or any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"{name} must rise, with 1 to {MOST_NODES} values")


def _table(name: str, rows: list[Row], count: int, width: int) -> None:
    if len(rows) != count or any(len(row) != width for row in rows):
        raise ValueError(f"{name} must have {count} rows of {width} values")


def _distributions(rows: list[Row], count: int, scores: Scores, name: str = "quantiles_s") -> None:
    _rising("scores", scores)
    _table(name, rows, count, len(scores))
    if any(b < a for row in rows for a, b in pairwise(row)):
        raise ValueError(f"{name}: a row must not fall")


class SetCurve(Strict):
    """Conductance after one SET, without verifying, against what it was written with.

    `device_sigma` and `cycle_sigma` are relative to the mean: from device to device, and of one device from write to
    write. `device_share` is the share of the variance of the normal score that belongs to the device.
    """

    knob: Literal["v_word_line_v", "i_prog_a"]
    setting: list[float]
    """Rising, in V or A."""
    median_s: list[float]
    device_sigma: list[float]
    cycle_sigma: list[float]
    scores: Scores
    quantiles_s: list[Row]
    device_share: list[float]
    devices: int = Field(ge=2)
    cycles: int = Field(ge=1)
    """Of the device with the most."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        count = len(self.setting)
        _rising("setting", self.setting)
        _distributions(self.quantiles_s, count, self.scores)
        for name in ("median_s", "device_sigma", "cycle_sigma", "device_share"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} must have {count} values")
        if any(not 0.0 <= share <= 1.0 for share in self.device_share):
            raise ValueError("device_share must lie within 0...1")
        return self


class VerifiedLevels(Strict):
    """What program-and-verify leaves: conductance minus the level's own, right after writing."""

    conductance_s: list[float]
    """Of the levels, rising."""
    spread_s: list[float]
    scores: Scores
    quantiles_s: list[Row]
    devices: int = Field(ge=2)
    """Writes measured, over all levels."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _rising("conductance_s", self.conductance_s)
        _distributions(self.quantiles_s, len(self.conductance_s), self.scores)
        _table("spread_s", [self.spread_s], 1, len(self.conductance_s))
        return self


class Relaxation(Strict):
    """How far a written cell has moved after a time: conductance then minus conductance right after writing."""

    conductance_s: list[float]
    """Right after writing, rising, (n,)."""
    time_s: list[float]
    """Since writing, rising, (m,)."""
    shift_s: list[Row]
    """Mean, (m, n)."""
    spread_s: list[Row]
    """Standard deviation, (m, n)."""
    scores: Scores
    quantiles_s: list[list[Row]]
    """(m, n, scores)."""
    devices: int = Field(ge=2)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        count = len(self.conductance_s)
        _rising("conductance_s", self.conductance_s)
        _rising("time_s", self.time_s)
        if self.time_s[0] <= 0.0:
            raise ValueError("time_s must be above 0: right after writing nothing has moved")
        if len(self.quantiles_s) != len(self.time_s):
            raise ValueError(f"quantiles_s must have {len(self.time_s)} tables, one a time")
        for table in self.quantiles_s:
            _distributions(table, count, self.scores)
        for name in ("shift_s", "spread_s"):
            _table(name, getattr(self, name), len(self.time_s), count)
        return self


class CellNoise(Strict):
    """The reads of one cell that was left alone."""

    conductance_s: float = Field(gt=0)
    """Mean."""
    sigma: float = Field(ge=0)
    """Standard deviation of the reads, relative to the mean."""
    fast_sigma: float = Field(ge=0)
    """Its part that is new with every read."""
    correlation_time_s: float | None = Field(default=None, gt=0)
    """After which the slow part has lost all but 1/e; None where there is none, or none within the record."""
    jump_s: float | None = Field(default=None, gt=0)
    """Height of the telegraph signal, where the reads have two states."""
    dwell_s: list[float] | None = None
    """Mean time in the lower and in the upper state."""


class ReadNoise(Strict):
    """Read noise, cell by cell, their conductances rising."""

    rate_hz: float = Field(gt=0)
    """Reads a second."""
    cells: list[CellNoise] = Field(min_length=1, max_length=MOST_NODES)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        _rising("conductance_s of the cells", [cell.conductance_s for cell in self.cells])
        return self


class LevelOverlap(Strict):
    """Shares of devices that are read as another of the card's evenly spaced levels, so long after writing."""

    time_s: float = Field(ge=0)
    bits: int
    misread: float
    """Of all."""
    by_level: list[float]


class MeasuredCard(Card):
    """A resistive cell as it was measured (equations: `devices.rram.measured`).

    - `parameters`: `g_level_min` and `g_level_max`, between which levels lie evenly; `read_voltage` and `temperature`
      of the measurement where they are known.
    - `set_curve`, `verified`: what a write leaves, without and with verifying; at least one of them.
    - `relaxation`, `read_noise`: None where they were not measured.
    - `overlap`: how many devices are read as another level, at the times that the relaxation covers.
    - the fields of `Card`.
    """

    MODEL: ClassVar[str] = "measured"
    UNITS: ClassVar[dict[str, str]] = {"g_level_min": "S", "g_level_max": "S"}
    OPTIONAL_UNITS: ClassVar[dict[str, str]] = {"read_voltage": "V", "temperature": "K"}
    SIGNS: ClassVar[Mapping[str, Sign]] = {
        "g_level_min": "positive",
        "g_level_max": "positive",
        "read_voltage": "positive",
        "temperature": "positive",
    }

    TABLES: ClassVar[Mapping[str, str]] = {
        "set_curve": "SET curve",
        "verified": "verified levels",
        "relaxation": "relaxation",
        "read_noise": "read noise",
    }

    model: Literal["measured"]
    set_curve: SetCurve | None = None
    verified: VerifiedLevels | None = None
    relaxation: Relaxation | None = None
    read_noise: ReadNoise | None = None
    overlap: list[LevelOverlap] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something_to_write(self) -> Self:
        if self.set_curve is None and self.verified is None:
            raise ValueError("neither set_curve nor verified: nothing says what a write leaves")
        if self["g_level_min"] >= self["g_level_max"]:
            raise ValueError("g_level_min must lie below g_level_max")
        return self

    @property
    def unknown(self) -> list[str]:
        """What this card does not know, a sentence each."""
        found = []
        if self.relaxation is None:
            found.append("how the cell changes with time after a write was not measured")
        if self.read_noise is None:
            found.append("read noise was not measured, none is drawn")
        if self.set_curve is None:
            found.append("what one write without verifying leaves was not measured")
        elif self.set_curve.cycles == 1:
            found.append("each device was written once: its spread from write to write counts as from device to device")
        if "temperature" not in self.parameters:
            found.append("the temperature of the measurement is not known")
        return found

    @property
    def misread(self) -> list[tuple[float, float, float | None]]:
        """Of evenly spaced levels, at the times that the relaxation covers."""
        return [(at.time_s, at.misread, max(at.by_level)) for at in self.overlap]
