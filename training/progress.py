"""What a long run tells while it runs: a bar with the time left on a terminal, plain lines elsewhere; all on stderr."""

import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bruno_spice.calibration.presentation.terminal import Terminal
from bruno_spice.devices.errors import BrunoError


class Interrupted(BrunoError):
    """The user stopped the work; what was done so far is saved."""


class Reporter(Protocol):
    """Hears of steps, epochs and notes."""

    def start(self, done: int, total: int) -> None:
        """`done` of `total` steps lie behind."""

    def advance(self) -> None:
        """One step more."""

    def line(self, text: str) -> None:
        """A line to keep, such as an epoch's scores or a warning."""

    def close(self) -> None:
        """No more to come."""


class Silent:
    """Says nothing."""

    def start(self, done: int, total: int) -> None:
        """Nothing."""

    def advance(self) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class ConsoleReporter:
    """A bar called `title` where stderr is a terminal, lines with the time left elsewhere."""

    def __init__(self, title: str = "training") -> None:
        self.title = title
        self.console = Terminal(stderr=True, soft_wrap=True)
        self.bar: Progress | None = None
        self.done, self.first, self.total, self.started = 0, 0, 0, time.monotonic()

    def start(self, done: int, total: int) -> None:
        """Begin the bar, or the clock."""
        self.done, self.first, self.total, self.started = done, done, total, time.monotonic()
        if self.console.is_terminal and self.bar is None:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            self.bar = Progress(TextColumn(self.title), *columns, console=self.console)
            self.task_id = self.bar.add_task(self.title, total=total, completed=done)
            self.bar.start()

    def advance(self) -> None:
        """One step more."""
        self.done += 1
        if self.bar is not None:
            self.bar.advance(self.task_id)

    def line(self, text: str) -> None:
        """Print `text`, with the time left where there is no bar."""
        if self.bar is None and self.first < self.done < self.total:
            left_s = (time.monotonic() - self.started) / (self.done - self.first) * (self.total - self.done)
            text += f"   ({left_s:.0f} s left)"
        self.console.print(text, markup=False)
        sys.stderr.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


@contextmanager
def warnings_to(reporter: Reporter) -> Iterator[None]:
    """Within the block, Python's warnings become lines of the report."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: reporter.line(f"warning: {message}")
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within the block, torch and the compiled kernels use `count` processor threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class StopRequest:
    """Whether Ctrl-C (or SIGTERM) came; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Within the block, Ctrl-C and SIGTERM only set a flag, so that the work can stop where it is whole."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
