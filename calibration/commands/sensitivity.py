"""``bruno sensitivity``: which FeLIF parameter moves the spike."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bruno_spice.calibration.commands.shared import JsonOption, NeuronCardOption, number_option, print_json
from bruno_spice.devices.cards.base import NeuronCard
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.units import format_si


def sensitivity_command(
    card: NeuronCardOption = None,
    dc: Annotated[float, number_option("Constant current.")] = 1e-9,
    width: Annotated[float, typer.Option(help="Parameters vary by this share to either side.")] = 0.05,
    variability: Annotated[
        bool, typer.Option("--variability", help="They vary as the card's Monte-Carlo says instead.")
    ] = False,
    samples: Annotated[int, typer.Option(help="Base samples, a power of 2.")] = 128,
    seed: Annotated[int, typer.Option(help="The same seed gives the same neurons.")] = 0,
    figure: Annotated[Path | None, typer.Option(help="Also draw the indices: a .png, .pdf or .svg.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Sobol indices of the first-spike time: what each parameter of the model does to it, alone and in total.

    Examples: `bruno sensitivity --dc 308p`, `bruno sensitivity --variability --figure sobol.png`
    """
    from bruno_spice.calibration.neuron.sensitivity import sensitivity_bars, spike_time_sensitivity
    from bruno_spice.calibration.presentation.style import figure_format, new_figure, save

    if figure is not None:
        figure_format(figure)
    loaded = NeuronCard.load(card or calibrated_card("felif"))
    found = spike_time_sensitivity(loaded, dc, None if variability else width, samples, seed)
    if figure is not None:
        drawn = new_figure(size=(9.6, 6.0))
        sensitivity_bars(drawn.axes[0], found)
        save(drawn, figure)
    order = np.argsort(-found.total)
    rows = [
        {
            "parameter": found.names[n],
            "first_order": float(found.first[n]),
            "total": float(found.total[n]),
            "total_error": float(found.total_error[n]),
        }
        for n in order
    ]
    if as_json:
        print_json({"i_syn_a": dc, "log_time_sigma": found.log_time_sigma, "indices": rows})
        return
    typer.echo(f"first spike at {format_si(dc, 'A')}: {100 * found.log_time_sigma:.2f} % sigma; share of its variance")
    for row in rows:
        typer.echo(
            f"  {row['parameter']:26s} alone {row['first_order']:6.3f}   total {row['total']:6.3f} "
            f"+- {row['total_error']:.3f}"
        )
