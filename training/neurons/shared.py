"""Device parameters that all neurons of a network share, as trainables beside the weights.

    p = p_card exp(x),      low <= p <= high

x is what the optimiser moves, so that a step is a share of the value whatever its unit; after each step it is put back
within the bounds. A parameter of the domains named without its number (``activation_field``) moves in all of them by
one factor. Shares of the film (``domain_weight_k``) add up to 1 and are no levers of their own.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from bruno_spice.devices.cards.base import Card, NeuronCard
from bruno_spice.devices.errors import InputError
from bruno_spice.training.neurons.base import CircuitLayer

Bounds = tuple[float, float]


def levers(card: NeuronCard) -> list[str]:
    """The parameters of `card` that can be moved by a share of their value; one of the domains without its number."""
    stems = [name for name in card.DOMAIN_UNITS if name != "domain_weight" and card[f"{name}_1"] != 0.0]
    return [name for name in card.UNITS if card[name] != 0.0] + stems


def members(card: NeuronCard, name: str) -> list[str]:
    """The parameters of `card` that `name` means: itself, or that of every domain.

    Raises `InputError` for one that the card does not have, is 0 there, or is a share of the film.
    """
    found = [f"{name}_{k}" for k in range(1, card.domains + 1)] if name in card.DOMAIN_UNITS else [name]
    if not set(found) <= set(card.parameters):
        raise InputError(
            f"unknown parameter '{name}'; the card's are {', '.join(levers(card))}, and those of one domain, such as "
            "activation_field_1"
        )
    if name.startswith("domain_weight"):
        raise InputError(f"{name} is a share of the film, which the other shares make whole; it does not move alone")
    if zero := [each for each in found if card[each] == 0.0]:
        raise InputError(f"{zero[0]} is 0 on this card, so that no share of it says anything")
    return found


class SharedDevices(nn.Module):
    """Trained parameters of `card`, each within its bounds in SI units, or within a factor `within` of the card's.

    Raises `InputError` for a name as `members`, and for bounds that the card's value does not lie within.
    """

    def __init__(self, card: Card | None, bounds: Mapping[str, Bounds | None], within: float) -> None:
        super().__init__()
        if not isinstance(card, NeuronCard):
            raise InputError("neuron.train: the network has no neurons that are made from a card")
        self.card, self.bounds = card, {}
        self.members = {name: members(card, name) for name in bounds}
        named = [each for found in self.members.values() for each in found]
        if twice := sorted({each for each in named if named.count(each) > 1}):
            raise InputError(f"neuron.train names {twice[0]} twice, by itself and with all domains")
        for name, asked in bounds.items():
            first = self.members[name][0]
            value = card[first]
            low, high = asked or tuple(sorted((value / within, value * within)))
            if not low <= value <= high or low * high <= 0.0:
                raise InputError(
                    f"neuron.train: {name} must lie between its bounds, of its sign, in {card.parameters[first].unit}; "
                    f"the card has {value:g}, the bounds are {low:g} and {high:g}"
                )
            self.bounds[name] = (low, high)
        self.x = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in bounds})

    def factors(self) -> dict[str, Tensor]:
        """exp(x) by card parameter, with their gradient."""
        found = {name: torch.exp(self.x[name]) for name in self.members}
        return {each: found[name] for name, each_of in self.members.items() for each in each_of}

    def give_to(self, modules: Iterable[nn.Module]) -> None:
        """Let the neurons among `modules` have them. Raises `InputError` where none is made from a card."""
        layers = [module for module in modules if isinstance(module, CircuitLayer)]
        if not layers:
            raise InputError("neuron.train: the network has no neurons that are made from a card")
        for layer in layers:
            layer.factors = self.factors

    @torch.no_grad()
    def keep_within(self) -> None:
        """Put every parameter back within its bounds."""
        for name, (low, high) in self.bounds.items():
            value = self.card[self.members[name][0]]
            ends = sorted((math.log(low / value), math.log(high / value)))
            self.x[name].clamp_(*ends)

    def values(self) -> dict[str, float]:
        """The parameters as they are now, in SI units; in rounding no further than the bounds."""
        found: dict[str, float] = {}
        for name, each_of in self.members.items():
            low, high = self.bounds[name]
            factor = math.exp(float(self.x[name].detach()))
            found |= {each: self.card[each] * factor for each in each_of}
            found[each_of[0]] = min(max(found[each_of[0]], low), high)
        return found

    def told(self) -> dict[str, dict[str, float | str | bool]]:
        """By name: the card's value and the trained one, bounds and unit, and whether it is on a bound."""
        found: dict[str, dict[str, float | str | bool]] = {}
        for name, each_of in self.members.items():
            low, high = self.bounds[name]
            first = each_of[0]
            value = self.values()[first]
            found[name] = {
                "card": self.card[first], "trained": value, "low": low, "high": high,
                "unit": self.card.parameters[first].unit,
                "on_bound": min(abs(value / low - 1.0), abs(value / high - 1.0)) < 1e-5,
            }  # fmt: skip
        return found
