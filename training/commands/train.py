"""The command line of training; it adds its commands to that of simulation and calibration."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bruno_spice.calibration.commands.shared import JsonOption, print_json
from bruno_spice.devices.cards.base import load_card_json
from bruno_spice.devices.errors import InputError
from bruno_spice.training.commands.options import TrustOption
from bruno_spice.training.dynamics import GRADIENTS
from bruno_spice.training.neurons import NEURONS
from bruno_spice.training.synapses import SYNAPSES


def train_command(
    task: Annotated[
        str | None,
        typer.Option(help="chorales, braille7, braille27, oxford, delayed_match, pulses, or file.py:function."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML; by default the task's own.")] = None,
    neuron: Annotated[str | None, typer.Option(help=f"Kind of the hidden layers: {NEURONS.choices}.")] = None,
    network: Annotated[str | None, typer.Option(help="Your own network as file.py:Class, instead of layers.")] = None,
    gradient: Annotated[str | None, typer.Option(help=f"Way back through a FeLIF: {GRADIENTS.choices}.")] = None,
    synapse: Annotated[str | None, typer.Option(help=f"Kind of the weights: {SYNAPSES.choices}.")] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of a weight's device, 1...8; 32: float weights.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same numbers.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    card: Annotated[str | None, typer.Option(help="Card of the neuron: a path, 'calibrated' or 'published'.")] = None,
    rram_card: Annotated[str | None, typer.Option(help="Card of the weights' device: a path or 'calibrated'.")] = None,
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
    from bruno_spice.training.networks.config_file import changed, default_config, load_config, parse_settings
    from bruno_spice.training.parallel import rank
    from bruno_spice.training.progress import ConsoleReporter
    from bruno_spice.training.runs.folder import RunFolder
    from bruno_spice.training.runs.trainer import train

    values = {
        "task": task,
        "network": network,
        "network.neuron": neuron,
        "neuron.gradient": gradient,
        "neuron.card": card,
        "synapse.kind": synapse,
        "synapse.card": rram_card,
        "seed": seed,
        "training.epochs": epochs,
        "device": device,
    }
    if rram_card is not None and synapse is None:
        values["synapse.kind"] = _kind_of(rram_card)
    options = {key: value for key, value in values.items() if value is not None}
    overrides = parse_settings(settings or [])
    chosen = {*options, *overrides}  # what is named here is the user's own, not the file's
    if config is not None:
        base = load_config(config, trust_code, chosen)
    elif resume and not overwrite and out is not None:
        base = RunFolder(out).load_config(trust_code, chosen)
    else:
        base = default_config(task or "chorales")
    base = changed(base, options | _bits(bits, str(options.get("synapse.kind", base.synapse.kind))))
    config_of_run = changed(base, overrides)
    name = Path(config_of_run.task.split(":")[0]).stem
    layer = Path((config_of_run.network.own or config_of_run.network.neuron).rpartition(":")[2]).name
    folder = out or Path("runs") / f"{name}-{layer}-{config_of_run.seed}"
    reporter = ConsoleReporter()
    result = train(config_of_run, folder, resume=resume, reporter=reporter, overwrite=overwrite)
    if rank() > 0:
        return
    if as_json:
        print_json({"run": str(folder), **result})
    else:
        _print_result(folder, result)


def _kind_of(card: str) -> str | None:
    """The kind of weights that the card file `card` is of; None where the configuration's kind takes it."""
    if not Path(card).is_file():
        return None
    model = load_card_json(card).get("model")
    return next((name for name, kind in SYNAPSES.items() if kind.card is not None and model == kind.card.MODEL), None)


def _bits(bits: int | None, kind: str) -> dict[str, Any]:
    """What ``--bits`` sets; fewer bits than a float has need devices, where `kind` has none. Raises `InputError`."""
    from bruno_spice.training.networks.config import FLOAT_BITS, MOST_BITS, SynapseConfig

    if bits is None:
        return {}
    if not 1 <= bits <= MOST_BITS and bits != FLOAT_BITS:
        raise InputError(f"--bits {bits}: a device has 1 to {MOST_BITS} bits; {FLOAT_BITS} are float weights")
    if bits == FLOAT_BITS:
        return {"synapse.kind": "float"}
    default = SynapseConfig.model_fields["kind"].default
    return {"synapse.bits": bits, "synapse.kind": kind if SYNAPSES.find(kind).has_levels else default}


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
    for name, device in result.get("devices", {}).items():
        bound = ", on its bound" if device["on_bound"] else ""
        typer.echo(
            f"trained {name}: {device['trained']:.5g} {device['unit']}, the card has {device['card']:.5g}{bound}"
        )
    typer.echo(f"everything is in {folder}; pictures in {folder / 'figures'}")
