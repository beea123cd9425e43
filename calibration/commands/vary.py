"""``bruno vary``: Monte-Carlo samples and corners of a netlist, simulated, as a table."""

import csv
import io
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from bruno_spice.calibration.commands.shared import (
    GroupsOption,
    JsonOption,
    SetOption,
    WorkersOption,
    announce,
    parse_overrides,
    print_json,
)
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import cell, write_atomic
from bruno_spice.devices.units import format_si, parse_spice_number

Rows = list[dict[str, Any]]


def vary_command(
    what: Annotated[Literal["neuron", "rram"], typer.Argument(help="Which testbench.")],
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
    workers: WorkersOption = 2,
    out: Annotated[Path, typer.Option(help="Where the table goes: a row a device and current, SI units.")] = Path(
        "variation.csv"
    ),
    as_json: JsonOption = False,
) -> None:
    """Simulate devices that differ as `NAME.variation.yaml` says, in ngspice.

    Examples: `bruno vary neuron --samples 100 --currents 1n,10n --out table.csv`,
    `bruno vary rram --corners --currents 30u,60u,120u`
    """
    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.calibration.spice.variation import Variation
    from bruno_spice.calibration.targets.calibrate import DECKS, NETLIST_OF

    path = netlist or NETLIST_OF[what]
    if what == "rram" and groups is not None:
        raise InputError("--groups goes with neuron; an RRAM cell has no switching groups")
    overrides = parse_overrides(settings, groups)
    deck = DECKS[what](path).with_params(overrides)
    said = announce(deck)
    declared = Variation.load(variation) if variation else Variation.beside(path)
    devices = declared.corner_points(deck) if corners else declared.sample(deck, samples, seed)
    default = {"neuron": "1n", "rram": "30u,60u,120u"}[what]
    currents_a = [parse_spice_number(text) for text in (currents or default).split(",")]
    if not all(current > 0 for current in currents_a):
        raise InputError("--currents must be positive")
    run = {"neuron": _vary_neuron, "rram": _vary_rram}[what]
    farm = Farm(workers=workers, progress=f"{what} variation in ngspice")
    rows = run(devices, currents_a, path, overrides, farm)
    write_atomic(out, _table(rows))
    summary = _summary(rows, currents_a)
    if as_json:
        print_json({"table": str(out), "devices": len(devices), "spread": summary, "taken": said})
        return
    for entry in summary:
        unit = {"first_spike_s": "s", "g_s": "S"}[entry["quantity"]]
        typer.echo(
            f"{format_si(entry['i_a'], 'A')}: {entry['quantity']} {format_si(entry['mean'], unit)} on average, "
            f"{100 * entry['relative_sigma']:.2f} % sigma, {format_si(entry['min'], unit)}..."
            f"{format_si(entry['max'], unit)} over {entry['devices']} devices"
        )
    typer.echo(f"wrote {out}")


def _vary_neuron(devices: Any, currents_a: list[float], path: Path, overrides: dict[str, float], farm: Any) -> Rows:
    """A row a device and current: first spike, and the interval after it; empty where the neuron stays silent."""
    from bruno_spice.calibration.circuits.drive import PROJECT_CHARGE_C, spike_charge_c
    from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, NeuronRun, simulate_neurons
    from bruno_spice.calibration.circuits.stimuli import CHARGE_PER_RECORDING_C, DEAD_TIME_PER_RECORDING_S
    from bruno_spice.devices.stimulus import Stimulus

    cases = [(label, values, i) for label, values in _cases(devices) for i in currents_a]
    own = path == NEURON_NETLIST and not overrides
    larger = 1.0 if own else max(spike_charge_c(path, overrides, farm) / PROJECT_CHARGE_C, 1.0)
    charge_c = CHARGE_PER_RECORDING_C * larger
    runs = [
        NeuronRun(Stimulus.dc(i), charge_c / i + DEAD_TIME_PER_RECORDING_S, overrides | values)
        for _, values, i in cases
    ]
    rows: Rows = []
    for (label, values, i), wave in zip(cases, simulate_neurons(runs, path, farm), strict=True):
        spikes = wave.spike_times_s
        rows.append(
            {"device": label, **values, "i_syn_a": i}
            | {"first_spike_s": float(spikes[0]) if spikes.size else None}
            | {"interval_s": float(spikes[1] - spikes[0]) if spikes.size > 1 else None}
        )
    return rows


def _vary_rram(devices: Any, currents_a: list[float], path: Path, overrides: dict[str, float], farm: Any) -> Rows:
    """A row a device and programming current: the conductance after SET."""
    from bruno_spice.calibration.circuits.experiments import RRAMRun, program_rrams

    cases = [(label, values, i) for label, values in _cases(devices) for i in currents_a]
    runs = [RRAMRun(i, overrides=overrides | values) for _, values, i in cases]
    return [
        {"device": label, **values, "i_prog_a": i, "g_s": float(g_s)}
        for (label, values, i), g_s in zip(cases, program_rrams(runs, path, farm), strict=True)
    ]


def _cases(devices: Any) -> list[tuple[str, dict[str, float]]]:
    return list(zip(devices.labels, devices.overrides(), strict=True))


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
                    "relative_sigma": float(values.std() / values.mean()),
                    "min": float(values.min()),
                    "max": float(values.max()),
                }
            )
    return found
