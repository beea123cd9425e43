"""One ngspice run: a `Job` in, a `Waveform` of the raw vectors out, or one clear error.

ngspice runs inside a worker process (`calibration.spice.ngspice_worker`) through PySpice's shared-library
binding; crashes, hangs and memory growth stay there. ngspice's exit status alone proves nothing (no
analysis and non-convergence can look like success), so the points and the last time are checked too.
"""

import hashlib
import json
import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.calibration.spice.diagnosis import diagnose
from bruno_spice.calibration.spice.lines import Line
from bruno_spice.calibration.spice.statements import deck_text, with_options
from bruno_spice.calibration.spice.worker_process import (
    NoFolderError,
    Patience,
    WorkerHungError,
    WorkerLostError,
    WorkerProcess,
    WorkerStartError,
)
from bruno_spice.devices.waveform import Waveform

TIME_LIMIT_S = 300.0
MEMORY_LIMIT_BYTES = 4 << 30
_MARGIN_S = 30.0
TIGHTER = {"reltol": 1e-6, "itl1": 1000, "itl4": 500, "gmin": 1e-13}
LOOSER_OF_USERS = {"vntol": 1e-4}
"""Besides, for a deck with a model of the user's: a film whose rate is (kT/h) exp(...) switches in 1e-20 s under the
plate's pulse, and within ten microvolts VACASK finds no step there."""
T = TypeVar("T")
NEEDS_COMPILED = "runs compiled only: --simulator vacask or ngspice-osdi, with the extra bruno-spice[veriloga]"
INSTALL = (
    "ngspice is not available; install it with its shared library "
    "(Debian: ngspice libngspice0; macOS: brew install ngspice)"
)


@dataclass(frozen=True)
class Model:
    """A Verilog-A module of the user's that a deck has instances of: ``Xfe vm pl pn NAME area={area}``."""

    name: str
    """In the deck, lower-case."""
    module: str
    """As its source calls it."""
    source: str
    """Its text, with what it includes written out."""
    ports: tuple[str, ...]
    parameters: tuple[str, ...]
    """Those that an instance may set, lower-case, as compiled models have them."""


