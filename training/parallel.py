"""One process or several: ``torchrun --nproc_per_node N -m bruno_spice train ...`` shares each batch among N.

Every process holds the same network, chip and random state and takes every N-th sequence of a batch; gradients are
averaged by DistributedDataParallel (gloo on CPUs, nccl on CUDA), so the result is one process's to rounding.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bruno_spice.devices.errors import InputError


def rank() -> int:
    """Of this process among those of torchrun; 0 for one that runs alone."""
    return int(os.environ.get("RANK", "0"))


def own_device(device: torch.device) -> torch.device:
    """`device`; of several GPUs the one that has torchrun's number of this process on this machine."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def usable_device(name: str) -> torch.device:
    """The device `name` of this process. Raises `InputError` where torch cannot compute there."""
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError
    except RuntimeError:
        raise InputError(f"device '{name}' cannot be used here; take cpu or cuda") from None
    try:
        device = own_device(device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device '{name}' cannot be used here ({str(error).splitlines()[0]})") from None
    return device


@dataclass(frozen=True)
class Process:
    """This process among `world_size`; rank 0 writes files."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """`network`, its gradients shared where there are several processes."""
        if self.world_size == 1:
            return network
        return DistributedDataParallel(network)

    def wait(self) -> None:
        """Until every process is here."""
        if self.world_size > 1:
            distributed.barrier()

    def total(self, value: float) -> float:
        """Sum of `value` over the processes."""
        if self.world_size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(tensor)
        return float(tensor)


@contextmanager
def processes(device: torch.device) -> Iterator[Process]:
    """The process group that torchrun set up in the environment, or a single process."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1 or distributed.is_initialized():
        yield Process()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Process(rank(), world_size)
    finally:
        distributed.destroy_process_group()
