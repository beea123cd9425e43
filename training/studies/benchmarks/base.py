"""What the trainer costs and how right it is: benchmarks by name, each a table, a few figures of merit and a picture.

Times are the best of a few repetitions that take turns, on as many threads as asked for. On one thread they are
processor time: wall time less what other programs took of the core. Compare ratios of one run, not seconds of two
machines.
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.files import ROOT, write_atomic
from bruno_spice.training.runs.folder import versions
from bruno_spice.training.studies.results import CODE, git, machine

Say = Callable[[str], None]
"""Hears what is being measured."""


@dataclass
class Measured:
    """What a benchmark found."""

    title: str
    rows: list[dict[str, Any]]
    """A row of the table each, all with the same keys."""
    summary: dict[str, float]
    """Figures of merit."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know, such as what is missing or extrapolated."""


BENCHES: dict[str, str] = {
    "speed": "bruno_spice.training.studies.benchmarks.speed",
    "accuracy": "bruno_spice.training.studies.benchmarks.accuracy",
    "memory": "bruno_spice.training.studies.benchmarks.memory",
    "gradient": "bruno_spice.training.studies.benchmarks.gradient",
    "norms": "bruno_spice.training.studies.benchmarks.gradient",
    "devices": "bruno_spice.training.studies.benchmarks.devices",
    "growth": "bruno_spice.training.studies.benchmarks.growth",
    "fused": "bruno_spice.training.studies.benchmarks.fused",
    "scale": "bruno_spice.training.studies.benchmarks.scale",
    "frameworks": "bruno_spice.training.studies.benchmarks.speed",
}
"""Name of a benchmark, which is that of its function, and the module that has it."""


def measure(name: str, card: FeLIFCard, quick: bool, threads: int, say: Say) -> Measured:
    """Run the benchmark `name`; `quick` takes sizes of some seconds. Leaves torch's number of threads as it was."""
    before = torch.get_num_threads()
    try:
        found: Measured = getattr(import_module(BENCHES[name]), name)(card, quick, threads, say)
    finally:
        torch.set_num_threads(before)
    return found


def counted(n: int, what: str) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{n} {what}" + ("s" if n != 1 else "")


def clock(threads: int) -> Callable[[], float]:
    """The clock for work on so many threads, in s: processor time on one, wall time on several."""
    return time.process_time if threads == 1 else time.perf_counter


def about(threads: int) -> dict[str, Any]:
    """What a reader needs to judge figures: the command, the code's commit, machine, versions, threads and load."""
    return {
        "command": shlex.join(["bruno", *sys.argv[1:]]) if sys.argv[1:] else "",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git(ROOT, "log", "-1", "--format=%H", "--", *CODE) or None,
        "dirty": bool(git(ROOT, "status", "--porcelain", "--", *CODE)),
        "machine": machine(),
        "versions": versions(),
        "threads": threads,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def as_dict(found: Measured, told: dict[str, Any]) -> dict[str, Any]:
    """`found` with `told` of the run, as the JSON has it."""
    return {"about": told, **asdict(found)}


def write(folder: Path, name: str, content: dict[str, Any]) -> Path:
    """Write ``NAME.json`` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_atomic(folder / f"{name}.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
