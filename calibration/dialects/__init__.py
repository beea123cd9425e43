"""Decks in the languages of other simulators: one module, and one line in `DIALECTS`, for each language."""

from typing import TYPE_CHECKING, Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry

if TYPE_CHECKING:
    from bruno_spice.calibration.dialects.dialect import Dialect


def _accept(found: Any) -> "Dialect":
    from bruno_spice.calibration.dialects.dialect import Dialect

    if not isinstance(found, Dialect):
        raise InputError(f"a dialect is a calibration.dialects.dialect.Dialect, not a {type(found).__name__}")
    return found


DIALECTS: "Registry[Dialect]" = Registry(
    "dialect",
    {
        "ltspice": "bruno_spice.calibration.dialects.languages.ltspice:LTSPICE",
        "hspice": "bruno_spice.calibration.dialects.languages.hspice:HSPICE",
        "spectre": "bruno_spice.calibration.dialects.languages.spectre:SPECTRE",
    },
    _accept,
    "DIALECT",
)
