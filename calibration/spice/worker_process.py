"""One worker process (`calibration.spice.ngspice_worker`) and the pipes to it, seen from this side.

Every read and write has an end: the time limit, or a few seconds where the process stands stopped. It is then killed
with the fork that runs its job. What of the user's surroundings could act on ngspice stays outside: the process sees
an environment of its own, no home, and a folder that is removed once it has started, so that nothing can be found or
put there. Until then it holds an empty init file, which ngspice takes instead of the one in the user's home.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bruno_spice.calibration.spice.ngspice_worker import Watch, frame

WORKER = Path(__file__).with_name("ngspice_worker.py")
START_LIMIT_S = 120.0
ATTEMPTS = 10
PATIENCE_S = 60.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 2.0
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "TMPDIR", "PYTHONHOME")
"""What a worker's environment keeps of this one."""
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
"""Where a folder may be made, after ``TMPDIR``."""
_SIZES = struct.Struct("<QQ")


class WorkerLostError(Exception):
    """The process was killed or stopped from outside: the job says nothing, and the same job can be run again."""


class Patience:
    """How often what is killed or stopped from outside each time is started: `ATTEMPTS` times and for `PATIENCE_S`.

    Both, so that neither a job of hours that memory is too short for nor one among many that are killed by the second
    ends too early or too late. The pauses between attempts double.
    """

    def __init__(self, closed: threading.Event | None = None) -> None:
        self.attempts = 0
        self._closed = closed or threading.Event()
        self._since_s = time.monotonic()

    def again(self) -> bool:
        """Whether to try again, after a pause that ends early where the `closed` event is set."""
        self.attempts += 1
        if self.attempts >= ATTEMPTS and time.monotonic() - self._since_s > PATIENCE_S:
            return False
        self._closed.wait(min(_PAUSE_S * 2**self.attempts, _LONGEST_PAUSE_S))
        return True


class WorkerHungError(Exception):
    """The process runs and does not answer in time."""


class NoFolderError(OSError):
    """No folder for temporary files can be written."""


class WorkerStartError(Exception):
    """The process ended at its start, with these last words."""


def environment() -> dict[str, str]:
    """A worker's environment: this one's search paths, one thread, no home."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if library := os.environ.get("NGSPICE_LIBRARY_PATH"):
        kept["NGSPICE_LIBRARY_PATH"] = str(Path(library).absolute()) if os.sep in library else library
    modules = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    return {**kept, "PYTHONPATH": modules, "HOME": os.devnull, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def own_folder(prefix: str = "ngspice-") -> Path:
    """A new folder, called `prefix` and a word, with an empty init file. Raises `NoFolderError`."""
    failures = []
    for parent in filter(None, (os.environ.get("TMPDIR"), *TEMPORARY)):
        try:
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent)).absolute()
            (folder / ".spiceinit").touch()
            return folder
        except OSError as error:
            failures.append(f"{parent}: {error.strerror}")
    raise NoFolderError(f"needs a folder for temporary files, and none can be had: {'; '.join(failures)}")


class WorkerProcess:
    """A running worker; raises `WorkerLostError` where it ends or stops, `WorkerHungError` where it is late."""

    def __init__(self, script: Path | None = None, arguments: Sequence[str] = ()) -> None:
        self._owner = os.getpid()
        self._folder = own_folder()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))  # it keeps them blocked
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", str(script or WORKER), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=self._folder,
                env=environment(),
                process_group=0,  # of the same session: if its parent dies, the system lets a stopped one go on and end
            )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        self._in, self._out, self._err = self._popen.stdin, self._popen.stdout, self._popen.stderr
        os.set_blocking(self._in.fileno(), False)
        os.set_blocking(self._err.fileno(), False)

    @property
    def pid(self) -> int:
        """Its process id, which is that of its group too."""
        return self._popen.pid

    def greeting(self) -> dict[str, Any]:
        """What it says of itself once ngspice is loaded: status, and version and identity or a log.

        Raises `WorkerStartError` too, where it cannot start.
        """
        try:
            return self._receive(Watch(self.pid, START_LIMIT_S))[0]
        except WorkerLostError:
            self.kill()
            if (code := self._popen.wait()) >= 0:
                words = (self._err.read() or b"").decode(errors="replace").strip().splitlines()
                raise WorkerStartError(words[-1] if words else f"code {code}") from None
            raise
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def exchange(self, request: dict[str, Any], limit_s: float) -> tuple[dict[str, Any], bytes]:
        """Send `request` and wait for its answer, together for `limit_s` at most."""
        watch = Watch(self.pid, limit_s)
        self._send(frame(request), watch)
        return self._receive(watch)

    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None

    def kill(self) -> None:
        """End it and the fork that runs its job, stopped or not. From any thread: who waits for it is told at once."""
        not_waited_for = self._popen.returncode is None  # so the number is still its own
        if not_waited_for and os.getpid() == self._owner:  # a fork of this process leaves it alone
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it and close its pipes; only where no other thread waits for it."""
        self.kill()
        if os.getpid() == self._owner:
            self._popen.wait()
            shutil.rmtree(self._folder, ignore_errors=True)
        for pipe in (self._in, self._out, self._err):
            pipe.close()

    def _send(self, data: bytes, watch: Watch) -> None:
        left = memoryview(data)
        poller = select.poll()
        poller.register(self._in, select.POLLOUT)
        while left:
            if poller.poll(watch.wait_ms):
                try:
                    left = left[os.write(self._in.fileno(), left) :]
                except BrokenPipeError:
                    raise WorkerLostError("it ended") from None
            _refuse_late(watch)

    def _receive(self, watch: Watch) -> tuple[dict[str, Any], bytes]:
        poller = select.poll()
        poller.register(self._out, select.POLLIN)
        data = bytearray()
        while True:
            if poller.poll(watch.wait_ms):
                part = os.read(self._out.fileno(), 1 << 20)
                if not part:
                    raise WorkerLostError(self._end())
                data += part
                if len(data) >= _SIZES.size:
                    header_size, payload_size = _SIZES.unpack_from(data)
                    start = _SIZES.size + header_size
                    if len(data) >= start + payload_size:
                        return json.loads(data[_SIZES.size : start]), bytes(data[start:])
            _refuse_late(watch)

    def _end(self) -> str:
        """How the process, whose pipe has just ended, ended."""
        deadline_s = time.monotonic() + 1
        while self._popen.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.01)
        code = self._popen.returncode
        return f"by signal {-code}" if code is not None and code < 0 else "it ended"


def _refuse_late(watch: Watch) -> None:
    verdict = watch.verdict()
    if verdict == "stopped":
        raise WorkerLostError("it was stopped")
    if verdict:
        raise WorkerHungError
