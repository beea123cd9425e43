import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from bruno_spice.calibration.benches import fecap as fecap_bench
from bruno_spice.calibration.benches import neuron as neuron_bench
from bruno_spice.calibration.benches import rram as rram_bench
from bruno_spice.calibration.benches.fecap import BenchResult, pund, pv_loops
from bruno_spice.calibration.benches.figures import FIGURES
from bruno_spice.calibration.benches.rram import hysteresis, parasitics
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, RRAM_NETLIST
from bruno_spice.calibration.presentation.style import new_figure, save
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.spice.ngspice import Worker
from bruno_spice.calibration.targets.inspection import check, difference


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path / "store"))
    return tmp_path / "store"


def test_fecap_command_writes_samples_numbers_and_a_figure(bruno, tmp_path, own_store):
    out = tmp_path / "pund.csv"
    code, printed, _ = bruno(
        "simulate", "fecap", "--testbench", "pund", "--out", out, "--figure", tmp_path / "pund.png", "--json"
    )
    assert code == 0
    numbers = json.loads(printed)
    assert numbers[0]["p_minus_u_c_m2"] == pytest.approx(0.437, rel=0.05)
    assert pd.read_csv(tmp_path / "pund.numbers.csv").shape[0] == 3
    assert "charge_c_m2" in pd.read_csv(out).columns
    assert (tmp_path / "pund.png").read_bytes()[:4] == b"\x89PNG"


def test_cache_commands_list_and_prune_what_was_simulated(bruno, tmp_path, own_store):
    assert bruno("simulate", "rram-bench", "--testbench", "parasitics", "--out", tmp_path / "r.csv")[0] == 0
    code, printed, _ = bruno("cache", "list", "--json")
    assert code == 0
    assert len(json.loads(printed)) == 6, "five capacitances and the deck as it is"
    assert "removed 6 entries" in bruno("cache", "prune")[1]
    assert "0 results" in bruno("cache", "list")[1]


def test_netlist_show_prints_units_and_meanings(bruno):
    code, printed, _ = bruno("netlist", "show", NEURON_NETLIST, "--json")
    shown = {row["name"]: row for row in json.loads(printed)}
    assert code == 0
    assert shown["vth"]["value"] == 2.5
    assert (shown["vth"]["unit"], shown["vth"]["comment"]) == ("V", "comparator threshold")


def test_netlist_check_finds_the_typo(bruno, tmp_path):
    assert "ngspice takes it" in bruno("netlist", "check", RRAM_NETLIST)[1]
    broken = tmp_path / "deck.cir"
    broken.write_text("* t\n.param r=1k\nR1 a 0 {rr}\nV1 a 0 PWL(0 0 1u 1)\n.tran 1u 10u\n")
    code, _, said = bruno("netlist", "check", broken)
    assert code == 2
    assert "deck.cir:3: Undefined parameter [rr]" in said.replace("\n", "")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (".parm r=2k", "there is no card '.parm'; did you mean '.param'?"),
        (".param r 2k", "a .param is written as name=value"),
        ("Xone a 0 load rr={r}", "the subcircuit load has no parameter 'rr'; did you mean 'r'?"),
        ("R2 a 0", "the resistor r2 has no value"),
    ],
)
def test_netlist_check_finds_what_ngspice_passes_over(line, fault, bruno, tmp_path):
    deck = "* t\n.param r=1k\n.subckt load a b r=1k\nR1 a b {r}\n.ends\nXall a 0 load r={r}\nV1 a 0 PWL(0 0 1u 1)\n"
    broken = tmp_path / "deck.cir"
    broken.write_text(f"{deck}.tran 1u 10u\n")
    assert "ngspice takes it" in bruno("netlist", "check", broken)[1]
    broken.write_text(f"{deck}{line}\n.tran 1u 10u\n")
    code, _, said = bruno("netlist", "check", broken)
    assert code == 2
    assert f"deck.cir:8: {fault}" in said.replace("\n", "")