@dataclass(frozen=True)
class Job:
    """A deck ready to run: its text with everything written out, the vectors to bring back, and the end of time.

    `vectors` are ngspice names, ``v(vm)`` or ``i(vsupply)``; `label` names the job in messages; `origins` say
    where each line came from; `models` are those that the deck has instances of beside its subcircuits. Two jobs with
    the same `key` give the same waveform.
    """

    deck: str
    vectors: tuple[str, ...]
    t_stop_s: float
    label: str = "simulation"
    origins: tuple[Line, ...] = field(default=(), compare=False, repr=False)
    models: tuple[Model, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """The deck's lines with where they came from, as far as known."""
        return self.origins or tuple(Line(text, None, i) for i, text in enumerate(self.deck.splitlines(), 1))

    def key(self, version: str) -> str:
        """SHA-256 of everything the result depends on: the text that ngspice reads, vectors, end, ngspice's version."""
        parts = ["2", self.deck, list(self.vectors), self.t_stop_s, version]
        parts += [[model.name, model.source] for model in self.models]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def retry_options(self) -> dict[str, float]:
        """Simulator options of a second attempt."""
        return TIGHTER | (LOOSER_OF_USERS if self.models else {})

    def tightened(self) -> "Job":
        """The same job with the `retry_options`, tighter in all that is relative, for a second attempt."""
        lines = with_options(self.lines, self.retry_options)
        return replace(self, deck=deck_text(lines), origins=lines)


@dataclass(frozen=True)
class Ngspice:
    """The simulator in use: its version, and an identity that changes with any file it runs on."""

    version: str
    identity: str


class Worker:
    """A worker process that runs one job at a time; started on first use, and anew where it was killed or stopped."""

    program = "ngspice"
    """What it runs, in words."""
    script: Path | None = None
    """The file of its process; None: that of ngspice."""
    arguments: tuple[str, ...] = ()

    def __init__(self, time_limit_s: float = TIME_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self.time_limit_s = time_limit_s
        self.memory_limit_bytes = memory_limit_bytes
        self.process: WorkerProcess | None = None
        self._ngspice = Ngspice("", "")
        self._closed = threading.Event()
        self._closing = threading.Lock()
        self._working = threading.RLock()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "process", None) is not None:
            self.close()

    def run(self, job: Job) -> Waveform:
        """Simulate `job`, again where it was killed from outside; signals are named by its vectors.

        Raises `NetlistError` where the deck is at fault, `SimulationError` where the run failed.
        """
        if job.models:
            raise NetlistError(f"{job.label}: {job.models[0].module}, a Verilog-A model, {NEEDS_COMPILED}")
        return self.simulated(job, {})

    def run_together(self, jobs: Sequence[Job]) -> list[Waveform | None]:
        """What one run of the program brings of each of `jobs`, None for one to be run alone; here it takes one."""
        return [None] * len(jobs)

    def simulated(self, job: Job, more: dict[str, Any]) -> Waveform:
        """`run`, with `more` said to the worker process."""
        request = {
            **more,
            "deck": job.deck,
            "vectors": [_vector_key(name) for name in job.vectors],
            "time_limit_s": self.time_limit_s,
            "memory_limit_bytes": self.memory_limit_bytes,
        }
        header, payload = self._again_where_lost(lambda: self._exchange(request), job.label)
        done = header["status"] == "done"
        samples = np.frombuffer(payload, "<f8").reshape(len(header["names"]), header["points"]) if done else None
        return self.believed(header, samples, job)

    def believed(self, header: dict[str, Any], samples: NDArray[np.float64] | None, job: Job) -> Waveform:
        """The waveform of `samples` (time and vectors, points), which an answer with `header` brought.

        Raises what it stands for where it failed, or where the samples end early or are not finite.
        """
        if samples is None or not complete(samples, job):
            limit_bytes = header.get("memory_limit_bytes", self.memory_limit_bytes)
            report = {"points": 0 if samples is None else samples.shape[1], **header}
            raise diagnose(report, job.label, job.lines, job.t_stop_s, self.time_limit_s, limit_bytes, self.program)
        return waveform_of(samples, job)

    def start(self) -> Ngspice:
        """Start the worker process where none runs, and return what it runs on."""
        return self._again_where_lost(self._start, "ngspice")

    def close(self) -> None:
        """End the worker process and whatever it runs; no job can be started afterwards."""
        with self._closing:
            self._closed.set()
            if self.process is not None:
                self.process.kill()
        with self._working:  # a job in another thread notices and leaves
            self._end_process()

    def _again_where_lost(self, action: Callable[[], T], label: str) -> T:
        """What `action` gives, tried anew where the process was killed or stopped from outside."""
        patience = Patience(self._closed)
        with self._working:
            while True:
                try:
                    return action()
                except WorkerLostError as lost:
                    self._end_process()
                    if not patience.again():
                        raise SimulationError(
                            f"{label}: its {self.program} process was killed or stopped from outside "
                            f"{patience.attempts} times, at last {lost}; see whether memory runs out or a batch system "
                            "ends it, then try again"
                        ) from None
                except WorkerHungError:
                    self._end_process()
                    raise SimulationError(
                        f"{label}: the {self.program} worker process does not answer and was killed"
                    ) from None
                except BaseException:
                    self._end_process()  # an answer may still be on its way
                    raise

    def _exchange(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self._start()
        assert self.process is not None
        header, payload = self.process.exchange(request, self.time_limit_s + _MARGIN_S)
        if header["status"] in ("killed", "stopped"):
            raise WorkerLostError(f"its fork was {header['status']}")
        return header, payload

    def _start(self) -> Ngspice:
        with self._closing:
            if self._closed.is_set():
                raise SimulationError("the simulation farm was closed")
            if self.process is not None and self.process.alive():
                return self._ngspice
            self._end_process()
            try:
                self.process = WorkerProcess(self.script, self.arguments)
            except NoFolderError as error:
                raise SimulationError(f"{self.program} {error}") from None
        try:
            greeting = self.process.greeting()
        except WorkerStartError as error:
            raise SimulationError(f"the {self.program} worker process could not start: {error}") from None
        if greeting["status"] != "ready":
            raise SimulationError(f"{INSTALL}: {greeting['log']}")
        self._ngspice = self._about(greeting)
        return self._ngspice

    def _about(self, greeting: dict[str, Any]) -> Ngspice:
        return Ngspice(greeting["version"], greeting["identity"])

    def _end_process(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.close()


@lru_cache(maxsize=1)
def installed_ngspice() -> Ngspice:
    """The ngspice in use. Raises `SimulationError` without ngspice."""
    with Worker() as worker:
        return worker.start()


def ngspice_version() -> str:
    """Major version of the ngspice library in use, for provenance. Raises `SimulationError` without ngspice."""
    return installed_ngspice().version


def simulate(job: Job, time_limit_s: float = TIME_LIMIT_S) -> Waveform:
    """Run one job in a worker of its own, with neither store nor retry."""
    with Worker(time_limit_s) as worker:
        return worker.run(job)


def _vector_key(name: str) -> str:
    """How ngspice stores a vector: ``v(vm)`` as ``vm``, ``i(vdd)`` as ``vdd#branch``."""
    match = re.fullmatch(r"([vi])\((.+)\)", name.strip().lower())
    if not match:
        return name.lower()
    return match[2] if match[1] == "v" else f"{match[2]}#branch"


def waveform_of(samples: NDArray[np.float64], job: Job) -> Waveform:
    """Time and the vectors of `job` (1 + vectors, points) under their names."""
    return Waveform(samples[0].copy(), dict(zip(job.vectors, samples[1:].copy(), strict=True)))


def complete(samples: NDArray[np.float64], job: Job) -> bool:
    """Whether the samples reach the end of the analysis and are all finite."""
    return (
        samples.shape[1] >= 2
        and math.isclose(samples[0, -1], job.t_stop_s, rel_tol=1e-6)
        and bool(np.isfinite(samples).all())
    )


def by_hand(job: Job, _: str) -> dict[str, str]:
    """The deck of `job` for ``ngspice -b``, and the user's models beside it, as `Simulator.by_hand` has them."""
    return {".cir": job.deck} | {f"-{model.name}.va": model.source for model in job.models}


@dataclass(frozen=True)
class Simulator:
    """What runs jobs: which one is installed, and workers that hold one each."""

    installed: Callable[[], Ngspice]
    """Version, and the identity that results are kept under. Raises `SimulationError` where it is not there."""
    worker: Callable[[float, int], Worker]
    """From the longest wall time in s and the largest address space in bytes of one job."""
    sees_inside: bool = False
    """Whether nodes within instances can be brought back, as ``v(x1.n)``."""
    together: int = 1
    """How many jobs one run of its program takes at most, by its workers' ``run_together``."""
    by_hand: Callable[[Job, str], dict[str, str]] = by_hand
    """The files of a job for a run without this package, by what follows the common name that is given: the netlist's
    own deck first, then what this simulator reads of it."""


NGSPICE = Simulator(installed_ngspice, Worker, sees_inside=True)
