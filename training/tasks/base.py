"""What a task is: sequences in three parts, a loss, scores, and the floors that a network has to beat.

A network reads `inputs` (T, B, n_inputs), one frame per millisecond of device time, and answers with logits
(T, B, n_outputs). Padding is told from data by `mask` (T, B). A score is a ratio of sums, so that batches
of unequal size add up exactly.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from matplotlib.figure import Figure
from torch import Tensor

from bruno_spice.devices.errors import InputError

PARTS = ("train", "valid", "test")
MORE_IS_BETTER = ("accuracy", "balanced_accuracy", "f1", "r2")
LESS_IS_BETTER = ("nll", "bce", "loss", "cross_entropy", "mse", "mae", "van_rossum")
"""Names of scores, or how they begin: ``accuracy_gap_from_80_ms``, ``bce_per_key``."""


@dataclass(frozen=True)
class Example:
    """One sequence: `inputs` (T, n_inputs), or of a higher rank (T, ...), float, and `target` as the task reads it."""

    inputs: Tensor
    target: Tensor


@dataclass(frozen=True)
class Batch:
    """Padded sequences: `inputs` (T, B, ...), `target` of the task, `mask` (T, B) 1 where there is data."""

    inputs: Tensor
    target: Tensor
    mask: Tensor

    @property
    def lengths(self) -> Tensor:
        """Frames of each sequence, (B,)."""
        return self.mask.sum(0).long()

    def to(self, device: torch.device, dtype: torch.dtype) -> "Batch":
        """The batch on `device`, its inputs and mask in `dtype`."""
        return Batch(self.inputs.to(device, dtype), self.target.to(device), self.mask.to(device, dtype))

    def shard(self, rank: int, world_size: int) -> "Batch":
        """Every `world_size`-th sequence from `rank` on; the batch must hold a multiple of `world_size`."""
        rows = slice(rank, None, world_size)
        target = self.target[:, rows] if self.target.dim() > 1 else self.target[rows]
        return Batch(self.inputs[:, rows], target, self.mask[:, rows])


class Shown(Protocol):
    """What a network answers (`training.networks.network.Output`)."""

    @property
    def logits(self) -> Tensor:
        """(T, B, n_outputs)."""

    @property
    def layers(self) -> Mapping[str, Any]:
        """The `Outputs` of every layer of neurons, by its name: ``hidden.0``, ``output``."""


Score = tuple[float, float]
"""Sum and weight: the score is sum / weight."""


@dataclass
class Task(ABC):
    """A data set with its question. Subclass it for a task of your own (docs: CONTRIBUTING.md)."""

    parts: dict[str, list[Example]]
    """Sequences of ``train``, ``valid`` and ``test``."""
    source: str
    """Where the data came from, in words."""
    split: dict[str, str] = field(default_factory=dict)
    """How the parts were made; may hold a hash of each."""

    asks_for_spikes: ClassVar[bool] = False
    """Whether the answer is the spikes of a layer, so that logits alone have no score."""
    picture_name: ClassVar[str] = "test"
    """File name of `picture`, without its ending."""
    metric: ClassVar[str]
    """The score that the table of results looks at."""
    higher_is_better: ClassVar[bool]
    criterion: ClassVar[str | None] = None
    """The validation score, lower is better, that picks the epoch and ends patience; none: `metric`."""

    @property
    def deciding(self) -> list[str]:
        """`metric` and, where it is another score, `criterion`; the last one picks the epoch."""
        return [self.metric] if self.criterion in (None, self.metric) else [self.metric, self.criterion]

    def more_is_better(self, score: str) -> bool | None:
        """Whether more of `score` is better, as the task declares it or its name says; None where neither tells."""
        if score == self.metric:
            return self.higher_is_better
        less = score == self.criterion or _begins(score, LESS_IS_BETTER)
        return False if less else True if _begins(score, MORE_IS_BETTER) else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a frame: (channels,), or of a higher rank, such as (2, 34, 34), for a network of one's own."""
        return tuple(self.parts["train"][0].inputs.shape[1:])

    @property
    def n_inputs(self) -> int:
        """Channels of the input. Raises `InputError` where frames are of a higher rank."""
        if len(self.input_shape) > 1:
            raise InputError(
                f"frames of the shape {self.input_shape} need a network of your own, network: file.py:Class, or a task "
                "that makes channels of them"
            )
        return self.input_shape[0]

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Channels of the output."""

    def training_examples(self, seed: int, epoch: int) -> list[Example]:
        """What to train on in `epoch`, as many as ``parts["train"]``: that part, or a variation of it that follows from
        `seed` and `epoch` alone."""
        return self.parts["train"]

    @abstractmethod
    def loss(self, logits: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """Sum of the loss over the batch, and the weight to divide it by."""

    @abstractmethod
    def scores(self, logits: Tensor, batch: Batch) -> dict[str, Score]:
        """Every score as sum and weight."""

    def loss_of(self, output: Shown, batch: Batch) -> tuple[Tensor, float]:
        """The loss of all that a network shows; as it stands, that of its logits (`loss`)."""
        return self.loss(output.logits, batch)

    def scores_of(self, output: Shown, batch: Batch) -> dict[str, Score]:
        """The scores of all that a network shows; as it stands, those of its logits (`scores`)."""
        return self.scores(output.logits, batch)

    def finish(self, sums: Mapping[str, Score]) -> dict[str, float]:
        """The scores of a part from the sums over its batches; one that nothing counted for is left out."""
        return {name: total / weight for name, (total, weight) in sums.items() if weight}

    def floors(self) -> dict[str, dict[str, float]]:
        """Test scores of simple models, ``{model: {score: value}}``, computed from this very data."""
        return {}

    def picture(self, logits: Tensor, batch: Batch) -> Figure | None:
        """A picture of the answers `logits` to the whole test part `batch`, or None."""
        return None

    def picture_of(self, output: Shown, batch: Batch) -> Figure | None:
        """A picture of all that a network shows; as it stands, of its logits (`picture`)."""
        return self.picture(output.logits, batch)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Pad `examples` at their end to the longest. Frame-wise targets are padded too."""
        inputs = torch.nn.utils.rnn.pad_sequence([example.inputs for example in examples])
        lengths = torch.tensor([len(example.inputs) for example in examples])
        mask = (torch.arange(len(inputs))[:, None] < lengths).to(inputs.dtype)
        targets = [example.target for example in examples]
        target = torch.stack(targets) if targets[0].dim() == 0 else torch.nn.utils.rnn.pad_sequence(targets)
        return Batch(inputs, target, mask)

    def data_hashes(self) -> dict[str, str]:
        """SHA-256 of every part: shapes, inputs and targets of its sequences, in their order."""
        found = {}
        for part in PARTS:
            digest = hashlib.sha256()
            for each in self.parts[part]:
                for tensor in (each.inputs, each.target):
                    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
                    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            found[part] = digest.hexdigest()
        return found

    def check(self) -> None:
        """Raise `InputError` for a part that is missing or empty, or a sequence that no network can read."""
        if missing := [part for part in PARTS if part not in self.parts]:
            raise InputError(f"there is no part '{missing[0]}'; a task has {', '.join(PARTS)}")
        if empty := [part for part in PARTS if not self.parts[part]]:
            sizes = ", ".join(f"{n} {part}" for part, n in self.sizes().items())
            raise InputError(f"no sequence for {' and '.join(empty)} ({sizes}); give it more")
        for part in PARTS:
            for index, example in enumerate(self.parts[part]):
                where = f"sequence {index} of {part}"
                check_frames(example.inputs, where)
                found, wanted = tuple(example.inputs.shape[1:]), self.input_shape
                if found != wanted:
                    a, b = (shape[0] if len(shape) == 1 else shape for shape in (found, wanted))
                    raise InputError(f"{where} has {a} channels, the first of train {b}")

    def sizes(self) -> dict[str, int]:
        """Sequences in each part."""
        return {part: len(self.parts[part]) for part in PARTS}


def _begins(score: str, names: Sequence[str]) -> bool:
    return any(f"{score}_".startswith(f"{name}_") for name in names)


def check_frames(inputs: Tensor, where: str) -> None:
    """Raise `InputError`, which begins with `where`, unless `inputs` is (steps, channels, ...), not empty, finite."""
    if inputs.dim() < 2 or 0 in inputs.shape:
        raise InputError(
            f"{where} has the shape {tuple(inputs.shape)}; it must be (steps, channels), 1 or more of each"
        )
    if not bool(torch.isfinite(inputs).all()):
        at = (~torch.isfinite(inputs)).nonzero()[0].tolist()
        channel = ", ".join(map(str, at[1:]))
        raise InputError(f"{where} holds {float(inputs[tuple(at)])} in step {at[0]}, channel {channel}")
