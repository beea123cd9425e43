"""Layers of spiking neurons for torch; `NEURONS` has the kinds of hidden layers by name."""

from typing import TYPE_CHECKING, Any

from bruno_spice.devices.registry import Registry

if TYPE_CHECKING:
    from bruno_spice.training.neurons.kinds import NeuronKind


def _accept(found: Any) -> "NeuronKind":
    from bruno_spice.training.neurons.kinds import as_neuron

    return as_neuron(found)


NEURONS: "Registry[NeuronKind]" = Registry(
    "neuron",
    {
        "felif": "bruno_spice.training.neurons.kinds:FELIF",
        "heracles": "bruno_spice.training.neurons.kinds:HERACLES",
        "lif": "bruno_spice.training.neurons.kinds:PLAIN_LIF",
        "rlif": "bruno_spice.training.neurons.kinds:RECURRENT_LIF",
        "gru": "bruno_spice.training.neurons.kinds:GRU",
        "lstm": "bruno_spice.training.neurons.kinds:LSTM",
    },
    _accept,
    "Layer",
)
