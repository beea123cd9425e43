"""``bruno netlist``: what is in a netlist, whether it runs, what an edit changes; decks of other simulators."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bruno_spice.calibration.commands.shared import (
    JsonOption,
    SetOption,
    SimulatorOption,
    announce,
    messages,
    parse_overrides,
    print_json,
    simulator_for,
)
from bruno_spice.calibration.dialects import DIALECTS
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import refuse_folder, write_atomic

netlist_app = typer.Typer(
    help="Look at netlists: parameters, errors, what an edit would re-run; import those of others.",
    no_args_is_help=True,
)

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
def netlist_check_command(
    netlist: NetlistArgument,
    settings: SetOption = None,
    simulator: SimulatorOption = "ngspice",
    as_json: JsonOption = False,
) -> None:
    """Let a simulator read a netlist and take the first steps of its run.

    Examples: `bruno netlist check my_neuron.cir`, `bruno netlist check my_neuron.cir --simulator vacask`
    """
    from bruno_spice.calibration.targets.inspection import check, deck_of

    overrides = parse_overrides(settings)
    runs_in = simulator_for(simulator, deck_of(netlist, overrides))
    loaded = check(netlist, overrides, runs_in)
    said = announce(loaded)
    unitless = [p.name for p in loaded.params.values() if not p.unit]
    if as_json:
        print_json(
            {"sound": True, **said, "simulator": runs_in, "remarks": list(loaded.remarks), "without_unit": unitless}
        )
        return
    typer.echo(f"{netlist}: {runs_in} takes it, {len(loaded.params)} parameters")
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


@netlist_app.command("import")
def netlist_import_command(
    deck: Annotated[Path, typer.Argument(metavar="FILE", help="A deck of LTspice, HSPICE or Spectre.")],
    dialect: Annotated[
        str | None, typer.Option("--from", help=f"Its language (default: by content): {DIALECTS.choices}.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the deck goes (default: NAME.cir here).")] = None,
    library: Annotated[
        list[Path] | None, typer.Option(metavar="FOLDER", help="Includes may lie here too, not only beside the deck.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Write it without what is not translated.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Translate a deck of another simulator into one that runs here, and list by line what is not in it as it was.

    Where something that acts on the circuit is not translated, nothing is written unless --partial is given, and the
    exit code is 2. Examples: `bruno netlist import filter.net`,
    `bruno netlist import input.scs --from spectre --library models --out cell.cir`
    """
    from bruno_spice.calibration.dialects.importing import NOT_TRANSLATED, import_deck

    target = out or Path(deck.with_suffix(".cir").name)
    refuse_folder(target)
    if target.resolve() == deck.resolve():
        raise InputError(f"{target} is the deck itself; give --out another name")
    found = import_deck(deck, dialect, library or [])
    lost = [finding for finding in found.findings if finding.kind == NOT_TRANSLATED]
    for finding in found.findings:
        messages.print(finding.sentence, markup=False)
    written = partial or not lost
    if written:
        write_atomic(target, found.text)
    if as_json:
        rows = [dataclasses.asdict(finding) for finding in found.findings]
        print_json({"from": found.dialect, "deck": str(target) if written else None, "findings": rows})
    elif written:
        typer.echo(f"wrote {target}, of {found.dialect}: {_count(len(lost), 'statement')} not translated")
    if lost and not partial:
        raise InputError(
            f"{deck}: {_count(len(lost), 'statement')} that {'acts' if len(lost) == 1 else 'act'} on the circuit "
            f"{'is' if len(lost) == 1 else 'are'} not translated (above); --partial writes the rest"
        )


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
