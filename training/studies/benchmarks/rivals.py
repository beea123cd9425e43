"""LIF layers that FeLIF's speed is compared with: plain torch, and those of installed frameworks.

    V' = beta V + I,     s = H(V' - 1),     V reset where s = 1;       with a synapse also  I' = alpha I + x

Each rival maps a current (T, B, N), in units in which the threshold is 1, to spikes (T, B, N) as its own users would: a
Python loop over eager steps (Norse's `LIF` brings its own). snnTorch (Eshraghian et al. 2023, Proc. IEEE 111(9)) and
Norse (Pehle & Pedersen 2021) come with the extra ``[bench]``; where they are missing, their rows are.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from bruno_spice.training.dynamics.surrogates import Spike, Surrogate
from bruno_spice.training.neurons.lif import LIF

Layer = Callable[[Tensor], Tensor]
BETA, ALPHA = 0.5, 0.8
FRAMEWORKS = {"snntorch": "snnTorch", "norse": "Norse"}
"""Package and what its authors call it."""


@dataclass(frozen=True)
class Rival:
    """A LIF layer: `package` it comes from, whether it filters its input by a synapse, and how it is made."""

    key: str
    name: str
    package: str
    synapse: bool
    build: Callable[[], Layer]


def _own() -> Layer:
    layer = LIF()
    per_unit = layer.c_membrane_f * layer.v_threshold_v / 1e-3
    return lambda current: layer(current * per_unit)[0].spikes


def _plain(synapse: bool) -> Layer:
    surrogate = Surrogate("voltage")

    def layer(current: Tensor) -> Tensor:
        v = i = torch.zeros_like(current[0])
        spikes = []
        for x in current:
            i = ALPHA * i + x if synapse else x
            v = BETA * v + i
            distance = v - 1.0
            fired: Tensor = Spike.apply(distance, (distance.detach() >= 0.0).to(v.dtype), surrogate)
            v = v * (1.0 - fired.detach())
            spikes.append(fired)
        return torch.stack(spikes)

    return layer


def _snntorch(synapse: bool) -> Layer:
    import snntorch

    neuron = snntorch.Synaptic(alpha=ALPHA, beta=BETA) if synapse else snntorch.Leaky(beta=BETA)

    def layer(current: Tensor) -> Tensor:
        state = (torch.zeros_like(current[0]),) * (2 if synapse else 1)
        spikes = []
        for x in current:
            fired, *state = neuron(x, *state)
            spikes.append(fired)
        return torch.stack(spikes)

    return layer


def _norse_steps(cell: str) -> Layer:
    neuron = getattr(_norse(), cell)()

    def layer(current: Tensor) -> Tensor:
        state, spikes = None, []
        for x in current:
            fired, state = neuron(x, state)
            spikes.append(fired)
        return torch.stack(spikes)

    return layer


def _norse_sequence() -> Layer:
    neuron = _norse().LIF()
    return lambda current: neuron(current)[0]


def _norse() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it compiles with torch.jit, which torch deprecates
        import norse.torch
    return norse.torch


RIVALS = (
    Rival("lif", "LIF of this project", "", False, _own),
    Rival("plain", "LIF, plain torch", "", False, lambda: _plain(False)),
    Rival("plain_synapse", "LIF with synapse, plain torch", "", True, lambda: _plain(True)),
    Rival("snntorch_leaky", "snnTorch Leaky", "snntorch", False, lambda: _snntorch(False)),
    Rival("snntorch_synaptic", "snnTorch Synaptic", "snntorch", True, lambda: _snntorch(True)),
    Rival("norse_lifboxcell", "Norse LIFBoxCell", "norse", False, lambda: _norse_steps("LIFBoxCell")),
    Rival("norse_lifcell", "Norse LIFCell", "norse", True, lambda: _norse_steps("LIFCell")),
    Rival("norse_lif", "Norse LIF (sequence)", "norse", True, _norse_sequence),
)


def installed(package: str) -> bool:
    """Whether `package` is there; what comes with this project always is."""
    if not package:
        return True
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def at_hand() -> tuple[list[Rival], list[str]]:
    """The rivals whose framework is installed, and a sentence for each framework that is not."""
    missing = [package for package in FRAMEWORKS if not installed(package)]
    said = [
        f"{FRAMEWORKS[package]} is not installed, so that its rows are absent: pip install 'bruno-spice[bench]'"
        for package in missing
    ]
    return [rival for rival in RIVALS if rival.package not in missing], said
