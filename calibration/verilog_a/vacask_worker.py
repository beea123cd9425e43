"""The process that starts VACASK: one run for each request, in a fork of this process that becomes it.

Speaks the frames of `calibration.spice.ngspice_worker`: a job is {deck, results, folder, program, time_limit_s,
memory_limit_bytes}; the answer is {status, log, code, sizes} followed by the bytes of the files `results`, as many of
each as `sizes` says, 0 for one that is not there. The program runs with the job's limits in `folder`, which holds the
compiled models, and ends with this process.
"""

import contextlib
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

from bruno_spice.calibration.spice.ngspice_worker import (
    OWN_FAULTS,
    collect,
    end_with,
    frame,
    memory_limit,
    read_frame,
)

DECK = "deck.sim"
OPTIONS = ("--quiet-progress", "--skip-embed", "--skip-postprocess")
"""Nothing that a deck might hold is written or run."""


def run_program(job: dict[str, Any], channel_fd: int) -> tuple[dict[str, Any], bytes]:
    """Run VACASK on `job`; whatever happens to it becomes a status."""
    folder = Path(job["folder"])
    results = [folder / name for name in job["results"]]
    try:
        (folder / DECK).write_text(job["deck"])
    except OSError as error:
        return {"status": "no disk", "log": f"{folder}: {error.strerror}", "sizes": [0] * len(results)}, b""
    for result in results:
        result.unlink(missing_ok=True)
    log_read, log_write = os.pipe()
    result_read, result_write = os.pipe()
    limit = memory_limit(int(job["memory_limit_bytes"]))
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            end_with(worker)
            os.chdir(folder)
            null = os.open(os.devnull, os.O_RDONLY)
            for wanted, fd in ((0, null), (1, log_write), (2, log_write)):
                os.dup2(fd, wanted)
            for fd in (channel_fd, result_read, result_write, log_read):
                os.close(fd)
            signal.alarm(int(job["time_limit_s"]) + 10)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            os.execv(job["program"], [job["program"], *OPTIONS, DECK])
        finally:
            os._exit(127)
    os.close(result_write)
    os.close(log_write)
    _, log, verdict = collect(pid, result_read, log_read, job["time_limit_s"])
    _, wait_status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(wait_status)
    found = [result.read_bytes() if result.is_file() else b"" for result in results]
    for result in results:
        result.unlink(missing_ok=True)
    if verdict is None and code < 0 and signal.Signals(-code).name not in OWN_FAULTS:
        verdict = "killed"
    if verdict is None:
        verdict = "crashed" if code < 0 else "done" if code == 0 and all(found) else "refused"
    about = {"code": code, "memory_limit_bytes": limit, "log": log.decode(errors="replace")}
    return {"status": verdict, **about, "sizes": [len(data) for data in found]}, b"".join(found)


def main() -> None:
    """Serve jobs until standard input ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    channel = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    jobs = os.fdopen(0, "rb", closefd=False)
    folder = ""
    with contextlib.suppress(BrokenPipeError):  # the parent has gone
        channel.write(frame({"status": "ready"}))
        channel.flush()
        while request := read_frame(jobs):
            folder = request[0]["folder"]
            channel.write(frame(*run_program(request[0], channel.fileno())))
            channel.flush()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)  # a parent that was killed cannot


if __name__ == "__main__":
    main()
