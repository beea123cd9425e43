"""``bruno fit neuron``: the card of a neuron from membrane traces of an oscilloscope or of another simulator."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bruno_spice.calibration.commands.data import FormatOption, RecordOption, UnitOption
from bruno_spice.calibration.commands.shared import (
    JsonOption,
    ReportOption,
    keep_to_this_command,
    messages,
    number_option,
    parse_overrides,
    print_json,
)
from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.presentation.terminal import output
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import is_file, refuse_folder
from bruno_spice.devices.models import MODELS
from bruno_spice.devices.reading import printable
from bruno_spice.devices.units import parse_spice_number

if TYPE_CHECKING:
    from bruno_spice.calibration.neuron.validation import NeuronComparison
    from bruno_spice.calibration.traces.reading import Trace
    from bruno_spice.devices.cards.base import NeuronCard


def fit_neuron_command(
    paths: Annotated[
        list[str], typer.Argument(metavar="TRACE...", help="Files with membrane traces: a.csv, steps.raw#1-4.")
    ],
    record: RecordOption = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option("--held-out", metavar="TRACE", help="Traces that are not fitted and judge the card."),
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column of the time (default: the only one).")] = None,
    voltage: Annotated[str | None, typer.Option(help="Column of the membrane voltage (default: the only one).")] = None,
    current: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[N:]COLUMN|CONSTANT|FILE",
            help="Current into the membrane: a column, a constant (308p) or a file with times; N: of the N-th trace.",
        ),
    ] = None,
    invert_current: Annotated[
        bool, typer.Option("--invert-current", help="The current counts out of the membrane.")
    ] = False,
    spike: Annotated[
        str | None, typer.Option(help="Column of the neuron's output (default: a spike is where the membrane resets).")
    ] = None,
    threshold: Annotated[
        float | None, number_option("A spike is where the membrane crosses this upwards, in V.")
    ] = None,
    polarization: Annotated[
        str | None, typer.Option(help="Column of the film's P/Ps, -1 to 1, of a simulator that gives it.")
    ] = None,
    units: UnitOption = None,
    reader: FormatOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="What is known of the neuron: area=25p, thickness_hzo=10n."),
    ] = None,
    model: Annotated[str, typer.Option(help=f"Compact model: {MODELS.choices}.")] = "felif",
    domains: Annotated[
        str, typer.Option(help="Polarization domains: a number, or several to choose from on --held-out (1,4).")
    ] = "1",
    out: Annotated[Path, typer.Option(help="The card; a figure lies beside it.")] = Path("neuron.json"),
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a card of a measured or foreign neuron: the same staged fit as from SPICE, on membrane traces in files.

    A trace begins at rest and holds the first spike at least; constant currents over two decades tell most. Traces of
    testers, of plain tables and of simulators (.raw, PSF ASCII) are read as they are (`bruno data show`). With several
    traces, those of --held-out count on: after two that are fitted, `--current 3:drive.csv` is of the first held-out
    one. `bruno train --card` takes the card; one that cannot be believed is written too, marked, with exit code 1.
    Examples: `bruno fit neuron dc_160p.csv dc_1n.csv dc_10n.csv --held-out noise.csv --set area=25p --out felif.json`,
    `bruno fit neuron steps.raw#1-4 --voltage 'V(vm)' --spike 'V(spk)' --out felif.json`,
    `bruno fit neuron scope_1.csv scope_2.csv --voltage 'channel 1' --current 1:160p --current 2:3n`
    """
    from bruno_spice.calibration.commands.fits.pages import neuron_page
    from bruno_spice.calibration.measured.choice import choices
    from bruno_spice.calibration.measured.units import declared_units
    from bruno_spice.calibration.presentation.style import save
    from bruno_spice.calibration.traces.figures import traces_figure
    from bruno_spice.calibration.traces.fit import fit_traces
    from bruno_spice.calibration.traces.reading import Columns, read_trace

    fitting, holding = choices(paths, record), choices(held_out or [], record)
    named = [*fitting, *holding]
    given = _currents(current or [], len(named))
    if report is not None:
        refuse_folder(report)
    columns = {each for each in given if each is not None and _is_column(each)}
    numbers = _domains(domains)
    keep_to_this_command(out.parent)
    traces: list[Trace] = []
    with messages.status("reading") as status:
        for choice, source in zip(named, given, strict=True):
            asked = Columns(
                time, voltage, source if source in columns else None, spike, polarization,
                declared_units(units), threshold, invert_current,
            )  # fmt: skip
            traces.append(read_trace(choice, asked, None if source in columns else source, reader))
        found = fit_traces(
            traces[: len(fitting)],
            traces[len(fitting) :],
            parse_overrides(settings),
            numbers,
            MODELS.find(model),
            lambda text: status.update(text),
        )
    card, figure = found.card, out.with_suffix(".png")
    card.save(out)
    save(traces_figure(found), figure)
    if report is not None:
        neuron_page(report, found, figure)
    if as_json:
        print_json({"card": str(out), "figure": str(figure), "said": found.said, "fit": card.fit,
                    "validation": card.validation, "doubt": card.doubt,
                    "values": {name: each.value for name, each in card.parameters.items()},
                    "stderr": {name: each.stderr for name, each in card.parameters.items() if each.vary}})  # fmt: skip
    else:
        _say(traces, found.said)
        output(110).print(_parameters(card))
        output(130).print(_judged("fitted", found.fitted_comparisons))
        if found.held_out:
            output(130).print(_judged("held out", found.held_out_comparisons))
        typer.echo(f"wrote {out}, {figure} and {report}" if report else f"wrote {out} and {figure}")
    if card.doubt:
        raise FitError(f"{card.doubt}; {out} holds the best values found, marked as such")


