"""What a window keeps over a reload."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from bruno_spice.calibration.workbench.page import Fitted, Saved
from bruno_spice.calibration.workbench.state import History, State


@dataclass
class Memory:
    """What a window keeps over a reload, and the server as long as it runs: steps, the best so far, the last fit."""

    history: History = field(default_factory=History)
    best: tuple[float, State] | None = None
    fitting: State | None = None
    """What is being fitted: a window that comes back goes on with it."""
    fitted: tuple[State, Fitted] | None = None
    saved: Saved | None = None
    said: tuple[str, ...] = ()
    folder: Path | None = None
    owner: object = None

    def forget(self) -> None:
        """Remove what lies on the disk for it."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
