"""One piece of work in a fresh process: how long it takes, and how much memory it needs at its peak.

    peak = largest resident set while it runs - resident set before, after imports and a warm-up that compiles

`measure_fresh` starts ``python -m bruno_spice.training.studies.benchmarks.process``, hands it a `Work` on standard
input, and reads a `Cost` from its standard output; nothing of the parent, and nothing of an earlier job, is in that
process.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.errors import BrunoError
from bruno_spice.training.memory import peak_bytes, settle
from bruno_spice.training.neurons.felif import FeLIF
from bruno_spice.training.studies.benchmarks.fused_bptt import fused_bptt

MEAN_CURRENT_A = 3.5e-9
SHARE_OF_SPIKES = 0.3
LONGEST_GRADIENT = 100_000


@dataclass(frozen=True)
class Work:
    """Spike trains on `channels` inputs, weights, a FeLIF layer, a loss on its spikes, the gradient of the weights.

    ``bptt``, ``checkpoint`` and ``fused_bptt`` (`training.studies.benchmarks.fused_bptt`) take `substeps` Euler steps
    a millisecond in float64, the others their default solver unless `euler` asks for those steps too. Short work is
    repeated for `seconds`, and the fastest counts. Without `channels` the current is drawn before, and the gradient of
    the number of spikes by it is all the work.
    """

    card: str
    gradient: str
    steps_ms: int
    neurons: int
    batch: int
    threads: int = 1
    seconds: float = 2.0
    substeps: int = 1000
    channels: int = 16
    euler: bool = False


@dataclass(frozen=True)
class Cost:
    """What a job took, and the gradient (flattened) that came out where it is short enough to hand on."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    gradient: list[float]

    def time_s(self, threads: int) -> float:
        """By the clock of `training.studies.benchmarks.base.clock`."""
        return self.cpu_s if threads == 1 else self.wall_s


def work_of(job: Work) -> Callable[[], Tensor]:
    """The work of `job`, ready to run; it returns the gradient by the weights, or by the current."""
    generator = torch.Generator().manual_seed(0)
    unrolled = job.euler or job.gradient in ("bptt", "checkpoint")
    options: dict[str, Any] = {"solver": "euler", "accuracy": job.substeps} if unrolled else {}
    fused = job.gradient == "fused_bptt"
    neuron = FeLIF(job.card, "bptt" if fused else job.gradient, **options)

    def spikes_of(current_a: Tensor) -> Tensor:
        return fused_bptt(neuron, current_a, job.substeps) if fused else neuron(current_a)[0].spikes

    if job.channels == 0:
        current = torch.rand(job.steps_ms, job.batch, job.neurons, generator=generator).mul_(2.0 * MEAN_CURRENT_A)
        current.requires_grad_()
        return lambda: torch.autograd.grad(spikes_of(current).sum(), current)[0]
    trains = (torch.rand(job.steps_ms, job.batch, job.channels, generator=generator) < SHARE_OF_SPIKES).float()
    weights = torch.randn(job.channels, job.neurons, generator=generator).mul_(0.3).add_(1.0).clamp_(0.2, 1.8)
    weights.requires_grad_()
    per_spike_a = MEAN_CURRENT_A / (SHARE_OF_SPIKES * job.channels)

    def work() -> Tensor:
        spikes = spikes_of(trains @ (weights * per_spike_a))
        loss = (spikes.cumsum(0) / job.steps_ms - 0.5).pow(2).mean()
        return torch.autograd.grad(loss, weights)[0]

    return work


def measure_here(job: Work) -> Cost:
    """Run `job` in this process: once for its memory, then again while there is time."""
    torch.set_num_threads(job.threads)
    work_of(replace(job, steps_ms=1, neurons=2, batch=1, substeps=min(job.substeps, 20)))()
    work = work_of(job)
    before = settle()
    start, start_cpu = time.perf_counter(), time.process_time()
    gradient = work()
    wall_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    peak = max(peak_bytes() - before, 0)
    spent = wall_s
    while spent < job.seconds:
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        again = time.perf_counter() - start
        spent += again
        wall_s, cpu_s = min(wall_s, again), min(cpu_s, time.process_time() - start_cpu)
    short = gradient.numel() <= LONGEST_GRADIENT
    return Cost(wall_s, cpu_s, peak, gradient.flatten().tolist() if short else [])


def measure_fresh(job: Work) -> Cost:
    """Run `job` in a process of its own. Raises `BrunoError` where that process dies."""
    environment = os.environ | {"OMP_NUM_THREADS": str(job.threads)}
    done = subprocess.run(
        [sys.executable, "-m", "bruno_spice.training.studies.benchmarks.process"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}; was it short of memory?"]
        raise BrunoError(f"{job.gradient} over {job.steps_ms} ms x {job.neurons} x {job.batch} failed: {said[-1]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def card_file(card: FeLIFCard) -> Iterator[str]:
    """A file that holds `card` while it is needed, for jobs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "felif.json"
        card.save(path)
        yield str(path)


def available_bytes() -> int:
    """Memory that a new process could take without swapping; half of all where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def main() -> None:
    """A `Work` as JSON on standard input, its `Cost` as JSON on standard output."""
    print(json.dumps(asdict(measure_here(Work(**json.load(sys.stdin))))))


if __name__ == "__main__":
    main()
