"""``bruno compare``: two cards or two runs as one page."""

from pathlib import Path
from typing import Annotated

import typer

from bruno_spice.calibration.commands.shared import messages
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import refuse_folder
from bruno_spice.devices.reading import printable


def compare_command(
    first: Annotated[Path, typer.Argument(metavar="A", help="A card, or a run folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another card of that model, or another run.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("comparison.html"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")] = False,
) -> None:
    """Write one HTML page about two cards or two runs: overlays, and a table of what differs.

    Of two neurons latency and rate against current, membranes and spikes in common; of two RRAM cells programming
    curve and levels; of two runs scores, learning curves, settings that differ and their cards.
    Examples: `bruno compare data/calibrated/felif.json my_cards/felif.json`, `bruno compare runs/before runs/after`
    """
    from bruno_spice.training.reports.comparison import write_comparison

    refuse_folder(out)
    if out.exists() and not overwrite:
        raise InputError(f"{out} is there already; name another file, or add --overwrite to replace it")
    with messages.status("simulating and drawing"):
        gist = write_comparison(first, second, out)
    typer.echo(printable(gist))
    typer.echo(f"wrote {out}")
