"""``bruno vary``: Monte-Carlo samples and corners of a netlist, simulated, as a table."""

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bruno_spice.calibration.commands.shared import (
    GroupsOption,
    JsonOption,
    SetOption,
    SimulatorOption,
    WorkersOption,
    announce,
    parse_overrides,
    print_json,
    refuse_what_says_nothing,
    simulator_for,
)
from bruno_spice.calibration.targets import TARGETS
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import cell, write_atomic
from bruno_spice.devices.units import format_si, parse_spice_number

Rows = list[dict[str, Any]]


def vary_command(
    what: Annotated[str, typer.Argument(metavar="WHAT", help=f"Which testbench: {' or '.join(TARGETS)}.")],
    samples: Annotated[int, typer.Option(min=1, help="Monte-Carlo samples (Latin hypercube).")] = 100,
    corners: Annotated[bool, typer.Option("--corners", help="Corners instead: each parameter at +-3 sigma.")] = False,
    currents: Annotated[
        str | None,
        typer.Option(metavar="I,I,...", help="DC currents of the neuron (1n) or programming currents (30u,60u,120u)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same devices.")] = 0,
    netlist: Annotated[Path | None, typer.Option(help="Testbench (default: the project's).")] = None,
    variation: Annotated[
        Path | None, typer.Option(help="What varies, YAML (default: NAME.variation.yaml beside the testbench).")
    ] = None,
    settings: SetOption = None,
    groups: GroupsOption = None,
    simulator: SimulatorOption = "ngspice",
    workers: WorkersOption = 2,
    out: Annotated[Path, typer.Option(help="Where the table goes: a row a device and current, SI units.")] = Path(
        "variation.csv"
    ),
    as_json: JsonOption = False,
) -> None:
    """Simulate devices that differ as `NAME.variation.yaml` says, in SPICE.

    Examples: `bruno vary neuron --samples 100 --currents 1n,10n --out table.csv`,
    `bruno vary rram --corners --currents 30u,60u,120u`
    """
    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.calibration.spice.variation import Variation
    from bruno_spice.calibration.targets.target import Asked

    target = TARGETS.find(what)
    path = netlist or target.netlist
    refuse_what_says_nothing([target], Asked(groups=groups))
    if target.vary is None:
        raise InputError(f"nothing is known of how a {target.model} varies")
    overrides = parse_overrides(settings, groups)
    deck = target.deck(path).with_params(overrides)
    said = announce(deck)
    declared = Variation.load(variation) if variation else Variation.beside(path)
    devices = declared.corner_points(deck) if corners else declared.sample(deck, samples, seed)
    currents_a = [parse_spice_number(text) for text in (currents or target.vary_currents).split(",")]
    if not all(current > 0 for current in currents_a):
        raise InputError("--currents must be positive")
    chosen = simulator_for(simulator, deck)
    farm = Farm(workers=workers, progress=f"{what} variation in {chosen}", simulator=chosen)
    rows = target.vary(devices, currents_a, path, overrides, farm)
    write_atomic(out, _table(rows))
    summary = _summary(rows, currents_a)
    if as_json:
        print_json({"table": str(out), "devices": len(devices), "spread": summary, "taken": said, "simulator": chosen})
        return
    for entry in summary:
        unit = {"first_spike_s": "s", "g_s": "S"}[entry["quantity"]]
        typer.echo(
            f"{format_si(entry['i_a'], 'A')}: {entry['quantity']} {format_si(entry['mean'], unit)} on average, "
            f"{100 * entry['relative_sigma']:.2f} % sigma, {format_si(entry['min'], unit)}..."
            f"{format_si(entry['max'], unit)} over {entry['devices']} devices"
        )
    typer.echo(f"wrote {out}")


def _table(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writerow({key: cell(key) for key in rows[0]})
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _summary(rows: Rows, currents_a: list[float]) -> list[dict[str, Any]]:
    """Mean, spread and extremes of what was measured, by current."""
    current, quantity = ("i_prog_a", "g_s") if "g_s" in rows[0] else ("i_syn_a", "first_spike_s")
    found = []
    for i in currents_a:
        values = np.array([row[quantity] for row in rows if row[current] == i and row[quantity] is not None])
        if values.size:
            found.append(
                {
                    "i_a": i,
                    "quantity": quantity,
                    "devices": int(values.size),
                    "mean": float(values.mean()),
                    "relative_sigma": float(values.std(ddof=min(1, values.size - 1)) / values.mean()),
                    "min": float(values.min()),
                    "max": float(values.max()),
                }
            )
    return found
