"""What a layer refuses before it computes: numbers that are not finite, and precisions that its currents do not fit.

A NaN would end in silence, or in an adaptive solver that never arrives. The smallest float16 is 6e-8, so that a
synaptic current of 1e-8 A is zero there, and its gradient infinite.
"""

import torch
from torch import Tensor

from bruno_spice.devices.errors import InputError

LARGEST_CURRENT_A = 1.0
AXES = ("step", "sequence", "neuron")


def check_finite(values: Tensor, what: str, axes: tuple[str, ...] = ()) -> None:
    """Raise `InputError` that names `what`, its shape and the first place, unless all `values` are finite.

    One sum where all is well; `axes` are the names of the dimensions.
    """
    values = values.detach()
    if bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all()):
        return
    at = (~torch.isfinite(values)).nonzero()[0].tolist()
    named = axes if len(axes) == len(at) else ["index"] * len(at)
    place = ", ".join(f"{axis} {index}" for axis, index in zip(named, at, strict=True))
    shape = "x".join(map(str, values.shape))
    raise InputError(f"{what} ({shape}) holds {float(values[tuple(at)])} at {place or 'its only place'}")


def check_current(current_a: Tensor, what: str) -> None:
    """Raise `InputError` that names `what` for a current (T, B, N) in A in float16, not finite, or beyond 1 A."""
    check_precision(current_a, what)
    check_finite(current_a, what, AXES)
    if current_a.numel() and float(largest := current_a.detach().abs().max()) > LARGEST_CURRENT_A:
        raise InputError(f"{what} reaches {float(largest):.3g} A, no synapse's current; give it in A, such as 1e-8")


def check_current_shape(current_a: Tensor) -> None:
    """Raise `InputError` unless `current_a` is (T, B, N)."""
    if current_a.dim() != 3:
        raise InputError(f"the current must be (T, B, N), not {tuple(current_a.shape)}")


def check_lengths(lengths: Tensor | None, inputs: Tensor, what: str) -> None:
    """Raise `InputError` that names `what` unless `lengths` are whole numbers (B,) of 0...T; `inputs`: (T, B, ...)."""
    if lengths is None:
        return
    steps, batch = inputs.shape[:2]
    if lengths.shape != (batch,):
        raise InputError(f"{what} must be (B,) = ({batch},), a number a sequence, not {tuple(lengths.shape)}")
    if lengths.dtype == torch.bool or lengths.is_floating_point():
        raise InputError(f"{what} must be whole numbers of steps, not {lengths.dtype}")
    if batch and not (int(lengths.min()) >= 0 and int(lengths.max()) <= steps):
        raise InputError(
            f"{what} must lie within 0...T = {steps}, not within {int(lengths.min())}...{int(lengths.max())}"
        )


def not_below_float32(value: Tensor, changed: Tensor) -> Tensor:
    """`changed`, a buffer that was `value` before a module moved or turned; in the old precision if it is bfloat16."""
    return value.to(changed.device) if changed.dtype == torch.bfloat16 else changed


def check_transforms(values: Tensor, what: str) -> None:
    """Raise `InputError` that names `what` within `torch.func` transforms of `values` and within `torch.export`."""
    if torch.compiler.is_exporting():
        raise InputError(
            f"{what} runs compiled kernels, which torch.export cannot take; keep its state_dict, build it from its card"
        )
    if torch._C._functorch.is_functorch_wrapped_tensor(values):
        raise InputError(
            f"{what} runs compiled kernels, which torch.func (grad, vmap, jvp) cannot transform; call backward, and "
            f"put what vmap would go over into the batch"
        )


def check_precision(values: Tensor, what: str) -> None:
    """Raise `InputError` that names `what` for `values` in float16, and within autocast to float16."""
    kind = values.device.type
    if values.dtype == torch.float16 or (
        torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    ):
        raise InputError(
            f"{what} is in float16, or in autocast to it, where 6e-8 is the smallest number: currents in A vanish "
            f"and gradients overflow; take float32, or autocast to bfloat16"
        )
