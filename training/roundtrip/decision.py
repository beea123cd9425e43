"""What the network decides with SPICE's neurons in the place of torch's.

The readout reads SPICE's spikes, the traces of these, and SPICE's membrane voltages for the validated neurons, torch's
for the others. Recurrent spikes stay torch's: each neuron is validated under the currents of the recorded run.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bruno_spice.training.networks.network import AnyNetwork
from bruno_spice.training.roundtrip.compare import STEP_S, Trial, per_step
from bruno_spice.training.roundtrip.recorded import Recorded, circuit_layers, neurons_replaced, run_network
from bruno_spice.training.tasks import Task
from bruno_spice.training.tasks.base import Batch
from bruno_spice.training.tasks.classification import Classification


def decisions(network: AnyNetwork, task: Task, recorded: Recorded, trials: dict[int, list[Trial]]) -> dict[str, Any]:
    """``torch`` and ``spice``: scores over all pieces with either's neurons; ``agreement``: means over pieces;
    ``pieces``: a row each with the same figures."""
    chosen = [index for index, of_neuron in trials.items() if of_neuron]
    spikes, voltage_v = (x[..., chosen].copy() for x in (recorded.spikes, recorded.voltage_v))
    for column, index in enumerate(chosen):
        for trial in trials[index]:
            steps, place = trial.torch.counts.size, recorded.pieces.index(trial.piece)
            ends_s = [(t + 1) * STEP_S for t in range(steps)]
            spikes[:steps, place, column] = per_step(trial.spice.spike_times_s, steps)
            voltage_v[:steps, place, column] = trial.spice.resampled(ends_s)["v_mem_v"]
    with neurons_replaced(circuit_layers(network)[recorded.layer], chosen, spikes, voltage_v):
        swapped = run_network(network, recorded.batch).logits.cpu()
    rows: list[dict[str, Any]] = []
    for place, piece in enumerate(recorded.pieces):
        batch = task.collate([task.parts["test"][piece]])
        pair = [logits[: len(batch.inputs), place : place + 1] for logits in (recorded.logits, swapped)]
        torch_scores, spice_scores = (task.finish(task.scores(logits, batch)) for logits in pair)
        rows.append({
            "piece": piece, "frames": len(batch.inputs), "torch": torch_scores, "spice": spice_scores,
            "agreement": agreement(task, pair[0], pair[1], batch),
        })  # fmt: skip
    both = {
        engine: task.finish(task.scores(logits, recorded.batch))
        for engine, logits in (("torch", recorded.logits), ("spice", swapped))
    }
    means = {name: float(np.mean([row["agreement"][name] for row in rows])) for name in rows[0]["agreement"]}
    return {**both, "agreement": means, "pieces": rows}


def agreement(task: Task, first: Tensor, second: Tensor, batch: Batch) -> dict[str, float]:
    """How far two answers to one piece agree.

    A class each: 1 where it is the same. Outputs of their own, such as keys: the share of frames in which the same
    ones are above one half, and the share of those predicted by either that both predict (1 where there are none).
    """
    if isinstance(task, Classification):
        same = task.answers(first, batch).argmax(-1) == task.answers(second, batch).argmax(-1)
        return {"answers_agree": float(same.double().mean())}
    on, too = first > 0, second > 0
    either = torch.logical_or(on, too).sum()
    both = torch.logical_and(on, too).sum()
    return {
        "frames_agree": float((on == too).all(-1).double().mean()),
        "predictions_agree": float(both / either) if either else 1.0,
    }
