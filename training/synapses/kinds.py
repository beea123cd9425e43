"""What a network asks of a kind of weights, and what a user's file may hold in its place."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.errors import InputError
from bruno_spice.training.synapses.base import FloatLinear, Synapse
from bruno_spice.training.synapses.device import DeviceLinear, SynapseDevice

MakeSynapse = Callable[[int, int], Synapse]
"""From the numbers of inputs and outputs."""


@dataclass(frozen=True)
class SynapseKind:
    """A kind of weights."""

    label: str
    """In words, for messages, figures and reports."""
    maker: Callable[[Any, Card | None], MakeSynapse]
    """From the configuration and the card, if there is one."""
    card: type[Card] | None = None
    """The card that it is made from."""
    has_levels: bool = True
    """Whether `bits` means something to it."""
    options: tuple[str, ...] = ()
    """What ``synapse.options`` may set."""


def array_options(config: Any) -> dict[str, Any]:
    """The keyword arguments of `DeviceLinear` that `config` sets."""
    return {
        "bits": config.bits,
        "scheme": config.scheme,
        "stochastic": config.rounding == "stochastic",
        "clip": config.clip,
        "spread": config.spread,
        "noisy_reads": config.read_noise,
        "noisy_eval": config.read_noise_in_eval,
        "spread_cut": config.spread_cut,
        "age_s": config.age_s,
        "after": None if config.after is None else (config.after.low, config.after.high),
    }


def of_device(device: type[SynapseDevice]) -> SynapseKind:
    """Arrays of `device`, whose keyword arguments are the options."""

    def maker(config: Any, card: Card | None) -> MakeSynapse:
        cards = () if device.card is None else (card,)
        try:
            model = device(*cards, **config.options)
        except (TypeError, ValueError) as error:
            raise InputError(f"synapse.options: {error}") from None
        return lambda n_in, n_out: DeviceLinear(n_in, n_out, model, **array_options(config))

    names = tuple(inspect.signature(device).parameters)
    return SynapseKind(device.label, maker, device.card, options=names if device.card is None else names[1:])


def of_matrix(matrix: type[Synapse]) -> SynapseKind:
    """Weights of the class `matrix`, called with the numbers of inputs and outputs and the options."""
    names = tuple(inspect.signature(matrix).parameters)[2:]
    return SynapseKind(
        matrix.__name__, lambda config, _: lambda n_in, n_out: matrix(n_in, n_out, **config.options), options=names
    )


def as_synapse(found: Any) -> SynapseKind:
    """The kind of weights that a user's file means by `found`. Raises `InputError` for anything else."""
    if isinstance(found, SynapseKind):
        return found
    if inspect.isclass(found) and issubclass(found, SynapseDevice) and not inspect.isabstract(found):
        return of_device(found)
    if inspect.isclass(found) and issubclass(found, Synapse) and not inspect.isabstract(found):
        return of_matrix(found)
    raise InputError("weights are a class derived from SynapseDevice or Synapse, with all their methods")


FLOAT = SynapseKind("float", lambda _, __: FloatLinear, has_levels=False)
