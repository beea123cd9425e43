"""One ngspice run: a `Job` in, a `Waveform` of the raw vectors out, or one clear error.

ngspice runs inside a worker process (`calibration.ngspice_worker`) through PySpice's shared-library
binding; crashes, hangs and memory growth stay there. ngspice's exit status alone proves nothing (no
analysis and non-convergence can look like success), so the points and the last time are checked too.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from calibration.diagnosis import diagnose
from calibration.errors import SimulationError
from calibration.lines import Line
from calibration.netlist import Netlist, content_sha256
from calibration.ngspice_worker import read_frame, write_frame
from devices.waveform import Waveform

TIME_LIMIT_S = 300.0
MEMORY_LIMIT_BYTES = 4 << 30
WORKER = Path(__file__).with_name("ngspice_worker.py")
_MARGIN_S = 30.0
TIGHTER = {"reltol": 1e-6, "itl1": 1000, "itl4": 500, "gmin": 1e-13}
INSTALL = (
    "ngspice is not available; install it with its shared library "
    "(Debian: ngspice libngspice0; macOS: brew install ngspice)"
)


@dataclass(frozen=True)
class Job:
    """A deck ready to run: its text with everything written out, the vectors to bring back, and the end of time.

    `vectors` are ngspice names, ``v(vm)`` or ``i(vsupply)``; `label` names the job in messages; `origins` say
    where each line came from. Two jobs with the same `key` give the same waveform.
    """

    deck: str
    vectors: tuple[str, ...]
    t_stop_s: float
    label: str = "simulation"
    origins: tuple[Line, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def from_netlist(cls, netlist: Netlist, vectors: Sequence[str], t_stop_s: float | None, label: str = "") -> "Job":
        """The transient analysis of `netlist` up to `t_stop_s` (None: as its ``.tran`` says)."""
        ready = netlist.with_tran(t_stop_s).with_vectors(vectors)
        stop = netlist.t_stop_s() if t_stop_s is None else t_stop_s
        return cls(ready.text, tuple(v.lower() for v in vectors), stop, label or netlist.path.name, ready.lines)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The deck's lines with where they came from, as far as known."""
        return self.origins or tuple(Line(text, None, i) for i, text in enumerate(self.deck.splitlines(), 1))

    def key(self, version: str) -> str:
        """SHA-256 of everything the result depends on: deck with includes and options, vectors, ngspice's version."""
        parts = ["1", content_sha256(self.deck), list(self.vectors), self.t_stop_s, version]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def tightened(self) -> "Job":
        """The same job with tighter tolerances and more iterations, for a second attempt."""
        netlist = Netlist(Path(self.label), self.lines)
        ready = netlist.with_options(**TIGHTER)
        return Job(ready.text, self.vectors, self.t_stop_s, self.label, ready.lines)


class Worker:
    """A worker process that runs one job at a time; started on first use, restarted after a death."""

    def __init__(self, time_limit_s: float = TIME_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self.time_limit_s = time_limit_s
        self.memory_limit_bytes = memory_limit_bytes
        self.process: subprocess.Popen[bytes] | None = None
        self.version = ""
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "process", None) is not None:
            self._end_process()

    def run(self, job: Job) -> Waveform:
        """Simulate `job`; signals are named by its vectors.

        Raises `NetlistError` where the deck is at fault, `SimulationError` where the run failed.
        """
        self.start()
        process = self.process
        assert process is not None
        assert process.stdin is not None
        request = {
            "deck": job.deck,
            "vectors": [_vector_key(name) for name in job.vectors],
            "time_limit_s": self.time_limit_s,
            "memory_limit_bytes": self.memory_limit_bytes,
        }
        try:
            write_frame(process.stdin, request)
            frame = self._receive(process, self.time_limit_s + _MARGIN_S)
        except BrokenPipeError:
            frame = None
        if frame is None:
            self._end_process()
            raise SimulationError(f"{job.label}: the ngspice worker process was killed from outside")
        header, payload = frame
        if header["status"] != "done" or not _complete(header, payload, job):
            raise diagnose(header, job.label, job.lines, job.t_stop_s, self.time_limit_s, self.memory_limit_bytes)
        return _waveform(header, payload, job)

    def start(self) -> str:
        """Start the worker process where none runs, and return ngspice's version."""
        with self._lock:
            if self._closed:
                raise SimulationError("the simulation farm was closed")
            if self.process is not None and self.process.poll() is None:
                return self.version
            self._end_process()
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        frame = self._receive(self.process, 60)
        if frame is None or frame[0]["status"] != "ready":
            self._end_process()
            raise SimulationError(f"{INSTALL}{': ' + frame[0]['log'] if frame else ''}")
        self.version = frame[0]["version"]
        return self.version

    def close(self) -> None:
        """End the worker process and whatever it runs; no job can be started afterwards."""
        with self._lock:
            self._closed = True
        self._end_process()

    def _end_process(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    @staticmethod
    def _receive(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[dict[str, Any], bytes] | None:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], timeout_s)
        return read_frame(process.stdout) if ready else None


@lru_cache(maxsize=1)
def ngspice_version() -> str:
    """Major version of the ngspice library in use, for provenance. Raises `SimulationError` without ngspice."""
    with Worker() as worker:
        return worker.start()


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


def _complete(header: dict[str, Any], payload: bytes, job: Job) -> bool:
    """Whether the samples reach the end of the analysis and are all finite."""
    samples = np.frombuffer(payload, dtype="<f8").reshape(len(header["names"]), header["points"])
    return (
        header["points"] >= 2
        and math.isclose(samples[0, -1], job.t_stop_s, rel_tol=1e-6)
        and bool(np.isfinite(samples).all())
    )


def _waveform(header: dict[str, Any], payload: bytes, job: Job) -> Waveform:
    samples = np.frombuffer(payload, dtype="<f8").reshape(len(header["names"]), header["points"])
    return Waveform(samples[0].copy(), dict(zip(job.vectors, samples[1:].copy(), strict=True)))
