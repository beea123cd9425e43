import numpy as np
import pytest
from spice_references import FIRST_SPIKE_S, RESET_TABLE_S, RRAM_CURRENTS_A, RRAM_TABLE_S

from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import (
    NETLISTS,
    NEURON_NETLIST,
    RRAM_NETLIST,
    NeuronRun,
    RRAMRun,
    program_rrams,
    pwl,
    rram_jobs,
    rram_timing,
    simulate_neurons,
)
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.farm import run_jobs
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.groups import DEFAULT_GROUPS, group_nodes
from bruno_spice.devices.stimulus import Stimulus


@pytest.fixture(scope="module")
def rram_table(farm):
    runs = [
        RRAMRun(current, length * 1e-9, radius * 1e-9, variant)
        for length, radius, variant in RRAM_TABLE_S
        for current in RRAM_CURRENTS_A
    ]
    return dict(zip(RRAM_TABLE_S, program_rrams(runs, farm=farm).reshape(len(RRAM_TABLE_S), -1), strict=True))


@pytest.mark.parametrize("current_a", FIRST_SPIKE_S)
def test_first_spike_comes_when_it_should(neuron_dc, current_a):
    assert neuron_dc[current_a].spike_times_s[0] == pytest.approx(FIRST_SPIKE_S[current_a], rel=0.05)


def test_at_308_pa_the_neuron_spikes_every_40_to_50_ms(neuron_dc):
    spikes = neuron_dc[308e-12].spike_times_s
    assert spikes.size == 3
    assert np.all((np.diff(spikes) > 40e-3) & (np.diff(spikes) < 50e-3))


def test_polarization_climbs_to_the_spike_and_is_written_back(neuron_dc):
    wave = neuron_dc[308e-12]
    first = wave.spike_times_s[0]
    before, after = wave.resampled([first - 1e-4, first + 1e-3])["polarization"]
    assert before > 0.9
    assert after < -0.9
    assert wave["v_mem_v"].max() == pytest.approx(2.5, abs=0.02)
    np.testing.assert_allclose(wave["i_syn_a"][wave.time_s > 1e-5], 308e-12)


def test_inhibition_never_pulls_the_membrane_below_ground(farm):
    wave = simulate_neurons([NeuronRun(Stimulus.steps([2e-9, 2e-9, -5e-9, -5e-9, 2e-9]), 5e-3)], farm=farm)[0]
    assert wave["v_mem_v"].min() > -0.01
    assert wave.resampled([1.9e-3])["v_mem_v"][0] > 0.8
    assert wave.resampled([3.9e-3])["v_mem_v"][0] < 0.01
    assert wave.spike_times_s.size == 0


def test_overrides_reach_the_ferroelectric(farm):
    stimulus, stop = Stimulus.dc(5e-9), 3e-3
    runs = [NeuronRun(stimulus, stop, {"area": area}) for area in (25e-12, 20e-12)]
    full, small = simulate_neurons(runs, farm=farm)
    assert small.spike_times_s[0] == pytest.approx(0.8 * full.spike_times_s[0], rel=0.02)


@pytest.mark.parametrize("geometry", RRAM_TABLE_S, ids=str)
def test_rram_conductance_follows_the_table(rram_table, geometry):
    np.testing.assert_allclose(rram_table[geometry] * 1e6, RRAM_TABLE_S[geometry], rtol=0.05)


def test_rram_reset_follows_the_table(farm):
    measured = program_rrams([RRAMRun(60e-6, v_reset_v=v) for v in RESET_TABLE_S], farm=farm)
    np.testing.assert_allclose(measured * 1e6, list(RESET_TABLE_S.values()), rtol=0.05)


def test_two_femtofarads_on_the_limiter_double_the_conductance(farm):
    clean, loaded = program_rrams([RRAMRun(50e-6), RRAMRun(50e-6, overrides={"clim": 2e-15})], farm=farm)
    assert loaded / clean == pytest.approx(2.14, rel=0.05)


