"""``bruno simulate rram``: program the RRAM cell with a current and read it, in ngspice or by the model."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bruno_spice.calibration.commands.shared import (
    Engine,
    JsonOption,
    SetOption,
    SimulatorOption,
    announce,
    messages,
    number_option,
    parse_overrides,
    print_json,
    refuse_other_engine,
    simulator_for,
)
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import EnvelopeError, InputError
from bruno_spice.devices.units import format_si


def simulate_rram_command(
    i_prog: Annotated[float, number_option("Programming current, e.g. 100u.")],
    engine: Annotated[Engine, typer.Option(help="Netlist, or the fitted compact model.")] = "model",
    length: Annotated[float | None, number_option("Filament length (default: the netlist's or the card's).")] = None,
    radius: Annotated[float | None, number_option("Filament radius (default: the netlist's or the card's).")] = None,
    variant: Annotated[
        Literal["var", "det"] | None,
        typer.Option(help="Thermal resistance with or without radius (default: the netlist's or the card's)."),
    ] = None,
    card: Annotated[Path | None, typer.Option(help="RRAM card, for the model (default: the calibrated one).")] = None,
    netlist: Annotated[Path | None, typer.Option(help="RRAM testbench, for ngspice (default: the project's).")] = None,
    settings: SetOption = None,
    simulator: SimulatorOption = "ngspice",
    as_json: JsonOption = False,
) -> None:
    """Program the RRAM cell with a current and read its conductance.

    Example: `bruno simulate rram --engine spice --i-prog 100u --length 0.4n --radius 45n --json`
    """
    refuse_other_engine(engine, card, netlist, simulator)
    if not all(value is None or value > 0 for value in (i_prog, length, radius)):
        raise InputError("--i-prog, --length and --radius must be positive")
    overrides = parse_overrides(settings)
    figures = (
        _rram_in_spice(i_prog, length, radius, variant, netlist, overrides, simulator)
        if engine == "spice"
        else _rram_model(i_prog, length, radius, variant, card or calibrated_card("rram"), overrides)
    )
    if as_json:
        print_json({"g_s": figures["g_s"], "engine": engine, "i_prog_a": i_prog} | figures)
    else:
        typer.echo(
            f"{format_si(figures['g_s'], 'S')} at +{figures['read_voltage_v']:.2g} V after a SET at "
            f"{format_si(i_prog, 'A')}"
        )


def _rram_in_spice(
    i_prog: float,
    length: float | None,
    radius: float | None,
    variant: str | None,
    netlist: Path | None,
    overrides: dict[str, float],
    simulator: str,
) -> dict[str, Any]:
    from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST, RRAMRun, read_rrams, rram_geometry
    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.calibration.spice.netlist import Netlist

    path = netlist or RRAM_NETLIST
    deck = Netlist.load(path).with_params(overrides)
    said = announce(deck)
    own = rram_geometry(deck)
    farm = Farm(simulator=simulator_for(simulator, deck))
    with messages.status(f"{farm.simulator} runs"):
        g_s, v = read_rrams([RRAMRun(i_prog, length, radius, variant, overrides=overrides)], path, farm)[0].tolist()
    figures = {"g_s": g_s, "length_m": length or own[0], "radius_m": radius or own[1], "read_voltage_v": v}
    return figures | {"taken": said, "simulator": farm.simulator}


def _rram_model(
    i_prog: float,
    length: float | None,
    radius: float | None,
    variant: str | None,
    path: Path,
    overrides: dict[str, float],
) -> dict[str, float]:
    from bruno_spice.devices.rram.filament import RRAMParameters, conductance

    card = RRAMCard.load(path).with_values(**overrides)
    if variant is not None and (fitted := card.fit.get("rth_variant", variant)) != variant:
        raise InputError(f"{path} was fitted with the '{fitted}' variant; recalibrate with --variant {variant}")
    length, radius = length or card["length_mean"], radius or card["radius_mean"]
    for name, value in (("i_prog", i_prog), ("length", length), ("radius", radius)):
        span = card.envelope.get(name)
        if span is not None and not span.covers(value, value):
            raise EnvelopeError(
                f"{name} of {format_si(value, span.unit)} lies outside {format_si(span.min, span.unit)} ... "
                f"{format_si(span.max, span.unit)}, for which {path} was calibrated; use --engine spice"
            )
    g_s = float(conductance(i_prog, length, radius, RRAMParameters.from_card(card)))
    return {"g_s": g_s, "length_m": length, "radius_m": radius, "read_voltage_v": card["read_voltage"]}
