"""The command line as a user meets it: what comes out, and what bad input gets."""

import json
import os
import re
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST
from bruno_spice.calibration.targets import TARGETS
from bruno_spice.devices.cards.calibrated import CALIBRATED
from bruno_spice.devices.files import folder_lock
from bruno_spice.devices.waveform import Waveform

TAKEN = re.compile(r"\S+\.cir: x\w+ = \w+ \(\S+:\d+\); \d+ parameters: .*")
"""What every simulation says first: which circuit and which parameters it takes."""


def one_sentence(err, said):
    lines = [line for line in err.splitlines() if line.strip() and not TAKEN.fullmatch(line)]
    assert len(lines) == 1, err
    assert said in lines[0]
    return True


def test_both_engines_give_the_same_columns_and_the_same_spikes(bruno, tmp_path):
    traces = {}
    for engine in ("spice", "model"):
        out = tmp_path / f"{engine}.csv"
        code, text, _ = bruno(
            "simulate", "neuron", "--engine", engine, "--dc", "5n", "--t-stop", "8m", "--out", out, "--json"
        )
        assert code == 0
        assert json.loads(text)["spikes"] == 2
        assert out.read_text().splitlines()[0] == "time_s,i_syn_a,v_mem_v,polarization,spike"
        traces[engine] = Waveform.from_csv(out)
    np.testing.assert_allclose(traces["model"].spike_times_s, traces["spice"].spike_times_s, rtol=0.01)


def test_a_stimulus_file_drives_either_engine(bruno, tmp_path):
    stimulus = tmp_path / "stim.csv"
    stimulus.write_text("time_s,i_syn_a\n0,0\n1e-5,1e-8\n1.4e-3,1e-8\n1.5e-3,0\n3e-3,0\n")
    for engine in ("spice", "model"):
        code, text, _ = bruno(
            "simulate", "neuron", "--engine", engine, "--stimulus", stimulus, "--out", tmp_path / "t.csv", "--json"
        )
        assert code == 0
        assert json.loads(text)["spikes"] == 1


def test_the_rram_cell_reads_the_same_in_both_engines(bruno):
    g = {}
    for engine in ("spice", "model"):
        code, text, _ = bruno("simulate", "rram", "--engine", engine, "--i-prog", "100u", "--json")
        assert code == 0
        g[engine] = json.loads(text)["g_s"]
    assert g["spice"] == pytest.approx(300e-6, rel=0.05)
    assert g["model"] == pytest.approx(g["spice"], rel=0.02)


SPICE_NEURON = ["simulate", "neuron", "--engine", "spice", "--dc", "1n"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["simulate", "neuron"], "either --stimulus FILE.csv or --dc"),
        (["simulate", "neuron", "--dc", "100n"], "lies outside -5 nA ... 30 nA"),
        (["simulate", "neuron", "--dc", "3o8p"], "'3o8p' is not a number"),
        (["simulate", "neuron", "--dc", "1n", "--card", "none.json"], "none.json: no such card"),
        (["simulate", "neuron", "--dc", "1n", "--set", "vth=2.4"], "unknown parameter 'vth'"),
        (["simulate", "neuron", "--dc", "1n", "--set", "vth"], "write NAME=VALUE"),
        (["simulate", "neuron", "--engine", "spice", "--dc", "1n", "--set", "vht=2"], "vth"),
        (["simulate", "neuron", "--engine", "spice", "--dc", "1n", "--netlist", "none.cir"], "none.cir"),
        (["simulate", "neuron", "--dc", "1n", "--netlist", "none.cir"], "--netlist needs --engine spice"),
        (["simulate", "neuron", "--engine", "spice", "--dc", "1n", "--card", "none.json"], "--card needs --engine"),
        (["simulate", "rram", "--i-prog", "50u", "--netlist", "none.cir"], "--netlist needs --engine spice"),
        (["simulate", "rram", "--engine", "spice", "--i-prog", "50u", "--card", "none.json"], "--card needs --engine"),
        (["simulate", "neuron-bench", "--level", "b", "--netlist", "none.cir"], "give either --level or --netlist"),
        (["simulate", "neuron", "--stimulus", "none.csv"], "none.csv: no such stimulus file"),
        (["simulate", "neuron", "--dc", "1n", "--t-stop", "-1"], "--t-stop must be above 0"),
        (["simulate", "rram", "--i-prog", "1m"], "lies outside 15 µA ... 300 µA"),
        (["simulate", "rram", "--i-prog", "-1u"], "must be positive"),
        (["simulate", "rram", "--i-prog", "50u", "--variant", "det"], "fitted with the 'var' variant"),
        (["simulate", "neuron", "--dc", "1n", "--t-stop", "1m", "--out", "."], "error: . is a folder; name a file"),
        (["simulate", "fecap", "--out", "."], "error: . is a folder; name a file"),
        (["simulate", "fecap", "--figure", "loop.tiff"], "loop.tiff: a figure's name ends in one of .png, .pdf, .svg"),
        (["simulate", "fecap", "--figure", "loop"], "a figure's name ends in one of"),
        (["sensitivity", "--figure", "s.xyz"], "a figure's name ends in one of"),
        (["card", "show", "."], "error: . is a folder; name a file"),
        (["simulate", "neuron", "--dc", "1n", "--card", "."], "error: . is a folder; name a file"),
        ([*SPICE_NEURON, "--set", "vth=2.4A"], "--set vth=2.4A: '2.4A' is atto in SPICE, 2.4e-18"),
        ([*SPICE_NEURON, "--set", "vth=2.4s"], ".param vth counts in V; write the number alone, not '2.4s'"),
        ([*SPICE_NEURON, "--set", "ea=1.6V"], ".param ea counts in MV/cm; write the number alone, not '1.6V'"),
        (["calibrate", "toaster"], "'toaster' cannot be calibrated"),
        (["calibrate", "all", "--set", "vth=2"], "--set goes with one of neuron and rram"),
        (["card", "check", "none.json"], "none.json: no such card"),
    ],
)
def test_bad_input_gets_one_clear_sentence_and_exit_code_2(bruno, args, said, tmp_path):
    code, _, err = bruno(*args)
    assert code == 2
    assert one_sentence(err, said)


