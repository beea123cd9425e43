"""Work that takes longer than a slider may wait: in a process of its own, which is ended when nobody needs it any more.

A job is a function and its arguments. It says how far it is, then what it found or why not. The processes are forks of
one that has imported what the jobs need, so that a job starts at once and a job that is ended leaves nothing behind.
"""

import multiprocessing
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from bruno_spice.devices.errors import BrunoError

_FORKS = multiprocessing.get_context("forkserver")
PRELOADED = (
    "bruno_spice.calibration.verilog_a.vacask",
    "bruno_spice.calibration.workbench.record",
    "bruno_spice.calibration.workbench.forked",
)
"""What every job finds imported."""
_FORKS.set_forkserver_preload(list(PRELOADED))
Message = tuple[str, Any]
"""``("progress", sentence)``, then ``("done", result)``, ``("error", sentence)`` or ``("ended", None)``."""


def preload(modules: Sequence[str]) -> None:
    """Have jobs find `modules` imported, too; says nothing once the first job was started."""
    _FORKS.set_forkserver_preload([*PRELOADED, *modules])


class Job:
    """A running job. `deliver` is called in a thread of its own with each message, the last of which ends it.

    That thread starts the process too: the first one has to wait for what it is forked from.
    """

    def __init__(
        self, deliver: Callable[["Job", Message], None], function: Callable[..., Any], *arguments: Any
    ) -> None:
        self._deliver = deliver
        self._pipe, self._theirs = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(target=_work, args=(self._theirs, function, arguments), daemon=True)
        self._cancelled = False
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """End it; nothing is delivered any more. Its simulators end with it, for their pipes close."""
        self._cancelled = True
        if self._starting.acquire(blocking=False):  # else it ends as soon as it has started
            if self._process.pid is not None:
                self._process.terminate()
            self._starting.release()

    def _run(self) -> None:
        with self._starting:
            if not self._cancelled:
                self._process.start()
            self._theirs.close()
        if self._process.pid is not None:
            if self._cancelled:  # while it started
                self._process.terminate()
            self._listen()
        self._pipe.close()

    def _listen(self) -> None:
        last = False
        while not last:
            try:
                kind, content = self._pipe.recv()
            except (EOFError, OSError):
                kind, content = "ended", None
            last = kind != "progress"
            if not self._cancelled:
                self._deliver(self, (kind, content))
        self._process.join()


def _work(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the workbench, which ends its jobs
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what it has on the disk is removed on the way out

    def progress(sentence: str) -> None:
        pipe.send(("progress", sentence))

    try:
        pipe.send(("done", function(*arguments, progress)))
    except BrokenPipeError:
        pass  # the workbench has ended
    except BrunoError as error:
        pipe.send(("error", str(error)))
    except OSError as error:
        pipe.send(("error", f"{error.filename or 'the system says'}: {error.strerror or error}"))
    except Exception:
        pipe.send(("failed", traceback.format_exc()))
