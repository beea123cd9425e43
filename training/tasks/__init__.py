"""Tasks by name. A task of your own is ``path/to/file.py:function``, a function that returns a `Task`.

Such a file is run. Where a configuration that was received names one, `networks.config_file` refuses it unless told.
"""

import inspect
from collections.abc import Callable
from typing import Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import shown
from bruno_spice.devices.registry import Registry
from bruno_spice.training.tasks.base import PARTS, Batch, Example, Task


def _function(found: Any) -> Callable[..., Task]:
    if not callable(found):
        raise InputError(f"a task is a function that returns a Task, not {type(found).__name__}")
    function: Callable[..., Task] = found
    return function


TASKS: Registry[Callable[..., Task]] = Registry(
    "task",
    {
        "chorales": "bruno_spice.training.tasks.chorales:load",
        "braille7": "bruno_spice.training.tasks.braille:load_braille7",
        "braille27": "bruno_spice.training.tasks.braille:load_braille27",
        "oxford": "bruno_spice.training.tasks.spikes.patterns:load",
        "pulses": "bruno_spice.training.tasks.own_example:load",
        "delayed_match": "bruno_spice.training.tasks.spikes.delayed_match:load",
    },
    _function,
    "function",
)

__all__ = ["PARTS", "TASKS", "Batch", "Example", "Task", "load_task"]


def load_task(name: str, options: dict[str, Any] | None = None, report: Callable[[str], None] | None = None) -> Task:
    """The task `name` with `options` as keyword arguments of its function; `report` hears of slow steps.

    Raises `InputError` for an unknown task or option, and for what `Task.check` refuses.
    """
    function = TASKS.find(name, report or (lambda _: None))
    arguments = dict(options or {})
    known = inspect.signature(function).parameters
    if unknown := sorted(set(arguments) - set(known)):
        raise InputError(f"task '{name}' has no option '{unknown[0]}'; it has: {', '.join(known) or 'none'}")
    if report is not None and "report" in known:
        arguments["report"] = report
    try:
        task = function(**arguments)
        if isinstance(task, Task):
            task.check()
    except InputError as error:
        if name in TASKS:
            raise
        raise InputError(f"task '{name}': {error}") from None
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        if name not in TASKS:
            raise
        raise InputError(f"task '{name}': task_options {shown(options)} do not fit it ({error})") from None
    if not isinstance(task, Task):
        raise InputError(f"task '{name}' must return a training.tasks.Task, not {type(task).__name__}")
    return task