def test_a_netlist_with_a_typo_is_refused_with_file_and_line(bruno, tmp_path):
    text = NEURON_NETLIST.read_text().replace("../", f"{NEURON_NETLIST.parents[1]}/")
    broken = tmp_path / "mine.cir"
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(".ic"))
    lines.insert(at, "Rload vm 0 1oops$")
    lines.insert(at, "Qwhat vm 0 zz nosuchmodel")
    broken.write_text("\n".join(lines))
    code, _, err = bruno("simulate", "neuron", "--engine", "spice", "--dc", "1n", "--netlist", broken)
    assert code == 2
    assert one_sentence(err, "mine.cir")
    assert f":{at + 1}" in err or f"line {at + 1}" in err or f":{at + 2}" in err


def test_nan_and_unsorted_times_are_refused(bruno, tmp_path):
    for rows, said in (("0,0\n1e-3,nan\n", "line 3"), ("0,0\n2e-3,0\n1e-3,0\n", "row 3")):
        stimulus = tmp_path / "stim.csv"
        stimulus.write_text("time_s,i_syn_a\n" + rows)
        code, _, err = bruno("simulate", "neuron", "--stimulus", stimulus)
        assert code == 2
        assert one_sentence(err, said)


def test_a_failed_calibration_leaves_the_good_card(bruno, tmp_path):
    (tmp_path / "felif.json").write_text("precious")
    code, _, err = bruno("calibrate", "neuron", "--out", tmp_path, "--set", "vth=9")
    assert code == 1
    assert one_sentence(err, "no spike in SPICE")
    assert (tmp_path / "felif.json").read_text() == "precious"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["neuron", "--report", "reports"], "--report needs both devices"),
        (["neuron", "--monte-carlo", "4"], "at least 8 Monte-Carlo samples, not 4"),
        (["neuron", "--netlist", "mine.cir", "--monte-carlo", "8"], "mine.variation.yaml: no such variation file"),
        (["rram", "--monte-carlo", "1"], "at least 2 sampled devices, not 1"),
        (["all", "--domains", "0"], "give a number from 1 to 7, several (1,4), or auto"),
        (["all", "--domains", "1,"], "--domains 1,: give a number from 1 to 7"),
        (["all", "--domains", "4,8"], "--domains 4,8: give a number from 1 to 7"),
    ],
)
def test_a_calibration_that_cannot_end_well_is_refused_before_anything_runs(bruno, monkeypatch, tmp_path, args, said):
    monkeypatch.chdir(tmp_path)
    Path("mine.cir").write_text(NEURON_NETLIST.read_text().replace("../", f"{NEURON_NETLIST.parents[1]}/"))
    for module in ("circuits.experiments", "rram.calibrate"):
        monkeypatch.setattr(f"bruno_spice.calibration.{module}.run_jobs", lambda *_: pytest.fail("simulated"))
    code, _, err = bruno("calibrate", *args)
    assert code == 2
    assert one_sentence(err, said)


def test_a_report_leaves_the_json_of_a_calibration_alone(bruno, monkeypatch, tmp_path, felif_card, rram_card):
    cards = {"neuron": felif_card, "rram": rram_card}
    for name, card in cards.items():
        done = SimpleNamespace(card=card)
        monkeypatch.setitem(TARGETS, name, replace(TARGETS[name], calibrate=lambda done=done, **_: done))
    monkeypatch.setattr(
        "bruno_spice.calibration.targets.report.write_report", lambda folder, *_: folder / "calibration.html"
    )
    code, text, err = bruno("calibrate", "all", "--out", tmp_path, "--report", tmp_path / "reports", "--json")
    assert code == 0, err
    printed = json.loads(text)
    assert {name: printed[name] for name in cards} == {name: json.loads(card.to_json()) for name, card in cards.items()}
    assert set(printed["taken"]) == set(cards)
    assert {each["netlist"].split("/")[0] for each in printed["taken"].values()} == {"spice_netlists"}
    assert one_sentence(err, f"wrote {tmp_path / 'reports' / 'calibration.html'}")


