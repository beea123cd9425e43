"""``bruno card``: look at parameter cards, compare them, check them, and take them back to SPICE."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Column, Table
from rich.text import Text

from bruno_spice.calibration.cards.catalogue import Change, alike, card_type, changes, load_any_card, remarks
from bruno_spice.calibration.commands.shared import JsonOption, keep_to_this_command, parse_overrides, print_json
from bruno_spice.calibration.presentation.terminal import output
from bruno_spice.devices.cards.base import Card, NeuronCard
from bruno_spice.devices.cards.parts import Parameter
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.files import write_atomic
from bruno_spice.devices.reading import printable
from bruno_spice.devices.rram.filament import CUT_SIGMA, remaining_sigma
from bruno_spice.devices.units import format_duration, format_si

card_app = typer.Typer(
    help="Look at parameter cards, compare and check them, export them to SPICE.", no_args_is_help=True
)

WIDTH = 160
"""Of a table where there is no terminal."""
CardArgument = Annotated[Path, typer.Argument(metavar="CARD", help="A card, JSON.")]


@card_app.command("schema")
def card_schema_command(
    model: Annotated[str, typer.Argument(help="felif or rram.")],
    out: Annotated[Path | None, typer.Option(help="Write it into this file instead.")] = None,
) -> None:
    """Print the JSON Schema of a card (draft 2020-12), for editors and other programs.

    Example: `bruno card schema felif --out felif.schema.json`
    """
    from bruno_spice.devices.cards.schema import card_schema

    schema = card_schema(card_type(model))
    if out is None:
        print_json(schema)
    else:
        typer.echo(f"wrote {write_atomic(out, json.dumps(schema, indent=2) + chr(10))}")


@card_app.command("show")
def card_show_command(path: CardArgument, as_json: JsonOption = False) -> None:
    """Show a card as tables: parameters, envelope, validation, provenance.

    Example: `bruno card show data/calibrated/felif.json`
    """
    card = load_any_card(path)
    if as_json:
        print_json(json.loads(card.to_json()))
        return
    console = output(WIDTH)
    what = f": {card.model} card, schema {card.schema_version}, {_domains(card)}"
    console.print(Text.assemble((printable(str(path)), "bold"), what))
    if card.doubt:
        console.print(f"NOT TO BE BELIEVED: {card.doubt}")
    if card.proposed:
        console.print(f"PROPOSED, not found on a device: {card.proposed}")
    console.print(_parameter_table(card))
    if card.envelope:
        console.print(_envelope_table(card))
    for title, content in (("fit", card.fit), ("validation", card.validation)):
        if content:
            console.print(_figures_table(title, content))
    if card.misread:
        console.print(_misread_table(card))
    if isinstance(card, RRAMCard):
        console.print(_spread_text(card))
    for unknown in card.unknown:
        console.print(f"not known: {unknown}")
    made = card.provenance
    if made.netlist:
        how = "moved from a card from" if card.proposed else "from"
        console.print(f"{how} {made.netlist} ({made.sha256[:12]}), {made.simulator}, {made.date}: {made.command}")


def _spread_text(card: RRAMCard) -> str:
    """What is drawn of the declared spread, and what is not modelled."""
    share = 100 * remaining_sigma()
    declared = {name: card[f"{name}_sigma"] for name in ("length", "radius")}
    sides = ", ".join(f"{name} {100 * s:.3g} % declared, {share * s:.3g} % drawn" for name, s in declared.items())
    return f"spread from device to device, cut off at {CUT_SIGMA:g} sigma (synapse.spread_cut): {sides}"


@card_app.command("diff")
def card_diff_command(
    first: Annotated[Path, typer.Argument(metavar="A", help="A card, JSON.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another of the same model.")],
    as_json: JsonOption = False,
) -> None:
    """Show which parameters differ: by how much, by how many combined standard errors, and in the netlist.

    The last column is for `bruno calibrate neuron --set`: the number of A's netlist that takes the parameter to B's.
    Example: `bruno card diff data/calibrated/felif.json my_cards/felif.json`
    """
    one, other = load_any_card(first), load_any_card(second)
    found = changes(one, other)
    texts = _settings(one, found)
    if as_json:
        print_json([dataclasses.asdict(change) | {"setting": texts.get(change.name)} for change in found])
        return
    if not found:
        typer.echo(alike(one, other))
        return
    heads = (_right(head) for head in ("A", "B", "change", "in stderr", "stderr of A"))
    table = Table("parameter", *heads, "--set", title=f"A {first}  B {second}")
    for c in found:
        relative = "" if c.relative is None else f"{100 * c.relative:+.3g} %"
        sigmas = "" if c.sigmas is None else f"{c.sigmas:+.2g}"
        error = _stderr(one.parameters[c.name]) if c.name in one.parameters else "-"
        values = (_value(c.first, c.unit), _value(c.second, c.unit))
        table.add_row(c.name, *values, relative, sigmas, error, texts.get(c.name, ""))
    output(WIDTH).print(table)
    for letter, card in (("A", one), ("B", other)):
        if card.proposed:
            typer.echo(f"{letter} is proposed: {card.proposed}")


def _settings(card: Card, found: list[Change]) -> dict[str, str]:
    """NAME=VALUE of the netlist of `card` for each parameter that has one there, and that all domains share."""
    from bruno_spice.calibration.neuron.twins import settings

    values = {change.name: change.second for change in found if change.second is not None and change.first}
    return {name: setting.text for name, setting in settings(card, values).items()}


@card_app.command("check")
def card_check_command(path: CardArgument, as_json: JsonOption = False) -> None:
    """Read a card strictly, say whether it is sound, and remark on what deserves a second look.

    Example: `bruno card check data/calibrated/felif.json`
    """
    card = load_any_card(path)
    found = remarks(card)
    if as_json:
        print_json({"card": str(path), "model": card.model, "schema_version": card.schema_version, "remarks": found})
        return
    typer.echo(f"{path}: a sound {card.model} card, schema {card.schema_version}, {len(card.parameters)} parameters")
    for remark in found:
        typer.echo(f"  note: {remark}")


@card_app.command("set")
def card_set_command(
    path: CardArgument,
    settings: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="Parameters and their values.")],
    out: Annotated[Path, typer.Option(help="The card to write.")],
) -> None:
    """Write a card with some parameters set by hand; their bounds and errors no longer apply and are left out.

    Example: `bruno card set data/calibrated/felif.json alpha=4.4 leak_discharge=12p --out tuned.json`
    """
    card = load_any_card(path).with_values(**parse_overrides(settings))
    typer.echo(f"wrote {card.save(out)}")


@card_app.command("export")
def card_export_command(
    path: CardArgument,
    out: Annotated[Path, typer.Option(help="Folder for the netlist files.")] = Path("exported"),
    name: Annotated[str | None, typer.Option(help="Name of the subcircuit and of the files.")] = None,
    form: Annotated[
        Literal["spice", "verilog-a"],
        typer.Option("--format", help="spice: a subcircuit of ngspice; verilog-a: a module for any simulator."),
    ] = "spice",
    as_json: JsonOption = False,
) -> None:
    """Write a card as ngspice files: NAME.lib with a subcircuit of the model's equations, NAME.param with its numbers.

    A FeLIF subcircuit has the pins of the neuron circuit and takes its place in any testbench. As Verilog-A it is
    NAME.va alone, a module with the same pins.
    Examples: `bruno card export data/calibrated/felif.json --out exported`,
    `bruno simulate neuron --engine spice --netlist exported/felif.lib --dc 1n`,
    `bruno card export data/calibrated/felif.json --format verilog-a --out exported`
    """
    from bruno_spice.calibration.cards.export import export_card

    keep_to_this_command(out)
    files = export_card(load_any_card(path), out, name, path.name, form)
    if as_json:
        print_json({"files": [str(file) for file in files]})
    else:
        for file in files:
            typer.echo(f"wrote {file}")


def _parameter_table(card: Card) -> Table:
    table = Table("parameter", *(_right(h) for h in ("value", "stderr", "curvature", "bounds")), "source")
    for name, p in card.parameters.items():
        table.add_row(name, _value(p.value, p.unit), _stderr(p), _curvature(p), _bounds(p), p.source)
    return table


def _envelope_table(card: Card) -> Table:
    table = Table("envelope", _right("from"), _right("to"))
    for name, span in card.envelope.items():
        table.add_row(name, _value(span.min, span.unit), _value(span.max, span.unit))
    return table


def _figures_table(title: str, content: dict[str, Any]) -> Table:
    """Plain figures of a fit or validation as rows; a list of stimuli as one row a stimulus."""
    rows = next((v for v in content.values() if isinstance(v, list) and v and _all_rows(v)), [])
    if rows:
        columns = list(rows[0])
        headers = [column.replace("_", " ") for column in columns]
        table = Table(Column(headers[0], no_wrap=True), *(Column(h, justify="right") for h in headers[1:]), title=title)
        for row in rows:
            table.add_row(*(_figure(row.get(column), column) for column in columns))
        nested = {f"{k}.{n}": v for k, part in content.items() if isinstance(part, dict) for n, v in part.items()}
        plain = {k: v for k, v in (content | nested).items() if isinstance(v, int | float | str)}
        table.caption = ", ".join(f"{key} {_figure(value)}" for key, value in plain.items()) or None
        return table
    table = Table(title, _right("figure"))
    for key, value in content.items():
        if not isinstance(value, list | dict):
            table.add_row(key, _figure(value))
    return table


def _misread_table(card: Card) -> Table:
    """Which share of devices is read as another level, by the time since writing."""
    table = Table("time since writing", _right("read as another level"), _right("of the worst level"))
    for time_s, share, worst in card.misread:
        when = format_duration(time_s) if time_s else "0"
        table.add_row(when, f"{100 * share:.3g} %", "-" if worst is None else f"{100 * worst:.3g} %")
    return table


def _all_rows(value: list[Any]) -> bool:
    return all(isinstance(row, dict) for row in value)


def _domains(card: Card) -> str:
    if not isinstance(card, NeuronCard):
        return "one filament" if isinstance(card, RRAMCard) else "tables of measurements"
    return f"{card.domains} domain{'s' if card.domains > 1 else ''}"


def _right(header: str) -> Column:
    return Column(header, justify="right", no_wrap=True)


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "1":
        return f"{value:.6g}"
    return f"{value:.5g} {unit}" if "^" in unit or "/" in unit else format_si(value, unit, 5)


def _stderr(p: Parameter) -> str:
    if p.stderr is None:
        return "-" if not p.vary else "missing"
    return _share(p.stderr, p)


def _curvature(p: Parameter) -> str:
    return "-" if p.stderr_curvature is None else _share(p.stderr_curvature, p)


def _share(error: float, p: Parameter) -> str:
    return f"{100 * error / abs(p.value):.2g} %" if p.value else _value(error, p.unit)


def _bounds(p: Parameter) -> str:
    if p.min is None and p.max is None:
        return "-"
    return f"{'' if p.min is None else f'{p.min:.4g}'} ... {'' if p.max is None else f'{p.max:.4g}'}"


def _figure(value: Any, name: str = "") -> str:
    if isinstance(value, float):
        return f"{100 * value:.2f} %" if "error" in name else f"{value:.4g}"
    return "-" if value is None else str(value)
