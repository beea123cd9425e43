"""Oscilloscopes of Keysight's InfiniiVision series: the ``.csv`` of the traces.

The first line is ``x-axis,1,2``, the second has the units, ``second,Volt,Volt``; a channel has a number and no name.
"""

from pathlib import Path

from bruno_spice.calibration.measured.formats.plain import read_text
from bruno_spice.calibration.measured.record import Asked, Found, Reader
from bruno_spice.calibration.measured.text import Text

FIRST = "x-axis"


def _read(path: Path, asked: Asked) -> Found:
    found = read_text(
        Text.load(path), asked, "trace", lambda name: "time" if name == FIRST else f"channel {name}", numbered=True
    )
    return Found(found.records, tuple(said for said in found.said if "taken for units" not in said))


OSCILLOSCOPE = Reader("Keysight oscilloscope", lambda head: head.startswith(f"{FIRST},"), _read)
