"""``bruno bench``: speed, memory and gradients of FeLIF, measured side by side on the same work in one run."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from calibration.cli import CARDS, JsonOption, app, messages, print_json
from devices import FeLIFCard

What = Literal["speed", "memory", "gradient"]


@app.command("bench")
def bench_command(
    what: Annotated[What, typer.Argument(help="speed, memory or gradient.")] = "speed",
    card: Annotated[Path, typer.Option(help="FeLIF card.")] = CARDS / "felif.json",
    as_json: JsonOption = False,
) -> None:
    """Measure FeLIF against its comparators on the same work, in this run.

    speed: per neuron and millisecond, beside the fused 1 us Euler kernel and an eager LIF layer; memory: bytes kept for
    the backward pass, beside BPTT over every microsecond; gradient: cosine and norm ratio to that BPTT.
    Example: `bruno bench memory --json`
    """
    from training import benchmark

    measure: dict[str, Callable[[FeLIFCard], Any]] = {
        "speed": benchmark.speed,
        "memory": benchmark.memory,
        "gradient": benchmark.gradient,
    }
    with messages.status(f"measuring {what}"):
        figures = measure[what](FeLIFCard.load(card))
    if as_json:
        print_json(figures)
    else:
        for name, value in figures.items():
            typer.echo(f"{name:32} {value:.4g}")
