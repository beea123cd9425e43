"""``bruno cache``: what commands keep, so that the same is not simulated, compiled or fitted twice."""

import time
from typing import Annotated

import typer

from bruno_spice.calibration.commands.shared import JsonOption, number_option, print_json
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.kept import Kept, default_folder, prune

cache_app = typer.Typer(help="What is kept of simulations, models and fits: list and prune.", no_args_is_help=True)


def kinds() -> dict[str, Kept]:
    """All that is kept, by what it is."""
    from bruno_spice.calibration.fitting.memo import fits
    from bruno_spice.calibration.spice.store import Store
    from bruno_spice.calibration.verilog_a.openvaf import compiled_models

    return {"result": Store.default().kept, "model": compiled_models(), "fit": fits()}


@cache_app.command("list")
def cache_list_command(as_json: JsonOption = False) -> None:
    """List simulation results, compiled models and fits, each newest first. Example: `bruno cache list`."""
    found = [(kind, entry) for kind, kept in kinds().items() for entry in kept.entries()]
    if as_json:
        names = ("key", "label", "size_bytes", "written_at")
        print_json(
            [
                {"kind": kind, **{name: getattr(entry, name) for name in names}, "points": entry.about.get("points")}
                for kind, entry in found
            ]
        )
        return
    for kind, entry in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.written_at))
        points = entry.about.get("points")
        said = f"{points:7d} points" if isinstance(points, int) else " " * 14
        typer.echo(f"{kind:6}  {entry.key[:12]}  {when}  {entry.size_bytes / 1e3:9.1f} kB  {said}  {entry.label}")
    counts = {kind: sum(each == kind for each, _ in found) for kind in kinds()}
    counted = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
    total = sum(entry.size_bytes for _, entry in found)
    typer.echo(f"{counted}: {total / 1e6:.1f} MB in {default_folder()}")


@cache_app.command("prune")
def cache_prune_command(
    older_than: Annotated[float, number_option("Only what is older than this many days.")] = 0.0,
    keep: Annotated[float, number_option("Keep at most this many bytes, e.g. 500meg.")] = 0.0,
) -> None:
    """Remove what is kept, oldest first; without options all of it.

    Examples: `bruno cache prune`, `bruno cache prune --keep 500meg`
    """
    if older_than < 0 or keep < 0:
        raise InputError("--older-than and --keep must not be negative")
    removed = prune(list(kinds().values()), older_than * 86400, int(keep))
    count = "1 entry" if len(removed) == 1 else f"{len(removed)} entries"
    typer.echo(f"removed {count}, {sum(entry.size_bytes for entry in removed) / 1e6:.1f} MB")
