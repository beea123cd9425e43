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
        "adaptive-lif": "bruno_spice.training.neurons.adaptive_lif:ADAPTIVE_LIF",
        "current-lif": "bruno_spice.training.neurons.current_lif:CURRENT_LIF",
        "learned-lif": "bruno_spice.training.neurons.learned_lif:LEARNED_LIF",
        "gru": "bruno_spice.training.neurons.gated:GRU",
        "lstm": "bruno_spice.training.neurons.gated:LSTM",
    },
    _accept,
    "Layer",
)
