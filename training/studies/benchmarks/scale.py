"""Cost per neuron and millisecond, forward and backward, from ten thousand neurons to a million; a fresh process
each."""

from typing import Any

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.training.studies.benchmarks.base import Measured, Say, counted
from bruno_spice.training.studies.benchmarks.process import Work, card_file, measure_fresh, measure_here

STEPS_MS = 10


def scale(card: FeLIFCard, quick: bool, threads: int, say: Say) -> Measured:
    """Time `tangent` and `bruno` over 10 ms; the spread is the dearest size over the cheapest, less 1."""
    sizes = (300, 1000) if quick else (10_000, 30_000, 100_000, 300_000, 1_000_000)
    rows: list[dict[str, Any]] = []
    summary: dict[str, float] = {"steps_ms": STEPS_MS}
    with card_file(card) as path:
        for mode in ("tangent", "bruno"):
            costs = []
            for neurons in sizes:
                say(f"scale: {mode}, {neurons} neurons")
                job = Work(path, mode, STEPS_MS, neurons, 1, threads, 0.05 if quick else 6.0, channels=0)
                cost = measure_here(job) if quick else measure_fresh(job)
                costs.append(cost.time_s(threads) * 1e6 / (neurons * STEPS_MS))
                rows.append({"gradient": mode, "neurons": neurons, "us_per_neuron_ms": costs[-1],
                             "bytes_per_neuron_ms": cost.peak_bytes / (neurons * STEPS_MS)})  # fmt: skip
            summary[f"{mode}_spread"] = max(costs) / min(costs) - 1.0
            summary[f"{mode}_us_per_neuron_ms"] = max(costs)
    return Measured(f"Cost of a neuron and millisecond, {counted(threads, 'thread')}", rows, summary)
