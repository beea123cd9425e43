"""Scalars for TensorBoard in the run folder, where that package is installed (extra ``tensorboard``)."""

import math
from pathlib import Path
from typing import Any


class Board:
    """Writes a row an epoch; does nothing without TensorBoard.

    Begins with all of `history` in one new events file, so that a resumed run shows each epoch once.
    """

    def __init__(self, folder: Path, history: list[dict[str, Any]]) -> None:
        self.writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        for stale in folder.glob("events.out.tfevents.*"):
            stale.unlink()
        self.writer = SummaryWriter(str(folder))
        for row in history:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """All finite numbers of an epoch's row, under nested names."""
        if self.writer is None:
            return
        for name, value in flat(row).items():
            if name not in ("epoch", "step") and math.isfinite(value):
                self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()

    def close(self) -> None:
        """End the events file."""
        if self.writer is not None:
            self.writer.close()


def flat(row: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested dictionaries as one, keys joined by a slash; without what is None."""
    values: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            values |= flat(value, f"{prefix}{key}/")
        elif value is not None:
            values[f"{prefix}{key}"] = float(value)
    return values
