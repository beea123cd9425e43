"""One class a sequence: the logits, averaged over the sequence's frames, go through a softmax."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks import kernel_machines
from bruno_spice.training.tasks.augmentation import Augmentation
from bruno_spice.training.tasks.base import PARTS, Batch, Example, Score, Task, check_frames

SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
FLOOR_TIME_BINS = 16


@dataclass
class Classification(Task):
    """A task with one of `labels` for each sequence; targets are their indices."""

    labels: list[str] = field(default_factory=list)
    augmentation: Augmentation | None = None
    class_weights: list[float] | Literal["none", "balanced"] = "none"
    """Of each class in the loss; ``balanced``: as many as train has sequences over classes times its own."""
    balanced_accuracy: bool = False
    """Whether to score it too: the mean over classes of the share of each that is answered right."""

    picture_name: ClassVar[str] = "confusion"
    metric: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    criterion: ClassVar[str | None] = "cross_entropy"

    @property
    def n_outputs(self) -> int:
        """One output a class."""
        return len(self.labels)

    def check(self) -> None:
        """Raise `InputError` for what `Task.check` refuses and for a target that is no index of `labels`."""
        super().check()
        known = self.class_weights in ("none", "balanced")
        if not known and not (
            isinstance(self.class_weights, list)
            and len(self.class_weights) == len(self.labels)
            and all(isinstance(each, int | float) and 0.0 <= each < float("inf") for each in self.class_weights)
        ):
            raise InputError(
                f"class_weights must be none, balanced or {len(self.labels)} numbers from 0 on, a number a label, not "
                f"{self.class_weights!r}"
            )
        for part in PARTS:
            for index, example in enumerate(self.parts[part]):
                check_class(example.target, self.labels, f"sequence {index} of {part}")

    def weights(self) -> Tensor | None:
        """Of each class in the loss, (classes,); None: all alike."""
        if self.class_weights == "none":
            return None
        if self.class_weights != "balanced":
            return torch.tensor(self.class_weights)
        counts = torch.bincount(torch.stack([each.target for each in self.parts["train"]]), minlength=self.n_outputs)
        return counts.sum() / (self.n_outputs * counts.clamp(min=1).float())

    def answers(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean logits over each sequence's frames, (B, classes)."""
        frames = batch.mask.sum(0).clamp(min=1)
        return (logits * batch.mask[..., None]).sum(0) / frames[:, None]

    def loss(self, logits: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """Cross-entropy summed over the sequences that have any frame, each with the weight of its class."""
        there = batch.mask.any(0).to(logits.dtype)
        if (weights := self.weights()) is not None:
            there = there * weights.to(there)[batch.target]
        per_sequence = cross_entropy(self.answers(logits, batch), batch.target, reduction="none")
        return (per_sequence * there).sum(), float(there.sum())

    def scores(self, logits: Tensor, batch: Batch) -> dict[str, Score]:
        """``accuracy``, ``cross_entropy`` and, for ``balanced_accuracy``, how many of each class are right."""
        answers = self.answers(logits, batch)
        right = answers.argmax(-1) == batch.target
        loss, count = cross_entropy(answers, batch.target, reduction="sum"), float(len(answers))
        found: dict[str, Score] = {"accuracy": (float(right.sum()), count), "cross_entropy": (float(loss), count)}
        if self.balanced_accuracy:
            hits, there = (torch.bincount(x, minlength=self.n_outputs) for x in (batch.target[right], batch.target))
            found |= {f"_{n}": (float(hits[n]), float(there[n])) for n in range(self.n_outputs)}
        return found

    def finish(self, sums: Mapping[str, Score]) -> dict[str, float]:
        """The scores; ``balanced_accuracy`` over the classes that the part has."""
        of_class = [hits / count for name, (hits, count) in sums.items() if name.startswith("_") and count]
        found = super().finish({name: each for name, each in sums.items() if not name.startswith("_")})
        return found | ({"balanced_accuracy": sum(of_class) / len(of_class)} if of_class else {})

    def training_examples(self, seed: int, epoch: int) -> list[Example]:
        """The training sequences, each changed by `augmentation`."""
        if self.augmentation is None:
            return self.parts["train"]
        rng = np.random.default_rng([seed, epoch])
        return [self.augmentation(each, rng) for each in self.parts["train"]]

    def floors(self) -> dict[str, dict[str, float]]:
        """Linear machines on total counts and on counts in time bins, and a Gaussian kernel on the latter."""
        binned = {part: self._binned(part) for part in PARTS}
        targets = {part: np.array([int(each.target) for each in self.parts[part]]) for part in PARTS}
        rates = {part: values.sum(1) for part, values in binned.items()}
        flat = {part: values.reshape(len(values), -1) for part, values in binned.items()}
        machines = {
            "chance": 1 / self.n_outputs,
            "linear_on_rates": kernel_machines.linear(rates, targets),
            "linear_on_time_bins": kernel_machines.linear(flat, targets),
            "gaussian_on_time_bins": kernel_machines.gaussian(flat, targets),
        }
        return {name: {"accuracy": accuracy} for name, accuracy in machines.items()}

    def _binned(self, part: str) -> NDArray[np.float64]:
        """Counts (sequences, FLOOR_TIME_BINS, channels) over the length of the longest sequence."""
        longest = max(len(each.inputs) for examples in self.parts.values() for each in examples)
        edges = np.linspace(0, longest, FLOOR_TIME_BINS + 1).astype(int)
        rows = []
        for each in self.parts[part]:
            channels = each.inputs.flatten(1).numpy()
            padded = np.zeros((longest, channels.shape[1]))
            padded[: len(channels)] = channels
            rows.append([padded[a:b].sum(0) for a, b in pairwise(edges)])
        return np.array(rows)

    def picture(self, logits: Tensor, batch: Batch) -> Figure:
        """Confusion of the classes on the test part."""
        from bruno_spice.calibration.presentation.style import new_figure
        from bruno_spice.training.tasks.pictures import confusion

        counts = np.zeros((self.n_outputs, self.n_outputs), dtype=np.int64)
        np.add.at(counts, (batch.target.numpy(), self.answers(logits, batch).argmax(-1).numpy()), 1)
        figure = new_figure(size=(9.6, 8.4))
        confusion(figure.axes[0], counts, self.labels)
        figure.axes[0].set_title(f"test: {np.trace(counts) / counts.sum():.1%} right", loc="left")
        return figure


def stratified_split(inputs: Sequence[NDArray[np.float32]], classes: NDArray[np.int64]) -> dict[str, list[int]]:
    """Indices of each part, 70/10/20 of every class, in the order of the SHA-256 of the sequences' own bytes.

    The same sequences give the same parts, in whatever order they come.
    """
    digest = [hashlib.sha256(np.ascontiguousarray(each, dtype=np.float32).tobytes()).hexdigest() for each in inputs]
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for label in np.unique(classes):
        members = sorted(np.flatnonzero(classes == label).tolist(), key=lambda index: digest[index])
        first = round(SHARES["train"] * len(members))
        second = first + round(SHARES["valid"] * len(members))
        for part, chosen in zip(PARTS, (members[:first], members[first:second], members[second:]), strict=True):
            parts[part] += chosen
    return parts


def part_hash(inputs: Sequence[NDArray[np.float32]]) -> str:
    """SHA-256 of a part: of its sequences' bytes, in the given order."""
    whole = hashlib.sha256()
    for each in inputs:
        whole.update(np.ascontiguousarray(each, dtype=np.float32).tobytes())
    return whole.hexdigest()


def classification(
    inputs: Sequence[NDArray[np.float32]], classes: NDArray[np.int64], labels: list[str], source: str,
    class_weights: list[float] | Literal["none", "balanced"] = "none", balanced_accuracy: bool = False,
) -> Classification:  # fmt: skip
    """A task of sequences `inputs`, each (T, channels, ...), and their `classes`, split by `stratified_split`.

    `class_weights` in the loss and `balanced_accuracy` among the scores are fields of `Classification`. Raises
    `InputError` that names the sequence at fault.
    """
    if len(inputs) != len(classes):
        raise InputError(f"{len(inputs)} sequences have {len(classes)} classes; give each sequence one")
    examples = [_example(inputs[i], classes[i], labels, f"sequence {i}") for i in range(len(inputs))]
    indices = stratified_split(inputs, classes)
    parts = {part: [examples[i] for i in chosen] for part, chosen in indices.items()}
    split = {"made_by": "this project: stratified 70/10/20 by the SHA-256 of each sequence"}
    split |= {f"{part}_sha256": part_hash([inputs[i] for i in chosen]) for part, chosen in indices.items()}
    return Classification(
        parts, source, split, labels, class_weights=class_weights, balanced_accuracy=balanced_accuracy
    )


def _example(inputs: NDArray[np.float32], label: np.int64, labels: list[str], where: str) -> Example:
    """Raises `InputError`, which begins with `where`."""
    try:
        example = Example(torch.from_numpy(np.asarray(inputs, dtype=np.float32)), torch.as_tensor(label))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} is not made of numbers ({error})") from None
    check_frames(example.inputs, where)
    check_class(example.target, labels, where)
    return Example(example.inputs, example.target.long())


def check_class(target: Tensor, labels: list[str], where: str) -> None:
    """Raise `InputError`, which begins with `where`, unless `target` is the index of one of `labels`."""
    if target.dim() or target.is_floating_point() or not 0 <= int(target) < len(labels):
        classes = f"a whole number in 0...{len(labels) - 1}, the index of one of {len(labels)} labels"
        raise InputError(f"{where} has the class {target.tolist()}; a class is {classes}")
