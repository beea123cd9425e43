"""``bruno calibrate``: netlists in ngspice, fits, cards."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bruno_spice.calibration.cards.catalogue import CALIBRATED
from bruno_spice.calibration.commands.shared import (
    GroupsOption,
    JsonOption,
    SetOption,
    WorkersOption,
    announce,
    keep_to_this_command,
    messages,
    number_option,
    parse_overrides,
    print_json,
)
from bruno_spice.devices.cards.base import Card, RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.units import parse_spice_number


def calibrate_command(
    what: Annotated[str, typer.Argument(help="neuron, rram or all.")] = "all",
    netlist: Annotated[Path | None, typer.Option(help="A testbench of your own, for neuron or rram.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the cards.")] = CALIBRATED,
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
        int, typer.Option(min=1, help="Network-like traces, of those that validate a neuron; fewer are quicker.")
    ] = 20,
    current_scale: Annotated[
        float | None,
        number_option("Factor on the currents of the project's neuron (default: measured, a spike's charge)."),
    ] = None,
    currents: Annotated[
        str | None, typer.Option(metavar="I,I,...", help="Constant currents a neuron is fitted to, e.g. 240p,1n,10n.")
    ] = None,
    workers: WorkersOption = 2,
    dask: Annotated[
        str | None, typer.Option(help="Scheduler of a Dask cluster, tcp://host:port, to simulate on.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Also write figures and an HTML report into this folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the netlists in ngspice, fit the compact models, write the cards.

    Simulations that were done before come from the store. A fit that cannot be believed is written too, marked with
    the reason, and the exit code is 1. Examples: `bruno calibrate`,
    `bruno calibrate neuron --set vth=2.4 --out my_cards`
    """
    from bruno_spice.calibration.cards.known_digits import rounded
    from bruno_spice.calibration.errors import FitError
    from bruno_spice.calibration.neuron.start import MOST_DOMAINS
    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.calibration.targets.calibrate import CARD_FILES, DECKS, NETLIST_OF, TARGETS, save_card, targets

    names = targets(what)
    if netlist is not None and len(names) > 1:
        raise InputError("--netlist goes with one of neuron and rram: bruno calibrate neuron --netlist FILE")
    overrides = parse_overrides(settings)
    if groups is not None and "neuron" not in names:
        raise InputError("--groups goes with neuron; an RRAM cell has no switching groups")
    if overrides and len(names) > 1:
        raise InputError("--set goes with one of neuron and rram: bruno calibrate neuron --set vth=2.4")
    if report is not None and set(names) != set(TARGETS):
        raise InputError("--report needs both devices: bruno calibrate all --report FOLDER")
    domain_choice = {} if domains is None else {"domains": _domains(domains, MOST_DOMAINS)}
    if (current_scale is not None or currents is not None) and names != ["neuron"]:
        raise InputError("--current-scale and --currents go with neuron: bruno calibrate neuron --current-scale 4")
    if current_scale is not None and not current_scale > 0:
        raise InputError("--current-scale must be positive")
    currents_a = _currents(currents)
    keep_to_this_command(out, report)
    done: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for name in names:
        options: dict[str, Any] = {"overrides": overrides, "command": f"bruno calibrate {name}"}
        options["notice"] = lambda text: messages.print(text, markup=False)
        said[name] = announce(DECKS[name](netlist or NETLIST_OF[name]).with_params(overrides))
        if netlist is not None:
            options["netlist"] = netlist
        if name == "rram":
            options["variant"] = variant
            if monte_carlo:
                options["devices"] = monte_carlo
        else:
            options |= domain_choice
            options["overrides"] = parse_overrides(settings, groups)
            options["network_traces"] = network_traces
            options["current_scale"], options["currents_a"] = current_scale, currents_a
            declared = netlist is None or netlist.with_suffix(".variation.yaml").exists()
            options["monte_carlo"] = monte_carlo if monte_carlo is not None else (24 if declared else 0)
        done[name] = TARGETS[name](farm=Farm(workers=workers, progress=f"{name} in ngspice", dask=dask), **options)
        path = out / CARD_FILES[name]
        written = save_card(done[name].card, path)
        if not as_json:
            belief = "NOT TO BE BELIEVED: " if done[name].card.doubt else ""
            typer.echo(f"{path}: {belief}{_summary(done[name].card)}{'' if written else ' (unchanged)'}")
    if report is not None:
        from bruno_spice.calibration.targets.report import write_report

        typer.echo(f"wrote {write_report(report, done['neuron'], done['rram'])}", err=as_json)
    if as_json:
        cards = {name: json.loads(rounded(result.card).to_json()) for name, result in done.items()}
        print_json(cards | {"taken": said})
    for name, result in done.items():
        if result.card.doubt:
            raise FitError(f"{result.card.doubt}; {out / CARD_FILES[name]} holds the best values found, marked as such")


def _domains(text: str, most: int) -> tuple[int, ...]:
    if text == "auto":
        return tuple(range(1, most + 1))
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < 9 and 1 <= int(part) <= most for part in parts):
        raise InputError(f"--domains {text}: give a number from 1 to {most}, several (1,4), or auto")
    return tuple(sorted({int(part) for part in parts}))


FEWEST_CURRENTS = 3


def _currents(text: str | None) -> tuple[float, ...]:
    """``"240p,1n,10n"`` in A, rising. Raises `InputError` for fewer than three different ones."""
    found = tuple(sorted({float(parse_spice_number(part)) for part in text.split(",")})) if text is not None else ()
    if text is not None and (len(found) < FEWEST_CURRENTS or found[0] <= 0):
        raise InputError(f"--currents {text}: needs at least {FEWEST_CURRENTS} different currents above 0")
    return found


def _summary(card: Card) -> str:
    if isinstance(card, RRAMCard):
        return (
            f"filament fitted to {card.fit['points']} SPICE points, {100 * card.validation['relative_rms']:.2f} % rms "
            f"and {100 * card.validation['relative_worst']:.2f} % worst on {card.validation['points']} held-out ones"
        )
    rows = [row for row in card.validation["stimuli"] if not row["stimulus"].startswith("network-like")]
    network = card.validation["network_like"]
    return (
        f"FeLIF with K = {card.domains}, fitted to {len(card.fit['stimuli'])} transients; on {len(rows)} held-out "
        f"stimuli intervals within {100 * max(row['interval_error_worst'] or 0.0 for row in rows):.1f} %, voltage rms "
        f"{1e3 * max(row['voltage_rms_v'] for row in rows):.0f} mV at most; on {network['traces']} network-like traces "
        f"{100 * network['matched_fraction']:.1f} % of the spikes within 1 ms"
    )
