"""A netlist's parameters from an I-V record: what a deck was simulated with comes back; else it is said."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bruno_spice.calibration.circuits.experiments import NETLISTS
from bruno_spice.calibration.circuits.rram_reads import RRAM_VECTORS
from bruno_spice.calibration.rram import iv
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.verilog_a.choice import settled

DECK = NETLISTS / "testbenches" / "rram_iv.cir"
TRUTH = {"dwa": 1.30, "r0": 900.0}


@pytest.fixture(scope="module")
def record(tmp_path_factory, store):
    """SET and RESET of a cell of other parameters than the deck's, with 1 % noise, as a table."""
    deck = Netlist.load(DECK)
    time_s = np.linspace(0, 4e-3, 201)
    voltage_v = np.interp(time_s, np.arange(5) * 1e-3, [0, 1.3, 0, -1.4, 0])
    driven = deck.with_params(TRUTH).with_source("Vbl", time_s, voltage_v).with_tran(None, 1e-5)
    farm = settled(Farm(store=store, simulator="auto"), [deck], lambda _: None)
    raw = run_jobs([transient_job(driven, RRAM_VECTORS, 4e-3)], farm)[0]
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal(time_s.size)
    rows = zip(time_s, voltage_v, np.interp(time_s, raw.time_s, raw["i(vcell)"]) * noise, strict=True)
    path = tmp_path_factory.mktemp("iv") / "iv.csv"
    path.write_text("time [s],V [V],I [uA]\n" + "".join(f"{t:.6g},{v:.5g},{1e6 * i:.6g}\n" for t, v, i in rows))
    return path


def test_the_parameters_that_a_cell_was_simulated_with_come_back(record, bruno, tmp_path):
    out = tmp_path / "iv.json"
    words = ("--netlist", DECK, "--free", "dwa,r0", "--simulator", "auto", "--out", out, "--json")
    code, said, err = bruno("fit", "rram", record, *words)
    assert code == 0, err
    found = json.loads(said)
    assert found["believed"], found["doubt"]
    for name, value in TRUTH.items():
        assert found["values"][name] == pytest.approx(value, rel=0.02)
    assert found["rms"] < 0.03
    assert f".param dwa={found['values']['dwa']:.6g}    ; [eV]" in out.with_suffix(".param").read_text()
    assert out.with_suffix(".png").is_file()


def test_a_fit_that_is_not_believed_is_written_and_fails(record, bruno, tmp_path, monkeypatch):
    fit = iv.fit_iv

    def doubted(*args):
        found = fit(*args)
        return replace(found, fit=replace(found.fit, doubt="it does not hold"))

    monkeypatch.setattr(iv, "fit_iv", doubted)
    for form in ((), ("--json",)):
        words = ("--netlist", DECK, "--free", "dwa", "--simulator", "auto", "--out", tmp_path / "iv.json", *form)
        code, _, err = bruno("fit", "rram", record, *words)
        assert (code, "not to be believed: it does not hold" in " ".join(err.split())) == (1, True), err
        assert json.loads((tmp_path / "iv.json").read_text())["believed"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--netlist", DECK), "--free says what to fit"),
        (("--free", "dwa"), "--free goes with --netlist"),
        (("--netlist", DECK, "--free", "dwb"), "there is no .param 'dwb'; did you mean 'dwa'?"),
        (("--netlist", DECK, "--free", "dwa=2:3"), "must lie between two bounds above 0"),
        (("--netlist", DECK, "--free", "dwa=low"), "write NAME=LOW:HIGH with two numbers"),
    ],
)
def test_what_cannot_be_fitted_ends_in_one_sentence(record, bruno, tmp_path, words, said):
    code, _, err = bruno("fit", "rram", record, *words, "--out", tmp_path / "no.json")
    assert code == 2
    assert said in " ".join(err.split())
    assert not (tmp_path / "no.json").exists()
