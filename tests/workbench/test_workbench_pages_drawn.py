"""The workbench's pages in a browser with what a user brings: runs, reports of two calibrations, a tester's file."""

import json
import shlex
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import assert_readable

from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.runs.folder import RunFolder
from bruno_spice.training.runs.trainer import train
from tests.support.testers import aixacct_loop, film, settled_loop

FAST = shlex.split("--network-traces 0 --monte-carlo 0 --domains 1 --simulator auto --currents 1n,3n,10n")


@pytest.fixture(scope="module")
def start(tmp_path_factory, one_domain):
    """A folder with a run of FeLIF, one of LIF, and two reports."""
    folder = tmp_path_factory.mktemp("start")
    torch.set_num_threads(1)
    for name, neuron in (("event", "felif"), ("lif", "lif")):
        options = {"reset": "event", "current_limits": "envelope"} if neuron == "felif" else {}
        config = RunConfig.model_validate({
            "task": "pulses",
            "task_options": {"trials": 60, "steps": 10},
            "network": {"hidden": [6], "neuron": neuron, "weight_std": 1.5, "bias_std": 0.1},
            "neuron": {"options": options},
            "training": {"epochs": 2, "batch_size": 8},
        })  # fmt: skip
        train(config, folder / "runs" / name)
    one_domain.save(folder / "before" / "felif.json")
    one_domain.with_values(alpha=1.05 * one_domain["alpha"]).save(folder / "after" / "felif.json")
    return folder


@pytest.mark.parametrize("width", [1600, 800])
def test_a_run_is_drawn_with_a_neuron_beside_spice(window, start, width):
    window.open("runs", "runs=runs/event&piece=2&window=8", width)
    assert window.view()["problem"] == ""
    rows = RunFolder(start / "runs" / "event").read_metrics()
    assert window.curve("loss", "a") == ([1.0, 2.0], [row["train"]["loss"] for row in rows])
    assert len(window.curve("curve", "a")[0]) == 2
    for role in ("measured", "model", "spice"):
        assert len(window.curve("membrane", role)[0]) > 5
    assert len(window.curve("raster", "measured")[0]) > 0
    assert "on test piece 2" in window.text("said")
    assert_readable(window.driver, width)
    membrane = window.curve("membrane", "spice")
    window.choose("runs", "runs/event runs/lif")
    assert len(window.curve("curve", "b")[0]) == 2
    assert window.curve("membrane", "spice") == membrane
    window.choose("runs", "runs/lif")
    assert "it is no circuit" in window.text("said")
    assert len(window.curve("raster", "measured")[0]) > 0


@pytest.mark.parametrize("width", [1600, 800])
def test_two_reports_lie_over_each_other(window, width):
    window.open("cards", width=width)
    window.choose("of", "card")
    for name, value in (("a", "before"), ("b", "after")):
        window.choose(name, value)
    assert window.view()["problem"] == ""
    for panel, roles in {"latency": "ab", "rate": "ab", "membrane": "ab", "film": "ab"}.items():
        for role in roles:
            assert len(window.curve(panel, role)[0]) > 5, (panel, role)
    assert len(window.curve("left", "left")[0]) > 5
    assert "alpha" in window.text("extra")
    assert_readable(window.driver, width)
    window.choose("under", "2")
    assert window.view()["problem"] == ""
    window.driver.refresh()
    window.wait()
    assert len(window.curve("latency", "b")[0]) > 5


def test_a_newcomers_file_of_a_tester_becomes_a_neurons_card(window, start, bruno, monkeypatch, tmp_path):
    """Uploaded as it is, fitted on a region, saved; the same from the command line, and a card of the same film."""
    truth = film(tfe=13e-9, ps=0.2, ea=1.5)
    (tmp_path / "loop.dat").write_text(aixacct_loop(truth), encoding="latin-1")
    window.open("fecap")
    window.upload(tmp_path / "loop.dat")
    assert window.view()["problem"] == ""  # the file says units, area and thickness
    assert next(knob["value"] for knob in window.view()["knobs"] if knob["name"] == "tfe") == "1.3e-08"
    window.drag("time", 0.35, 0.75)
    assert window.view()["region"]
    for name in ("ps", "ea", "eps"):
        window.tick(name)
    window.click("fit")
    values = {knob["name"]: float(knob["value"]) for knob in window.view()["knobs"]}
    assert values["ps"] == pytest.approx(0.2, rel=0.05)
    assert values["ea"] == pytest.approx(1.5, rel=0.05)
    window.click("save")
    saved = window.view()["saved"]
    monkeypatch.chdir(start)
    by_hand = shlex.split(saved["command"].replace("--out workbench/fecap", "--out by_hand"))
    assert bruno(*by_hand[1:])[0] == 0
    for name in ("fecap.param", "fecap.json"):
        assert Path("by_hand", name).read_bytes() == Path("workbench", "fecap", name).read_bytes(), name
    code, out, _ = bruno(*shlex.split(saved["then"])[1:], *FAST)
    assert code == 0, out
    overrides = json.loads(Path("workbench/cards/felif.json").read_text())["provenance"]["overrides"]
    fitted = json.loads(Path("workbench/fecap/fecap.json").read_text())["parameters"]
    assert {name: overrides[name] for name in ("ps", "ea", "eps")} == {
        name: fitted[name]["value"] for name in ("ps", "ea", "eps")
    }
    assert overrides["tfe"] == pytest.approx(13e-9)

    window.open("neuron")  # where that card lies over its own circuit
    window.choose("card", "workbench/cards/felif.json")
    assert window.view()["problem"] == ""
    assert "as the card was calibrated" in window.text("said")
    assert next(k["value"] for k in window.view()["knobs"] if k["name"] == "deck.tfe") == "1.3e-08"


def test_a_line_that_was_thinned_says_so_in_its_csv(window, tmp_path):
    time_s, voltage_v, charge_c_m2 = settled_loop(film(), 9000)
    rows = np.stack([time_s, voltage_v, charge_c_m2], axis=1)
    lines = ["time [s],voltage [V],charge [C/m2]", *(",".join(f"{each:.9g}" for each in row) for row in rows)]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    window.open("fecap")
    window.upload(tmp_path / "long.csv")
    assert window.view()["problem"] == ""
    window.driver.execute_script(
        "URL.createObjectURL = (blob) => { blob.text().then((text) => { window.kept = text; }); return 'data:,'; }"
    )
    window.driver.execute_script("document.querySelector('[data-export=\"time.csv\"]').click()")
    time.sleep(1)
    kept = window.driver.execute_script("return window.kept").splitlines()
    assert "# measured: one of 3 computed points each; the others were not sent to the browser" in kept
    assert sum(line.startswith("measured,") for line in kept) == 3001


def test_a_trace_that_is_still_to_be_chosen_is_no_fault(window):
    """Its residual is another figure than SPICE's, and has nothing to draw yet."""
    window.open("neuron")
    window.choose("stimulus", "trace")
    assert "choose or upload a membrane trace" in window.text("problem")
    time.sleep(0.5)
    assert window.errors() == []
    window.choose("stimulus", "dc")
    assert len(window.curve("left", "left")[0]) > 5
