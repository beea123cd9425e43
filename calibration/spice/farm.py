"""The simulation farm: many jobs over a few worker processes, each result kept by its content.

A job that did not converge is tried once more with tighter tolerances; its result is kept as that of the deck with
those tolerances, and a warning counts them. A job that was killed or stopped from outside is run again as it is. What
was simulated before comes from the store. Ctrl-C ends the workers and leaves nothing half-written.
"""

import asyncio
import hashlib
import os
import queue
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bruno_spice.calibration.errors import CalibrationError, ConvergenceError, NetlistError, SimulationError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.ngspice import (
    MEMORY_LIMIT_BYTES,
    TIME_LIMIT_S,
    Job,
    Ngspice,
    Worker,
)
from bruno_spice.calibration.spice.store import Store
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.waveform import Waveform

__all__ = ["Farm", "Job", "run_jobs", "try_jobs"]

Outcome = Waveform | CalibrationError
KEPT_DECKS = 40
"""Decks of failed simulations."""
BATCHES = 4
"""How many lists of jobs a worker gets at least, so that all end at about the same time."""
DASK_WORKERS = 16
"""How many there may be, where nobody has counted."""


@dataclass(frozen=True, eq=False)
class Simulated:
    """What ngspice gave for a job."""

    waveform: Waveform
    tightened: bool = False
    """Whether it took tighter tolerances than the deck's."""


Attempt = Simulated | CalibrationError


@dataclass(frozen=True)
class Farm:
    """Where and how jobs run."""

    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Worker processes at a time."""
    progress: str | None = None
    """Title of the progress bar; None for none. Shown only on a terminal."""
    store: Store | None = field(default_factory=Store.default)
    """Where results are kept; None to simulate everything and keep nothing."""
    dask: str | None = None
    """Address of a Dask scheduler, ``tcp://host:port``, whose workers run the jobs instead; ngspice must be there."""
    time_limit_s: float = TIME_LIMIT_S
    """Longest wall time of one job."""
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES
    """Largest address space of one job."""
    simulator: str = "ngspice"
    """A name in `SIMULATORS`, or ``file.py:SIMULATOR``."""
    told: Callable[[int, int], None] | None = None
    """Hears how many jobs are done, and of how many, after each."""


def run_jobs(jobs: Sequence[Job], farm: Farm | None = None) -> list[Waveform]:
    """The waveforms of `jobs`, in their order. Raises the first job's `CalibrationError` that a retry did not mend."""
    outcomes = _run(jobs, farm or Farm(), stop_at_error=True)
    waveforms = []
    for outcome in outcomes:
        if isinstance(outcome, CalibrationError):
            raise outcome
        waveforms.append(outcome)
    return waveforms


def try_jobs(jobs: Sequence[Job], farm: Farm | None = None) -> list[Outcome]:
    """The waveforms of `jobs`, in their order, with the error in the place of each job that failed."""
    return _run(jobs, farm or Farm(), stop_at_error=False)


def version_of(simulator: str) -> str:
    """The version in use, for provenance: of ngspice the number alone, of another simulator its name too."""
    version = SIMULATORS.find(simulator).installed().version
    return version if simulator == "ngspice" else f"{simulator} {version}"


def run_each(worker: Worker, jobs: Sequence[Job]) -> list[Attempt]:
    """What `worker` makes of each of `jobs`, together where it can."""
    together = worker.run_together(jobs) if len(jobs) > 1 else [None]
    return [
        _attempt(worker, job) if found is None else Simulated(found) for job, found in zip(jobs, together, strict=True)
    ]


def _attempt(worker: Worker, job: Job) -> Attempt:
    try:
        return run_with_retry(worker, job)
    except CalibrationError as error:
        return error
    except InputError as error:  # a model that does not compile
        return NetlistError(str(error))
    except OSError as error:  # a full disk
        return SimulationError(f"{job.label}: {error.filename or 'the system says'}: {error.strerror or error}")


