"""The whole state of a training run in one safetensors file, enough to go on bit for bit.

Tensors: ``model.*`` (weights and sampled devices), ``optimizer.*``, ``average.*``, ``rng.*``. Everything else is
JSON in the file's header, and once more beside it (``.json``) for people to read. The header also says which run the
file belongs to (`training.runs.folder.RunFolder.identity`), and holds the SHA-256 over that, the state and every
tensor; a file that does not fit is refused.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.reading import check_file, parse_json, printable
from bruno_spice.training.runs.averaging import WeightAverage

STATE, BELONGS, CHECKSUM = "state", "belongs", "sha256"
"""Keys of the header."""
MOST_BYTES = 8_000_000_000
REMEDY = "put back a copy of it, or train anew with --overwrite"


@dataclass
class Progress:
    """Where a run is; lives in the checkpoint as JSON."""

    epoch: Annotated[int, Field(ge=0)] = 0
    """Epochs done."""
    batch: Annotated[int, Field(ge=0)] = 0
    """Batches done of the present epoch."""
    step: Annotated[int, Field(ge=0)] = 0
    """Updates done."""
    best_epoch: Annotated[int, Field(ge=-1)] = -1
    best_score: float | None = None
    wall_time_s: float = 0.0
    epoch_time_s: float = 0.0
    """Of the present epoch."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sums over the present epoch's batches."""
    gradient_norms: dict[str, float | None] = field(default_factory=dict)
    """Of the present epoch's last gradient, by parameter; None: not finite."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """A row an epoch."""
    data: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each part of the task's data."""
    code: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file of one's own that the configuration names."""


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    device: torch.device,
    average: WeightAverage | None = None,
    belongs: str = "",
) -> None:
    """Write the state of the run that it `belongs` to, to `path`, and its readable part beside it."""
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
    _write(path, tensors, f"checkpoint {belongs}", state)
    write_atomic(path.with_suffix(".json"), state + "\n")


def load_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    average: WeightAverage | None = None,
    belongs: str = "",
) -> Progress:
    """Put the state at `path` into all of these and the random numbers; return where the run was.

    Raises `InputError` for a file that is damaged or of another run than it `belongs` to.
    """
    tensors, state = _read(path, f"checkpoint {belongs}")
    with _fitting(path):
        progress = TypeAdapter(Progress).validate_python(parse_json(state, str(path)))
        _restore(tensors, network, optimizer, device, average)
    return progress


def _restore(
    tensors: Mapping[str, Tensor],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    average: WeightAverage | None,
) -> None:
    network.load_state_dict(_part(tensors, "model."))
    slots: dict[int, dict[str, Tensor]] = {}
    for index, (name, parameter) in enumerate(network.named_parameters()):
        if found := _part(tensors, f"optimizer.{name}."):
            if any(value.shape != parameter.shape for slot, value in found.items() if slot != "step"):
                raise ValueError(f"the optimizer's {name} has another shape")
            slots[index] = found
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    if average is not None:
        for name, value in _part(tensors, "average.").items():
            average.values[name].copy_(value)
    torch.set_rng_state(tensors["rng.cpu"])
    if device.type == "cuda" and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"], device)


def save_model(path: Path, network: nn.Module, belongs: str = "", **hashes: Mapping[str, str]) -> None:
    """Write weights and sampled devices of the run that they `belongs` to, to `path`, and `hashes` of ``data`` and
    ``code`` that it was trained with."""
    _write(path, network.state_dict(), f"best {belongs}", json.dumps(hashes))


def load_model(path: Path, network: nn.Module, belongs: str = "") -> None:
    """Read weights and sampled devices from `path` into `network`. Raises `InputError` as `load_checkpoint` does."""
    tensors, _ = _read(path, f"best {belongs}")
    with _fitting(path):
        network.load_state_dict(tensors)


def kept_hashes(path: Path, role: str, belongs: str, what: Literal["data", "code"]) -> dict[str, str]:
    """The hashes of the data, or of the code of one's own, that what lies in `path` was trained with, by part or file.

    Empty where nothing was kept of it. Raises `InputError` as `check_kept` does.
    """
    state = check_kept(path, role, belongs)
    with _fitting(path):
        return dict(parse_json(state, str(path)).get(what, {}))


def check_kept(path: Path, role: str, belongs: str) -> str:
    """The JSON state in `path`; `InputError` unless it is whole, of that `role` (``best``, ``checkpoint``) and run."""
    return _read(path, f"{role} {belongs}")[1]


def _write(path: Path, tensors: Mapping[str, Tensor], belongs: str, state: str) -> None:
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}  # each its own memory
    header = {STATE: state, BELONGS: belongs, CHECKSUM: _digest(plain, belongs, state)}
    write_atomic(path, save(plain, header))


def _digest(tensors: Mapping[str, Tensor], belongs: str, state: str) -> str:
    """SHA-256 over every tensor with its name, kind and shape, and over what the header says."""
    kinds = [[name, str(tensors[name].dtype), list(tensors[name].shape)] for name in sorted(tensors)]
    digest = hashlib.sha256(json.dumps([belongs, state, kinds]).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, belongs: str) -> tuple[dict[str, Tensor], str]:
    check_file(path, MOST_BYTES, "no such checkpoint; the run was not begun or never reached its first one")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: not a readable checkpoint ({printable(str(error))}); {REMEDY}") from None
    state, owner = header.get(STATE, "{}"), header.get(BELONGS, "")
    if header.get(CHECKSUM) != _digest(tensors, owner, state):
        raise InputError(f"{path}: damaged, or of an older version: its checksum does not fit its content; {REMEDY}")
    if owner != belongs:
        raise InputError(
            f"{path}: of another run, configuration or card than config.yaml and cards/ beside it; put those back, or "
            "train anew with --overwrite"
        )
    return tensors, state


@contextmanager
def _fitting(path: Path) -> Iterator[None]:
    """Whatever a library says of content that does not fit becomes one sentence."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: not a state of training ({place}: {first['msg']}); {REMEDY}") from None
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        reason = printable(" ".join(str(error).split()))[:200]
        raise InputError(f"{path}: does not fit the network of config.yaml ({reason}); {REMEDY}") from None


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
