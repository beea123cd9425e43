"""From card parameters back to the netlist: which ``.param`` says each, or moves it in proportion.

What a calibration takes from the netlist has its number there (``area``). What it finds on transients goes with a
number of the netlist that it comes close to but does not equal: there the netlist's is moved by the same factor.

    param_new = value                          a parameter that is declared to be that .param
    param_new = param_old value / value_old    one that is near it (`devices.models.model.Declared.near`)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.devices.cards.base import Card, NeuronCard
from bruno_spice.devices.files import ROOT, is_file

ALIKE = 1e-4
"""Domains moved by factors that differ by more have no .param in common."""


@dataclass(frozen=True)
class Setting:
    """A number for ``bruno calibrate --set``, in the unit of that .param."""

    param: str
    value: float
    names: tuple[str, ...]
    """The card parameters that ask for it."""

    @property
    def text(self) -> str:
        """As the command line takes it."""
        return f"{self.param}={self.value:.6g}"


def netlist_of(card: Card) -> Path | None:
    """The netlist that `card` was calibrated on; None where it names none, or none that is here.

    Of one outside the project a card knows the name alone.
    """
    named = card.provenance.netlist
    return next((place for place in (Path(named), ROOT / named) if named and is_file(place)), None)


def settings(card: Card, values: Mapping[str, float], netlist: Path | None = None) -> dict[str, Setting]:
    """The numbers of `netlist`, by default the card's own, that take `card` to `values`, by card parameter.

    Left out is what the netlist has no number for, or one number where the domains ask for different factors.
    """
    if not isinstance(card, NeuronCard) or (path := netlist or netlist_of(card)) is None:
        return {}
    deck, model = neuron_deck(path), card.NEURON
    found: dict[str, Setting] = {}
    for name, value in values.items():
        param = model.deck_parameter(name)
        if param is None or param not in deck.params or not card[name]:
            continue
        alike = tuple(each for each in card.parameters if model.deck_parameter(each) == param)
        factors = [values.get(each, card[each]) / card[each] for each in alike]
        if max(factors) / min(factors) - 1.0 > ALIKE:
            continue
        declared = model.parameters.get(name)
        now = card.provenance.overrides.get(param, deck.params[param].value)
        exact = declared is not None and declared.param is not None
        number = value if exact else None if now is None else float(now) * value / card[name]
        if number is not None and math.isfinite(number):
            found[name] = Setting(param, number, alike)
    return found
