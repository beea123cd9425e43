"""The command line of training; it adds its commands to that of simulation and calibration."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bruno_spice.calibration.commands.shared import JsonOption, print_json
from bruno_spice.devices.errors import InputError
from bruno_spice.training.commands.options import TrustOption

Neuron = Literal["felif", "lif", "rlif", "gru", "lstm"]
Gradient = Literal["bruno", "bruno-published", "tangent", "bptt", "checkpoint", "coarse"]


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
    from bruno_spice.training.config import changed, default_config, load_config, parse_settings
    from bruno_spice.training.parallel import rank
    from bruno_spice.training.progress import ConsoleReporter
    from bruno_spice.training.runs.folder import RunFolder
    from bruno_spice.training.runs.trainer import train

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
    from bruno_spice.training.config import FLOAT_BITS, MOST_BITS

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
