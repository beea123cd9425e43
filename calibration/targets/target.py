"""What can be calibrated: netlist -> ngspice -> fit -> card, with what a command and the report ask of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bruno_spice.calibration.presentation.page import Section
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.cards.base import Card

Rows = list[dict[str, Any]]
"""A table, a row a device and current, SI units."""


class Calibration(Protocol):
    """What calibrating a target gives: its card, and what its part of the report shows."""

    @property
    def card(self) -> Any:
        """The card."""


@dataclass(frozen=True)
class Asked:
    """What a user asks of a calibration; None and empty where nothing was said."""

    netlist: Path | None = None
    overrides: Mapping[str, float] | None = None
    groups: int | None = None
    variant: str | None = None
    domains: tuple[int, ...] | None = None
    monte_carlo: int | None = None
    network_traces: int | None = None
    current_scale: float | None = None
    currents_a: tuple[float, ...] | None = None
    model: str | None = None


@dataclass(frozen=True)
class Target:
    """A device that can be calibrated, or varied (`bruno vary`)."""

    model: str
    """The compact model in words."""
    calibrate: Callable[..., Calibration]
    """From `netlist`, `overrides`, `farm`, `command`, `notice` and the options of its own."""
    netlist: Path
    """The project's testbench."""
    deck: Callable[[Path], Netlist]
    """Reads its netlist."""
    accepts: frozenset[str]
    """Fields of `Asked` that say something to it, besides those that every target takes."""
    options: Callable[[Asked], dict[str, Any]]
    """Keyword arguments of `calibrate` for what was asked."""
    summary: Callable[[Any], str]
    """Of a card, in one sentence."""
    figures: Callable[[Path, Any], dict[str, Path]]
    """Writes the pictures of a calibration into a folder; paths by short name."""
    sections: Callable[[Any, dict[str, Path]], list[Section]]
    """Its part of the report, from a calibration and its pictures."""
    vary: Callable[[Any, list[float], Path, dict[str, float], Any], Rows] | None = None
    """Simulates sampled devices: devices, currents in A, netlist, overrides, farm."""
    vary_currents: str = ""
    """By default, as the command line has them."""


def only(asked: Asked, fields: Sequence[str]) -> dict[str, Any]:
    """The `fields` of `asked` that were said."""
    return {name: getattr(asked, name) for name in fields if getattr(asked, name) is not None}


def common(asked: Asked) -> dict[str, Any]:
    """What every target takes of `asked`."""
    return {"overrides": dict(asked.overrides or {}), **only(asked, ["netlist"])}


def sampled(devices: Any) -> list[tuple[str, dict[str, float]]]:
    """Label and parameters of each of sampled `devices` (`calibration.spice.variation`)."""
    return list(zip(devices.labels, devices.overrides(), strict=True))


def believed(card: Card) -> str:
    """A mark in front of the summary of a card that is not to be believed; empty for others."""
    return "NOT TO BE BELIEVED: " if card.doubt else ""
