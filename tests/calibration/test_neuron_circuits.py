"""What a neuron circuit needs and does is measured on it: currents, floor, reset state, which edge is a spike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.drive import PROJECT_CHARGE_C, measure_drive, spike_charge_c
from bruno_spice.calibration.circuits.experiments import (
    NETLISTS,
    NEURON_NETLIST,
    NeuronRun,
    loose_reltol,
    neuron_deck,
    neuron_jobs,
    simulate_neurons,
)
from bruno_spice.calibration.circuits.recording import Recording, measure_spikes
from bruno_spice.calibration.circuits.spike_output import spike_times
from bruno_spice.calibration.circuits.stimuli import Drive
from bruno_spice.calibration.errors import DoubtfulSpikesError, FitError, SimulationError
from bruno_spice.calibration.neuron.calibrate import doubted
from bruno_spice.calibration.neuron.inhibition import measure_inhibition
from bruno_spice.calibration.neuron.validation import NetworkScore
from bruno_spice.calibration.spice.farm import run_jobs
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.calibration.spice.ngspice import Model
from bruno_spice.devices.ferroelectric.neuron import FeLIFParameters
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

CLAMPED = Path(__file__).parents[1] / "cases" / "neurons" / "clamped.lib"


def recorded(run, netlist, farm, overrides=None, notice=lambda _: None):
    stimulus, end_s = run
    return Recording(
        stimulus, simulate_neurons([NeuronRun(stimulus, end_s, overrides or {})], netlist, farm, notice)[0]
    )


def test_the_project_s_neuron_keeps_its_currents(farm):
    drive = measure_drive(NEURON_NETLIST, {}, farm)
    assert drive == Drive()
    assert spike_charge_c(NEURON_NETLIST, {}, farm) == pytest.approx(PROJECT_CHARGE_C, rel=0.02)
    for run, same in zip(stimuli.validation_runs(2, drive), stimuli.validation_runs(2), strict=True):
        np.testing.assert_array_equal(run[0].i_syn_a, same[0].i_syn_a)
    assert [run[0].i_syn_a[-1] for run in drive.fit_runs()] == [*stimuli.FIT_CURRENTS_A, stimuli.REST_CURRENT_A]


def test_a_device_of_four_times_the_area_gets_four_times_the_currents_and_spikes_as_often(farm):
    said = []
    drive = measure_drive(NEURON_NETLIST, {"area": 100e-12}, farm, said.append)
    assert drive.scale == pytest.approx(4.0, rel=0.05)
    assert drive.offset_a == 0
    assert "240 pA to 120 nA" in said[-1]
    large, small = (
        recorded(stimuli.constant(30e-9, d), NEURON_NETLIST, farm, {"area": area}).spice.spike_times_s
        for d, area in ((drive, 100e-12), (Drive(), 25e-12))
    )
    np.testing.assert_allclose(large, small, rtol=0.02)
    assert Drive.of({"drive": {"scale": 4.0, "offset_a": 0.0, "currents_a": []}}) == Drive(4.0)


def test_a_leak_above_the_lowest_current_is_added_to_the_constant_ones(farm):
    drive = measure_drive(NEURON_NETLIST, {"ileak": 200e-12}, farm)
    assert drive.scale == 1.0
    assert drive.constant_a(60e-12) == pytest.approx(250e-12, rel=0.05)


def test_given_currents_and_a_given_scale_count(farm):
    given = replace(measure_drive("none.cir", {}, farm, scale=4.0), currents_a=(240e-12, 4e-9, 80e-9))
    assert [run[0].i_syn_a[-1] for run in given.fit_runs()] == [240e-12, 4e-9, 80e-9, 4 * stimuli.REST_CURRENT_A]
    assert given.fit_runs()[1][1] == pytest.approx(stimuli.constant(1e-9)[1])


def test_inhibition_shows_the_floor_of_a_circuit_that_does_not_stop_at_ground(farm):
    own = measure_inhibition(recorded(stimuli.rest_and_floor(Drive()), NEURON_NETLIST, farm))
    clamped = measure_inhibition(recorded(stimuli.rest_and_floor(Drive()), CLAMPED, farm))
    assert own.settled
    assert clamped.settled
    assert own.v_floor == 0.0
    assert clamped.v_floor == pytest.approx(-0.578, abs=2e-3)
    assert own.v_compliance == pytest.approx(26e-3, rel=0.1)
    assert clamped.v_compliance == pytest.approx(26e-3, rel=0.1)


def test_a_membrane_that_does_not_rest_at_ground_is_refused():
    stimulus, end_s = stimuli.rest_and_floor(Drive())
    time = np.linspace(0, end_s, 100)
    wave = Waveform(time, {"v_mem_v": np.full(100, -0.4), "polarization": -np.ones(100)})
    with pytest.raises(FitError, match=r"without input the membrane is at -0.4 V"):
        measure_inhibition(Recording(stimulus, wave))


def test_an_active_low_output_spikes_when_it_falls_and_says_so(farm):
    said = []
    wave = recorded(stimuli.constant(5e-9), CLAMPED, farm, None, said.append).spice
    first = wave.spike_times_s[0]
    peak = wave.time_s[np.argmax(np.where(wave.time_s < first + 2e-4, wave["v_mem_v"], 0.0))]
    assert first == pytest.approx(peak, abs=20e-6), (
        "when the membrane is at the threshold, not when the output recovers"
    )
    assert "spk rests high" in said[0]


def test_the_supply_is_the_circuit_s_own_and_said_where_it_is_assumed(bruno, tmp_path):
    arguments = [
        "simulate",
        "neuron",
        "--engine",
        "spice",
        "--dc",
        "1n",
        "--t-stop",
        "10u",
        "--out",
        tmp_path / "t.csv",
    ]
    assert neuron_deck(CLAMPED).params["vdd"].value == 1.8
    own = bruno(*arguments, "--netlist", CLAMPED)[2]
    silent = bruno(*arguments, "--netlist", NETLISTS / "circuits" / "felif_neuron.lib")[2]
    assert "names no supply" not in own
    assert "names no supply: vdd is 3.3 V unless --set vdd=" in silent


def output(time_ms, spk_v, supply_v=3.3):
    time = np.linspace(0, time_ms[-1], 2001) * 1e-3
    spk = np.interp(time * 1e3, time_ms, spk_v)
    return Waveform(time, {"v(spk)": spk, "v(vdd)": np.full(time.size, supply_v)})


def test_an_output_that_never_reaches_half_the_supply_is_refused_and_one_that_cannot_be_told_too():
    pulse = [0, 2, 2.01, 2.3, 2.31, 10]
    assert spike_times(output(pulse, [0, 0, 3.3, 3.3, 0, 0])) == pytest.approx([2.005e-3], rel=1e-3)
    assert spike_times(output(pulse, [3.3, 3.3, 0, 0, 3.3, 3.3])) == pytest.approx([2.005e-3], rel=1e-3)
    assert spike_times(output(pulse, [0, 0, 0.1, 0.1, 0, 0])).size == 0
    with pytest.raises(SimulationError, match=r"from 0 V to 1.2 V and back.*without passing half the supply of 3.3 V"):
        spike_times(output(pulse, [0, 0, 1.2, 1.2, 0, 0]))
    with pytest.raises(SimulationError, match=r"starts high.*but is low most of the time"):
        spike_times(output([0, 2, 2.01, 10], [3.3, 3.3, 0, 0]))


def spiking(felif_card, kick_v=None, written_back=-1.0):
    """A recording of the model whose membrane is let go at `kick_v` and whose film comes back to `written_back`."""
    parameters = replace(
        FeLIFParameters.from_card(felif_card),
        t_refractory=300e-6,
        v_reset=kick_v or 0.0,
        polarization_reset=written_back,
    )
    stimulus = Stimulus.dc(10e-9)
    wave = simulate(parameters, stimulus, 5e-3, dt_s=1e-6, polarization_start=-1.0)
    if kick_v is not None:
        held = np.zeros(wave.time_s.size, dtype=bool)
        for spike in wave.spike_times_s:
            held |= (wave.time_s >= spike) & (wave.time_s < spike + 299e-6)
        wave = Waveform(
            wave.time_s, {**wave.signals, "v_mem_v": np.where(held, 0.0, wave["v_mem_v"])}, wave.spike_times_s
        )
    return Recording(stimulus, wave)


def test_a_membrane_that_is_kicked_down_when_it_is_let_go_starts_there(felif_card):
    measured = measure_spikes([spiking(felif_card, kick_v=-0.5)])
    assert measured.v_reset == pytest.approx(-0.5, abs=0.02)
    assert measured.t_refractory == pytest.approx(300e-6, rel=0.02)


def test_a_film_that_is_not_written_back_wholly_starts_where_it_comes_back_to(felif_card):
    partly = measure_spikes([spiking(felif_card, written_back=-0.6)])
    assert partly.polarization_reset == pytest.approx(-0.6, abs=0.01)
    assert partly.t_refractory == pytest.approx(300e-6, rel=0.03)
    assert measure_spikes([spiking(felif_card)]).polarization_reset == -1.0


def test_a_card_that_misses_a_fifth_of_the_network_s_spikes_is_not_believed():
    good, bad, few = (NetworkScore(2, n, share, 0.0) for n, share in ((80, 0.94), (80, 0.5), (4, 0.5)))
    believed = {"believed": True}
    assert doubted(believed, good) == doubted(believed, few) == believed
    assert "only 50 % of 80 spikes come within 1 ms" in doubted(believed, bad)["doubt"]
    assert doubted({"believed": False, "doubt": "singular"}, bad)["doubt"] == "singular"


def test_a_deck_whose_tolerance_lets_spikes_come_early_is_simulated_more_tightly(farm, tmp_path):
    mine, said = tmp_path / "mine.cir", []
    mine.write_text(NEURON_NETLIST.read_text().replace("../", f"{NETLISTS}/").replace("reltol=1e-5", "reltol=1e-4"))
    assert loose_reltol(neuron_deck(mine)) == 1e-4
    assert loose_reltol(Netlist.load(NEURON_NETLIST)) is None
    run = stimuli.constant(30e-9)
    loose, tight = (recorded(run, path, farm, notice=said.append).spice for path in (mine, NEURON_NETLIST))
    np.testing.assert_array_equal(loose.spike_times_s, tight.spike_times_s)
    assert said == [f"{mine}: simulated with reltol=1e-05, since spikes come early at the deck's 0.0001"]


@pytest.mark.parametrize("mended", [True, False])
def test_doubtful_spikes_are_simulated_once_more_with_tighter_options(farm, monkeypatch, mended):
    def judge(waveform, deadline_s, label):
        if len(waveform.time_s) < (tight.time_s.size if mended else np.inf):
            raise DoubtfulSpikesError(f"{label}: early")

    run, said = NeuronRun(Stimulus.dc(30e-9), 1e-3), []
    (job,) = neuron_jobs([run])
    (tight,) = run_jobs([job.tightened()], replace(farm, store=None))
    monkeypatch.setattr("bruno_spice.calibration.circuits.experiments.refuse_double_spikes", judge)
    if not mended:
        with pytest.raises(DoubtfulSpikesError, match="early"):
            simulate_neurons([run], farm=farm)
        return
    (found,) = simulate_neurons([run], farm=farm, notice=said.append)
    np.testing.assert_array_equal(found["v_mem_v"], tight["v(vm)"])
    assert said[0].startswith("1 of 1 simulations had spikes early or twice; again with reltol=1e-06")


def test_a_second_attempt_is_looser_in_volts_for_a_model_of_the_user_s_alone():
    (job,) = neuron_jobs([NeuronRun(Stimulus.dc(30e-9), 1e-3)])
    model = Model("film", "film", "module film; endmodule", ("a", "b"), ())
    assert "vntol" not in job.retry_options
    assert "vntol=0.0001" in replace(job, models=(model,)).tightened().deck


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rram", "--current-scale", "4"], "--current-scale goes with neuron"),
        (["neuron", "--current-scale", "-1"], "must be positive"),
        (["neuron", "--currents", "1n,2n"], "needs at least 3 different currents"),
        (["neuron", "--currents", "1n,2n,-3n"], "needs at least 3 different currents above 0"),
    ],
)
def test_currents_that_make_no_sense_are_refused(bruno, arguments, said):
    code, _, err = bruno("calibrate", *arguments)
    assert code == 2
    assert said in err
