"""The circuit that a card was calibrated on, at the parameters that it was calibrated at."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import ROOT, is_file

Deck = Callable[[Path], Netlist]
"""What reads a netlist: `neuron_deck` or `rram_deck`."""


@dataclass(frozen=True)
class Circuit:
    """A testbench with the overrides it was calibrated at, and what is to be said about it."""

    netlist: Path
    overrides: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    deck: Deck = neuron_deck

    @property
    def sha256(self) -> str:
        """Of the netlist with all that it includes, at the overrides."""
        return self.deck(self.netlist).sha256(self.overrides)


def circuit_at(netlist: Path, card: Card, deck: Deck = neuron_deck) -> Circuit:
    """`netlist` at those of `card`'s overrides that it has. Raises `NetlistError` where it cannot be read."""
    found = deck(netlist)
    known = {*found.params, *(["groups"] if found.has_groups else [])}
    overrides = {name: value for name, value in card.provenance.overrides.items() if name in known}
    return Circuit(netlist, overrides, deck=deck)


def circuit_of(card: Card, remedy: str, inside: Path | None = None, deck: Deck = neuron_deck) -> Circuit:
    """The circuit that `card` names; what to do where that cannot be had is the `remedy` of the message.

    With `inside` only a netlist of the project, or one below that folder, is read. Raises `InputError` where the card
    names none, none that is found, or one elsewhere; `NetlistError` where it cannot be read.
    """
    origin = card.provenance
    if not origin.netlist:
        raise InputError(f"the {card.model} card was not calibrated on a netlist; {remedy}")
    found = next((place for place in (Path(origin.netlist), ROOT / origin.netlist) if is_file(place)), None)
    if found is None:
        raise InputError(f"the {card.model} card names the netlist {origin.netlist}, not found; {remedy}")
    if inside is not None and not any(found.resolve().is_relative_to(each.resolve()) for each in (inside, ROOT)):
        raise InputError(f"the {card.model} card names the netlist {origin.netlist}, which lies elsewhere; {remedy}")
    circuit = Circuit(found, dict(origin.overrides), deck=deck)
    if origin.sha256 and circuit.sha256 != origin.sha256:
        note = f"{origin.netlist} has changed since the card was calibrated; what differs may come from that"
        return Circuit(found, circuit.overrides, (note,), deck)
    return circuit


def circuit_here(card: Card, project: Path, inside: Path, named: Path | None, deck: Deck = neuron_deck) -> Circuit:
    """The circuit to hold `card` against: the one that is `named`, or the card's own below the folder `inside`.

    Where the card has none there it is the `project`'s, and the notes say so; they also say where the card was
    calibrated on another than that. Raises `NetlistError` where the named one cannot be read.
    """
    if named is not None:
        return circuit_at(named, card, deck)
    try:
        found = circuit_of(card, "name it under Circuit", inside, deck)
    except InputError as error:
        return Circuit(project, notes=(f"{error}; SPICE runs the project's {project.name}",), deck=deck)
    own = found.netlist.resolve() == project.resolve()
    if own:
        found = replace(found, netlist=project)  # one path of several, for what is known of it
    at = ", ".join(f"{name}={value:g}" for name, value in found.overrides.items())
    said = f"SPICE runs {found.netlist.name}{f' at {at}' if at else ''}, as the card was calibrated"
    return found if own and not at else replace(found, notes=(*found.notes, said))
