"""``bruno calibrate``: netlists in ngspice, fits, cards."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bruno_spice.calibration.commands.shared import (
    GroupsOption,
    JsonOption,
    SetOption,
    SimulatorOption,
    WorkersOption,
    announce,
    keep_to_this_command,
    messages,
    model_file,
    number_option,
    one_of,
    parse_overrides,
    print_json,
    refuse_what_says_nothing,
    simulator_for,
)
from bruno_spice.calibration.targets import TARGETS
from bruno_spice.devices.cards.calibrated import CALIBRATED
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.models import MODELS
from bruno_spice.devices.units import parse_spice_number


def calibrate_command(
    what: Annotated[str, typer.Argument(help=f"{', '.join(TARGETS)} or all.")] = "all",
    netlist: Annotated[Path | None, typer.Option(help="A testbench of your own, for neuron or rram.")] = None,
    fecap: Annotated[
        Path | None, typer.Option(help="Verilog-A model of a ferroelectric capacitor, in the project's neuron.")
    ] = None,
    va: Annotated[
        Path | None, typer.Option(help="Verilog-A model of a resistive cell, in the project's RRAM testbench.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the cards.")] = CALIBRATED,
    model: Annotated[
        str | None, typer.Option(help=f"Compact model of the neuron: {MODELS.choices} (default: felif).")
    ] = None,
    settings: SetOption = None,
    groups: GroupsOption = None,
    variant: Annotated[
        Literal["var", "det"] | None,
        typer.Option(help="RRAM thermal resistance with or without radius (default: the netlist's)."),
    ] = None,
    domains: Annotated[
        str | None,
        typer.Option(help="Polarization domains of FeLIF: a number, several to choose from (default: 1,4), or auto."),
    ] = None,
    monte_carlo: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Devices sampled for the spread in the cards (default: 24 neurons, 32 RRAM cells; 0: no neurons).",
        ),
    ] = None,
    network_traces: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Network-like traces, of those that validate a neuron (default: 20): fewer are quicker, 0 is none.",
        ),
    ] = None,
    current_scale: Annotated[
        float | None,
        number_option("Factor on the currents of the project's neuron (default: measured, a spike's charge)."),
    ] = None,
    currents: Annotated[
        str | None, typer.Option(metavar="I,I,...", help="Constant currents a neuron is fitted to, e.g. 240p,1n,10n.")
    ] = None,
    simulator: SimulatorOption = "ngspice",
    workers: WorkersOption = 2,
    dask: Annotated[
        str | None, typer.Option(help="Scheduler of a Dask cluster, tcp://host:port, to simulate on.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Also write figures and an HTML report into this folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the netlists in SPICE, fit the compact models, write the cards.

    Simulations that were done before come from the store. A fit that cannot be believed is written too, marked with
    the reason, and the exit code is 1. Examples: `bruno calibrate`,
    `bruno calibrate neuron --set vth=2.4 --out my_cards`, `bruno calibrate neuron --fecap model.va --out my_cards`
    """
    from bruno_spice.calibration.cards.known_digits import rounded
    from bruno_spice.calibration.errors import FitError
    from bruno_spice.calibration.neuron.start import MOST_DOMAINS
    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.calibration.targets.calibrate import save_card, targets
    from bruno_spice.calibration.targets.target import Asked, believed

    chosen = {name: TARGETS.find(name) for name in targets(what)}
    names = " and ".join(TARGETS)
    if fecap is not None and list(chosen) != ["neuron"]:
        raise InputError("--fecap goes with neuron: bruno calibrate neuron --fecap FILE")
    if va is not None and list(chosen) != ["rram"]:
        raise InputError("--va goes with rram: bruno calibrate rram --va FILE")
    option = "--fecap" if fecap else "--va"
    netlist = one_of("--netlist", netlist, option, model_file(option, fecap or va))
    if netlist is not None and len(chosen) > 1:
        raise InputError(f"--netlist goes with one of {names}: bruno calibrate neuron --netlist FILE")
    overrides = parse_overrides(settings)
    if overrides and len(chosen) > 1:
        raise InputError(f"--set goes with one of {names}: bruno calibrate neuron --set vth=2.4")
    if report is not None and set(chosen) != set(TARGETS):
        raise InputError("--report needs both devices: bruno calibrate all --report FOLDER")
    if current_scale is not None and not current_scale > 0:
        raise InputError("--current-scale must be positive")
    asked = Asked(
        netlist,
        overrides,
        groups,
        variant,
        None if domains is None else _domains(domains, MOST_DOMAINS),
        monte_carlo,
        network_traces,
        current_scale,
        None if currents is None else _currents(currents),
        model,
    )
    refuse_what_says_nothing(list(chosen.values()), asked)
    keep_to_this_command(out, report)
    done: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for name, target in chosen.items():
        options = target.options(asked)
        deck = target.deck(options.get("netlist", target.netlist)).with_params(options["overrides"])
        said[name] = announce(deck)
        runs_in = simulator_for(simulator, deck)
        done[name] = target.calibrate(
            farm=Farm(workers=workers, progress=f"{name} in {runs_in}", dask=dask, simulator=runs_in),
            command=f"bruno calibrate {name}",
            notice=lambda text: messages.print(text, markup=False),
            **options,
        )
        path = out / f"{done[name].card.MODEL}.json"
        written = save_card(done[name].card, path)
        if not as_json:
            card = done[name].card
            typer.echo(f"{path}: {believed(card)}{target.summary(card)}{'' if written else ' (unchanged)'}")
    if report is not None:
        from bruno_spice.calibration.targets.report import write_report

        typer.echo(f"wrote {write_report(report, done)}", err=as_json)
    if as_json:
        cards = {name: json.loads(rounded(result.card).to_json()) for name, result in done.items()}
        print_json(cards | {"taken": said})
    for result in done.values():
        if result.card.doubt:
            raise FitError(
                f"{result.card.doubt}; {out / f'{result.card.MODEL}.json'} holds the best values found, marked as such"
            )


def _domains(text: str, most: int) -> tuple[int, ...]:
    if text == "auto":
        return tuple(range(1, most + 1))
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < 9 and 1 <= int(part) <= most for part in parts):
        raise InputError(f"--domains {text}: give a number from 1 to {most}, several (1,4), or auto")
    return tuple(sorted({int(part) for part in parts}))


FEWEST_CURRENTS = 3


def _currents(text: str) -> tuple[float, ...]:
    """``"240p,1n,10n"`` in A, rising. Raises `InputError` for fewer than three different ones."""
    found = tuple(sorted({float(parse_spice_number(part)) for part in text.split(",")}))
    if len(found) < FEWEST_CURRENTS or found[0] <= 0:
        raise InputError(f"--currents {text}: needs at least {FEWEST_CURRENTS} different currents above 0")
    return found
