"""``--simulator auto``: the fastest installed simulator that a deck allows, and why it is not a faster one.

Compiled models are 3 to 27 times faster than ngspice's B-sources (docs/howto/simulator.md), so VACASK goes first, then
ngspice with OSDI: each where it is installed, the deck has a translation and its models compile, which is tried.
ngspice takes the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bruno_spice.calibration.errors import CalibrationError, SimulationError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.spice.ngspice import NEEDS_COMPILED
from bruno_spice.calibration.verilog_a import openvaf
from bruno_spice.calibration.verilog_a.deck import translate
from bruno_spice.calibration.verilog_a.module import Module
from bruno_spice.calibration.verilog_a.ngspice_osdi import with_models
from bruno_spice.devices.errors import InputError

AUTO = "auto"
COMPILED: dict[str, Callable[[Netlist], tuple[Module, ...]]] = {
    "vacask": lambda deck: translate(deck.rendered, (), deck.models).modules,
    "ngspice-osdi": lambda deck: with_models(deck.rendered, deck.models)[0],
}
"""Simulators of compiled models, the fastest first, each with the modules that it needs of a deck."""
SLOWEST = "ngspice"


@dataclass(frozen=True)
class Choice:
    """A simulator by its name in `SIMULATORS`, its version, and why a faster one was not taken (empty: none is)."""

    name: str
    version: str
    reason: str = ""

    @property
    def sentence(self) -> str:
        """What a command says of it."""
        return f"simulator: {self.name} {self.version}" + (f" ({self.reason})" if self.reason else "")


def choose(asked: str, decks: Sequence[Netlist]) -> Choice:
    """The simulator `asked` for, or with ``auto`` the fastest that can run all of `decks`.

    Raises `InputError` for an unknown name, `SimulationError` for one that is not installed, and for a deck that the
    one asked for cannot take what its translation raises.
    """
    if asked != AUTO:
        return _choice(SIMULATORS.check(asked), decks)
    reasons: list[str] = []
    for name in COMPILED:
        try:
            return _choice(name, decks, reasons[0] if reasons else "")
        except (CalibrationError, InputError) as error:
            reasons.append(str(error))
    if users := [model.module for deck in decks for model in deck.models]:
        raise SimulationError(f"{users[0]}, a Verilog-A model, {NEEDS_COMPILED} ({reasons[0]})")
    return _choice(SLOWEST, decks, reasons[0])


def _choice(name: str, decks: Sequence[Netlist], reason: str = "") -> Choice:
    version = SIMULATORS.find(name).installed().version
    for deck in decks if name in COMPILED else ():
        for module in COMPILED[name](deck):
            openvaf.compiled(module.text)
    return Choice(name, version, reason)


def settled(farm: Farm, decks: Sequence[Netlist], tell: Callable[[str], None]) -> Farm:
    """`farm` with the simulator that `choose` gives for `decks`; `tell` hears of any but the usual ngspice.

    A deck with a Verilog-A model of the user's goes to the fastest that is there, for plain ngspice takes none.
    """
    of_user = any(deck.models for deck in decks)
    if farm.simulator == SLOWEST and not of_user:
        return farm
    choice = choose(AUTO if of_user and farm.simulator == SLOWEST else farm.simulator, decks)
    tell(choice.sentence)
    return replace(farm, simulator=choice.name)
