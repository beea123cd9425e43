"""Records that were measured or simulated elsewhere: one module, and one line in `READERS`, for each kind of file."""

from typing import Any

from bruno_spice.calibration.measured.record import Reader
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry


def _accept(found: Any) -> Reader:
    """A `Reader`, or one made of a function of a path and an `Asked`, which takes no file for its own."""
    if isinstance(found, Reader):
        return found
    if not callable(found):
        raise InputError(
            f"a reader is a Reader, or a function of a path and what is asked, not a {type(found).__name__}"
        )
    return Reader(getattr(found, "__name__", "own reader"), lambda head: False, found)


READERS: Registry[Reader] = Registry(
    "reader",
    {
        "aixacct": "bruno_spice.calibration.measured.formats.aixacct:AIXACCT",
        "radiant": "bruno_spice.calibration.measured.formats.radiant:RADIANT",
        "xls": "bruno_spice.calibration.measured.formats.workbook:WORKBOOK",
        "easyexpert": "bruno_spice.calibration.measured.formats.easyexpert:EASYEXPERT",
        "iccap": "bruno_spice.calibration.measured.formats.iccap:ICCAP",
        "raw": "bruno_spice.calibration.measured.formats.raw:RAW",
        "psf": "bruno_spice.calibration.measured.formats.psf:PSF",
        "oscilloscope": "bruno_spice.calibration.measured.formats.oscilloscope:OSCILLOSCOPE",
        "table": "bruno_spice.calibration.measured.formats.plain:TABLE",
    },
    _accept,
    "function",
)
"""In the order in which they look at a file; the table is what is left."""
