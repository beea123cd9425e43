"""The command line `bruno`, put together from the commands of `calibration.commands` and `training.commands`.

A command is imported when it is asked for: what all of them import takes longer than some of them run.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from bruno_spice.calibration.commands.shared import options_of_all, run
from bruno_spice.devices.registry import Registry

STYLE: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": "markdown",
    "pretty_exceptions_enable": False,
    "no_args_is_help": True,
}
CALIBRATION, TRAINING = "bruno_spice.calibration.commands", "bruno_spice.training.commands"
SIMULATE = {
    "neuron": f"{CALIBRATION}.simulate:simulate_neuron_command",
    "fecap": f"{CALIBRATION}.bench:simulate_fecap_command",
    "neuron-bench": f"{CALIBRATION}.bench:simulate_neuron_bench_command",
    "rram-bench": f"{CALIBRATION}.bench:simulate_rram_bench_command",
    "rram": f"{CALIBRATION}.rram:simulate_rram_command",
}
COMMANDS = {
    "calibrate": f"{CALIBRATION}.calibrate:calibrate_command",
    "task": f"{TRAINING}.task:task_command",
    "train": f"{TRAINING}.train:train_command",
    "evaluate": f"{TRAINING}.runs:evaluate_command",
    "validate": f"{TRAINING}.validate:validate_command",
    "codesign": f"{TRAINING}.codesign:codesign_command",
    "redesign": f"{TRAINING}.redesign:redesign_command",
    "report": f"{TRAINING}.runs:report_command",
    "compare": f"{TRAINING}.compare:compare_command",
    "workbench": f"{CALIBRATION}.workbench:workbench_command",
    "sweep": f"{TRAINING}.runs:sweep_command",
    "program": f"{TRAINING}.program:program_command",
    "confidence": f"{CALIBRATION}.confidence:confidence_command",
    "sensitivity": f"{CALIBRATION}.sensitivity:sensitivity_command",
    "vary": f"{CALIBRATION}.vary:vary_command",
    "bench": f"{TRAINING}.bench:bench_command",
    "paper": f"{TRAINING}.paper:paper_command",
    "simulate": "bruno_spice.cli:simulate_app",
    "cache": f"{CALIBRATION}.cache:cache_app",
    "netlist": f"{CALIBRATION}.netlist:netlist_app",
    "card": f"{CALIBRATION}.card:card_app",
    "data": f"{CALIBRATION}.data:data_app",
    "fit": f"{CALIBRATION}.fits.app:fit_app",
    "va": f"{CALIBRATION}.va:va_app",
}


class Commands(Mapping[str, Any]):
    """What the command line takes them for, by name, of the functions and groups at `addresses`."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._known = Registry[Any]("command", addresses, lambda found: found)
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            found = self._known[name]
            if isinstance(found, typer.Typer):
                found.rich_markup_mode = STYLE["rich_markup_mode"]
                command: Any = typer.main.get_group(found)
            else:
                alone = typer.Typer(**{**STYLE, "no_args_is_help": False})
                alone.command(name)(found)
                command = typer.main.get_command(alone)
            command.name, self._made[name] = name, command
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def group_of(addresses: Mapping[str, str]) -> type[TyperGroup]:
    """A kind of group that has the commands at `addresses`."""

    class Group(TyperGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**{**given, "commands": Commands(addresses)})

    return Group


app = typer.Typer(
    name="bruno",
    help="From SPICE netlist to trained spiking network: simulate devices, calibrate models, train on them.",
    cls=group_of(COMMANDS),
    **STYLE,
)
app.callback()(options_of_all)
simulate_app = typer.Typer(
    help="Run a device through ngspice or through its compact model: same stimulus, same CSV out.",
    cls=group_of(SIMULATE),
    **STYLE,
)


def main() -> None:
    """The entry point ``bruno``."""
    run(app)
