"""Tasks by name. A task of your own is ``path/to/file.py:function``, a function that returns a `Task`.

Such a file is run. Where a configuration that was received names one, `training.config` refuses it unless told.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import is_file
from bruno_spice.devices.reading import short, shown
from bruno_spice.training.tasks.base import PARTS, Batch, Example, Task

TASKS = {
    "chorales": ("bruno_spice.training.tasks.chorales", "load"),
    "braille7": ("bruno_spice.training.tasks.braille", "load_braille7"),
    "braille27": ("bruno_spice.training.tasks.braille", "load_braille27"),
    "pulses": ("bruno_spice.training.tasks.own_example", "load"),
}
"""Name to module and function."""

__all__ = ["PARTS", "TASKS", "Batch", "Example", "Task", "load_task"]


def load_task(name: str, options: dict[str, Any] | None = None, report: Callable[[str], None] | None = None) -> Task:
    """The task `name` with `options` as keyword arguments of its function; `report` hears of slow steps.

    Raises `InputError` for an unknown task or option, and for what `Task.check` refuses.
    """
    function = _function(name, report or (lambda _: None))
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


def _function(name: str, report: Callable[[str], None]) -> Callable[..., Task]:
    if name in TASKS:
        module, attribute = TASKS[name]
        function: Callable[..., Task] = getattr(importlib.import_module(module), attribute)
        return function
    where, separator, attribute = name.rpartition(":")
    if not separator or not where.endswith(".py"):
        raise InputError(f"unknown task {shown(name)}; known are {', '.join(TASKS)}, or your own as file.py:function")
    path = Path(where)
    if not is_file(path):
        raise InputError(f"task '{name}': there is no file {short(where)}")
    report(f"task: runs {attribute} of {path.resolve()}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module_of_file = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module_of_file)
    except ModuleNotFoundError as error:
        raise InputError(f"task '{name}': {error}") from None
    except SyntaxError as error:
        raise InputError(f"task '{name}': {error.filename}, line {error.lineno}: {error.msg}") from None
    if not callable(getattr(module_of_file, attribute, None)):
        raise InputError(f"task '{name}': {where} has no function '{attribute}'")
    function = getattr(module_of_file, attribute)
    return function