def test_the_calibrated_cards_are_found_from_anywhere_and_those_of_the_working_folder_first(
    bruno, monkeypatch, tmp_path, rram_card
):
    monkeypatch.chdir(tmp_path)
    code, text, err = bruno("simulate", "rram", "--i-prog", "100u", "--json")
    assert code == 0, err
    calibrated = json.loads(text)["g_s"]
    assert bruno("simulate", "neuron", "--dc", "5n", "--t-stop", "1m")[0] == 0
    rram_card.with_values(r_series=2 * rram_card["r_series"]).save("data/calibrated/rram.json")
    assert json.loads(bruno("simulate", "rram", "--i-prog", "100u", "--json")[1])["g_s"] < 0.9 * calibrated


@pytest.mark.parametrize(("i_prog", "code"), [("300u", 0), ("300.02u", 2), ("15u", 0), ("14.999u", 2)])
def test_a_card_s_range_ends_where_it_says(bruno, i_prog, code):
    assert bruno("simulate", "rram", "--i-prog", i_prog, "--json")[0] == code


def test_confidence_intervals_on_request_hold_the_value_and_name_what_was_not_fitted(bruno, tmp_path):
    fast = ("--domains", "1", "--monte-carlo", "0", "--network-traces", "0", "--simulator", "auto", "--out", tmp_path)
    assert bruno("calibrate", "neuron", *fast)[0] == 0
    card = ("--card", tmp_path / "felif.json", "--simulator", "auto")
    code, text, _ = bruno("confidence", "eps_hzo", *card, "--figure", tmp_path / "eps.png", "--json")
    assert code == 0
    found = json.loads(text)["eps_hzo"]
    assert found["low"][1] < found["low"][0] < found["best"] < found["high"][0] < found["high"][1]
    assert found["high"][0] - found["best"] == pytest.approx(found["stderr"], rel=0.2)
    assert (tmp_path / "eps.png").stat().st_size > 10_000
    code, _, err = bruno("confidence", "vth")
    assert code == 2
    assert one_sentence(err, "'vth' was not fitted")


def test_ctrl_c_ends_with_one_sentence_and_code_1(bruno, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("bruno_spice.calibration.cards.simulated.simulate", interrupted)
    code, _, err = bruno("simulate", "neuron", "--dc", "1n", "--out", tmp_path / "t.csv")
    assert code == 1
    assert one_sentence(err, "interrupted")
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_cannot_be_written_says_why(bruno, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = bruno("simulate", "neuron", "--dc", "1n", "--out", tmp_path / "file" / "t.csv")
    assert code == 1
    assert one_sentence(err, "file")


def test_every_command_explains_itself_with_an_example(bruno):
    for command in (["simulate", "neuron"], ["simulate", "rram"], ["calibrate"], ["card", "check"]):
        code, out, _ = bruno(*command, "--help")
        assert code == 0
        assert "xample" in out


def test_the_version_is_that_of_the_package(bruno):
    code, out, _ = bruno("--version")
    assert (code, out.split()) == (0, ["bruno-spice", version("bruno-spice")])


def test_two_commands_do_not_write_into_one_folder_at_once(bruno, tmp_path):
    cards = tmp_path / "cards"
    busy = f"{cards} is being written by process {os.getpid()} "
    with folder_lock(cards):
        for command in (
            ("calibrate", "rram", "--out", cards),
            ("calibrate", "all", "--out", tmp_path / "other", "--report", cards),
            ("card", "export", CALIBRATED / "rram.json", "--out", cards),
        ):
            code, _, errors = bruno(*command)
            assert code == 1
            assert errors.startswith(f"error: {busy}")
    assert list(tmp_path.iterdir()) == []
    code, _, errors = bruno("card", "export", CALIBRATED / "felif.json", "--out", cards)
    assert (code, errors) == (0, "")
    assert sorted(path.name for path in cards.iterdir()) == ["felif.lib", "felif.param"]


def test_a_warning_is_one_line(bruno, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file where the cache should be")
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, errors = bruno("simulate", "rram", "--engine", "spice", "--i-prog", "50u")
    assert code == 0
    assert out.startswith("131.2 ")
    assert one_sentence(errors, "warning: results are used but not kept: cannot write to ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--model", "heracles", "--domains", "4"], "--domains says nothing to HERACLES, whose film is one domain"),
        (["--model", "heracels"], "unknown neuron model 'heracels'; did you mean 'heracles'?"),
    ],
)
def test_a_model_that_cannot_be_fitted_so_is_refused_in_one_sentence(bruno, args, said):
    code, _, err = bruno("calibrate", "neuron", *args)
    assert code == 2
    assert one_sentence(err, said)
