"""What a network asks of a kind of neuron, the kinds of the package, and what a user's file may hold in their place."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from bruno_spice.devices.cards.base import Card, FeLIFCard, NeuronCard, card_class
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.models.felif import FeLIFModel
from bruno_spice.devices.models.heracles import HeraclesModel
from bruno_spice.devices.models.model import NeuronModel
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.neurons.lif import LIF
from bruno_spice.training.neurons.spread import SpreadDevices


@dataclass(frozen=True)
class NeuronKind:
    """A kind of hidden layer: neurons behind the synapses of the network, or, `gated`, a layer with its own weights."""

    label: str
    """In words, for messages, figures and reports."""
    make: Callable[[Any, Mapping[str, Any], Card | None, int], nn.Module] | None = None
    """A layer of so many neurons, from the configuration, those of its options that it knows, and the card; it is
    called as `training.neurons.felif` says."""
    gated: Callable[[int, int], nn.Module] | None = None
    """From the numbers of inputs and of values; called with inputs (T, B, n_in) alone."""
    options: tuple[str, ...] = ()
    """What ``neuron.options`` may set."""
    card: type[Card] | None = FeLIFCard
    """The card that it is made from, or that says which voltage counts as 1; None: 1 V does."""
    recurrent: bool = False
    """Whether spikes come back to their own layer where the configuration does not say."""
    always_recurrent: bool = False

    def feeds_back(self, asked: bool | None) -> bool:
        """Whether its spikes come back: as ``network.recurrent``, here `asked`, has it, or by default."""
        return self.always_recurrent or (self.recurrent if asked is None else asked)


@contextmanager
def _options() -> Iterator[None]:
    """Within the block, an option of the wrong kind becomes an `InputError`."""
    try:
        yield
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"neuron.options: {error}") from None


def of_layer(layer: type[nn.Module], label: str | None = None, takes_width: bool = False, **more: Any) -> NeuronKind:
    """Neurons of the class `layer`, which takes the options as keyword arguments, and with `takes_width` the number of
    neurons before them; `more` are fields of `NeuronKind`."""

    def make(config: Any, options: Mapping[str, Any], card: Card | None, width: int) -> nn.Module:
        with _options():
            return layer(*([width] if takes_width else []), **options)

    names = tuple(inspect.signature(layer).parameters)[int(takes_width) :]
    return NeuronKind(label or layer.__name__, make, options=names, **more)


def as_neuron(found: Any) -> NeuronKind:
    """The kind of neuron that a user's file means by `found`. Raises `InputError` for anything else."""
    if isinstance(found, NeuronKind):
        return found
    if inspect.isclass(found) and issubclass(found, nn.Module):
        return of_layer(found, card=None)
    if inspect.isclass(found) and issubclass(found, NeuronModel):
        return of_model(found)
    raise InputError("neurons are a NeuronModel, a class derived from torch.nn.Module, or a NeuronKind")


def of_model(model: type[NeuronModel]) -> NeuronKind:
    """Ferroelectric neurons of `model`, made from its cards."""
    own = card_class(model)

    def make(config: Any, options: Mapping[str, Any], card: Card | None, width: int) -> nn.Module:
        if not isinstance(card, own):
            raise InputError(
                f"{model.label} neurons need a {own.MODEL} card, but the run's neurons have "
                f"{'none' if card is None else f'one of {card.MODEL}'}: a network has one ferroelectric model"
            )
        assert isinstance(card, NeuronCard)
        with _options():
            neuron = FeLIF(card, gradient=config.gradient, **options)
        if config.spread != "none":
            neuron.devices_spread = SpreadDevices(neuron, card, config.spread, width)
        return neuron

    return NeuronKind(model.label, make, options=_KNOWN, card=own, recurrent=True)


_KNOWN = tuple(name for name in inspect.signature(FeLIF).parameters if name not in ("card", "gradient"))
FELIF, HERACLES = of_model(FeLIFModel), of_model(HeraclesModel)
PLAIN_LIF = of_layer(LIF, "LIF")
RECURRENT_LIF = of_layer(LIF, "rec. LIF", recurrent=True, always_recurrent=True)
