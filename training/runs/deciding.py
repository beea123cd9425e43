"""Which epoch is the best: by the last of the task's deciding scores, a finite one before any other."""

import math
from collections.abc import Mapping

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks import Task


def check_scores(task: Task, scores: Mapping[str, float], epoch: int) -> None:
    """Raise `InputError` where the validation `scores` of `epoch`, counted from 1, lack one that decides."""
    for name in task.deciding:
        if name not in scores:
            raise InputError(
                f"epoch {epoch}: validation has no score '{name}', by which epochs are judged: nothing in that part "
                f"counted for it (a weight of 0), or the task does not give it; there are {', '.join(scores) or 'none'}"
            )


def check_weight(weight: float, epoch: int) -> None:
    """Raise `InputError` where the training sequences of `epoch`, counted from 1, had no `weight` in the loss."""
    if not weight:
        raise InputError(
            f"epoch {epoch}: no training sequence has any weight in the loss, so that nothing is learned; give one of "
            "the classes that the training part has a weight above 0"
        )


def is_better(task: Task, score: float, best: float | None) -> bool:
    """Whether the last deciding `score` of `task` beats the `best` so far; None: there is none yet."""
    if best is None:
        return True
    sign = 1 if task.higher_is_better and task.criterion is None else -1
    return (math.isfinite(score), sign * score) > (math.isfinite(best), sign * best)