def batches(todo: dict[str, Job], at_most: int, workers: int) -> list[list[str]]:
    """The keys of `todo` in lists of `at_most`, of fewer where each worker would have less than `BATCHES` of them."""
    size = max(1, min(at_most, len(todo) // (BATCHES * workers)))
    keys = list(todo)
    return [keys[first : first + size] for first in range(0, len(keys), size)]


def run_with_retry(worker: Worker, job: Job) -> Simulated:
    """Run `job`, and once more with tighter options where it did not converge."""
    try:
        return Simulated(worker.run(job))
    except ConvergenceError as first:
        try:
            return Simulated(worker.run(job.tightened()), tightened=True)
        except SimulationError:
            raise first from None


def _run(jobs: Sequence[Job], farm: Farm, stop_at_error: bool) -> list[Outcome]:
    identity = SIMULATORS.find(farm.simulator).installed().identity
    keys = [job.key(identity) for job in jobs]
    done: dict[str, Attempt] = {}
    todo: dict[str, Job] = {}
    for key, job in zip(keys, jobs, strict=True):
        if key in done or key in todo:
            continue
        stored = _stored(job, identity, farm.store) if farm.store else None
        if stored is not None:
            done[key] = stored
        else:
            todo[key] = job
    with _progress(farm.progress, len(todo)) as advance:
        simulate = simulate_on_dask if farm.dask else _simulate_locally
        for key, outcome in simulate(todo, farm):
            done[key] = outcome
            advance(isinstance(outcome, CalibrationError))
            if farm.told is not None:
                farm.told(len(done), len(set(keys)))
            if isinstance(outcome, Simulated):
                if farm.store:
                    own = todo[key].tightened().key(identity) if outcome.tightened else key
                    farm.store.put(own, outcome.waveform, todo[key].label)
            else:
                done[key] = failure = with_deck(outcome, key, todo[key], farm.store)
                if stop_at_error:
                    raise failure
    _warn_of_tightened(done, dict(zip(keys, jobs, strict=True)))
    return [outcome.waveform if isinstance(outcome, Simulated) else outcome for outcome in (done[key] for key in keys)]


def with_deck(error: CalibrationError, key: str, job: Job, store: Store | None) -> CalibrationError:
    """`error`, which says where the deck of a failed simulation lies now, to be run by hand: in the store's folder.

    The last `KEPT_DECKS` stay there.
    """
    if store is None or not isinstance(error, SimulationError):
        return error
    path = store.path / "failed" / f"{key[:16]}.cir"
    try:
        write_atomic(path, job.deck)
    except (OSError, InputError):
        return error
    with suppress(OSError):  # another process may do the same
        for old in sorted(path.parent.glob("*.cir"), key=lambda each: each.stat().st_mtime)[:-KEPT_DECKS]:
            old.unlink(missing_ok=True)
    return type(error)(f"{error} (its deck: {path})")


def _stored(job: Job, identity: str, store: Store) -> Simulated | None:
    """What `store` holds of `job`, or of the retry that an earlier failure led to."""
    if (waveform := store.get(job.key(identity))) is not None:
        return Simulated(waveform)
    waveform = store.get(job.tightened().key(identity))
    return None if waveform is None else Simulated(waveform, tightened=True)


def _warn_of_tightened(done: dict[str, Attempt], jobs: dict[str, Job]) -> None:
    again = [jobs[key] for key, outcome in done.items() if isinstance(outcome, Simulated) and outcome.tightened]
    if again:
        options = ", ".join(f"{name}={value}" for name, value in again[0].retry_options.items())
        warnings.warn(
            f"{len(again)} of {len(done)} simulations did not converge with the deck's own options and stand as "
            f"the retry with {options} gave them: {', '.join(job.label for job in again)}",
            RuntimeWarning,
            stacklevel=3,
        )


def simulate_on_dask(todo: dict[str, Job], farm: Farm) -> Iterator[tuple[str, Attempt]]:
    """Outcomes by key as they come, from the workers of a Dask cluster; the same code runs there.

    Raises `InputError` if Dask is not installed or the scheduler does not answer.
    """
    try:
        from distributed import Client, KilledWorker
        from distributed import as_completed as dask_as_completed
        from distributed.comm import CommClosedError, connect
        from distributed.security import Security
    except ImportError:
        raise InputError("--dask needs Dask; install it with pip install 'bruno-spice[cluster]'") from None

    async def ask() -> None:
        (await connect(farm.dask, timeout=10, **Security().get_connection_args("client"))).abort()

    try:
        asyncio.run(ask())  # a Client that found no scheduler could not be closed
        client = Client(farm.dask, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"no Dask scheduler answers at {farm.dask} ({error})") from None
    limits = (farm.time_limit_s, farm.memory_limit_bytes, SIMULATORS.find(farm.simulator).installed(), farm.simulator)
    try:
        futures = {}
        for keys in batches(todo, SIMULATORS.find(farm.simulator).together, DASK_WORKERS):
            name = hashlib.sha256("".join(keys).encode()).hexdigest()
            futures[client.submit(run_remotely, [todo[key] for key in keys], *limits, key=f"bruno-{name}")] = keys
        for future in dask_as_completed(futures, loop=client.loop):
            keys = futures[future]
            try:
                found = future.result()
            except (KilledWorker, CommClosedError, CancelledError) as error:
                lost = f"its Dask worker was lost ({type(error).__name__}: {error})"
                found = [SimulationError(f"{todo[key].label}: {lost}") for key in keys]
            yield from zip(keys, found, strict=True)
    finally:
        client.close()


_remote = threading.local()


def run_remotely(
    jobs: Sequence[Job], time_limit_s: float, memory_limit_bytes: int, ngspice: Ngspice, simulator: str = "ngspice"
) -> list[Attempt]:
    """What a Dask worker does with `jobs`: as on this machine, in a worker process that the thread keeps."""
    asked, worker = (simulator, time_limit_s, memory_limit_bytes), getattr(_remote, "worker", None)
    if worker is None or _remote.asked != asked:
        worker = _remote.worker = SIMULATORS.find(simulator).worker(time_limit_s, memory_limit_bytes)
        _remote.asked = asked
    try:
        found = worker.start()
    except CalibrationError as error:
        return [error] * len(jobs)
    if found != ngspice:
        differs = (
            f"a Dask worker has ngspice {found.identity}, this machine {ngspice.identity}; "
            "their numbers may differ, so install the same one"
        )
        return [SimulationError(f"{job.label}: {differs}") for job in jobs]
    return run_each(worker, jobs)


def _simulate_locally(todo: dict[str, Job], farm: Farm) -> Iterator[tuple[str, Attempt]]:
    """Outcomes by key as they come, from worker processes of this machine."""
    count = max(1, min(farm.workers, len(todo)))
    simulator = SIMULATORS.find(farm.simulator)
    workers = [simulator.worker(farm.time_limit_s, farm.memory_limit_bytes) for _ in range(count)]
    free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        free.put(worker)

    def attempt(keys: list[str]) -> list[Attempt]:
        worker = free.get()
        try:
            return run_each(worker, [todo[key] for key in keys])
        finally:
            free.put(worker)

    pool = ThreadPoolExecutor(count)
    try:
        futures = {pool.submit(attempt, keys): keys for keys in batches(todo, simulator.together, count)}
        for future in as_completed(futures):
            yield from zip(futures[future], future.result(), strict=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.close()
        pool.shutdown()


@contextmanager
def _progress(title: str | None, total: int) -> Iterator[Callable[[bool], None]]:
    """A function to call after each job, behind a bar with rate, failures and time left."""
    console = Console(stderr=True)
    if title is None or total == 0 or not console.is_terminal:
        yield lambda failed: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} {task.fields[failures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total, rate="", failures="")
        failures = 0

        def advance(failed: bool) -> None:
            nonlocal failures
            failures += failed
            bar.advance(task)
            speed = bar.tasks[task].speed
            bar.update(
                task,
                rate=f"{speed:.1f}/s" if speed else "",
                failures=f"[red]{failures} failed[/red]" if failures else "",
            )

        yield advance
