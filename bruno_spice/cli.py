"""The command line `bruno`, put together from the commands of `calibration.commands` and `training.commands`."""

from collections.abc import Callable

import typer

from bruno_spice.calibration.commands import bench as spice_bench
from bruno_spice.calibration.commands import (
    card,
    confidence,
    data,
    netlist,
    rram,
    sensitivity,
    simulate,
    va,
    vary,
    workbench,
)
from bruno_spice.calibration.commands.calibrate import calibrate_command
from bruno_spice.calibration.commands.fits.app import fit_app
from bruno_spice.calibration.commands.shared import options_of_all, run
from bruno_spice.training.commands import (
    bench,
    codesign,
    compare,
    paper,
    program,
    redesign,
    runs,
    task,
    train,
    validate,
)

app = typer.Typer(
    name="bruno",
    help="From SPICE netlist to trained spiking network: simulate devices, calibrate models, train on them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
simulate_app = typer.Typer(
    help="Run a device through ngspice or through its compact model: same stimulus, same CSV out.", no_args_is_help=True
)

SIMULATE: dict[str, Callable[..., None]] = {
    "neuron": simulate.simulate_neuron_command,
    "fecap": spice_bench.simulate_fecap_command,
    "neuron-bench": spice_bench.simulate_neuron_bench_command,
    "rram-bench": spice_bench.simulate_rram_bench_command,
    "rram": rram.simulate_rram_command,
}
COMMANDS: dict[str, Callable[..., None]] = {
    "calibrate": calibrate_command,
    "task": task.task_command,
    "train": train.train_command,
    "evaluate": runs.evaluate_command,
    "validate": validate.validate_command,
    "codesign": codesign.codesign_command,
    "redesign": redesign.redesign_command,
    "report": runs.report_command,
    "compare": compare.compare_command,
    "workbench": workbench.workbench_command,
    "sweep": runs.sweep_command,
    "program": program.program_command,
    "confidence": confidence.confidence_command,
    "sensitivity": sensitivity.sensitivity_command,
    "vary": vary.vary_command,
    "bench": bench.bench_command,
    "paper": paper.paper_command,
}
GROUPS = {
    "simulate": simulate_app,
    "cache": spice_bench.cache_app,
    "netlist": netlist.netlist_app,
    "card": card.card_app,
    "data": data.data_app,
    "fit": fit_app,
    "va": va.va_app,
}

app.callback()(options_of_all)
for name, command in COMMANDS.items():
    app.command(name)(command)
for name, command in SIMULATE.items():
    simulate_app.command(name)(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


def main() -> None:
    """The entry point ``bruno``."""
    run(app)