def test_netlist_check_runs_the_deck_as_it_is_set(bruno, monkeypatch):
    decks = []
    run = Worker.run
    monkeypatch.setattr(Worker, "run", lambda worker, job: decks.append(job.deck) or run(worker, job))
    code, _, _ = bruno("netlist", "check", RRAM_NETLIST, "--set", "vread=0.25")
    assert code == 0
    assert ".param vread=0.25" in decks[-1]
    assert ".save v(ae) v(oe) i(vcell)" in decks[-1]
    run_for_check = len(decks)
    code, _, err = bruno("netlist", "check", RRAM_NETLIST, "--set", "vraed=0.25")
    assert code == 2
    assert "did you mean 'vread'?" in err
    assert len(decks) == run_for_check


def test_netlist_diff_says_what_runs_again(bruno, tmp_path, own_store):
    code, printed, _ = bruno("netlist", "diff", RRAM_NETLIST, "--set", "iprog=60u")
    assert code == 0
    assert ".param iprog: 50u -> 6e-05" in printed
    assert "would run again" in printed
    code, _, said = bruno("netlist", "diff", RRAM_NETLIST, "--set", "iprg=60u")
    assert code == 2
    assert "did you mean 'iprog'" in said


def test_comments_and_notation_are_no_difference(tmp_path):
    text = "* t\n.param r=1k ; [Ohm] load\nR1 a 0 {r}\nV1 a 0 PWL(0 0 1u 1)\n.tran 1u 10u\n"
    old = Netlist.from_text(text, tmp_path / "a.cir")
    assert difference(
        old, Netlist.from_text(text.replace("load", "Last").replace("1k", "1000"), tmp_path / "a.cir")
    ).same
    found = difference(old, Netlist.from_text(text.replace("R1 a 0", "R1 a b").replace("1k", "2k"), tmp_path / "a.cir"))
    assert found.changed_params == {"r": ("1k", "2k")}
    assert found.changed_lines == ["- R1 a 0 {r}", "+ R1 a b {r}"]


def test_every_testbench_passes_the_check():
    assert check(NEURON_NETLIST).params["vth"].value == 2.5


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_figure_has_the_format_of_its_name(tmp_path, suffix, begins):
    assert save(new_figure(), tmp_path / f"empty.{suffix}").read_bytes().startswith(begins)


def test_every_bench_has_its_figure():
    names = {*fecap_bench.BENCHES, "groups", *neuron_bench.BENCHES, *rram_bench.BENCHES}
    assert names == set(FIGURES)


@pytest.mark.parametrize(
    ("bench", "arguments"), [(pv_loops, ((3.0,), (1e3,))), (pund, ()), (hysteresis, ()), (parasitics, ())]
)
def test_figures_draw_what_the_bench_measured(farm, bench, arguments):
    result = bench(*arguments, farm=farm)
    assert isinstance(result, BenchResult)
    figure = new_figure()
    axes = FIGURES[result.name](figure.axes[0], result)
    assert axes.lines
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    plt.close(figure)


@pytest.mark.parametrize("path", sorted(NEURON_NETLIST.parent.glob("*.cir")), ids=lambda path: path.stem)
def test_every_testbench_of_the_project_passes_the_check(path):
    check(path)


def test_the_film_has_as_many_groups_as_asked_for(bruno, tmp_path):
    """Sixteen groups follow another path than 64, and the option says what --set groups=N says."""
    loops = []
    for n, asked in enumerate((["--groups", "16"], ["--set", "groups=16"], ["--groups", "64"])):
        code, out, err = bruno(
            "simulate", "fecap", "--testbench", "pund", *asked, "--out", tmp_path / f"{n}.csv", "--json"
        )
        assert code == 0, err
        loops.append(json.loads(out))
    assert loops[0] == loops[1]
    assert loops[0][1]["p_minus_u_c_m2"] != pytest.approx(loops[2][1]["p_minus_u_c_m2"], rel=1e-4)
    for wrong in (["simulate", "neuron", "--dc", "1n", "--groups", "16"], ["vary", "rram", "--groups", "16"],
                  ["calibrate", "rram", "--groups", "16"], ["simulate", "fecap", "--groups", "0"],
                  ["simulate", "fecap", "--groups", "99999", "--out", tmp_path / "x.csv"]):  # fmt: skip
        code, _, err = bruno(*wrong)
        assert code == 2
        assert "groups" in err
