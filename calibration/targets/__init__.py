"""What can be calibrated (`TARGETS`), and what is reported of it."""

from typing import TYPE_CHECKING, Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry

if TYPE_CHECKING:
    from bruno_spice.calibration.targets.target import Target


def _accept(found: Any) -> "Target":
    from bruno_spice.calibration.targets.target import Target

    if not isinstance(found, Target):
        raise InputError(f"a target is a calibration.targets.target.Target, not a {type(found).__name__}")
    return found


TARGETS: "Registry[Target]" = Registry(
    "target",
    {
        "neuron": "bruno_spice.calibration.targets.neuron:NEURON",
        "rram": "bruno_spice.calibration.targets.rram:RRAM",
    },
    _accept,
    "TARGET",
)
