"""From SPICE netlist to trained spiking network: device calibration and the BRUNO trainer for neuromorphic hardware.

    bruno_spice.simulate(card, stimulus, t_stop_s)      one neuron in continuous time
    bruno_spice.calibrate("neuron")                     netlist -> ngspice -> fit -> card
    bruno_spice.FeLIF(card), .RRAMLinear(...)           layers for torch
    bruno_spice.train(config, folder), .evaluate(run)   networks

Nothing is imported before it is asked for, so that `import bruno_spice` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bruno_spice.calibration.targets.calibrate import calibrate
    from bruno_spice.devices.cards.base import FeLIFCard
    from bruno_spice.devices.cards.measured import MeasuredCard
    from bruno_spice.devices.cards.rram import RRAMCard
    from bruno_spice.devices.ferroelectric.scalar.transient import simulate
    from bruno_spice.devices.stimulus import Stimulus
    from bruno_spice.devices.waveform import Waveform
    from bruno_spice.training.neurons.felif import FeLIF
    from bruno_spice.training.neurons.lif import LIF
    from bruno_spice.training.runs.evaluation import evaluate
    from bruno_spice.training.runs.trainer import train
    from bruno_spice.training.synapses.arrays import rram_weights
    from bruno_spice.training.synapses.rram import RRAMLinear

__all__ = [
    "LIF",
    "FeLIF",
    "FeLIFCard",
    "MeasuredCard",
    "RRAMCard",
    "RRAMLinear",
    "Stimulus",
    "Waveform",
    "calibrate",
    "evaluate",
    "rram_weights",
    "simulate",
    "train",
]

_HOMES = {
    "LIF": "bruno_spice.training.neurons.lif",
    "FeLIF": "bruno_spice.training.neurons.felif",
    "FeLIFCard": "bruno_spice.devices.cards.base",
    "MeasuredCard": "bruno_spice.devices.cards.measured",
    "RRAMCard": "bruno_spice.devices.cards.rram",
    "RRAMLinear": "bruno_spice.training.synapses.rram",
    "Stimulus": "bruno_spice.devices.stimulus",
    "Waveform": "bruno_spice.devices.waveform",
    "calibrate": "bruno_spice.calibration.targets.calibrate",
    "evaluate": "bruno_spice.training.runs.evaluation",
    "rram_weights": "bruno_spice.training.synapses.arrays",
    "simulate": "bruno_spice.devices.ferroelectric.scalar.transient",
    "train": "bruno_spice.training.runs.trainer",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bruno_spice' has no attribute '{name}'; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
