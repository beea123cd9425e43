"""``bruno evaluate | sweep | report``: what one does with runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bruno_spice.calibration.commands.shared import (
    JsonOption,
    SimulatorOption,
    keep_to_this_command,
    messages,
    print_json,
    simulator_for,
)
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import folder_lock
from bruno_spice.training.commands.options import TrustOption


def evaluate_command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    chips: Annotated[int, typer.Option(min=0, help="Virtual chips, drawn anew, to test on besides.")] = 0,
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a trained network on validation and test, on its own chip and on virtual ones.

    Examples: `bruno evaluate runs/chorales-felif-0`, `bruno evaluate runs/chorales-felif-0 --chips 20 --json`
    """
    from bruno_spice.training.progress import ConsoleReporter, warnings_to
    from bruno_spice.training.runs.evaluation import evaluate

    reporter = ConsoleReporter("evaluating")
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


def sweep_command(
    plan: Annotated[Path, typer.Argument(metavar="F.yaml", help="What to vary; see training/studies/sweep.py.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs and of table.csv.")] = Path("runs/sweep"),
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train over a grid or a search of settings, several seeds each, and print mean and spread.

    Stopped sweeps go on where they were. Example: `bruno sweep bits.yaml --out runs/bits`
    """
    from bruno_spice.training.progress import ConsoleReporter
    from bruno_spice.training.studies.sweep import load_sweep, sweep, table_csv

    plan_of_runs = load_sweep(plan, trust_code)
    with folder_lock(out):
        rows = sweep(plan_of_runs, out, ConsoleReporter())
    if as_json:
        print_json({"rows": rows})
    else:
        typer.echo(table_csv(rows), nl=False)
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
