"""The pages of the workbench, without a browser: what they show, fit and save is what the commands give."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from bruno_spice.calibration.workbench import PAGES
from bruno_spice.calibration.workbench.page import value_of
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import State
from tests.support.testers import aixacct_loop, film, settled_loop


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of start, which is the working folder, too."""
    (tmp_path / "start").mkdir()
    monkeypatch.chdir(tmp_path / "start")
    return Place(tmp_path / "start", tmp_path / "start" / "workbench")


def silent(_):
    """What a job tells nobody."""


def sets(command):
    """The values that a command is given with --set."""
    words = shlex.split(command)
    pairs = (words[n + 1].split("=") for n, word in enumerate(words) if word == "--set")
    return {name: float(value) for name, value in pairs}


def test_the_film_that_goes_on_has_the_thickness_and_temperature_that_its_file_states(place):
    page, truth = PAGES["fecap"], film(tfe=13e-9, ps=0.2)
    Path("loop.dat").write_text(aixacct_loop(truth), encoding="latin-1")
    rows = ("\t".join(f"{each:.9e}" for each in row) for row in zip(*settled_loop(truth), strict=True))
    head = "thickness [nm]: 13\ntemperature [K]: 350\ntime [s]\tvoltage [V]\tcharge [C/m2]\n"
    Path("warm.txt").write_text(head + "\n".join(rows) + "\n")
    for file, stated in (("loop.dat", {"tfe": 13e-9}), ("warm.txt", {"tfe": 13e-9, "tempk": 350.0})):
        state = page.file_chosen(State(values={"ps": 0.2}), file)
        assert page.model(state, place, None).rms < 0.05
        for view in ("measured", "pv"):  # it is the same film
            seen = state.with_choice("view", view)
            assert value_of(page.knobs(seen, place), seen)["tfe"] == pytest.approx(13e-9)
        goes_on = sets(page.save(state, place, None).command)
        assert goes_on == pytest.approx({"ps": 0.2, **stated})
        moved = replace(state, values={**state.values, "tfe": 9e-9, "cycles": 2.0, "s0": 0.5})
        assert sets(page.save(moved, place, None).command)["tfe"] == 9e-9
        assert not {"s0", "cycles"} & set(sets(page.save(moved, place, None).command))
