"""``bruno fit``: a device's parameters from an engineer's own measurement."""

import typer

from bruno_spice.calibration.commands.fits.fecap import fit_fecap_command
from bruno_spice.calibration.commands.fits.neuron import fit_neuron_command
from bruno_spice.calibration.commands.fits.rram import fit_rram_command

fit_app = typer.Typer(help="Fit a device's parameters to your own measurement.", no_args_is_help=True)
fit_app.command("fecap")(fit_fecap_command)
fit_app.command("neuron")(fit_neuron_command)
fit_app.command("rram")(fit_rram_command)
