"""``bruno codesign``: what the devices of a trained network are worth to its score."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from bruno_spice.calibration.commands.shared import JsonOption, keep_to_this_command, print_json
from bruno_spice.calibration.presentation.terminal import output
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.units import format_si
from bruno_spice.training.commands.options import TrustOption

WIDTH = 150
"""Where standard output is no terminal."""


def codesign_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders that differ in their seed.")],
    over: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help="Card parameters (default: all); one of the domains without its number moves all of them.",
        ),
    ] = None,
    score: Annotated[str | None, typer.Option(help="A score of the task (default: its metric).")] = None,
    more_is_better: Annotated[
        bool | None,
        typer.Option(
            "--more-is-better/--less-is-better",
            help="Which way the score gets better (default: as the task or the score's name says).",
        ),
    ] = None,
    cost: Annotated[
        float | None, typer.Option(help="How much worse it may get (default: 0.01; 0.001 of an accuracy).")
    ] = None,
    spread: Annotated[float, typer.Option(help="Spread from device to device that is tried.")] = 0.04,
    chips: Annotated[int | None, typer.Option(min=0, help="Pairs of chips with that spread (default: 4).")] = None,
    reads: Annotated[int, typer.Option(min=1, help="Times that noisy devices are read: less noise, more time.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Two steps instead of six, one pair of chips.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of codesign.json and .png (default: the first run).")] = None,
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what the test score of a trained network hangs on: its devices' parameters moved, its weights frozen.

    For each parameter: the change of the score for +1 %, the way that helps, the tolerance that costs 0.01 nats (0.1
    points), what a spread of 1 % from device to device costs. The network itself is run again for each step.

    Examples: `bruno codesign runs/chorales --over area,activation_field,leak_discharge,v_threshold`,
    `bruno codesign runs/seed-0 runs/seed-1 runs/seed-2 --out runs/codesign`
    """
    from bruno_spice.calibration.presentation.style import save
    from bruno_spice.training.codesign.figures import codesign_figure
    from bruno_spice.training.codesign.table import QUICK, Options, codesign, write_table
    from bruno_spice.training.progress import ConsoleReporter, warnings_to

    if not 0.0 < spread < 0.3:
        raise InputError(f"--spread must lie between 0 and 0.3, not {spread:g}")
    if cost is not None and not cost > 0.0:
        raise InputError(f"--cost must be above 0, not {cost:g}")
    names = None if over is None else [name.strip() for name in over.split(",") if name.strip()]
    pairs = (QUICK.pairs if quick else Options.pairs) if chips is None else chips
    options = Options(QUICK.steps if quick else Options.steps, spread, pairs, reads, score, cost, more_is_better)
    reporter = ConsoleReporter("moving devices")
    with warnings_to(reporter):
        found = codesign(runs, names, options, reporter, trust_code)
    folder = runs[0] if out is None else out
    keep_to_this_command(folder)
    written = [write_table(folder, found), save(codesign_figure(found), folder / "figures" / "codesign.png")]
    if as_json:
        print_json(found)
        return
    console = output(WIDTH)
    console.print(table(found))
    for line in notes(found):
        console.print(line, soft_wrap=True)
    console.print(f"wrote {' and '.join(map(str, written))}", soft_wrap=True)


def table(found: dict[str, Any]) -> Table:
    """A row for each parameter, that with the largest slope first."""
    scores = ", ".join(f"{value:.4f}" for value in found["test"])
    shown = Table(title=f"{found['task']}: test {found['score']} {scores}", title_justify="left", box=box.SIMPLE_HEAD,
                  padding=(0, 1), pad_edge=False, collapse_padding=True)  # fmt: skip
    heads = ("parameter", "value", ".param", "for +1 %", "95 % interval", "helps", "tolerance", "is", "spread 1 %", "h")
    for head in heads:
        shown.add_column(head, justify="left" if head in ("parameter", ".param", "helps") else "right", no_wrap=True)
    for row in found["levers"]:
        helps = row["helps"]
        spread = "–" if row["spread_mean"] is None else f"{row['spread_mean']:+.1e}"
        shown.add_row(
            row["name"],
            quantity(row["value"], row["unit"]),
            row["param"] or "–",
            f"{row['slope']:+.5f}",
            f"{row['slope_low']:+.5f} {row['slope_high']:+.5f}",
            Text(helps, "dim" if helps == "not told" else "bold"),
            tolerance(row, max(found["steps"])),
            "–" if row["tolerance_si"] is None else quantity(row["tolerance_si"], row["unit"], 2),
            spread,
            f"{100 * row['step']:g} %",
        )
    return shown


def tolerance(row: dict[str, Any], most: float) -> str:
    """The tolerance with the side on which it ends first."""
    if row["tolerance"] is None:
        return f"> {100 * most:g} %"
    return f"{'+' if row['tolerance_side'] == 'more' else '-'}{100 * row['tolerance']:.2g} %"


def quantity(value: float, unit: str, digits: int = 4) -> str:
    """`value` with its unit, an SI prefix where the unit takes one."""
    if unit == "1":
        return f"{value:.{digits}g}"
    return f"{value:.{digits}g} {unit}" if "^" in unit or "/" in unit else format_si(value, unit, digits)


def notes(found: dict[str, Any]) -> list[str]:
    """What the columns mean, and what deserves a word, a sentence a line."""
    lines = [
        f"intervals over {found['interval']}; tolerance: from where on, on that side, the score stays worse by "
        f"{found['cost']:g}; h: the largest step of the slope; spread: expected change where devices differ by 1 %, "
        f"from {100 * found['spread']:g} %"
    ]
    for row in found["levers"]:
        if row["steps_agree"] < len(found["steps"]):
            lines.append(
                f"{row['name']}: the steps beyond {100 * row['step']:g} % give another slope; look at its curve"
            )
    return lines
