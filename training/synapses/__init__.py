"""Weights as devices give them, for torch; `SYNAPSES` has their kinds by name."""

from typing import TYPE_CHECKING, Any

from bruno_spice.devices.registry import Registry

if TYPE_CHECKING:
    from bruno_spice.training.synapses.kinds import SynapseKind


def _accept(found: Any) -> "SynapseKind":
    from bruno_spice.training.synapses.kinds import as_synapse

    return as_synapse(found)


SYNAPSES: "Registry[SynapseKind]" = Registry(
    "synapse",
    {
        "rram": "bruno_spice.training.synapses.rram:RRAM",
        "measured": "bruno_spice.training.synapses.measured:MEASURED",
        "uniform": "bruno_spice.training.synapses.uniform:UNIFORM",
        "float": "bruno_spice.training.synapses.kinds:FLOAT",
    },
    _accept,
    "Device",
)
