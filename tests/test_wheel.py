"""The wheel: all of the project under one name, at work in the folder of a user who has a `training/` of his own."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("devices", "calibration", "training", "spice_netlists", "data", "bruno_spice")
STAYS_BEHIND = {"spice_netlists/install_ngspice.sh"}
"""What only a checkout has a use for."""
OF_A_BUILD = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what a build reads, so that the build leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=OF_A_BUILD)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-build-isolation", "--wheel-dir", folder, checkout)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """What the wheel puts into an environment."""
    folder = tmp_path_factory.mktemp("site")
    _pip("install", "--target", folder, wheel)
    return folder


@pytest.fixture
def user(tmp_path):
    """The working folder of a user whose own packages have the names of our folders."""
    for name in ("training", "devices"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'user'\n")
    return tmp_path


def _pip(command, *words):
    asked = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", "--no-index", *words]
    done = subprocess.run([*map(str, asked)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr


def python(site, folder, *words):
    """Python in `folder` with the wheel and its dependencies; -S, for a .pth file would bring in the checkout."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    surroundings["PYTHONPATH"] = os.pathsep.join(
        [str(site), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    )
    asked = [sys.executable, "-S", *map(str, words)]
    return subprocess.run(asked, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=300)


def test_one_name_is_put_into_an_environment(wheel, site):
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    (about,) = (name for name in names if name.endswith(".dist-info"))
    assert names == {"bruno_spice", about}
    assert (site / about / "top_level.txt").read_text().split() == ["bruno_spice"]
    assert (site / about / "entry_points.txt").read_text() == "[console_scripts]\nbruno = bruno_spice.cli:main\n"


def test_every_file_of_the_folders_is_in_the_wheel(checkout, wheel):
    here = {path.relative_to(checkout).as_posix() for name in FOLDERS for path in (checkout / name).rglob("*.*")}
    here = {name for name in here if (checkout / name).is_file() and not name.startswith("bruno_spice/")}
    there = {name.removeprefix("bruno_spice/") for name in zipfile.ZipFile(wheel).namelist()}
    assert here - there == STAYS_BEHIND
    assert {"training/studies/paper/paper.yaml", "data/calibrated/felif.json", "training/runs/__init__.py"} <= there


def test_what_is_imported_is_the_wheel_and_the_users_folders_stay_his(site, user):
    code = "import bruno_spice.training.runs as r, devices, training; print(r.__file__, devices.OWNER, training.OWNER)"
    done = python(site, user, "-c", code)
    assert done.stdout.split() == [str(site / "bruno_spice" / "training" / "runs" / "__init__.py"), "user", "user"]


@pytest.mark.parametrize("old", ["import devices", "from training import FeLIF", "import calibration.spice.netlist"])
def test_an_import_by_an_old_name_finds_nothing(site, tmp_path, old):
    name = old.split()[1].partition(".")[0]
    last = python(site, tmp_path, "-c", old).stderr.splitlines()[-1]
    assert last == f"ModuleNotFoundError: No module named '{name}'"


def test_the_program_works_beside_a_folder_named_training(site, user):
    shown = python(site, user, "-m", "bruno_spice", "--help")
    assert shown.returncode == 0
    assert "calibrate" in shown.stdout

    pulse = ("simulate", "neuron", "--dc", "308p", "--t-stop", "0.05", "--engine", "model", "--out", "trace.csv")
    simulated = python(site, user, "-m", "bruno_spice", *pulse)
    assert (simulated.returncode, simulated.stdout.count("spikes within 50 ms")) == (0, 1), simulated.stderr

    small = ("training.epochs=1", "network.hidden=[4]", "network.neuron=felif", "task_options={trials: 24}")
    settings = [word for setting in small for word in ("--set", setting)]
    trained = python(site, user, "-m", "bruno_spice", "train", "--task", "pulses", "--out", "run", *settings)
    assert trained.returncode == 0, trained.stderr
    for card in ("felif.json", "rram.json"):
        shipped = site / "bruno_spice" / "data" / "calibrated" / card
        assert shipped.read_bytes() == (ROOT / "data" / "calibrated" / card).read_bytes()
        assert (user / "run" / "cards" / card).read_bytes() == shipped.read_bytes()


def test_calibrated_cards_are_found_in_the_wheel(site, tmp_path):
    code = "import bruno_spice as b; print(*(each.load('calibrated').model for each in (b.FeLIFCard, b.RRAMCard)))"
    done = python(site, tmp_path, "-c", code)
    assert done.stdout.split() == ["felif", "rram"], done.stderr


def test_a_neuron_of_the_wheels_netlists_runs_in_ngspice(site, user):
    words = ("simulate", "neuron", "--dc", "308p", "--t-stop", "0.05", "--engine", "spice", "--out", "trace.csv")
    done = python(site, user, "-m", "bruno_spice", *words)
    assert done.returncode == 0, done.stderr
    assert "spikes within 50 ms" in done.stdout
