"""``bruno redesign``: a trained network on a changed circuit, from the netlist to a validated network."""

from pathlib import Path
from typing import Annotated

import typer

from bruno_spice.calibration.commands.shared import (
    JsonOption,
    SetOption,
    SimulatorOption,
    WorkersOption,
    keep_to_this_command,
    parse_overrides,
    print_json,
)
from bruno_spice.training.commands.options import TrustOption


def redesign_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    settings: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder of card, run and page (default: RUN-redesign).")] = None,
    netlist: Annotated[
        Path | None, typer.Option(help="Your own netlist behind the run, of which its card knows the name alone.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of the training (default: those of the run).")] = None,
    retrain: Annotated[bool, typer.Option(help="Or only score the network as it is on the new card.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="One epoch, a short validation: to see the way.")] = False,
    simulator: SimulatorOption = "ngspice",
    workers: WorkersOption = 2,
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Move numbers of the netlist behind a run, recalibrate, retrain, validate; leave a page that compares.

    Without --set, to the card that the run proposes (neuron.train). A command that was stopped goes on where it was.
    Examples: `bruno redesign runs/chorales --set vth=2.4`, `bruno redesign runs/cotrained --out runs/new`
    """
    from dataclasses import replace

    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.training.codesign.page import change, write_redesign_page
    from bruno_spice.training.codesign.redesign import FILE, QUICK, Effort, redesign
    from bruno_spice.training.progress import ConsoleReporter, warnings_to

    folder = out or run.with_name(f"{run.name}-redesign")
    effort = replace(QUICK if quick else Effort(), retrain=retrain)
    effort = effort if epochs is None else replace(effort, epochs=epochs)
    asked = parse_overrides(settings)
    keep_to_this_command(folder)
    with warnings_to(ConsoleReporter()):
        farm = Farm(workers=workers, progress="neurons in SPICE", simulator=simulator)
        found = redesign(run, asked, folder, effort, farm, ConsoleReporter, trust_code, netlist)
    page = write_redesign_page(folder, found)
    if as_json:
        print_json(found)
        return
    for name, stage in found["scores"].items():
        moved = change(found, name)
        difference = "" if name == "as trained" else f" ({moved:+.4f})"
        typer.echo(f"{name}: test {found['metric']} {stage['test'][found['metric']]:.4f}{difference}")
    typer.echo(f"wrote {page} and {folder / FILE}")
