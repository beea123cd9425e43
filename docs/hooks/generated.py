"""Reference that cannot grow stale: a line ``{{ NAME }}`` in a page becomes what the program says about itself.

``commands`` comes from the Typer app, ``configuration`` from the pydantic models and the text under their fields,
``card felif``, ``card rram`` and ``card measured`` from the card classes, ``make`` from the Makefile.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import typer
import yaml
from pydantic import BaseModel

from bruno_spice.cli import app
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.training.networks import config

MARKER = re.compile(r"^\{\{ ([a-z ]+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its markers replaced."""
    return MARKER.sub(lambda found: GENERATORS[found[1]](), markdown)


def commands() -> str:
    """Every command with its text, arguments and options."""
    parts = []
    for words, command in walk(typer.main.get_command(app), ("bruno",)):
        parts.append(f"## `{' '.join(words)}` {{ #{'-'.join(words)} }}\n\n{inspect.cleandoc(command.help or '')}\n")
        parts += [_parameter(param) for param in command.params]
    return "\n".join(parts)


def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every leaf below `command` with the words that call it, in alphabetical order."""
    if hasattr(command, "commands"):
        for name, sub in sorted(command.commands.items()):
            yield from walk(sub, (*words, name))
    else:
        yield words, command


def _parameter(param: Any) -> str:
    """An argument or option as the entry of a definition list."""
    is_flag = getattr(param, "is_flag", False)
    if param.param_type_name == "argument":
        name = f"`{re.sub(r'[][]', '', param.metavar or param.name.upper())}`"
    else:
        name = ", ".join(f"`{opt}`" for opt in param.opts) + ("" if is_flag else f" {_type_of(param)}")
    if param.required:
        name += ", required"
    elif not is_flag and param.default not in (None, ()):
        name += f", default `{param.default}`"
    return f"{name}\n:   {' '.join((param.help or 'See `bruno COMMAND --help`.').split())}\n"


def _type_of(param: Any) -> str:
    if param.metavar:
        return f"`{param.metavar}`"
    annotation = param.type_descriptor.annotation
    annotations = [annotation, *get_args(annotation)]
    choices = [c for a in annotations for c in get_args(a) if isinstance(c, str)] or get_args(annotation)
    if choices and all(isinstance(c, str) for c in choices):
        return " or ".join(f"`{choice}`" for choice in choices)
    return f"`{getattr(annotation, '__name__', str(annotation)).upper()}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def configuration() -> str:
    """Every key of a run's YAML: type, default, meaning."""
    models = [("", config.RunConfig)]
    for name, field in config.RunConfig.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            models.append((name, field.annotation))
    return "\n\n".join(_model(name, model) for name, model in models)


def _model(prefix: str, model: type[BaseModel]) -> str:
    texts = _field_texts(model)
    entries = []
    for name, field in model.model_fields.items():
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            continue
        default = model.model_construct().model_dump(mode="json")[name]
        shown = yaml.safe_dump(default, default_flow_style=True).removesuffix("...\n").strip()
        entries.append(f"`{name}`: {_choices(field.annotation)}, default `{shown}`\n:   {texts.get(name, '')}\n")
    heading = f"## `{prefix}`" if prefix else "## Top level"
    text = inspect.cleandoc(model.__doc__ or "")
    return "\n\n".join([heading, text, *entries])


def _choices(annotation: Any) -> str:
    """`a`, `b` for a choice of words; the type's name otherwise."""
    parts = [part for part in (annotation, *get_args(annotation)) if part is not type(None)]
    words = [word for part in parts for word in get_args(part) if isinstance(word, str)]
    if words:
        return ", ".join(f"`{word}`" for word in dict.fromkeys(words))
    nested = next((part for part in parts if inspect.isclass(part) and issubclass(part, BaseModel)), None)
    if nested is not None:
        return f"keys and values ({', '.join(f'`{name}`' for name in nested.model_fields)})"
    names = {bool: "yes or no", int: "whole number", float: "number", str: "text", dict: "keys and values"}
    for part in parts:
        base = getattr(part, "__origin__", part)
        if base in names:
            return names[base]
        if base in (list, tuple):
            inner = {choice for arg in get_args(part) for choice in (arg, *get_args(arg))}
            return "list of whole numbers" if int in inner else "list of numbers"
    return "number"


def _field_texts(model: type[BaseModel]) -> dict[str, str]:
    """The string literal under each field."""
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            texts[field.target.id] = inspect.cleandoc(str(text.value.value)).replace("``", "`")
    return texts


def felif_card() -> str:
    """Parameters of a FeLIF card and their units."""
    return _units(FeLIFCard.UNITS | {f"{name}_k": unit for name, unit in FeLIFCard.DOMAIN_UNITS.items()})


def rram_card() -> str:
    """Parameters of an RRAM card and their units."""
    return _units(RRAMCard.UNITS | RRAMCard.OPTIONAL_UNITS)


def measured_card() -> str:
    """Parameters of a card of a measured cell and their units."""
    return _units(MeasuredCard.UNITS | MeasuredCard.OPTIONAL_UNITS)


def _units(units: dict[str, str]) -> str:
    return "| parameter | unit |\n|---|---|\n" + "\n".join(f"| `{name}` | {unit} |" for name, unit in units.items())


def make() -> str:
    """The targets that say what they do."""
    text = (Path(__file__).parents[2] / "Makefile").read_text()
    found = re.findall(r"^([a-z]+):[^#\n]*## (.+)$", text, re.MULTILINE)
    return "| target | does |\n|---|---|\n" + "\n".join(f"| `make {name}` | {_cell(does)} |" for name, does in found)


GENERATORS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "configuration": configuration,
    "card felif": felif_card,
    "card rram": rram_card,
    "card measured": measured_card,
    "make": make,
}
