"""``bruno evaluate | sweep | report``: what one does with runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from bruno_spice.calibration.commands.shared import (
    JsonOption,
    SimulatorOption,
    keep_to_this_command,
    messages,
    print_json,
    simulator_for,
)
from bruno_spice.calibration.presentation.terminal import output
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import folder_lock
from bruno_spice.devices.units import parse_duration
from bruno_spice.training.commands.options import TrustOption

if TYPE_CHECKING:
    from bruno_spice.training.progress import ConsoleReporter


def evaluate_command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    chips: Annotated[int, typer.Option(min=0, help="Virtual chips, drawn anew, to test on besides.")] = 0,
    after: Annotated[
        str | None, typer.Option(metavar="TIME,...", help="Test so long after writing: 0,1s,1h,1d,1y.")
    ] = None,
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a trained network on validation and test, on its own chip and on virtual ones.

    With --after, on test alone, against the time since the devices were written, for a card of which the relaxation
    was measured; leaves retention.json and figures/retention.png in the run folder.
    Examples: `bruno evaluate runs/chorales-felif-0`, `bruno evaluate runs/chorales-felif-0 --chips 20 --json`,
    `bruno evaluate runs/measured --after 0,1s,1h,1d,1y --chips 20`
    """
    from bruno_spice.training.progress import ConsoleReporter, warnings_to
    from bruno_spice.training.runs.evaluation import evaluate

    reporter = ConsoleReporter("evaluating")
    if after is not None:
        _over_time(run_dir, after, chips, reporter, trust_code, as_json)
        return
    with warnings_to(reporter):
        result = evaluate(run_dir, chips, reporter, trust_code)
    if as_json:
        print_json(result)
        return
    typer.echo(f"data: {result['source']}")
    for part in ("valid", "test"):
        typer.echo(f"{part}: " + ", ".join(f"{name} {value:.4f}" for name, value in result[part].items()))
    if chips:
        mean, std = result["chips"]["mean"], result["chips"]["std"]
        scores = ", ".join(f"{name} {mean[name]:.4f} +- {std[name]:.4f}" for name in mean)
        typer.echo(f"test over {chips} virtual chips: {scores}")


def _over_time(
    run_dir: Path, after: str, chips: int, reporter: "ConsoleReporter", trust_code: bool, as_json: bool
) -> None:
    """``--after``: the scores, a row an age, as a table, JSON and a figure."""
    from bruno_spice.calibration.presentation.style import save
    from bruno_spice.training.progress import warnings_to
    from bruno_spice.training.runs.folder import RunFolder
    from bruno_spice.training.runs.retention import evaluate_over_time, retention_figure, retention_table

    try:
        ages_s = [parse_duration(each.strip()) for each in after.split(",")]
    except InputError as error:
        raise InputError(f"--after: {error}") from None
    folder = RunFolder(run_dir)
    folder.load_config(trust_code)
    with folder.writing(), warnings_to(reporter):
        found = evaluate_over_time(run_dir, ages_s, chips, reporter, trust_code)
        folder.write_retention(found | {"weights_sha256": folder.weights_sha256()})
        save(retention_figure(found), folder.figures / "retention.png")
    if as_json:
        print_json({"run": str(run_dir), **found})
        return
    heads, rows = retention_table(found)
    table = Table(*heads)
    for row in rows:
        table.add_row(*row)
    output(120).print(table)
    if found["said"]:
        typer.echo(f"note: {found['said']}")
    typer.echo(f"wrote {folder.retention} and {folder.figures / 'retention.png'}")


def sweep_command(
    plan: Annotated[Path, typer.Argument(metavar="F.yaml", help="What to vary; see training/studies/sweep.py.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs and of table.csv.")] = Path("runs/sweep"),
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train over a grid or a search of settings, several seeds each, and print mean and spread beside what was spent.

    With `each`, rivals are tuned alike: the same search, of as many trials, for each of them. Stopped sweeps go on
    where they were. Example: `bruno sweep bits.yaml --out runs/bits`
    """
    from bruno_spice.training.progress import ConsoleReporter
    from bruno_spice.training.studies.sweep import best_of_each, load_sweep, sweep, table_csv

    plan_of_runs = load_sweep(plan, trust_code)
    with folder_lock(out):
        rows = sweep(plan_of_runs, out, ConsoleReporter())
    if as_json:
        print_json({"rows": rows})
    else:
        typer.echo(table_csv(rows), nl=False)
        for line in best_of_each(plan_of_runs, rows):
            typer.echo(line)
        typer.echo(f"wrote {out / 'table.csv'}")


def report_command(
    run_dir: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run folder; none: the calibration.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the calibration report.")] = Path("reports"),
    simulator: SimulatorOption = "ngspice",
) -> None:
    """Write the report of a run, or of the calibration, as one self-contained HTML page.

    That of the calibration simulates and fits what is not stored, which takes minutes.
    Examples: `bruno report runs/chorales` - `bruno report`
    """
    if run_dir is None:
        from bruno_spice.calibration.spice.farm import Farm
        from bruno_spice.calibration.targets import TARGETS
        from bruno_spice.calibration.targets.report import write_report

        keep_to_this_command(out)
        messages.print("reading the calibration; what is not stored is simulated and fitted, which takes minutes")
        done: dict[str, Any] = {}
        for name, target in TARGETS.items():
            chosen = simulator_for(simulator, target.deck(target.netlist))
            done[name] = target.calibrate(farm=Farm(progress=f"{name} in {chosen}", simulator=chosen))
        typer.echo(f"wrote {write_report(out, done)}")
    else:
        if simulator != "ngspice":
            raise InputError("--simulator goes with the report of the calibration; that of a run simulates nothing")
        from bruno_spice.training.reports.run import write_run_report
        from bruno_spice.training.runs.folder import RunFolder

        RunFolder(run_dir).load_config(trust_code=True)  # a run is there; a report runs nothing of it
        with RunFolder(run_dir).writing():
            written = write_run_report(run_dir)
        typer.echo(f"wrote {written}")
