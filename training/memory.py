"""The memory of this process: what is resident, and its largest value since `settle`."""

import contextlib
import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch


def settle() -> int:
    """Give freed memory back and forget the peak so far; the resident bytes now. Off Linux the peak stays."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return resident_bytes()


def resident_bytes() -> int:
    """Memory in use now; off Linux the peak."""
    return _status("VmRSS") if sys.platform == "linux" else peak_bytes()


def peak_bytes() -> int:
    """The most since the process began or, on Linux, since `settle`."""
    if sys.platform == "linux":
        return _status("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory of this run in this process: allocated on a CUDA device, else resident."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else peak_bytes()


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
