"""The card of the RRAM filament: its parameters, and its levels as SPICE's Monte-Carlo found them."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.cards.parts import Strict
from bruno_spice.devices.models.model import Sign


def _signs(sign: Sign, *names: str) -> dict[str, Sign]:
    return dict.fromkeys(names, sign)


class ProgrammedLevel(Strict):
    """One conductance level, and where devices that differ in filament length and radius end up on it."""

    g_target_s: float
    i_prog_a: float
    """Programming current of the mean device."""
    g_mean_s: float
    g_sigma_s: float
    g_min_s: float
    g_max_s: float
    read_noise_s: float
    """Standard deviation of one read of the mean device."""


class LevelOverlap(Strict):
    """Shares of (device, level) pairs whose conductance lies beyond the midpoint to an adjacent level, so that it
    would be read as that one.
    """

    pairs: int
    """Pairs simulated in SPICE."""
    spice: float
    """Among those, programmed once with the level's current."""
    spice_corner_margin: float
    """How far the extreme filaments of the box stay from the midpoint, in SPICE, in units of half a level step: above
    0, no device within the box can overlap."""
    model: float
    """Among 100,000 devices of the filament model."""
    model_with_read_noise: float
    """The same, each read once with read noise."""
    model_untruncated: float
    """The same with filaments beyond the box: the normal distributions not cut off."""
    model_verified: float
    """Those untruncated ones after program-and-verify (`devices.rram.filament.program_and_verify`)."""


class LevelDistributions(Strict):
    """The 2**`bits` levels with their distributions over `devices` sampled devices, each programmed to every level."""

    bits: int
    devices: int
    levels: list[ProgrammedLevel]
    correlation: list[list[float]]
    """Between the conductances of one device on two levels, (levels, levels)."""
    overlap: LevelOverlap


class RRAMCard(Card):
    """The RRAM filament's conductance against programming current and geometry (equations: `devices.rram.filament`).

    - `levels`: distributions of the 3-bit levels over devices, from SPICE Monte-Carlo; None for a card without them.
    - the fields of `Card`; `parameters` are those of `UNITS`, and any of `OPTIONAL_UNITS`.
    """

    MODEL: ClassVar[str] = "rram"
    UNITS: ClassVar[dict[str, str]] = {
        "r_series": "Ohm",
        "r_area": "Ohm",
        "c_0": "1",
        "c_1": "1",
        "c_2": "1",
        "c_length": "1",
        "c_radius": "1",
        "c_cross": "1",
        "g_hrs": "S",
        "g_level_min": "S",
        "g_level_max": "S",
        "length_mean": "m",
        "radius_mean": "m",
        "length_sigma": "1",
        "radius_sigma": "1",
        "read_voltage": "V",
        "read_noise_conductance": "S",
        "read_noise_resistance": "Ohm",
        "read_noise_floor": "1",
    }
    OPTIONAL_UNITS: ClassVar[dict[str, str]] = {
        "c_length_cross": "1",
        "reset_c_0": "1",
        "reset_c_1": "1",
        "reset_c_2": "1",
        "reset_c_length": "1",
        "reset_c_radius": "1",
        "reset_c_cross": "1",
        "reset_onset_v": "V",
        "reset_onset_divider": "V",
        "reset_onset_radius": "V",
        "reset_onset_width": "V",
        "reset_sharpness": "1",
    }

    MEANINGS: ClassVar[dict[str, str]] = {
        "r_series": "of the leads",
        "r_area": "of the plug, at the reference radius",
        "c_0": "ln of the disc's resistance after a SET at 100 uA",
        "c_1": "its slope along ln of the programming current",
        "c_2": "its curvature along ln of the programming current",
        "c_length": "its slope along ln of the filament's length",
        "c_radius": "its slope along ln of the filament's radius",
        "c_cross": "how the radius changes its slope along the current",
        "g_hrs": "conductance of an empty disc, below which no state is",
        "g_level_min": "of the lowest level",
        "g_level_max": "of the highest level",
        "length_mean": "filament length of the mean device",
        "radius_mean": "filament radius of the mean device",
        "length_sigma": "spread of the length from device to device, of the mean",
        "radius_sigma": "spread of the radius from device to device, of the mean",
        "read_voltage": "at which the conductance is read",
        "read_noise_conductance": "jump of one vacancy: read noise of a resistive state",
        "read_noise_resistance": "in series with the disc, which damps that noise",
        "read_noise_floor": "read noise of the circuit, of the conductance",
        "c_length_cross": "how the length changes the slope along the current",
        "reset_c_0": "ln of the disc's resistance that a RESET at 1 V leaves",
        "reset_c_1": "its slope along ln of the voltage",
        "reset_c_2": "its curvature along ln of the voltage",
        "reset_c_length": "its slope along ln of the filament's length",
        "reset_c_radius": "its slope along ln of the filament's radius",
        "reset_c_cross": "how the radius changes its slope along the voltage",
        "reset_onset_v": "voltage from which on a device resets",
        "reset_onset_divider": "more of it for what drops over the series resistance",
        "reset_onset_radius": "more of it along ln of the filament's radius",
        "reset_onset_width": "width of the onset",
        "reset_sharpness": "how sharply a RESET ends where it limits itself",
    }
    """Of the parameters, in words; the equations are in `devices.rram.filament` and `devices.rram.reset`."""

    SIGNS: ClassVar[Mapping[str, Sign]] = {
        **_signs(
            "positive",
            "g_hrs",
            "g_level_min",
            "g_level_max",
            "length_mean",
            "radius_mean",
            "read_voltage",
            "reset_onset_width",
            "reset_sharpness",
        ),
        **_signs(
            "not negative",
            "r_series",
            "r_area",
            "length_sigma",
            "radius_sigma",
            "read_noise_conductance",
            "read_noise_resistance",
            "read_noise_floor",
        ),
    }

    model: Literal["rram"]
    levels: LevelDistributions | None = None
    """Distributions of the 3-bit levels, from SPICE Monte-Carlo; None for a card without it."""

    @property
    def unknown(self) -> list[str]:
        """What the filament model does not know of time and of writes."""
        return [
            "how the cell changes with time after a write was not measured",
            "spread from cycle to cycle is not in it",
        ]

    @property
    def misread(self) -> list[tuple[float, float, float | None]]:
        """Right after a write."""
        return [] if self.levels is None else [(0.0, self.levels.overlap.model, None)]
