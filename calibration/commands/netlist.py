"""``bruno netlist``: what is in a netlist, whether ngspice takes it, what an edit changes."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bruno_spice.calibration.commands.shared import (
    JsonOption,
    SetOption,
    announce,
    messages,
    parse_overrides,
    print_json,
)

netlist_app = typer.Typer(help="Look at netlists: parameters, errors, what an edit would re-run.", no_args_is_help=True)

NetlistArgument = Annotated[Path, typer.Argument(help="A testbench (.cir).")]


@netlist_app.command("show")
def netlist_show_command(netlist: NetlistArgument, as_json: JsonOption = False) -> None:
    """Show a netlist's parameters as ngspice reads them, with units and comments.

    Example: `bruno netlist show my_neuron.cir`
    """
    from bruno_spice.calibration.spice.netlist import Netlist
    from bruno_spice.calibration.spice.reading import plain_number

    loaded = Netlist.load(netlist)
    params = loaded.params.values()
    for remark in loaded.remarks:
        messages.print(remark, markup=False)
    if as_json:
        print_json([dataclasses.asdict(p) for p in params])
        return
    width = max((len(name) for name in loaded.params), default=0)
    for p in params:
        number = "" if p.value is None or plain_number(p.text) == p.value else f"= {p.value:.6g}"
        typer.echo(f"{p.name:{width}}  {p.text:>10}  {p.unit:8}  {p.comment}{'  ' * bool(number)}{number}")
    typer.echo(f"sha256 {loaded.sha256()}")


@netlist_app.command("check")
def netlist_check_command(netlist: NetlistArgument, settings: SetOption = None, as_json: JsonOption = False) -> None:
    """Let ngspice read a netlist and take the first steps of its run. Example: `bruno netlist check my_neuron.cir`."""
    from bruno_spice.calibration.targets.inspection import check

    loaded = check(netlist, parse_overrides(settings))
    said = announce(loaded)
    unitless = [p.name for p in loaded.params.values() if not p.unit]
    if as_json:
        print_json({"sound": True, **said, "remarks": list(loaded.remarks), "without_unit": unitless})
        return
    typer.echo(f"{netlist}: ngspice takes it, {len(loaded.params)} parameters")
    if unitless:
        typer.echo(f"without a unit in the comment (write '; [unit] meaning'): {', '.join(unitless)}")


@netlist_app.command("diff")
def netlist_diff_command(
    old: NetlistArgument,
    new: Annotated[Path | None, typer.Argument(help="The edited one; without it, OLD with --set.")] = None,
    settings: SetOption = None,
) -> None:
    """Say what changed between two netlists, and what that would re-run.

    Examples: `bruno netlist diff neuron.cir my_neuron.cir`, `bruno netlist diff neuron.cir --set vth=2.4`
    """
    from bruno_spice.calibration.spice.netlist import Netlist
    from bruno_spice.calibration.spice.store import Store
    from bruno_spice.calibration.targets.inspection import difference

    before = Netlist.load(old)
    after = (Netlist.load(new) if new else before).with_params(parse_overrides(settings))
    found = difference(before, after, Store.default())
    for name, (was, now) in found.changed_params.items():
        typer.echo(f".param {name}: {was or '(absent)'} -> {now or '(absent)'}")
    for line in found.changed_lines:
        typer.echo(line)
    if found.same:
        typer.echo("nothing that ngspice sees has changed: every stored result still holds")
    else:
        typer.echo(
            f"everything simulated from {after.path.name} would run again ({found.stored_results} stored results of "
            "that name), and what is fitted to it"
        )
