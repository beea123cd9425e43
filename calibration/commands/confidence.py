"""``bruno confidence``: profile-likelihood intervals of fitted FeLIF parameters, on request: some seconds each."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from bruno_spice.calibration.commands.shared import (
    JsonOption,
    NeuronCardOption,
    SimulatorOption,
    messages,
    print_json,
    simulator_for,
)
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.errors import InputError

if TYPE_CHECKING:  # it brings scipy.stats, half a second of every command
    from bruno_spice.calibration.circuits.recording import Recording


def confidence_command(
    parameter: Annotated[list[str] | None, typer.Argument(help="Fitted parameters (default: all).")] = None,
    card: NeuronCardOption = None,
    netlist: Annotated[Path | None, typer.Option(help="What it was fitted to (default: the project's neuron).")] = None,
    figure: Annotated[Path | None, typer.Option(help="Also draw the profiles: a .png, .pdf or .svg.")] = None,
    synthetic: Annotated[
        int | None,
        typer.Option(
            min=2, help="Instead, in so many synthetic fits with misfit: how often one stderr covers the truth."
        ),
    ] = None,
    simulator: SimulatorOption = "ngspice",
    as_json: JsonOption = False,
) -> None:
    """Confidence intervals of one and two sigma, which unlike a standard error need not be symmetric.

    Every point of a profile is a fit: seconds a parameter for one domain, about a minute for four. Example: `bruno
    confidence alpha --figure alpha.png`
    """
    from bruno_spice.calibration.circuits.deck import neuron_deck
    from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST
    from bruno_spice.calibration.circuits.stimuli import Drive
    from bruno_spice.calibration.neuron.calibrate import fit_recordings
    from bruno_spice.calibration.neuron.confidence import neuron_confidence, profile
    from bruno_spice.calibration.presentation.style import figure_format, new_figure, save
    from bruno_spice.calibration.spice.farm import Farm

    if figure is not None:
        figure_format(figure)
    path = card or calibrated_card("felif")
    source, fitted = netlist or NEURON_NETLIST, NeuronCard.load(path)
    if fitted.doubt:
        raise InputError(f"{path}: its fit is not to be believed ({fitted.doubt}), so it has no confidence intervals")
    overrides = fitted.provenance.overrides
    deck = neuron_deck(source)
    if deck.sha256(overrides) != fitted.provenance.sha256:
        raise InputError(f"{path} was not fitted to {source} as it is now; recalibrate, or name its --netlist")
    chosen = simulator_for(simulator, deck.with_params(overrides))
    farm = Farm(progress=f"neuron in {chosen}", simulator=chosen)
    recordings = fit_recordings(source, overrides, farm, Drive.of(fitted.fit))
    if synthetic is not None:
        _print_coverage(recordings, fitted, synthetic, as_json)
        return
    bar = partial(track, description="profiles", console=messages, transient=True, disable=not messages.is_terminal)
    found = neuron_confidence(recordings, fitted, parameter or None, watched=bar)
    if figure is not None:
        drawn = new_figure(len(found), 1, size=(9.6, 1.0 + 3.6 * len(found)))
        for axes, confidence in zip(drawn.axes, found.values(), strict=True):
            profile(axes, confidence, fitted.parameters[confidence.name].unit)
        save(drawn, figure)
    rows = {
        name: {
            "best": c.best,
            "stderr": c.stderr,
            "sigmas": list(c.sigmas),
            "low": c.low.tolist(),
            "high": c.high.tolist(),
        }
        for name, c in found.items()
    }
    if as_json:
        print_json(rows)
        return
    for name, c in found.items():
        unit = fitted.parameters[name].unit
        spans = "   ".join(
            f"{s:g} sigma {lo:.5g} ... {hi:.5g}" for s, lo, hi in zip(c.sigmas, c.low, c.high, strict=True)
        )
        typer.echo(f"{name:26s} {c.best:.5g} {unit}   {spans}")


def _print_coverage(recordings: "list[Recording]", card: NeuronCard, fits: int, as_json: bool) -> None:
    from bruno_spice.calibration.neuron.coverage import coverage
    from bruno_spice.devices.ferroelectric.neuron import NeuronParameters

    with messages.status(f"{fits} synthetic fits"):
        found = coverage(recordings, NeuronParameters.from_card(card), fits)
    if as_json:
        print_json(asdict(found))
        return
    for name, share in found.stderr.items():
        typer.echo(f"{name:26s} stderr {share:4.0%}   curvature {found.curvature[name]:4.0%}")
    stderr, curvature = found.mean()
    typer.echo(f"{'mean':26s} stderr {stderr:4.0%}   curvature {curvature:4.0%}   of {found.fits} fits (ideal: 68 %)")
