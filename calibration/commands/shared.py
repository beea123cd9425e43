"""The command line of simulation and calibration; training adds its own commands to the same app."""

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bruno_spice.calibration.presentation.terminal import Terminal
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.targets import TARGETS
from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.devices.files import folder_lock
from bruno_spice.devices.units import Quantity, parse_spice_number

if TYPE_CHECKING:
    from bruno_spice.calibration.targets.target import Asked, Target

messages = Terminal(stderr=True, soft_wrap=True)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bruno-spice {version('bruno-spice')}")
        raise typer.Exit


def options_of_all(
    asked: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """What holds for every command."""


def number_option(text: str) -> Any:
    """An option that takes plain floats and SPICE suffixes; `text` is its help."""
    return typer.Option(parser=parse_spice_number, metavar="NUMBER", help=text)


Engine = Literal["spice", "model"]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Override a netlist .param (spice) or a card parameter (model)."),
]
GroupsOption = Annotated[
    int | None,
    typer.Option("--groups", min=1, help="Switching groups of the netlist's film; --set groups=N says the same."),
]
SimulatorOption = Annotated[
    str,
    typer.Option(
        "--simulator",
        help=f"What runs netlists: auto (the fastest installed one that takes the deck), {SIMULATORS.choices}.",
    ),
]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Also write the fit as one HTML page: FILE.html.")]
NeuronCardOption = Annotated[Path | None, typer.Option(help="FeLIF card (default: the calibrated one).")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Worker processes.")]
_until_the_end = ExitStack()
"""What a command holds, let go by `run`."""


def run(application: Callable[[], Any]) -> None:
    """Run the command line; every error ends as one sentence and exit code 2 (input) or 1 (failure)."""
    code: Any
    try:
        with _until_the_end, warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: messages.print(f"warning: {message}", markup=False)
            application()
        code = 0
    except SystemExit as leaving:
        code = leaving.code
        if code == 130:
            messages.print("interrupted: what was finished is kept, nothing half-written is left", markup=False)
            code = 1
    except BrunoError as error:
        messages.print(f"error: {error}", markup=False)
        code = error.exit_code
    except OSError as error:
        messages.print(f"error: {error.filename or 'the system says'}: {error.strerror or error}", markup=False)
        code = 1
    sys.exit(code)


def keep_to_this_command(*folders: Path | None) -> None:
    """Let no other command write into `folders` until the present one has ended. Raises as `folder_lock` does."""
    for folder in {folder.resolve(): folder for folder in folders if folder is not None}.values():
        _until_the_end.enter_context(folder_lock(folder))


def parse_overrides(settings: list[str] | None, groups: int | None = None) -> dict[str, float]:
    """``["vth=2.4", ...]`` as a mapping, with the film's number of `groups`; raises `InputError` for anything else."""
    overrides: dict[str, float] = {} if groups is None else {"groups": groups}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {setting}: write NAME=VALUE, for example --set vth=2.4")
        overrides[name.strip().lower()] = _quantity(setting, value)
    return overrides


def _quantity(setting: str, value: str) -> Quantity:
    try:
        return Quantity.parse(value)
    except InputError as error:
        raise InputError(f"--set {setting}: {error}") from None


def refuse_other_engine(engine: Engine, card: Path | None, netlist: Path | None, simulator: str = "ngspice") -> None:
    """Raise `InputError` where something is given that `engine` has no use for."""
    if engine == "model" and simulator != "ngspice":
        raise InputError("--simulator needs --engine spice")
    if engine == "model" and netlist is not None:
        raise InputError("--netlist needs --engine spice")
    if engine == "spice" and card is not None:
        raise InputError("--card needs --engine model")


def one_of(name: str, given: Path | None, other_name: str, other: Path | None) -> Path | None:
    """The one of two options that is given, or None. Raises `InputError` where both are."""
    if given is not None and other is not None:
        raise InputError(f"give either {name} or {other_name}")
    return other if given is None else given


def model_file(option: str, given: Path | None) -> Path | None:
    """What is `given` to `option`. Raises `InputError` where it is no Verilog-A file, by its ending."""
    from bruno_spice.calibration.verilog_a.foreign.model import SUFFIX, is_model

    if given is not None and not is_model(given):
        raise InputError(f"{option} {given}: takes a Verilog-A model, FILE{SUFFIX}; a netlist goes with --netlist")
    return given


def print_json(content: Any) -> None:
    """Print `content` as JSON on standard output."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


def announce(deck: Any) -> dict[str, Any]:
    """Say on standard error which circuits and parameters are taken of a netlist; return them for ``--json``."""
    from bruno_spice.calibration.targets.inspection import taken

    found = taken(deck)
    messages.print(found.sentence, markup=False)
    return found.as_dict()


def simulator_for(asked: str, deck: Any) -> str:
    """The name of the simulator `asked` for on `deck`; what ``auto`` takes is said on standard error."""
    from bruno_spice.calibration.spice.farm import Farm
    from bruno_spice.calibration.verilog_a.choice import settled

    return settled(Farm(simulator=asked), [deck], lambda text: messages.print(text, markup=False)).simulator


FLAGS = {
    "groups": "--groups", "variant": "--variant", "domains": "--domains", "network_traces": "--network-traces",
    "current_scale": "--current-scale", "currents_a": "--currents",
}  # fmt: skip
"""Options that say something to some targets of calibration only, by their field of `Asked`."""


def refuse_what_says_nothing(chosen: Sequence["Target"], asked: "Asked") -> None:
    """Raise `InputError` where `asked` holds what none of the `chosen` targets takes."""
    for field, flag in FLAGS.items():
        if getattr(asked, field) is not None and not any(field in target.accepts for target in chosen):
            takers = " or ".join(name for name, target in TARGETS.items() if field in target.accepts)
            models = " and ".join(target.model for target in chosen)
            raise InputError(f"{flag} goes with {takers}; a {models} knows nothing of it")
