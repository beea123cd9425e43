"""The whole state of a training run in one safetensors file, enough to go on bit for bit.

Tensors: ``model.*`` (weights and sampled devices), ``optimizer.*``, ``average.*``, ``rng.*``. Everything else is
JSON in the file's header, and once more beside it (``.json``) for people to read.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from devices.errors import InputError
from devices.files import write_atomic
from training.averaging import WeightAverage

STATE = "state"


@dataclass
class Progress:
    """Where a run is; lives in the checkpoint as JSON."""

    epoch: int = 0
    """Epochs done."""
    batch: int = 0
    """Batches done of the present epoch."""
    step: int = 0
    """Updates done."""
    best_epoch: int = -1
    best_score: float | None = None
    wall_time_s: float = 0.0
    epoch_time_s: float = 0.0
    """Of the present epoch."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sums over the present epoch's batches."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """A row an epoch."""


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    device: torch.device,
    average: WeightAverage | None = None,
) -> None:
    """Write the state to `path`, and its readable part beside it."""
    tensors = {f"model.{name}": value for name, value in network.state_dict().items()}
    names = [name for name, _ in network.named_parameters()]
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{names[index]}.{slot}": torch.as_tensor(value) for slot, value in slots.items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.values.items()}
    tensors["rng.cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["rng.cuda"] = torch.cuda.get_rng_state(device)
    state = json.dumps(asdict(progress), indent=1)
    write_atomic(path, save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {STATE: state}))
    write_atomic(path.with_suffix(".json"), state + "\n")


def load_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    average: WeightAverage | None = None,
) -> Progress:
    """Put the state at `path` into all of these and the random numbers; return where the run was."""
    tensors, state = _read(path)
    network.load_state_dict(_part(tensors, "model."))
    slots: dict[int, dict[str, Tensor]] = {}
    for index, (name, _) in enumerate(network.named_parameters()):
        if found := _part(tensors, f"optimizer.{name}."):
            slots[index] = found
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    if average is not None:
        for name, value in _part(tensors, "average.").items():
            average.values[name].copy_(value)
    torch.set_rng_state(tensors["rng.cpu"])
    if device.type == "cuda" and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"], device)
    return Progress(**json.loads(state))


def save_model(path: Path, network: nn.Module) -> None:
    """Write weights and sampled devices to `path`."""
    write_atomic(path, save({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}))


def load_model(path: Path, network: nn.Module) -> None:
    """Read weights and sampled devices from `path` into `network`."""
    network.load_state_dict(_read(path)[0])


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    try:
        with safe_open(path, framework="pt") as file:
            state = (file.metadata() or {}).get(STATE, "{}")
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; the run was not begun or never reached its first one") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not a readable checkpoint ({error})") from None


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
