"""The process that holds ngspice: one fork for each job, so that nothing ngspice does outlives its job.

Started as ``python ngspice_worker.py [--osdi]`` in an empty folder. It loads PySpice and libngspice once, then serves
jobs: a frame {deck, vectors, time_limit_s, memory_limit_bytes} on standard input, a frame {status, log, names, points,
wall_s} followed by the samples on standard output. Each job runs in a fork of this process, which reports through a
pipe and ends; a fork that hangs is killed. A job with {folder, osdi} has those compiled models loaded first. The end of
standard input ends everything.
Imports nothing of this project, so that it starts fast.
"""

import contextlib
import ctypes
import ctypes.util
import hashlib
import io
import json
import logging
import os
import resource
import select
import shutil
import signal
import struct
import sys
import time
from pathlib import Path
from typing import IO, Any

LOG_LIMIT = 20_000
TICK_S = 0.25
STOPPED_LIMIT_S = 3.0
OWN_FAULTS = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGSYS", "SIGTRAP", "SIGXCPU", "SIGXFSZ"}
"""Signals by which a process ends through what it did itself; any other came from outside."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


class Watch:
    """Patience with the child process `pid`: up to `limit_s`, less where it stays stopped.

    Time for which the watching process was stopped itself does not count, so that a suspended computer or batch job
    goes on where it was.
    """

    def __init__(self, pid: int, limit_s: float) -> None:
        self.pid = pid
        self.left_s = limit_s
        self.stopped_s = 0.0
        self.looked_at_s = time.monotonic()

    def verdict(self) -> str | None:
        """``stopped`` or ``hung`` where it has had its time. To be asked at least every `TICK_S`."""
        now_s = time.monotonic()
        step_s = min(now_s - self.looked_at_s, 2 * TICK_S)
        self.looked_at_s = now_s
        self.left_s -= step_s
        self.stopped_s = self.stopped_s + step_s if is_stopped(self.pid) else 0.0
        if self.stopped_s > (0.0 if self.left_s < 0 else STOPPED_LIMIT_S):
            return "stopped"
        return "hung" if self.left_s < 0 else None

    @property
    def wait_ms(self) -> float:
        """How long to wait before the next look."""
        return 1e3 * min(TICK_S, max(self.left_s, 0.001))


def is_stopped(pid: int) -> bool:
    """Whether the child process `pid` is stopped (SIGSTOP), where the system can tell."""
    if not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def frame(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """A JSON header and a payload behind their lengths (8 bytes each)."""
    text = json.dumps(header).encode()
    return struct.pack("<QQ", len(text), len(payload)) + text + payload


def read_frame(file: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read what `frame` made; None where the other side ended."""
    sizes = file.read(16)
    if len(sizes) < 16:
        return None
    header_size, payload_size = struct.unpack("<QQ", sizes)
    header, payload = file.read(header_size), file.read(payload_size)
    if len(header) < header_size or len(payload) < payload_size:
        return None
    return json.loads(header), payload


def load_ngspice(log_fd: list[int]) -> Any:
    """PySpice's shared ngspice; every line it says goes to the file descriptor in `log_fd`."""
    library = os.environ.get("NGSPICE_LIBRARY_PATH") or ctypes.util.find_library("ngspice")
    if library is None:
        raise OSError("libngspice is not installed; install the ngspice shared library (package libngspice0)")
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared

    class Quiet(NgSpiceShared):
        LIBRARY_PATH = library

        def send_char(self, message: str, ngspice_id: int) -> int:
            if log_fd:
                os.write(log_fd[0], (message.partition(" ")[2] + "\n").encode(errors="replace"))
            return 0

    return Quiet.new_instance()


def identity(ngspice: Any) -> str:
    """Version and a hash of the files that ngspice runs on: its library, its device models, its initialisation file."""
    files = {Path(ngspice.LIBRARY_PATH)}
    with contextlib.suppress(OSError):
        mapped = (line.split(maxsplit=5)[5:] for line in Path("/proc/self/maps").read_text().splitlines())
        names = {path[0] for path in mapped if path}
        files |= {Path(name) for name in names if "libngspice" in name or name.endswith((".cm", ".osdi"))}
    files |= {Path(folder) / "spinit" for folder in str(ngspice.exec_command("echo $sourcepath")).split()}
    digest = hashlib.sha256()
    for file in sorted(files):
        if file.is_absolute() and file.is_file():
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"{ngspice.ngspice_version}-{digest.hexdigest()[:16]}"


def has_osdi(ngspice: Any, log_fd: list[int]) -> bool:
    """Whether ngspice knows the command that loads compiled models, asked with a file that there is not."""
    heard, said = os.pipe()
    log_fd.append(said)
    with contextlib.suppress(NameError):
        ngspice.exec_command("osdi none.osdi")
    log_fd.clear()
    os.close(said)
    with os.fdopen(heard, "rb") as words:
        return b"no such command" not in words.read()


