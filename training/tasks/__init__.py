"""Tasks by name. A task of your own is ``path/to/file.py:function`` or ``module:function`` that returns a `Task`."""

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devices.errors import InputError
from training.tasks.base import PARTS, Batch, Example, Task

TASKS = {
    "chorales": "training.tasks.chorales:load",
    "braille7": "training.tasks.braille:load_braille7",
    "braille27": "training.tasks.braille:load_braille27",
}
"""Name to ``module:function``."""

__all__ = ["PARTS", "TASKS", "Batch", "Example", "Task", "load_task"]


def load_task(name: str, options: dict[str, Any] | None = None, report: Callable[[str], None] | None = None) -> Task:
    """The task `name` with `options` as keyword arguments of its function; `report` hears of slow steps.

    Raises `InputError` for an unknown task or option, and for what `Task.check` refuses.
    """
    function = _function(name)
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
    if not isinstance(task, Task):
        raise InputError(f"task '{name}' must return a training.tasks.Task, not {type(task).__name__}")
    return task


def _function(name: str) -> Callable[..., Task]:
    target = TASKS.get(name, name)
    where, separator, attribute = target.rpartition(":")
    if not separator:
        raise InputError(f"unknown task '{name}'; known are {', '.join(TASKS)}, or your own as file.py:function")
    if where.endswith(".py") and not Path(where).is_file():
        raise InputError(f"task '{name}': there is no file {where}")
    try:
        if where.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(where).stem, where)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
    except ModuleNotFoundError as error:
        raise InputError(f"task '{name}': {error}") from None
    except SyntaxError as error:
        raise InputError(f"task '{name}': {error.filename}, line {error.lineno}: {error.msg}") from None
    if not hasattr(module, attribute):
        raise InputError(f"task '{name}': {where} has no function '{attribute}'")
    function: Callable[..., Task] = getattr(module, attribute)
    return function
