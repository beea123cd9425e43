"""What a training run came to, as ``result.json`` holds it."""

from typing import Any

import torch

from bruno_spice.training.memory import peak_memory_bytes
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.network import AnyNetwork
from bruno_spice.training.progress import Reporter
from bruno_spice.training.runs.checkpoint import Progress
from bruno_spice.training.runs.evaluation import score_part
from bruno_spice.training.runs.folder import Cards, RunFolder, versions
from bruno_spice.training.tasks import Task


def result_of(
    config: RunConfig, task: Task, network: AnyNetwork, progress: Progress, folder: RunFolder, cards: Cards,
    reporter: Reporter, answers: dict[int, torch.Tensor],
) -> dict[str, Any]:  # fmt: skip
    """Scores of `network`, as its best epoch left it, beside the floors, with all that they hang on; the logits of the
    test part go into `answers`."""
    valid = score_part(network, task, "valid", config.seed)[0]
    scores = {"valid": valid, "test": score_part(network, task, "test", config.seed, answers)[0]}
    return {
        "task": config.task,
        "metric": task.metric,
        "higher_is_better": task.higher_is_better,
        "criterion": task.deciding[-1],
        "source": task.source,
        "split": task.sizes(),
        "split_origin": task.split,
        **scores,
        **_floors(task, reporter),
        "best_epoch": progress.best_epoch + 1,
        "epochs": progress.epoch,
        "updates": progress.step,
        "broken_updates": sum(row["broken_updates"] for row in progress.history),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "seed": config.seed,
        "wall_time_s": progress.wall_time_s,
        "peak_memory_bytes": peak_memory_bytes(next(network.parameters()).device),
        **({} if network.shared is None else {"devices": network.shared.told()}),
        "data": progress.data,
        "code": progress.code,
        "cards": cards.hashes(),
        "card_files": folder.card_hashes(cards.by_name()),
        "versions": versions(),
    }


def _floors(task: Task, reporter: Reporter) -> dict[str, Any]:
    """The task's floors; where they fail, why: a result of hours is not lost by what a task says of simple models."""
    try:
        return {"floors": task.floors()}
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        reporter.line(f"warning: the task's floors could not be computed ({reason})")
        return {"floors": {}, "floors_failed": reason}
