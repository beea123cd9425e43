"""What a device is: cards, equations, kernels. Knows neither SPICE nor training."""

from devices.card import FeLIFCard, RRAMCard
from devices.stimulus import Stimulus
from devices.waveform import Waveform

__all__ = ["FeLIFCard", "RRAMCard", "Stimulus", "Waveform"]
