"""What can go wrong between a netlist and a card.

Every message says what happened, where (file and line of the netlist where ngspice tells it) and what to do.
"""

import difflib
from collections.abc import Mapping

from bruno_spice.devices.errors import BrunoError, InputError


class CalibrationError(BrunoError):
    """Base of the errors of this package."""


class NetlistError(CalibrationError, InputError):
    """The netlist is at fault: a typo, an unknown parameter, a missing analysis, the wrong pins."""


class SimulationError(CalibrationError):
    """SPICE failed on a sound netlist: no convergence, a crash, the time or memory limit."""


class DoubtfulSpikesError(SimulationError):
    """Spikes that the circuit does not have: a step of the simulator made them."""


class ConvergenceError(SimulationError):
    """ngspice found no solution with the deck's own options; others may find one."""


class FitError(CalibrationError):
    """A fit did not end in a minimum that can be trusted."""


def unknown_name(name: str, known: Mapping[str, object], prefix: str) -> str:
    """One sentence that says `name` is unknown and offers the nearest known one."""
    short = name if len(name) <= 60 else f"{name[:60]}..."
    near = difflib.get_close_matches(short.lower(), list(known), n=1, cutoff=0.0)
    return f"{prefix} '{short}'" + (f"; did you mean '{near[0]}'?" if near else "; it has none at all")
