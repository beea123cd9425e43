"""``bruno task``: what a data set holds, and what a network has to beat on it, before one is trained."""

from functools import partial
from typing import Annotated, Any

import typer
from rich.text import Text

from bruno_spice.calibration.commands.shared import JsonOption, messages, print_json
from bruno_spice.devices.reading import printable


def task_command(
    name: Annotated[str, typer.Argument(metavar="TASK", help="A name, or FILE.py:FUNCTION of your own.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the task; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a task: its parts, the scores of simple models, and whether test sequences have twins in training.

    A test sequence has a twin where its nearest training sequence lies less than half as far as its fifth-nearest: the
    same recording in both parts, as it is or varied. Of a task with classes only.
    Examples: `bruno task braille7`, `bruno task my_task.py:load --set trials=60`
    """
    from bruno_spice.training.networks.config_file import parse_settings
    from bruno_spice.training.studies.twins import twins
    from bruno_spice.training.tasks import load_task
    from bruno_spice.training.tasks.classification import Classification

    with messages.status(Text(f"reading {printable(name)}")) as status:
        task = load_task(name, parse_settings(settings or []), partial(messages.print, markup=False))
        status.update("simple models")
        floors = task.floors()
        status.update("nearest neighbours")
        found = twins(task).summary() if isinstance(task, Classification) else None
    lengths = sorted({len(each.inputs) for part in task.parts.values() for each in part})
    about: dict[str, Any] = {"task": name, "source": task.source, "sequences": task.sizes(), "split": task.split}
    about |= {"inputs": task.n_inputs, "outputs": task.n_outputs, "steps": [lengths[0], lengths[-1]]}
    if as_json:
        print_json(about | {"floors": floors, "twins": found})
        return
    sizes = ", ".join(f"{count} {part}" for part, count in task.sizes().items())
    steps = f"{lengths[0]}" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
    typer.echo(f"{name}: {sizes} sequences of {steps} steps, {task.n_inputs} inputs, {task.n_outputs} outputs")
    typer.echo(f"source: {printable(task.source)}; split {task.split.get('made_by', 'as the data came')}")
    for model, scores in floors.items():
        typer.echo(f"floor {model}: " + ", ".join(f"{score} {value:.4f}" for score, value in scores.items()))
    if found is not None:
        typer.echo(
            f"nearest training sequence: accuracy {found['nearest_neighbour_accuracy']:.4f}; its distance over the "
            f"fifth's: median {found['ratio_median']:.2f}, least {found['ratio_least']:.2f}; "
            f"{found['twins']:.1%} of test sequences have a twin in training"
        )
