"""BRUNO beside a BPTT that is as well written: the same solver, the same precision, a fresh process each.

`training.studies.benchmarks.growth` compares with BPTT by torch's autograd, which keeps some dozens of tensors a
microsecond. Here BPTT is compiled and keeps the state (V, p) of each microsecond alone
(`training.studies.benchmarks.fused_bptt`), and BRUNO and tangent integrate in the same Euler steps of a microsecond in
float64. The last row is BRUNO as it is used by default.
"""

from typing import Any

import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.training.studies.benchmarks.base import Measured, Say, counted
from bruno_spice.training.studies.benchmarks.gradient import likeness
from bruno_spice.training.studies.benchmarks.process import Work, card_file, measure_fresh, measure_here

CONTESTANTS = {
    "bptt": ("fused_bptt", "Euler 1 us, float64", False),
    "tangent": ("tangent", "Euler 1 us, float64", True),
    "bruno": ("bruno", "Euler 1 us, float64", True),
    "bruno_default": ("bruno", "default, float32", False),
}
"""Name in the summary: gradient mode, solver as a person says it, whether the solver must be asked for."""


def fused(card: FeLIFCard, quick: bool, threads: int, say: Say) -> Measured:
    """Time and peak memory of 100 ms x 64 neurons x batch 4, forward and backward."""
    steps, neurons, batch, substeps = (4, 8, 2, 250) if quick else (100, 64, 4, 1000)
    rows: list[dict[str, Any]] = []
    summary: dict[str, float] = {"steps_ms": steps, "neurons": neurons, "batch": batch}
    with card_file(card) as path:
        truth = None
        for name, (mode, solver, euler) in CONTESTANTS.items():
            say(f"fused: {mode}, {solver}")
            job = Work(path, mode, steps, neurons, batch, threads, 0.0 if quick else 2.0, substeps, euler=euler)
            cost = measure_here(job) if quick else measure_fresh(job)
            gradient = torch.tensor(cost.gradient)
            truth = gradient if truth is None else truth
            cosine, ratio = likeness(gradient, truth)
            time_s, peak = cost.time_s(threads), float(cost.peak_bytes)
            rows.append({"gradient": name, "solver": solver, "time_s": time_s, "peak_bytes": peak,
                         "cosine": cosine, "norm_ratio": ratio})  # fmt: skip
            if name != "bptt":
                summary[f"{name}_less_memory"] = 1.0 - peak / rows[0]["peak_bytes"]
                summary[f"{name}_less_time"] = 1.0 - time_s / rows[0]["time_s"]
    title = (
        f"BRUNO beside a compiled BPTT, {steps} ms x {neurons} neurons x batch {batch}, {counted(threads, 'thread')}"
    )
    return Measured(title, rows, summary)
