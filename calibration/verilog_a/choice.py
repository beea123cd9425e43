"""``--simulator auto``: the fastest installed simulator that a deck allows, and why it is not a faster one.

Compiled models are 3 to 27 times faster than ngspice's B-sources (docs/howto/simulator.md), so VACASK goes first: it is
taken where it is installed, the deck has a translation and its models compile, which is tried. ngspice takes the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bruno_spice.calibration.errors import CalibrationError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.verilog_a import openvaf
from bruno_spice.calibration.verilog_a.deck import translate
from bruno_spice.devices.errors import InputError

AUTO = "auto"
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
        name = SIMULATORS.check(asked)
        if name == "vacask":
            prepare(decks)
        return Choice(name, SIMULATORS.find(name).installed().version)
    try:
        prepare(decks)
        return Choice("vacask", SIMULATORS["vacask"].installed().version)
    except (CalibrationError, InputError) as error:
        return Choice(SLOWEST, SIMULATORS[SLOWEST].installed().version, str(error))


def settled(farm: Farm, decks: Sequence[Netlist], tell: Callable[[str], None]) -> Farm:
    """`farm` with the simulator that `choose` gives for `decks`; `tell` hears of any but the usual ngspice."""
    if farm.simulator == SLOWEST:
        return farm
    choice = choose(farm.simulator, decks)
    tell(choice.sentence)
    return replace(farm, simulator=choice.name)


def prepare(decks: Sequence[Netlist]) -> None:
    """Translate and compile `decks` for VACASK; raises where one of them cannot be."""
    openvaf.installed()
    for deck in decks:
        for module in translate(deck.rendered, ()).modules:
            openvaf.compiled(module.text)
