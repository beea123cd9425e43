"""Which levels hold: the share of devices that are read as another level, so long after they were written.

A device written to a level is misread where its conductance lies beyond the midpoint to an adjacent one
(`calibration.rram.levels.overlapping`); read noise is not in it. Any `SynapseDevice` can be asked.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bruno_spice.calibration.rram.levels import overlapping
from bruno_spice.devices.cards.measured import LevelOverlap
from bruno_spice.devices.rram.filament import Levels
from bruno_spice.devices.rram.measured import beyond
from bruno_spice.devices.units import format_duration
from bruno_spice.training.synapses.device import CUT_SIGMA, DeviceLinear, SynapseDevice

TIMES_S = (0.0, 1.0, 3600.0, 86400.0)
DEVICES = 10_000
"""Drawn, for each level."""
HOLDS = 0.05
"""A level holds as long as fewer devices are misread."""


def overlaps(
    device: SynapseDevice, bits: int, times_s: Sequence[float] = TIMES_S, cut_sigma: float = CUT_SIGMA, seed: int = 0
) -> list[LevelOverlap]:
    """Of 2**`bits` levels at each of `times_s` that lies within what is known of `device`."""
    levels = device.levels(bits)
    known = Levels(levels.conductance_s, levels.setting)
    states = device.sample((DEVICES, len(levels.setting)), np.random.default_rng(seed), cut_sigma)
    setting = np.broadcast_to(levels.setting, (DEVICES, len(levels.setting)))
    written_s = device.conductance_s(setting, *states)
    found = []
    for time_s in times_s:
        if beyond(time_s, device.known_until_s()):
            continue
        g_s = device.aged_s(written_s, time_s, *states) if time_s else written_s
        share = overlapping(np.asarray(g_s), known).mean(axis=0)
        found.append(LevelOverlap(time_s=time_s, bits=bits, misread=float(share.mean()), by_level=share.tolist()))
    return found


def of_array(array: DeviceLinear, times_s: Sequence[float] = TIMES_S) -> list[LevelOverlap]:
    """Of the levels of `array`, with its spread."""
    return overlaps(array.model, array.n_levels.bit_length() - 1, times_s, array.spread_cut)


def unknown(device: SynapseDevice) -> str:
    """What is not known of how `device` changes with time, in a sentence; empty where that is known."""
    if device.known_until_s():
        return ""
    return (
        f"how {device.label} changes with time after a write was not measured: what is said holds right after writing"
    )


def drawn_on(synapses: Iterable[object]) -> str:
    """That the age of one of the arrays among `synapses` is beyond what was measured of it; empty where none is."""
    for each in synapses:
        if isinstance(each, DeviceLinear):
            oldest_s, known_s = max((each.age_s, *(each.after or ()))), each.model.known_until_s()
            if beyond(oldest_s, known_s):
                return (
                    f"synapse ages of up to {format_duration(oldest_s)} are beyond the {format_duration(known_s)} that "
                    "were measured, drawn on along ln t"
                )
    return ""


def sentences(found: Sequence[LevelOverlap]) -> Iterator[str]:
    """A line a time: which levels no longer hold."""
    for at in found:
        lost = [n for n, share in enumerate(at.by_level) if share > HOLDS]
        which = "all levels hold" if not lost else f"{_ranges(lost)} of 0-{len(at.by_level) - 1} do not hold"
        worst = int(np.argmax(at.by_level))
        when = f"{format_duration(at.time_s)} after writing" if at.time_s else "right after writing"
        most = f", most of level {worst} ({100 * at.by_level[worst]:.3g} %)" if at.misread else ""
        yield f"{when}: {which}; {100 * at.misread:.3g} % of devices are read as another level{most}"


def _ranges(numbers: Sequence[int]) -> str:
    """``level 1`` or ``levels 1-4, 6``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    texts = [str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts]
    return f"level{'s' if len(numbers) > 1 else ''} {', '.join(texts)}"