def _say(traces: "Sequence[Trace]", said: Sequence[str]) -> None:
    for each in traces:
        typer.echo(f"{each.name}: {'; '.join(map(printable, each.said))}")
    for note in said:
        typer.echo(f"note: {printable(note)}")


def _currents(settings: Sequence[str], count: int) -> list[str | None]:
    """``--current`` of each of `count` traces. Raises `InputError` for one that is not there or is said twice."""
    found: list[str | None] = [None] * count
    for_all = [each for each in settings if not each.partition(":")[0].strip().isdecimal()]
    if len(for_all) > 1:
        raise InputError(
            f"--current {printable(for_all[1])}: without a number it is of all traces, and one has been given; write "
            f"2:{printable(for_all[1])} for the second trace"
        )
    for setting in settings:
        number, colon, rest = setting.partition(":")
        if setting in for_all or not colon:
            found = [each or setting for each in found]
        elif not 0 < int(number[:9]) <= count:
            raise InputError(f"--current {printable(setting)}: there is no trace {number}; {count} are named")
        else:
            found[int(number) - 1] = rest
    return found


def _is_column(text: str) -> bool:
    """Whether ``--current`` names a column: it is neither a number nor a file."""
    try:
        parse_spice_number(text)
    except InputError:
        return not is_file(Path(text))
    return False


def _domains(text: str) -> tuple[int, ...]:
    from bruno_spice.calibration.neuron.start import MOST_DOMAINS

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 9 and 1 <= int(part) <= MOST_DOMAINS for part in parts):
        raise InputError(f"--domains {printable(text)}: give a number from 1 to {MOST_DOMAINS}, or several (1,4)")
    return tuple(sorted({int(part) for part in parts}))


def _parameters(card: "NeuronCard") -> Table:
    table = Table("parameter", "value", "unit", "stderr", "from")
    for name, each in card.parameters.items():
        error = "" if each.stderr is None or not each.value else f"{100 * each.stderr / abs(each.value):.2g} %"
        table.add_row(name, f"{each.value:.5g}", each.unit, error, each.source)
    return table


def _judged(title: str, comparisons: "Sequence[NeuronComparison]") -> Table:
    table = Table(
        "trace", "spikes", "the model's", "first spike", "its error", "V rms to it", "within 1 ms", title=title
    )
    for each in comparisons:
        table.add_row(
            each.stimulus,
            str(each.spikes_spice),
            str(each.spikes_model),
            "" if each.first_spike_s is None else f"{1e3 * each.first_spike_s:.4g} ms",
            "" if each.first_spike_error is None else f"{100 * each.first_spike_error:+.2f} %",
            f"{1e3 * each.voltage_rms_v:.1f} mV",
            f"{100 * each.matched_fraction:.0f} %",
        )
    return table
