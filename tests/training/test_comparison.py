"""Two cards or two runs on one page: what it says is what a reader would compute, and it opens anywhere."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import assert_readable, console_errors, empty_plots, open_page

from bruno_spice.calibration.cards.catalogue import alike
from bruno_spice.calibration.commands.shared import run as run_command
from bruno_spice.calibration.rram.measured import fit_measured
from bruno_spice.calibration.rram.tables import read_cells
from bruno_spice.calibration.targets.comparison import card_sections, difference
from bruno_spice.devices.cards.base import FeLIFCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.training.networks.config_file import default_config
from bruno_spice.training.reports.comparison import write_comparison
from bruno_spice.training.runs.folder import RunFolder, sealed
from bruno_spice.training.runs.trainer import train

CARDS = Path(__file__).parents[2] / "data" / "calibrated"


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """The neuron's card with another threshold and another film."""
    card = FeLIFCard.load(CARDS / "felif.json")
    path = tmp_path_factory.mktemp("cards") / "moved.json"
    kept = card.parameters["saturation_polarization"]
    card = card.with_values(v_threshold=2.2)
    parameters = card.parameters | {"saturation_polarization": kept.model_copy(update={"value": 0.9 * kept.value})}
    card.model_copy(update={"parameters": parameters}).save(path)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    config = default_config("training/tasks/own_example.py:load").with_values(
        network__neuron="lif", network__hidden=[8], synapse__kind="float", training__epochs=1
    )
    train(config, folder / "one")
    train(config.with_values(training__epochs=2), folder / "two")
    return folder / "one", folder / "two"


def tables(sections):
    return {table.caption: table for section in sections for table in section.tables}


def test_two_neurons_differ_by_what_their_simulations_and_their_errors_say(moved):
    first, second = FeLIFCard.load(CARDS / "felif.json"), FeLIFCard.load(moved)
    found = tables(card_sections(first, second, ("old", "new")))
    rows = {row[0]: row for row in found["Those that differ first"].rows}
    stderr = first.parameters["saturation_polarization"].stderr
    expected = -0.1 * first["saturation_polarization"] / math.hypot(stderr, stderr)
    assert float(rows["saturation_polarization"][5]) == pytest.approx(expected, rel=0.05)
    assert rows["saturation_polarization"][4] == "-10 %"
    assert rows["v_threshold"][2:5] == [
        f"{first['v_threshold']:.5g}",
        "2.2",
        f"{100 * (2.2 / first['v_threshold'] - 1):+.3g} %",
    ]
    assert next(iter(rows)) == "saturation_polarization"
    assert rows["area"][4] == "0 %"
    slow = found["First spike and the interval after it"].rows[0]
    current_a = float(slow[0].removesuffix(" pA")) * 1e-12
    spikes = [simulate(card, Stimulus.dc(current_a), 0.2, dt_s=1e-3).spike_times_s[0] for card in (first, second)]
    assert float(slow[3].removesuffix(" %")) == pytest.approx(100 * (spikes[1] / spikes[0] - 1), abs=0.01)


def test_measured_cells_with_other_tables_are_not_the_same(bruno, tmp_path):
    """What a write leaves and what time does are curves over each other; where one was not measured, that is said."""
    cases = CARDS.parents[1] / "tests" / "cases" / "measured"
    card = fit_measured([read_cells(cases / f"rram_{name}.csv") for name in ("set", "relaxation")]).card
    known = card.relaxation
    slower = known.model_copy(update={"spread_s": [[0.5 * x for x in row] for row in known.spread_s]})
    others = [card.model_copy(update={"relaxation": each}) for each in (slower, None)]
    paths = [each.save(tmp_path / f"{k}.json") for k, each in enumerate((card, *others))]
    assert alike(card, card) == "the parameters are the same"
    code, out, _ = bruno("card", "diff", *paths[:2])
    assert (code, out) == (0, "the parameters are the same; tables that differ: relaxation\n")
    one, other = (card_sections(card, each) for each in others)
    figure = next(each for each in one if each.heading == "What time does to them").plotly[0].figure
    half, whole = (np.array(trace.y) for trace in (figure.data[3], figure.data[1]))
    np.testing.assert_allclose(half, 0.5 * whole, rtol=1e-5)
    assert (
        "How B changes with time was not measured." in next(e for e in other if e.heading.startswith("What time")).text
    )
    moved = others[0].model_copy(
        update={"parameters": card.with_values(g_level_max=1.1 * card["g_level_max"]).parameters}
    )
    assert difference(card, moved) == "1 of 2 parameters differ; tables that differ: relaxation"


def test_of_two_runs_the_scores_and_only_the_settings_that_differ_are_there(runs, tmp_path):
    gist = write_comparison(*runs, tmp_path / "runs.html")
    page = (tmp_path / "runs.html").read_text()
    scores = [RunFolder(each).read_result()["test"]["accuracy"] for each in runs]
    assert gist == f"test accuracy: one {scores[0]:.4f}, two {scores[1]:.4f}"
    assert f'<td class="n">{scores[1] - scores[0]:+.4f}</td>' in page
    settings = page[page.index("Settings that differ") :]
    assert re.findall(r"<tr><td>([\w.]+)</td>", settings[: settings.index("</table>")]) == ["training.epochs"]
    assert "Both runs have the same parameters." in page


def test_runs_are_said_to_have_the_same_data_where_these_are_the_same(runs, tmp_path):
    """The hashes tell, not the words of the source and the numbers of sequences, which a new recording can keep."""
    page = tmp_path / "runs.html"
    for part, said in (
        ("test", "on different data: the scores are not of the same test pieces"),
        ("train", "The test pieces are the same, the data of train are not."),
    ):
        other = tmp_path / part
        shutil.copytree(runs[1], other)
        result = RunFolder(other).read_result()
        RunFolder(other).write_result(sealed(result | {"data": result["data"] | {part: "0" * 64}}))
        write_comparison(runs[0], other, page)
        assert said in page.read_text()
    write_comparison(*runs, page)
    assert "different data" not in page.read_text()


def test_the_pages_read_well_in_a_browser_without_a_network(moved, runs, tmp_path, browser):
    pairs = {
        "neurons": (CARDS / "felif.json", moved),
        "cells": (CARDS / "rram.json",) * 2,
        "runs": runs,
    }
    for name, (one, other) in pairs.items():
        page = tmp_path / f"{name}.html"
        write_comparison(one, other, page)
        for width in (1600, 400):
            open_page(browser, page, width)
            assert_readable(browser, width)
        if name == "neurons":
            assert empty_plots(browser) == []
    assert console_errors(browser) == []


def test_what_cannot_be_compared_is_said(runs, tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match=r"one is a run and .*felif.json a card; compare two of a kind"):
        write_comparison(runs[0], CARDS / "felif.json", tmp_path / "a.html")
    with pytest.raises(InputError, match="a felif card and a rram card have no parameters in common"):
        write_comparison(CARDS / "felif.json", CARDS / "rram.json", tmp_path / "a.html")
    assert RRAMCard.load(CARDS / "rram.json")
    (tmp_path / "a.html").write_text("mine")
    from bruno_spice.cli import app

    monkeypatch.setattr("sys.argv", ["bruno", "compare", *map(str, runs), "--out", str(tmp_path / "a.html")])
    with pytest.raises(SystemExit) as left:
        run_command(app)
    assert left.value.code == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "a.html").read_text() == "mine"
