"""The weights of any torch module on arrays of devices: its ``Linear`` and ``Conv`` layers, biases included.

    y = W x + b   ->   y = A [x, 1]          A (out, in + 1), such as an `RRAMLinear`

A bias is one more input line, which is always on, with devices of its own. Of a convolution, A is the kernel matrix
(out channels, in channels / groups x kernel size) that every place of the picture is read with.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.training.synapses.kinds import MakeSynapse
from bruno_spice.training.synapses.rram import RRAMLinear

TAKEN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class OnArray(nn.Module):
    """`layer`, one of `TAKEN`, with its weight and bias read from `array`, which has them as latent values."""

    def __init__(self, layer: nn.Module, make: MakeSynapse) -> None:
        super().__init__()
        weight: Tensor = layer.get_parameter("weight").detach()
        bias = layer.get_parameter("bias") if layer.bias is not None else None
        self.shape, self.has_bias = weight.shape, bias is not None
        matrix = weight.flatten(1)
        if bias is not None:
            matrix = torch.cat([matrix, bias.detach()[:, None]], dim=1)
        self.array = make(matrix.shape[1], matrix.shape[0]).to(matrix)
        with torch.no_grad():
            self.array.weight.copy_(matrix)
        del layer.weight, layer.bias
        self.layer = layer

    def forward(self, *arguments: Any) -> Tensor:
        """What the layer makes of its input, the array read once."""
        read = self.array.effective_weight()
        layer: Any = self.layer
        layer.weight = read[:, : self.shape[1:].numel()].reshape(self.shape)
        layer.bias = read[:, -1] if self.has_bias else None
        try:
            answer: Tensor = layer(*arguments)
            return answer
        finally:
            del layer.weight, layer.bias


def _found(module: nn.Module, name: str = "") -> Iterator[tuple[nn.Module, str, str]]:
    """Every layer below `module` that is to be taken: where it hangs, its name there, and its whole name."""
    for child, inner in module.named_children():
        where = f"{name}.{child}".lstrip(".")
        if isinstance(inner, TAKEN):
            yield module, child, where
        elif not isinstance(inner, OnArray):
            yield from _found(inner, where)


def on_arrays(module: nn.Module, make: MakeSynapse) -> nn.Module:
    """`module` with its Linear and Conv layers on arrays that `make` makes; returns it, or what takes its place.

    Other layers stay as they are. Raises `InputError` where there is no such layer, and for one without values yet
    (``LazyLinear``) or whose weight another layer shares.
    """
    if isinstance(module, TAKEN):
        return OnArray(_whole(module, "module"), make)
    found = list(_found(module))
    if not found:
        raise InputError(f"{type(module).__name__} has no Linear or Conv layer whose weights devices could hold")
    places: dict[int, str] = {}
    for parent, child, where in found:
        weight = getattr(parent, child).weight
        if id(weight) in places:
            raise InputError(f"{where} and {places[id(weight)]} share one weight; an array is one layer's")
        places[id(weight)] = where
        _whole(getattr(parent, child), where)
    for parent, child, _ in found:
        setattr(parent, child, OnArray(getattr(parent, child), make))
    return module


def _whole(layer: nn.Module, where: str) -> nn.Module:
    if isinstance(layer.weight, nn.UninitializedParameter):
        raise InputError(f"{where}: {type(layer).__name__} has no values yet; run it once on an input")
    return layer


def rram_weights(module: nn.Module, card: RRAMCard | MeasuredCard | str = "calibrated", **options: Any) -> nn.Module:
    """The Linear and Conv layers of `module`, biases included, on RRAM devices; changes and returns `module`.

    - `card`: of the devices, or ``calibrated``.
    - `options`: those of `RRAMLinear`: ``bits=3``, ``scheme``, ``stochastic``, ``clip``, ``spread``, ``noisy_reads``.

    The values that the layers have become the latent weights. A module that is itself such a layer is returned as a
    new one. Raises `InputError` as `RRAMLinear`, for a module without such layers and for weights that layers share.
    """
    of = RRAMCard.load(card) if isinstance(card, str) else card
    return on_arrays(module, lambda n_in, n_out: RRAMLinear(n_in, n_out, of, **options))
