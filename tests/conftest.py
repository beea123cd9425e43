"""What every test shares: the committed cards, the folder of real data, one store of simulations and fits."""

import gc
import os
import sys
from pathlib import Path

import pytest

import bruno_spice.devices.files as files
from bruno_spice.calibration.commands.shared import run
from bruno_spice.calibration.spice.store import Store
from bruno_spice.cli import app
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.cards.rram import RRAMCard
from tests.support.cards import one_domain_card

ROOT = Path(__file__).resolve().parents[1]
CARDS = ROOT / "data" / "calibrated"


def pytest_configure():
    """The suite and the processes that it starts are of this checkout, whichever one is installed."""
    if ROOT != files.ROOT:
        raise pytest.UsageError(f"bruno_spice is that of {files.ROOT}, not of {ROOT}: run `make setup` here")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "linked"), os.environ.get("PYTHONPATH")]))
    os.environ["PYTHONSAFEPATH"] = "1"  # the working folder may hold a part of the package


LONGEST = ("calibration/test_calibrate.py", "docs/test_commands.py", "training/test_benchmark.py")
"""Of the files, in their order; with the last of them at work alone a core would stand idle."""


def pytest_collection_modifyitems(items):
    """The longest files first: `--no-loadscope-reorder` hands them out in this order."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def store(tmp_path_factory):
    """Where simulations and fits are kept: fresh in each session, so that all of them are done, and each once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "spice"
    os.environ["BRUNO_CACHE"] = str(folder)
    return Store(folder)


@pytest.fixture(scope="module", autouse=True)
def what_earlier_modules_left():
    """Set aside for the garbage collector: `train` calls it, and among a million objects it takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def rram_card():
    """The committed RRAM card."""
    return RRAMCard.load(CARDS / "rram.json")


@pytest.fixture(scope="session")
def felif_card():
    """The committed FeLIF card."""
    return FeLIFCard.load(CARDS / "felif.json")


@pytest.fixture(scope="session")
def one_domain():
    """The same neuron with one polarization domain."""
    return one_domain_card()


@pytest.fixture(scope="session")
def data_folder():
    """Where the real data sets lie (`BRUNO_DATA`); tests that need them are skipped without it."""
    folder = os.environ.get("BRUNO_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BRUNO_DATA does not name a folder with the real data sets")
    return Path(folder)


@pytest.fixture
def bruno(monkeypatch, capsys):
    """Run ``bruno ARGS``; returns exit code, standard output and standard error."""

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["bruno", *map(str, args)])
        with pytest.raises(SystemExit) as leaving:
            run(app)
        out = capsys.readouterr()
        return leaving.value.code or 0, out.out, out.err

    return call


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium (tests/browser.py; `make browser` installs it)."""
    from browser import chromium

    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver
