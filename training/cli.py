"""The command line of training; it adds its commands to that of simulation and calibration."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from calibration.cli import JsonOption, app, keep_to_this_command, messages, print_json, run
from devices.errors import InputError
from devices.files import folder_lock
from training import cli_bench, cli_paper, cli_program, cli_validate  # noqa: F401 - add their commands to the app
from training.cli_options import TrustOption

Neuron = Literal["felif", "lif", "rlif", "gru", "lstm"]
Gradient = Literal["bruno", "bruno-published", "tangent", "bptt", "checkpoint", "coarse"]


@app.command("train")
def train_command(
    task: Annotated[
        str | None, typer.Option(help="chorales, braille7, braille27, pulses, or file.py:function.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML; by default the task's own.")] = None,
    neuron: Annotated[Neuron | None, typer.Option(help="Kind of the hidden layers.")] = None,
    gradient: Annotated[Gradient | None, typer.Option(help="Way back through FeLIF.")] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of a weight's RRAM device, 1...8; 32: float weights.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same numbers.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    card: Annotated[str | None, typer.Option(help="FeLIF card: a path, 'calibrated' or 'published'.")] = None,
    rram_card: Annotated[str | None, typer.Option(help="RRAM card: a path or 'calibrated'.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the YAML, e.g. synapse.kind=uniform; may repeat."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default runs/TASK-NEURON-SEED.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew in a folder that holds a run.")] = False,
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a spiking network on calibrated devices.

    Examples: `bruno train` for Bach chorales on 400 FeLIF with 3-bit RRAM weights,
    `bruno train --neuron lif --bits 32 --out runs/lif` for a rival, `bruno train --out runs/lif --epochs 60 --resume`

    With both --resume and --overwrite, goes on where the folder holds this very run with these very cards.
    Leaves in the run folder: config.yaml, cards/, metrics.jsonl, checkpoints, result.json, figures/.
    """
    from training.config import changed, default_config, load_config, parse_settings
    from training.parallel import rank
    from training.progress import ConsoleReporter
    from training.runs import RunFolder
    from training.trainer import train

    overrides = parse_settings(settings or [])
    trusted = trust_code or task is not None or "task" in overrides  # the task is named here, not in the file
    if config is not None:
        base = load_config(config, trusted)
    elif resume and not overwrite and out is not None:
        base = RunFolder(out).load_config(trusted)
    else:
        base = default_config(task or "chorales")
    values = {
        "task": task,
        "network__neuron": neuron,
        "neuron__gradient": gradient,
        "neuron__card": card,
        "synapse__card": rram_card,
        "seed": seed,
        "training__epochs": epochs,
        "device": device,
        **_bits(bits, base.synapse.kind),
    }
    config_of_run = base.with_values(**{key: value for key, value in values.items() if value is not None})
    config_of_run = changed(config_of_run, overrides)
    name = Path(config_of_run.task.split(":")[0]).stem
    folder = out or Path("runs") / f"{name}-{config_of_run.network.neuron}-{config_of_run.seed}"
    reporter = ConsoleReporter()
    result = train(config_of_run, folder, resume=resume, reporter=reporter, overwrite=overwrite)
    if rank() > 0:
        return
    if as_json:
        print_json({"run": str(folder), **result})
    else:
        _print_result(folder, result)


def _bits(bits: int | None, kind: str) -> dict[str, Any]:
    """What ``--bits`` sets; fewer bits than a float has need devices, where `kind` has none. Raises `InputError`."""
    from training.config import FLOAT_BITS, MOST_BITS

    if bits is None:
        return {}
    if not 1 <= bits <= MOST_BITS and bits != FLOAT_BITS:
        raise InputError(f"--bits {bits}: a device has 1 to {MOST_BITS} bits; {FLOAT_BITS} are float weights")
    if bits == FLOAT_BITS:
        return {"synapse__kind": "float"}
    return {"synapse__bits": bits, "synapse__kind": "rram" if kind == "float" else kind}


def _print_result(folder: Path, result: dict[str, Any]) -> None:
    metric, criterion = result["metric"], result["criterion"]
    decided = "" if criterion == metric else f", {criterion} {result['valid'][criterion]:.4f}"
    typer.echo(f"data: {result['source']}")
    typer.echo(f"test {metric} {result['test'][metric]:.4f}, validation {result['valid'][metric]:.4f}{decided} "
               f"(best epoch {result['best_epoch']} of {result['epochs']})")  # fmt: skip
    others = {name: value for name, value in result["test"].items() if name != metric}
    if others:
        typer.echo("also on test: " + ", ".join(f"{name} {value:.4f}" for name, value in others.items()))
    if result["floors"]:
        floors = (f"{name} {scores[metric]:.4f}" for name, scores in result["floors"].items())
        typer.echo(f"floors of simple models, test {metric}: " + ", ".join(floors))
    typer.echo(f"everything is in {folder}; pictures in {folder / 'figures'}")


@app.command("evaluate")
def evaluate_command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    chips: Annotated[int, typer.Option(min=0, help="Virtual chips, drawn anew, to test on besides.")] = 0,
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a trained network on validation and test, on its own chip and on virtual ones.

    Examples: `bruno evaluate runs/chorales-felif-0`, `bruno evaluate runs/chorales-felif-0 --chips 20 --json`
    """
    from training.evaluation import evaluate
    from training.progress import ConsoleReporter, warnings_to

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


@app.command("sweep")
def sweep_command(
    plan: Annotated[Path, typer.Argument(metavar="F.yaml", help="What to vary; see training/sweep.py.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs and of table.csv.")] = Path("runs/sweep"),
    trust_code: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train over a grid or a search of settings, several seeds each, and print mean and spread.

    Stopped sweeps go on where they were. Example: `bruno sweep bits.yaml --out runs/bits`
    """
    from training.progress import ConsoleReporter
    from training.sweep import load_sweep, sweep, table_csv

    plan_of_runs = load_sweep(plan, trust_code)
    with folder_lock(out):
        rows = sweep(plan_of_runs, out, ConsoleReporter())
    if as_json:
        print_json({"rows": rows})
    else:
        typer.echo(table_csv(rows), nl=False)
        typer.echo(f"wrote {out / 'table.csv'}")


@app.command("report")
def report_command(
    run_dir: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run folder; none: the calibration.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the calibration report.")] = Path("reports"),
) -> None:
    """Write the report of a run, or of the calibration, as one self-contained HTML page.

    That of the calibration simulates and fits what is not stored, which takes minutes.
    Examples: `bruno report runs/chorales` - `bruno report`
    """
    if run_dir is None:
        from calibration.calibrate import TARGETS
        from calibration.farm import Farm
        from calibration.report import write_report

        keep_to_this_command(out)
        messages.print("reading the calibration; what is not stored is simulated and fitted, which takes minutes")
        done: dict[str, Any] = {name: get(farm=Farm(progress=f"{name} in ngspice")) for name, get in TARGETS.items()}
        typer.echo(f"wrote {write_report(out, done['neuron'], done['rram'])}")
    else:
        from training.report import write_run_report
        from training.runs import RunFolder

        RunFolder(run_dir).load_config(trust_code=True)  # a run is there; a report runs nothing of it
        with RunFolder(run_dir).writing():
            written = write_run_report(run_dir)
        typer.echo(f"wrote {written}")


def main() -> None:
    """The entry point ``bruno``."""
    run(app)


if __name__ == "__main__":
    main()
