"""The workbench: pages on which a device is tuned, fitted and compared; `PAGES` has them by name.

A page declares what it shows (`page.Page`); the tuner around it (`session.Session`) is the same for all. Both call what
the commands call: no physics and no fit is here.
"""

from typing import TYPE_CHECKING, Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry

if TYPE_CHECKING:
    from bruno_spice.calibration.workbench.page import Page


def _accept(found: Any) -> "Page":
    from bruno_spice.calibration.workbench.page import Page

    if not isinstance(found, Page):
        raise InputError(f"a page of the workbench is a calibration.workbench.page.Page, not a {type(found).__name__}")
    return found


PAGES: "Registry[Page]" = Registry(
    "page",
    {
        "neuron": "bruno_spice.calibration.workbench.neuron:PAGE",
        "fecap": "bruno_spice.calibration.workbench.fecap:PAGE",
        "rram": "bruno_spice.calibration.workbench.rram:PAGE",
        "cards": "bruno_spice.calibration.workbench.cards:PAGE",
        "runs": "bruno_spice.training.workbench.runs:PAGE",
    },
    _accept,
    "PAGE",
)
"""In the order in which the head of every page names them."""
TITLES = {"neuron": "Neuron", "fecap": "FeCAP", "rram": "RRAM", "cards": "Cards", "runs": "Runs"}
"""What the head calls them, without importing any."""
