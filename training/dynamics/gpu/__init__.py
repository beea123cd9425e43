"""The logistic method as one Triton kernel a sequence: for float32 on CUDA devices, where Triton is installed."""

import importlib.util
import warnings
from functools import cache

import torch
from torch import Tensor


def has_triton(values: Tensor) -> bool:
    """Whether the Triton kernel takes the precision and device of `values`; says once where Triton is missing."""
    if values.device.type != "cuda" or values.dtype != torch.float32:
        return False
    if not _installed():
        _say_without()
    return _installed()


@cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


@cache
def _say_without() -> None:
    warnings.warn(
        "Triton is not installed, so that a millisecond of a layer takes thousands of small CUDA kernels; "
        "pip install 'bruno-spice[gpu]' brings one kernel for all of it",
        stacklevel=5,
    )