def simulate(ngspice: Any, job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Run one deck and return the header and the samples (vectors, points) of its transient analysis."""
    import numpy as np

    started = time.monotonic()
    if models := job.get("osdi"):
        os.chdir(job["folder"])
        ngspice.exec_command("set num_threads=1")
        for name in models:
            ngspice.exec_command(f"osdi {name}")
    try:
        ngspice.load_circuit(job["deck"])
    except NameError:
        return {"status": "refused"}, b""
    with contextlib.suppress(NameError):  # PySpice raises for every word on stderr; the samples tell
        ngspice.run()
    plots = [name for name in ngspice.plot_names if name.startswith("tran")]
    if not plots:
        return {"status": "refused"}, b""
    plot = ngspice.plot(None, plots[0])
    vectors = {name.lower(): np.real(vector._data) for name, vector in plot.items()}
    names = ["time", *(name for name in job["vectors"] if name in vectors)]
    missing = [name for name in job["vectors"] if name not in vectors]
    if missing or "time" not in vectors:
        return {"status": "missing vectors", "names": missing}, b""
    samples = np.array([vectors[name] for name in names], dtype="<f8")
    wall_s = time.monotonic() - started
    return {"status": "done", "names": names, "points": samples.shape[1], "wall_s": wall_s}, samples.tobytes()


def memory_limit(wanted_bytes: int) -> int:
    """The address space that a job may have: no more than what this process was given itself (``ulimit -v``)."""
    return min([wanted_bytes, *(limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit >= 0)])


def run_in_fork(ngspice: Any, job: dict[str, Any], log_fd: list[int], channel_fd: int) -> tuple[dict[str, Any], bytes]:
    """Run `job` in a fork with its time and memory limit; whatever happens to the fork becomes a status."""
    result_read, result_write = os.pipe()
    log_read, log_write = os.pipe()
    limit = memory_limit(int(job["memory_limit_bytes"]))
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            end_with(worker)
            for fd in (0, channel_fd, result_read, log_read):
                os.close(fd)
            signal.alarm(int(job["time_limit_s"]) + 10)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            log_fd.append(log_write)
            with os.fdopen(result_write, "wb") as result:
                result.write(frame(*simulate(ngspice, job)))
            status = 0
        except MemoryError:
            status = 99
        finally:
            os._exit(status)
    os.close(result_write)
    os.close(log_write)
    result_bytes, log, verdict = collect(pid, result_read, log_read, job["time_limit_s"])
    _, wait_status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(wait_status)
    about = {"code": code, "memory_limit_bytes": limit, "log": log.decode(errors="replace")}
    answer = read_frame(io.BytesIO(result_bytes)) if code == 0 else None
    if answer is not None:
        return {**answer[0], **about}, answer[1]
    if verdict is None and code < 0 and signal.Signals(-code).name not in OWN_FAULTS:
        verdict = "killed"
    return {"status": verdict or ("out of memory" if code == 99 else "crashed"), **about}, b""


def end_with(worker: int) -> None:
    """Let this fork end when the process `worker`, which made it, does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != worker:
        os._exit(1)


def collect(pid: int, result_fd: int, log_fd: int, limit_s: float) -> tuple[bytes, bytes, str | None]:
    """Both pipes to their end, of the log the last words, and why the fork was killed, if it was.

    It is killed where it is over its time or stopped, and where the parent is gone.
    """
    chunks: dict[int, bytearray] = {result_fd: bytearray(), log_fd: bytearray()}
    open_fds = set(chunks)
    verdict = None
    watch = Watch(pid, limit_s)
    poller = select.poll()
    for fd in (0, *open_fds):
        poller.register(fd, select.POLLIN)
    while open_fds:
        for fd, _ in poller.poll(watch.wait_ms if verdict is None else None):
            data = os.read(fd, 1 << 20)
            if data and fd in chunks:
                chunks[fd] += data
            elif fd in chunks:
                open_fds.discard(fd)
                poller.unregister(fd)
                os.close(fd)
            else:  # the parent has gone
                os.kill(pid, signal.SIGKILL)
                os._exit(0)
        del chunks[log_fd][:-LOG_LIMIT]
        if verdict is None and (verdict := watch.verdict()):
            os.kill(pid, signal.SIGKILL)
    return bytes(chunks[result_fd]), bytes(chunks[log_fd]), verdict


def main() -> None:
    """Serve jobs until standard input ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))  # ngspice sets handlers of its own
    channel = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    jobs = os.fdopen(0, "rb", closefd=False)
    log_fd: list[int] = []
    try:
        ngspice = load_ngspice(log_fd)
        ready: dict[str, Any] = {"status": "ready", "version": str(ngspice.ngspice_version)}
        ready["identity"] = identity(ngspice)
        if "--osdi" in sys.argv:
            ready["osdi"] = has_osdi(ngspice, log_fd)
    except (OSError, ImportError) as error:
        ready = {"status": "not available", "log": str(error)}
    os.dup2(null, 2)
    folder = ""
    with contextlib.suppress(BrokenPipeError):  # the parent has gone
        channel.write(frame(ready))
        channel.flush()
        while ready["status"] == "ready" and (request := read_frame(jobs)):
            folder = request[0].get("folder", "")
            channel.write(frame(*run_in_fork(ngspice, request[0], log_fd, channel.fileno())))
            channel.flush()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)  # of compiled models; a parent that was killed cannot


if __name__ == "__main__":
    main()
