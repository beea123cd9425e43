"""`make lint` fails where mypy saw fewer files than there are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typed import FOLDERS, source_files, too_few

ROOT = Path(__file__).parents[1]


def test_the_folder_of_links_has_every_folder_of_the_package_and_no_other():
    links = ROOT / "linked" / "bruno_spice"
    inner = {path.name for path in (ROOT / "bruno_spice").glob("*.py")} | set(FOLDERS) - {"bruno_spice"}
    assert {path.name for path in links.iterdir() if not path.name.startswith((".", "__pycache__"))} == inner
    for path in links.iterdir():
        assert path.name == "__pycache__" or path.resolve().is_relative_to(ROOT.resolve())
    assert source_files(ROOT) > 200


@pytest.mark.parametrize(
    ("said", "checked"),
    [
        ("Success: no issues found in 1 source file\n", 1),
        ("a.py:1: error: no\nFound 1 error in 1 file (checked 12 source files)\n", 12),
        ("mypy: can't find package 'bruno_spice'\n", 0),
    ],
)
def test_the_files_that_mypy_counts_are_those_that_there_are(said, checked):
    assert not checked or too_few(said, checked) == ""
    assert too_few(said, 13).startswith(f"mypy checked {checked} of 13 files; look at mypy_path")


def test_a_house_without_its_links_does_not_pass_for_typed(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.mypy]\npackages = ["bruno_spice"]\n')
    for name in ("bruno_spice", "devices"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    asked = [sys.executable, ROOT / "tests" / "typed.py"]
    done = subprocess.run(asked, cwd=tmp_path, env=surroundings, capture_output=True, text=True)
    assert (done.returncode, done.stderr.startswith("mypy checked 1 of 2 files")) == (1, True), (
        done.stdout + done.stderr
    )
    assert "Success" in done.stdout


def test_make_lint_asks():
    assert "\t$(VENV)/bin/python tests/typed.py\n" in (ROOT / "Makefile").read_text()
