"""The command line of simulation and calibration; training adds its own commands to the same app."""

import json
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from calibration.cards import CALIBRATED, calibrated_card
from calibration.terminal import Terminal
from devices.card import Card, FeLIFCard, RRAMCard
from devices.errors import BrunoError, EnvelopeError, InputError
from devices.files import folder_lock, refuse_folder
from devices.stimulus import Stimulus
from devices.units import Quantity, format_si, parse_spice_number
from devices.waveform import Waveform, spikes_path

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
app.add_typer(simulate_app, name="simulate")

messages = Terminal(stderr=True, soft_wrap=True)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bruno-spice {version('bruno-spice')}")
        raise typer.Exit


@app.callback()
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
NeuronCardOption = Annotated[Path | None, typer.Option(help="FeLIF card (default: the calibrated one).")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Worker processes.")]


_until_the_end = ExitStack()
"""What a command holds, let go by `run`."""


def run(application: Callable[[], Any] = app) -> None:
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


def refuse_other_engine(engine: Engine, card: Path | None, netlist: Path | None) -> None:
    """Raise `InputError` where a file is given that `engine` does not read."""
    if engine == "model" and netlist is not None:
        raise InputError("--netlist needs --engine spice")
    if engine == "spice" and card is not None:
        raise InputError("--card needs --engine model")


def print_json(content: Any) -> None:
    """Print `content` as JSON on standard output."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


@simulate_app.command("neuron")
def simulate_neuron_command(
    engine: Annotated[Engine, typer.Option(help="ngspice netlist, or the fitted compact model.")] = "model",
    stimulus: Annotated[Path | None, typer.Option(help="CSV with time_s,i_syn_a; linear between points.")] = None,
    dc: Annotated[float | None, number_option("A constant current instead, e.g. 308p.")] = None,
    t_stop: Annotated[float | None, number_option("End in s (default: end of the stimulus, or 0.15).")] = None,
    card: NeuronCardOption = None,
    netlist: Annotated[
        Path | None, typer.Option(help="Neuron testbench, for ngspice (default: the project's).")
    ] = None,
    settings: SetOption = None,
    groups: GroupsOption = None,
    out: Annotated[Path, typer.Option(help="Where the trace goes; the spike times go beside it.")] = Path("trace.csv"),
    as_json: JsonOption = False,
) -> None:
    """Simulate the FeCAP neuron.

    Examples: `bruno simulate neuron --engine spice --dc 308p --t-stop 0.15 --out spice.csv`,
    `bruno simulate neuron --stimulus stim.csv --set v_threshold=2.4`
    """
    refuse_other_engine(engine, card, netlist)
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
        wave, figures["taken"] = _neuron_in_spice(drive, end_s, netlist, overrides)
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


def announce(deck: Any) -> dict[str, Any]:
    """Say on standard error which circuits and parameters are taken of a netlist; return them for ``--json``."""
    from calibration.netlist_tools import taken

    found = taken(deck)
    messages.print(found.sentence, markup=False)
    return found.as_dict()


def _neuron_in_spice(
    drive: Stimulus, end_s: float, netlist: Path | None, overrides: dict[str, float]
) -> tuple[Waveform, dict[str, Any]]:
    from calibration.experiments import NEURON_NETLIST, simulate_neuron
    from calibration.neuron_deck import neuron_deck

    path = netlist or NEURON_NETLIST
    said = announce(neuron_deck(path).with_params(overrides))

    def say(text: str) -> None:
        messages.print(text, markup=False)

    with messages.status("ngspice runs"):
        return simulate_neuron(drive, end_s, path, overrides, notice=say), said


def _neuron_model(drive: Stimulus, end_s: float, card_path: Path, overrides: dict[str, float]) -> Waveform:
    from devices.felif import simulate

    card = FeLIFCard.load(card_path)
    if span := card.envelope.get("i_syn"):
        low, high = float(drive.i_syn_a.min()), float(drive.i_syn_a.max())
        if not span.covers(low, high):
            worst = high if high > span.max else low
            raise EnvelopeError(
                f"a current of {format_si(worst, 'A')} lies outside {format_si(span.min, 'A')} ... "
                f"{format_si(span.max, 'A')}, for which {card_path} was calibrated; use --engine spice or recalibrate"
            )
    return simulate(card.with_values(**overrides), drive, end_s)


@app.command("calibrate")
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
    from calibration.calibrate import CARD_FILES, DECKS, NETLIST_OF, TARGETS, save_card, targets
    from calibration.errors import FitError
    from calibration.farm import Farm
    from calibration.known_digits import rounded
    from calibration.plateau import MOST_DOMAINS

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
        from calibration.report import write_report

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


# The commands of other files join the app when they are imported; they need what stands above.
from calibration import cli_bench, cli_card, cli_confidence, cli_fit, cli_rram, cli_sensitivity, cli_vary  # noqa: E402, F401
