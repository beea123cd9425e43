"""`bruno_spice`, as a newcomer meets it: what it names resolves, where it is said to be, and costs nothing before."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import bruno_spice
from bruno_spice.devices.cards.base import Card

ROOT = Path(__file__).parents[1]
SAID = {"capture_output": True, "text": True}
ASKED = ("FeLIF", "RRAMLinear", "FeLIFCard", "train", "evaluate", "simulate", "calibrate")


@pytest.mark.parametrize("name", bruno_spice.__all__)
def test_every_name_of_the_face_is_the_one_of_its_module(name):
    found = getattr(bruno_spice, name)
    assert found is getattr(import_module(found.__module__), name)
    assert found.__module__ == bruno_spice._HOMES[name]
    assert inspect.getdoc(found)


def test_what_a_newcomer_looks_for_is_listed():
    assert set(ASKED) <= set(bruno_spice.__all__)
    assert set(bruno_spice.__all__) <= set(dir(bruno_spice))
    assert set(bruno_spice.__all__) == set(bruno_spice._HOMES)


def test_type_checkers_see_the_same_names_in_the_same_modules():
    tree = ast.parse(Path(bruno_spice.__file__).read_text())
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bruno_spice.")
        for alias in node.names
    }
    assert seen == bruno_spice._HOMES


def test_a_name_that_there_is_not_names_those_that_there_are():
    with pytest.raises(AttributeError, match=r"no attribute 'FeLif'; it has .*FeLIF"):
        bruno_spice.FeLif  # noqa: B018


@pytest.mark.parametrize("heavy", ["torch", "numba", "scipy", "matplotlib", "pandas"])
def test_importing_the_package_imports_nothing_heavy(heavy):
    code = f"import sys, bruno_spice; dir(bruno_spice); sys.exit('{heavy}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_command_imports_no_other():
    """What one says of itself must not cost what all of them import."""
    code = "import sys; from bruno_spice.cli import main; sys.argv = ['bruno', 'va', '--help']\n"
    code += "try: main()\nfinally: print(*sorted(name for name in sys.modules if '.commands.' in name))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, **SAID).stdout.splitlines()[-1]
    assert {name.split(".commands.")[1].split(".")[0] for name in said.split()} == {"shared", "va"}


@pytest.mark.parametrize("name", bruno_spice.__all__)
def test_the_reference_page_has_every_name_of_the_face(name):
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    assert f"::: {bruno_spice._HOMES[name]}.{name}\n" in page


@pytest.mark.parametrize("old", ["import devices.cards.base", "import calibration", "from training import FeLIF"])
def test_an_import_by_an_old_name_ends_in_a_sentence_in_the_checkout_too(old):
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = ['.']; {old}"], cwd=ROOT, **SAID)
    *_, sentence = done.stderr.splitlines()
    folder = old.split()[1].split(".")[0]
    assert sentence == f"ModuleNotFoundError: the import package is bruno_spice; import bruno_spice.{folder}"


@pytest.mark.parametrize("name", ["FeLIF", "LIF", "RRAMLinear", "Stimulus", "Waveform", "FeLIFCard", "RRAMCard"])
def test_a_class_says_a_line_of_every_argument(name):
    found = getattr(bruno_spice, name)
    arguments = list(inspect.signature(found).parameters)
    text = inspect.getdoc(found)
    if name.endswith("Card"):  # what cards share is said of their bases
        arguments = list(found.model_fields)
        text = "\n".join(inspect.getdoc(base) for base in found.__mro__ if issubclass(base, Card))
    lines = " ".join(line.partition(":")[0] for line in text.splitlines() if line.startswith("- "))
    assert [argument for argument in arguments if f"`{argument}`" not in lines] == []
    assert "Raises `" in text
