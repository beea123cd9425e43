"""The process that holds ngspice: one fork for each job, so that nothing ngspice does outlives its job.

Started as ``python ngspice_worker.py``. It loads PySpice and libngspice once, then serves jobs: a frame
{deck, vectors, time_limit_s, memory_limit_bytes} on standard input, a frame {status, log, names, points,
wall_s} followed by the samples on standard output. Each job runs in a fork of this process, which reports
through a pipe and ends; a fork that hangs is killed. The end of standard input ends everything.
Imports nothing of this project, so that it starts fast.
"""

import contextlib
import ctypes.util
import io
import json
import logging
import os
import resource
import select
import signal
import struct
import time
from typing import IO, Any

LOG_LIMIT = 20_000


def write_frame(file: IO[bytes], header: dict[str, Any], payload: bytes = b"") -> None:
    """Write a JSON header and a payload, each after its length (8 bytes)."""
    text = json.dumps(header).encode()
    file.write(struct.pack("<QQ", len(text), len(payload)) + text + payload)
    file.flush()


def read_frame(file: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read what `write_frame` wrote; None where the other side ended."""
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

    class Ngspice(NgSpiceShared):
        LIBRARY_PATH = library

        def send_char(self, message: str, ngspice_id: int) -> int:
            if log_fd:
                os.write(log_fd[0], (message.partition(" ")[2] + "\n").encode(errors="replace"))
            return 0

    return Ngspice.new_instance()


def simulate(ngspice: Any, job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Run one deck and return the header and the samples (vectors, points) of its transient analysis."""
    import numpy as np

    started = time.monotonic()
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


def run_in_fork(ngspice: Any, job: dict[str, Any], log_fd: list[int], channel_fd: int) -> tuple[dict[str, Any], bytes]:
    """Run `job` in a fork with its time and memory limit; whatever happens to the fork becomes a status."""
    result_read, result_write = os.pipe()
    log_read, log_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for fd in (0, channel_fd, result_read, log_read):
                os.close(fd)
            signal.alarm(int(job["time_limit_s"]) + 10)
            limit = int(job["memory_limit_bytes"])
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            log_fd.append(log_write)
            with os.fdopen(result_write, "wb") as result:
                write_frame(result, *simulate(ngspice, job))
            status = 0
        except MemoryError:
            status = 99
        finally:
            os._exit(status)
    os.close(result_write)
    os.close(log_write)
    result_bytes, log, hung = collect(pid, result_read, log_read, time.monotonic() + job["time_limit_s"])
    _, wait_status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(wait_status)
    text = log[-LOG_LIMIT:].decode(errors="replace")
    if hung:
        return {"status": "hung", "log": text}, b""
    frame = read_frame(io.BytesIO(result_bytes)) if code == 0 else None
    if frame is None:
        return {"status": "out of memory" if code == 99 else "crashed", "code": code, "log": text}, b""
    return {**frame[0], "log": text}, frame[1]


def collect(pid: int, result_fd: int, log_fd: int, deadline: float) -> tuple[bytes, bytes, bool]:
    """Read both pipes to their end; kill the fork at the deadline or when the parent is gone."""
    chunks: dict[int, list[bytes]] = {result_fd: [], log_fd: []}
    open_fds = set(chunks)
    hung = False
    while open_fds:
        ready, _, _ = select.select([*open_fds, 0], [], [], max(deadline - time.monotonic(), 0))
        if 0 in ready and not os.read(0, 1):
            os.kill(pid, signal.SIGKILL)
            os._exit(0)
        if not ready and not hung:
            hung = True
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 10
        elif not ready:
            break
        for fd in open_fds & set(ready):
            if data := os.read(fd, 1 << 20):
                chunks[fd].append(data)
            else:
                open_fds.discard(fd)
    os.close(result_fd)
    os.close(log_fd)
    return b"".join(chunks[result_fd]), b"".join(chunks[log_fd]), hung


def main() -> None:
    """Serve jobs until standard input ends."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    jobs = os.fdopen(0, "rb", closefd=False)
    log_fd: list[int] = []
    try:
        ngspice = load_ngspice(log_fd)
    except (OSError, ImportError) as error:
        write_frame(channel, {"status": "not available", "log": str(error)})
        return
    write_frame(channel, {"status": "ready", "version": str(ngspice.ngspice_version), "pid": os.getpid()})
    while frame := read_frame(jobs):
        write_frame(channel, *run_in_fork(ngspice, frame[0], log_fd, channel.fileno()))


if __name__ == "__main__":
    main()
