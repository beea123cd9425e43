"""Networks of calibrated devices in torch: neurons, synapses, gradients, tasks and the training loop."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Large tensors of torch in huge pages: a tape of a million neurons else costs a page fault every 4 KiB, at each step.

if TYPE_CHECKING:
    from training.neurons import LIF, FeLIF
    from training.synapses import RRAMLinear

__all__ = ["LIF", "FeLIF", "RRAMLinear"]

_HOMES = {"FeLIF": "training.neurons", "LIF": "training.neurons", "RRAMLinear": "training.synapses"}


def __getattr__(name: str) -> Any:
    """Load torch only when a layer is asked for, so that the command line starts at once."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'training' has no attribute '{name}'")