def test_a_limiter_holds_the_programming_current(farm):
    wave = run_jobs(rram_jobs([RRAMRun(50e-6)], rram_timing(Netlist.load(RRAM_NETLIST), farm)), farm)[0]
    assert wave.resampled([1.0e-6])["i(vcell)"][0] == pytest.approx(50e-6, rel=1e-3)


def test_a_circuit_of_the_users_own_gets_a_testbench(farm):
    wave = simulate_neurons(
        [NeuronRun(Stimulus.dc(5e-9), 3e-3)], netlist=NETLISTS / "circuits" / "felif_neuron.lib", farm=farm
    )[0]
    assert wave.spike_times_s[0] == pytest.approx(FIRST_SPIKE_S[5e-9], rel=0.05)


def test_wrong_pins_nodes_and_sources_are_named(tmp_path):
    circuit = tmp_path / "mine.lib"
    circuit.write_text("* mine\n.subckt mine inj vm out pl pn vdd\nR1 vm 0 1k\n.ends\n")
    with pytest.raises(NetlistError, match=r"mine.lib:2: subcircuit mine has the pins inj vm out .* must have inj vm"):
        neuron_deck(circuit)
    deck = tmp_path / "deck.cir"
    text = NEURON_NETLIST.read_text().replace("../", f"{NETLISTS}/")
    deck.write_text(text.replace("Istim inj", "Iin inj"))
    with pytest.raises(NetlistError, match="has no element Istim"):
        neuron_deck(deck)
    deck.write_text(text.replace("Xneuron inj vm spk pl pn", "Xneuron inj mem spk pl pn"))
    with pytest.raises(NetlistError, match="has no node vm"):
        neuron_deck(deck)


def test_unknown_variant_and_parameter_are_refused():
    with pytest.raises(NetlistError, match="choose var or det"):
        program_rrams([RRAMRun(50e-6, variant="both")])
    with pytest.raises(NetlistError, match="did you mean 'iprog'"):
        program_rrams([RRAMRun(50e-6, overrides={"iprogg": 1e-6})], RRAM_NETLIST)
    with pytest.raises(NetlistError, match="iprog is given twice"):
        program_rrams([RRAMRun(50e-6, overrides={"iprog": 1e-6})], RRAM_NETLIST)


def test_a_stimulus_that_is_on_from_the_start_ramps_up():
    time, current = pwl(Stimulus(np.array([0.0, 1.0]), np.array([3e-10, 3e-10])), 0.5)
    assert (time[0], current[0]) == (0.0, 0.0)
    assert (time[1], current[1]) == (1e-6, 3e-10)


def test_the_library_holds_the_lattice_that_the_code_makes():
    library = Netlist.load(NETLISTS / "models" / "fecap.lib")
    assert library.with_params({"groups": DEFAULT_GROUPS}).text == library.text
    assert library.with_params({"groups": 64}).text.count("fecap_group za=") == 64
    for wrong in (0, 2.5, 1e6):
        with pytest.raises(InputError, match="groups must be a whole number from 1 to"):
            library.with_params({"groups": wrong})
    with pytest.raises(NetlistError, match="groups: begin"):
        Netlist.load(RRAM_NETLIST).with_params({"groups": 16})


@pytest.mark.parametrize("groups", [1, 2, 3, 5, 16, 24, 64, 333])
def test_a_film_and_its_mirror_image_have_the_same_groups(groups):
    activation, offset, weight = group_nodes(groups)
    assert weight.sum() == pytest.approx(1.0)
    assert weight @ activation == pytest.approx(0.0, abs=1e-12)
    film, image = (sorted(zip(activation, sign * offset + 0.0, weight, strict=True)) for sign in (1, -1))
    np.testing.assert_allclose(film, image, atol=1e-12)


def test_many_groups_are_two_normal_deviates_that_have_nothing_to_do_with_each_other():
    activation, offset, weight = group_nodes(1024)
    moments = [weight @ x for x in (activation**2, offset**2, activation**4, offset**4, (activation * offset) ** 2)]
    np.testing.assert_allclose(moments, [1.0, 1.0, 3.0, 3.0, 1.0], rtol=0.02)
    assert weight @ (activation * offset) == pytest.approx(0.0, abs=1e-12)
