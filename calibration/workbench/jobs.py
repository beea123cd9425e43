"""Work that takes longer than a slider may wait: in a process of its own, which is ended when nobody needs it any more.

A job is a function and its arguments. It says how far it is, then what it found or why not. The processes are forks of
one that has imported what the jobs need, so that a job starts at once and a job that is ended leaves nothing behind.
"""

import logging
import multiprocessing
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from bruno_spice.devices.errors import BrunoError

log = logging.getLogger(__name__)
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


class Queue:
    """Calls one after another in a thread of its own: what a window computes keeps no other one waiting."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._ended = False
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, call: Callable[[], None]) -> None:
        """Have `call` done behind what was put before."""
        self._calls.put(call)

    def end(self) -> None:
        """Do nothing more; what is under way goes to its end."""
        self._ended = True
        self._calls.put(lambda: None)

    def _run(self) -> None:
        while not self._ended:
            try:
                self._calls.get()()
            except Exception:
                log.exception("a window of the workbench")


Deliver = Callable[["Job", Message], None]


class Job:
    """A running job. `deliver` is called in a thread of its own with each message, the last of which ends it.

    That thread starts the process too: the first one has to wait for what it is forked from.
    """

    def __init__(self, deliver: Deliver, function: Callable[..., Any], *arguments: Any) -> None:
        self._deliver: Deliver | None = deliver
        self._last: Message | None = None
        self._speaking = threading.Lock()
        self._pipe, self._theirs = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(target=_work, args=(self._theirs, function, arguments), daemon=True)
        self._cancelled = False
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def tell(self, deliver: Deliver | None) -> None:
        """From here on to `deliver`, the last message first; to nobody the last one is kept."""
        with self._speaking:
            self._deliver = deliver
            if deliver is not None and self._last is not None and not self._cancelled:
                deliver(self, self._last)

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
            with self._speaking:
                self._last = (kind, content)
                if self._deliver is not None and not self._cancelled:
                    self._deliver(self, self._last)
        self._process.join()


def sentence(error: Exception) -> str:
    """What `error` tells a user; one that nobody expected goes into the log, too."""
    if isinstance(error, BrunoError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'the system says'}: {error.strerror or error}"
    log.error("a window of the workbench", exc_info=error)
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"the workbench failed here ({what}); Undo goes a step back, and what it printed says where it failed"


def _work(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the workbench, which ends its jobs
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what it has on the disk is removed on the way out

    def progress(sentence: str) -> None:
        pipe.send(("progress", sentence))

    try:
        pipe.send(("done", function(*arguments, progress)))
    except BrokenPipeError:
        pass  # the workbench has ended
    except (BrunoError, OSError) as error:
        pipe.send(("error", sentence(error)))
    except Exception:
        pipe.send(("failed", traceback.format_exc()))
