"""``bruno simulate neuron``: the FeCAP neuron under a current, in ngspice or by the model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bruno_spice.calibration.commands.shared import (
    Engine,
    GroupsOption,
    JsonOption,
    NeuronCardOption,
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
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import refuse_folder
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform, spikes_path


def simulate_neuron_command(
    engine: Annotated[Engine, typer.Option(help="Netlist, or the fitted compact model.")] = "model",
    stimulus: Annotated[Path | None, typer.Option(help="CSV with time_s,i_syn_a; linear between points.")] = None,
    dc: Annotated[float | None, number_option("A constant current instead, e.g. 308p.")] = None,
    t_stop: Annotated[float | None, number_option("End in s (default: end of the stimulus, or 0.15).")] = None,
    card: NeuronCardOption = None,
    netlist: Annotated[
        Path | None, typer.Option(help="Neuron testbench, for ngspice (default: the project's).")
    ] = None,
    settings: SetOption = None,
    groups: GroupsOption = None,
    simulator: SimulatorOption = "ngspice",
    out: Annotated[Path, typer.Option(help="Where the trace goes; the spike times go beside it.")] = Path("trace.csv"),
    as_json: JsonOption = False,
) -> None:
    """Simulate the FeCAP neuron.

    Examples: `bruno simulate neuron --engine spice --dc 308p --t-stop 0.15 --out spice.csv`,
    `bruno simulate neuron --stimulus stim.csv --set v_threshold=2.4`
    """
    refuse_other_engine(engine, card, netlist, simulator)
    if engine == "model" and groups is not None:
        raise InputError("--groups needs --engine spice")
    refuse_folder(out)
    if (stimulus is None) == (dc is None):
        raise InputError("give either --stimulus FILE.csv or --dc CURRENT")
    drive = Stimulus.from_csv(stimulus) if stimulus is not None else Stimulus.dc(dc or 0.0)
    end_s = t_stop if t_stop is not None else (float(drive.time_s[-1]) if stimulus is not None else 0.15)
    if not 0 < end_s <= 100:
        raise InputError(f"--t-stop must be above 0 and at most 100 s, not {end_s:g} s")
    overrides = parse_overrides(settings, groups)
    figures: dict[str, Any] = {"engine": engine}
    if engine == "spice":
        wave, figures["taken"], figures["simulator"] = _neuron_in_spice(drive, end_s, netlist, overrides, simulator)
    else:
        wave = _neuron_model(drive, end_s, card or calibrated_card("felif"), overrides)
    wave.to_csv(out)
    figures |= {
        "trace": str(out),
        "spikes": int(wave.spike_times_s.size),
        "spike_times_s": wave.spike_times_s.tolist(),
    }
    if as_json:
        print_json(figures)
    else:
        first = f", the first at {format_si(wave.spike_times_s[0], 's')}" if wave.spike_times_s.size else ""
        typer.echo(f"{wave.spike_times_s.size} spikes within {format_si(end_s, 's')}{first}")
        typer.echo(f"wrote {out} and {spikes_path(out)}")


def _neuron_in_spice(
    drive: Stimulus, end_s: float, netlist: Path | None, overrides: dict[str, float], simulator: str
) -> tuple[Waveform, dict[str, Any], str]:
    from bruno_spice.calibration.circuits.deck import neuron_deck
    from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, simulate_neuron
    from bruno_spice.calibration.spice.farm import Farm

    path = netlist or NEURON_NETLIST
    deck = neuron_deck(path).with_params(overrides)
    said = announce(deck)
    farm = Farm(simulator=simulator_for(simulator, deck))

    def say(text: str) -> None:
        messages.print(text, markup=False)

    with messages.status(f"{farm.simulator} runs"):
        return simulate_neuron(drive, end_s, path, overrides, farm, say), said, farm.simulator


def _neuron_model(drive: Stimulus, end_s: float, card_path: Path, overrides: dict[str, float]) -> Waveform:
    from bruno_spice.calibration.cards.simulated import simulate_card

    return simulate_card(NeuronCard.load(card_path), str(card_path), drive, end_s, overrides)
