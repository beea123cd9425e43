"""Netlists read and edited, decks run in ngspice, results kept; `SIMULATORS` has what runs them, by name."""

from typing import TYPE_CHECKING, Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry

if TYPE_CHECKING:
    from bruno_spice.calibration.spice.ngspice import Simulator


def _accept(found: Any) -> "Simulator":
    from bruno_spice.calibration.spice.ngspice import Simulator

    if not isinstance(found, Simulator):
        raise InputError(f"a simulator is a calibration.spice.ngspice.Simulator, not a {type(found).__name__}")
    return found


SIMULATORS: "Registry[Simulator]" = Registry(
    "simulator",
    {
        "ngspice": "bruno_spice.calibration.spice.ngspice:NGSPICE",
        "ngspice-osdi": "bruno_spice.calibration.verilog_a.ngspice_osdi:NGSPICE_OSDI",
        "vacask": "bruno_spice.calibration.verilog_a.vacask:VACASK",
    },
    _accept,
    "SIMULATOR",
)
