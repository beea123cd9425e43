"""Neuron models: their laws, spelled once, and their parameters, declared once; `MODELS` has them by name."""

import inspect
from typing import TYPE_CHECKING, Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry

if TYPE_CHECKING:
    from bruno_spice.devices.models.model import NeuronModel


def _accept(found: Any) -> "type[NeuronModel]":
    from bruno_spice.devices.models.model import NeuronModel

    if not (inspect.isclass(found) and issubclass(found, NeuronModel)):
        raise InputError("a neuron model is a class derived from devices.models.model.NeuronModel")
    return found


MODELS: "Registry[type[NeuronModel]]" = Registry(
    "neuron model",
    {
        "felif": "bruno_spice.devices.models.felif:FeLIFModel",
        "heracles": "bruno_spice.devices.models.heracles:HeraclesModel",
    },
    _accept,
    "Model",
)
